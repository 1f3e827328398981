// Python objects that keep arrays alive while the core may read them.
#pragma once

#include <optional>
#include <vector>

#include "../common/aligned.hpp"
#include "arrays.hpp"
#include "search.hpp"

class CodebookObject {
 public:
  CodebookObject(const In<std::int8_t, 2>& centroids, In<float, 1> scales, std::optional<In<float, 1>> spreads);
  const serotine::codec::Codebook& view() const { return view_; }

 private:
  // A copy: rows are read at random for every token, which is faster on large pages than on a mapped file's small ones.
  serotine::Aligned<std::int8_t> centroids_;
  serotine::Aligned<std::uint8_t> flipped_;
  In<float, 1> scales_;
  std::vector<float> spreads_;
  std::vector<float> mean_;
  serotine::codec::Codebook view_;
};

// One segment. Its arrays are validated once, here, so that the core never reads outside them.
class SegmentObject {
 public:
  SegmentObject(In<std::int64_t, 1> offsets, In<std::int64_t, 1> numbers, std::optional<In<std::uint16_t, 2>> vectors);
  void set_codes(nb::object codebook, In<std::uint8_t, 2> ids, In<std::uint8_t, 1> residual_scales,
                 In<std::uint8_t, 1> errors, In<std::uint8_t, 2> residuals, int bits, float max_norm);
  void set_postings(In<std::uint64_t, 1> starts, In<std::uint32_t, 1> documents);
  const serotine::search::Segment& view() const { return view_; }
  std::size_t dim() const;

 private:
  In<std::int64_t, 1> offsets_;
  In<std::int64_t, 1> numbers_;
  std::optional<In<std::uint16_t, 2>> vectors_;
  nb::object codebook_;
  std::vector<In<std::uint8_t, 1>> bytes_;
  std::vector<In<std::uint8_t, 2>> rows_;
  std::optional<In<std::uint64_t, 1>> posting_starts_;
  std::optional<In<std::uint32_t, 1>> postings_;
  serotine::search::Segment view_;
};
