#include "residuals.hpp"

#include <limits>

#include "../common/prefetch.hpp"

namespace serotine::search {

ResidualScorer::ResidualScorer(const Query& query) : query_(query) {
  rows_.assign(query.quantised().begin(), query.quantised().end());
}

void ResidualScorer::choose(const CentroidTable& table, const Part& part, std::size_t document, Pending& pending) const {
  pending.best.resize(table.width());
  pending.winners.resize(table.width());
  centroid_kernels().winners(table.scan_of(part), document, pending.best.data(), pending.winners.data());
  const auto first = static_cast<std::size_t>(part.offsets[document]);
  const std::size_t bytes = codec::row_bytes(query_.dim(), part.codes.bits);
  for (std::size_t t = 0; t < query_.tokens(); ++t) {
    const std::size_t token = first + pending.winners[t];
    ask(part.codes.residuals + token * bytes, bytes);
    __builtin_prefetch(part.codes.steps + token);
  }
}

float ResidualScorer::score(const CentroidTable& table, const Part& part, std::size_t document, Pending& pending) const {
  const std::size_t tokens = query_.tokens();
  const auto first = static_cast<std::size_t>(part.offsets[document]);
  if (part.offsets[document + 1] == part.offsets[document]) return -std::numeric_limits<float>::infinity();
  std::uint32_t sum = 0;
  for (std::size_t t = 0; t < tokens; ++t) sum += pending.best[t];
  pending.products.resize(tokens);
  codec::multiply_residuals(part.codes, query_.dim(), first, pending.winners.data(), tokens, rows_.data(),
                            pending.products.data());
  float residuals = 0.0f;
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t id = part.codes.id(first + pending.winners[t]);
    residuals += query_.scales()[t] * part.codebook->scales[id] * static_cast<float>(pending.products[t]);
  }
  return table.similarity(sum) + residuals;
}

}  // namespace serotine::search
