#include "search.hpp"

#include "stages.hpp"

namespace serotine::search {

std::vector<Hit> search(const float* query, std::size_t tokens, std::size_t dim, const std::vector<Segment>& segments,
                        const std::vector<const std::uint64_t*>& masks, const Options& options, Report& report) {
  const Query prepared(query, tokens, dim);
  const auto run = options.k_token > 0 ? xtr_search : options.exact ? exact_search : staged_search;
  return run(prepared, segments, masks, options, report);
}

}  // namespace serotine::search
