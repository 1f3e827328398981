// The code stage: documents rebuilt from their residual codes and scored by the int8 kernel.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "../common/aligned.hpp"
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
    Aligned<float> best;
  };

  // Returns MaxSim of one document over the vectors its codes rebuild; with a bound, an upper or lower bound of MaxSim
  // over the original vectors, the rounding of the query included.
  // Prefetches the codes of the following document, `next` in `next_segment`.
  double score(const Segment& segment, std::size_t document, const Segment& next_segment, std::size_t next,
               Scratch& scratch) const;

 private:
  // Returns false where an error is too large to be expressed.
  bool add_bounds(const Segment& segment, std::size_t first, std::size_t count, std::uint8_t flip, std::uint8_t* rows,
                  std::size_t stride) const;

  const Query& query_;
  Bound bound_;
  LaidQuery laid_;
  // The values of a row's bound dimensions for every error byte, and whether they can express it.
  std::vector<std::array<std::int8_t, kBoundDims>> units_;
  std::vector<bool> expressible_;
};

}  // namespace serotine::search
