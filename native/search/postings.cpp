// Posting lists: for every centroid, the documents that have a token of it.
#include <algorithm>

#include "search.hpp"

namespace serotine::search {

std::vector<std::uint32_t> postings(const codec::Codes& codes, std::size_t centroids, const std::int64_t* offsets,
                                    std::size_t documents, std::uint64_t* starts) {
  // The last document seen with each centroid, so that a pair is counted once.
  std::vector<std::uint32_t> last_document(centroids, 0xffffffffu);
  std::vector<std::uint64_t> counts(centroids + 1, 0);
  for (std::size_t d = 0; d < documents; ++d) {
    for (std::int64_t t = offsets[d]; t < offsets[d + 1]; ++t) {
      const std::size_t id = codes.id(static_cast<std::size_t>(t));
      if (last_document[id] == d) continue;
      last_document[id] = static_cast<std::uint32_t>(d);
      ++counts[id + 1];
    }
  }
  for (std::size_t c = 0; c < centroids; ++c) counts[c + 1] += counts[c];
  std::copy(counts.begin(), counts.end(), starts);
  std::vector<std::uint32_t> out(counts[centroids]);
  std::fill(last_document.begin(), last_document.end(), 0xffffffffu);
  std::vector<std::uint64_t> next(counts.begin(), counts.end() - 1);
  for (std::size_t d = 0; d < documents; ++d) {
    for (std::int64_t t = offsets[d]; t < offsets[d + 1]; ++t) {
      const std::size_t id = codes.id(static_cast<std::size_t>(t));
      if (last_document[id] == d) continue;
      last_document[id] = static_cast<std::uint32_t>(d);
      out[next[id]++] = static_cast<std::uint32_t>(d);
    }
  }
  return out;
}

}  // namespace serotine::search
