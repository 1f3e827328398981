// The code stage: documents rebuilt from their residual codes and scored by the int8 kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../common/aligned.hpp"
#include "fused_kernels.hpp"
#include "query.hpp"
#include "search.hpp"

namespace serotine::search {

// The term added to every similarity of a token: none, its error bound, or minus its error bound.
enum class Bound { none, upper, lower };

class CodeScorer {
 public:
  CodeScorer(const Query& query, Bound bound);

  // One worker's buffers.
  struct Scratch {
    Aligned<std::uint8_t> rows;
    Aligned<std::uint8_t> staged;
    Aligned<float> scales;
    Aligned<float> offsets;
    Aligned<float> best;
    std::vector<TokenRange> ranges;
  };

  // Computes MaxSim of some documents over the vectors their codes rebuild; with a bound, an upper or lower bound of
  // MaxSim over the original vectors, the rounding of the query included. -infinity for documents without tokens.
  void score(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch, double* scores) const;

 private:
  CodeScorer(const Query& query, Bound bound, const EvenQuery& even);

  // Folds the documents that have tokens into scratch.best [documents][lanes]: by rebuilding and multiplying in turn, or
  // in one loop, which returns false where there is none.
  void fold_apart(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch) const;
  bool fold_fused(const Segment& segment, std::span<const std::uint32_t> documents, Scratch& scratch) const;

  const Query& query_;
  Bound bound_;
  LaidQuery laid_;
  double lost_sum_ = 0.0;
  // What every error byte adds to a similarity, in units of the scales of the query token and of the document token.
  std::array<float, 256> bounds_{};
};

}  // namespace serotine::search
