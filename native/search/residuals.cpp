#include "residuals.hpp"

#include <limits>

#include "../common/prefetch.hpp"

namespace serotine::search {
namespace {

// Of the spread in the second best token's byte, this share is taken away again. By recall of the documents passed on;
// 0.5 to 1 differ little, with two encoders.
constexpr float kFloorSpread = 0.75f;

}  // namespace

ResidualScorer::ResidualScorer(const Query& query) : query_(query) {
  rows_.assign(query.quantized().begin(), query.quantized().end());
}

void ResidualScorer::choose(const CentroidTable& table, const Segment& segment, std::size_t document,
                            Pending& pending) const {
  pending.best.resize(table.width());
  pending.second.resize(table.width());
  pending.winners.resize(table.width());
  centroid_kernels().winners(table.scan_of(segment), document, pending.best.data(), pending.second.data(),
                             pending.winners.data());
  const auto first = static_cast<std::size_t>(segment.offsets[document]);
  const std::size_t bytes = codec::row_bytes(query_.dim(), segment.codes.bits);
  for (std::size_t t = 0; t < query_.tokens(); ++t) {
    const std::size_t token = first + pending.winners[t];
    prefetch(segment.codes.residuals + token * bytes, bytes);
    __builtin_prefetch(segment.codes.residual_scales + token);
  }
}

float ResidualScorer::score(const CentroidTable& table, const Segment& segment, std::size_t document,
                            Pending& pending) const {
  const std::size_t tokens = query_.tokens();
  const auto first = static_cast<std::size_t>(segment.offsets[document]);
  if (segment.offsets[document + 1] == segment.offsets[document]) return -std::numeric_limits<float>::infinity();
  pending.products.resize(tokens);
  codec::multiply_residuals(segment.codes, query_.dim(), first, pending.winners.data(), tokens, rows_.data(),
                            query_.dim(), pending.products.data());
  // In units of the table's bytes.
  float sum = 0.0f;
  const float* spread_weights = table.spread_weights().data();
  for (std::size_t t = 0; t < tokens; ++t) {
    const std::size_t id = segment.codes.id(first + pending.winners[t]);
    const float residual = query_.scales()[t] * segment.codebook->scales[id] * static_cast<float>(pending.products[t]);
    const float spread = segment.codebook->spreads[id] * spread_weights[t];
    const float winner = static_cast<float>(pending.best[t]) - spread + residual * table.bytes_per_similarity();
    // Byte 0 is any similarity up to the mean: no floor.
    const float floor = pending.second[t] == 0 ? winner : static_cast<float>(pending.second[t]) - kFloorSpread * spread;
    sum += winner > floor ? winner : floor;
  }
  return table.similarity(sum);
}

std::vector<float> residual_scores(const float* query, std::size_t tokens, std::size_t dim, const Segment& segment) {
  const Query prepared(query, tokens, dim);
  const CentroidTable table(prepared, *segment.codebook);
  const ResidualScorer scorer(prepared);
  ResidualScorer::Pending pending;
  std::vector<float> out(segment.documents);
  for (std::size_t d = 0; d < segment.documents; ++d) {
    scorer.choose(table, segment, d, pending);
    out[d] = scorer.score(table, segment, d, pending);
  }
  return out;
}

}  // namespace serotine::search
