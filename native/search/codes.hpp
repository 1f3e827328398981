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

// What a row adds to every similarity: nothing, the token's error bound, or that taken away.
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

  // MaxSim of one document over what its codes rebuild. With a bound, no vector that the codes may stand for gives
  // the document more (upper) or less (lower); the rounding of the query is in it too.
  // Memory is asked for the codes of the document after it, `next` in `next_segment`, meanwhile.
  double score(const Segment& segment, std::size_t document, const Segment& next_segment, std::size_t next, Scratch& scratch) const;

 private:
  // False where an error is too large to be expressed.
  bool add_bounds(const Segment& segment, std::size_t first, std::size_t count, std::uint8_t flip, std::uint8_t* rows,
                  std::size_t stride) const;

  const Query& query_;
  Bound bound_;
  LaidQuery laid_;
  // What a row's bound dimensions hold for every error byte, as int8; whether that is enough.
  std::vector<std::array<std::int8_t, kBoundDims>> units_;
  std::vector<bool> expressible_;
};

}  // namespace serotine::search
