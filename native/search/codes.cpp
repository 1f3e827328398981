#include "codes.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "../common/prefetch.hpp"

namespace serotine::search {
namespace {

// Tokens rebuilt at a time: they stay in the first-level cache beside the query.
constexpr std::size_t kBlock = 36;
// The largest sum of a row's bound dimensions.
constexpr int kMaxUnits = 127 * static_cast<int>(kBoundDims);
// Room for the rounding of fp32, here and in the kernel that computes the exact scores: one rounding a dimension there.
constexpr double kSlack = 1e-5;
constexpr double kSlackPerDim = 0x1p-24;
constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

CodeScorer::CodeScorer(const Query& query, Bound bound)
    : query_(query), bound_(bound), laid_(bound == Bound::none ? query.laid() : query.bounded()) {
  if (bound_ == Bound::none) return;
  units_.resize(256);
  expressible_.resize(256);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const double units = std::ceil(query_.bound_unit() * codec::error_bound(static_cast<std::uint8_t>(byte)) * (1 + 1e-6));
    expressible_[byte] = units <= kMaxUnits;
    int remaining = expressible_[byte] ? static_cast<int>(units) : 0;
    for (std::int8_t& value : units_[byte]) {
      const int value_here = std::min(remaining, 127);
      value = static_cast<std::int8_t>(bound_ == Bound::upper ? value_here : -value_here);
      remaining -= value_here;
    }
  }
}

bool CodeScorer::add_bounds(const Segment& segment, std::size_t first, std::size_t count, std::uint8_t flip,
                            std::uint8_t* rows, std::size_t stride) const {
  const std::uint32_t flips = flip * 0x01010101u;
  for (std::size_t t = 0; t < count; ++t) {
    const std::uint8_t error = segment.codes.errors[first + t];
    if (!expressible_[error]) return false;
    static_assert(kBoundDims == sizeof(std::uint32_t));
    std::uint32_t word;
    std::memcpy(&word, units_[error].data(), sizeof(word));
    word ^= flips;
    std::memcpy(rows + t * stride + query_.dim(), &word, sizeof(word));
  }
  return true;
}

double CodeScorer::score(const Segment& segment, std::size_t document, const Segment& next_segment, std::size_t next,
                         Scratch& scratch) const {
  const auto first = static_cast<std::size_t>(segment.offsets[document]);
  const auto last = static_cast<std::size_t>(segment.offsets[document + 1]);
  if (query_.tokens() == 0) return 0.0;
  if (first == last) return kMinusInfinity;
  const maxsim::Int8Fold& i8 = query_.kernels().i8;
  const std::size_t dim = laid_.dim();
  // Rows begin on cache lines: a store across two costs double.
  const std::size_t stride = (laid_.steps() * i8.group * i8.bytes + 63) / 64 * 64;
  // Kernels that read bytes get the rebuilt rows themselves; for the others rows are staged.
  const bool in_place = i8.bytes == 1;
  const auto flip = static_cast<std::uint8_t>(in_place ? i8.offset : 0);
  const std::size_t width = in_place ? stride : dim;
  scratch.rows.resize(kBlock * width);
  if (!in_place) scratch.staged.resize(kBlock * stride);
  scratch.scales.resize(kBlock);
  scratch.best.assign(laid_.lanes(), -std::numeric_limits<float>::infinity());
  if (width > dim) std::fill(scratch.rows.begin(), scratch.rows.end(), flip);
  const codec::Codes& after = next_segment.codes;
  const auto after_first = static_cast<std::size_t>(next_segment.offsets[next]);
  const std::size_t after_count = static_cast<std::size_t>(next_segment.offsets[next + 1]) - after_first;
  prefetch(static_cast<const char*>(after.ids) + after_first * (after.id_bytes()), 192);
  prefetch(after.residual_scales + after_first, 128);
  if (bound_ != Bound::none) prefetch(after.errors + after_first, 128);
  for (std::size_t at = first; at < last; at += kBlock) {
    const std::size_t count = std::min(kBlock, last - at);
    const std::size_t then = at + count;
    const codec::Run run{*segment.codebook, segment.codes, at, count};
    const codec::Run following = then < last ? codec::Run{*segment.codebook, segment.codes, then, last - then}
                                             : codec::Run{*next_segment.codebook, after, after_first, after_count};
    codec::decode(run, following, flip, scratch.rows.data(), width, scratch.scales.data());
    if (bound_ != Bound::none && !add_bounds(segment, at, count, flip, scratch.rows.data(), width)) {
      return bound_ == Bound::upper ? kInfinity : kMinusInfinity;
    }
    const void* rows = scratch.rows.data();
    if (!in_place) {
      i8.stage(reinterpret_cast<const std::int8_t*>(rows), count, dim, scratch.staged.data(), stride);
      rows = scratch.staged.data();
    }
    laid_.fold(query_.kernels(), rows, stride, scratch.scales.data(), count, scratch.best.data());
  }
  double sum = 0.0;
  for (std::size_t t = 0; t < query_.tokens(); ++t) sum += static_cast<double>(scratch.best[t]) * query_.scales()[t];
  if (bound_ == Bound::none) return sum;
  const double slack = kSlack + kSlackPerDim * static_cast<double>(query_.dim());
  const double margin =
      query_.lost_sum() * segment.max_norm + slack * (query_.norm_sum() * segment.max_norm + std::fabs(sum));
  return bound_ == Bound::upper ? sum + margin : sum - margin;
}

}  // namespace serotine::search
