// What happens to one token's row between the products: quantization, normalization.
#pragma once

#include "encoder.hpp"
#include "lanes.hpp"

namespace serotine::encoder {
namespace {

// A byte represents (byte - zero) * scale.
struct Range {
  float scale, zero;
};

// The range from `least` <= 0 to `largest` >= 0 in bytes from kLeastByte to 255, one of which represents 0.
template <class Isa>
SEROTINE_INLINE Range byte_range(float least, float largest) {
  constexpr float first = static_cast<float>(Isa::kLeastByte);
  const float scale = (largest - least > 1e-12f ? largest - least : 1e-12f) / (255.0f - first);
  return {scale, first + __builtin_rintf(-least / scale)};
}

// Quantizes a row from its least to its largest value. Those of the first and last token, to which all others attend, lie
// on one side of zero: around it, half of the levels would be lost on the tokens that matter most.
template <class Isa>
SEROTINE_INLINE Range quantize_row(const float* row, std::size_t width, std::uint8_t* bytes) {
  Floats least{}, largest{};
  for (std::size_t i = 0; i < width; i += kLanes) {
    least = Isa::min(least, load(row + i));
    largest = Isa::max(largest, load(row + i));
  }
  const Range range = byte_range<Isa>(-Isa::largest(-least), Isa::largest(largest));
  const Floats factor = all(1.0f / range.scale), zero = all(range.zero), first = all(static_cast<float>(Isa::kLeastByte));
  for (std::size_t i = 0; i < width; i += kLanes) Isa::store_bytes(bytes + i, Isa::max(fma(load(row + i), factor, zero), first));
  return range;
}

// Writes a row's normalization, which may replace the row.
template <class Isa>
SEROTINE_INLINE void normalize_row(const Shape& shape, const Norm& norm, const float* row, float* to) {
  const std::size_t width = shape.hidden;
  Floats mean{}, a{}, b{};
  if (shape.norm == NormKind::layer) {
    for (std::size_t i = 0; i < width; i += 2 * kLanes) {
      a += load(row + i);
      b += load(row + i + kLanes);
    }
    mean = all(Isa::sum(a + b) / static_cast<float>(width));
    a = b = Floats{};
  }
  for (std::size_t i = 0; i < width; i += 2 * kLanes) {
    const Floats x = load(row + i) - mean, y = load(row + i + kLanes) - mean;
    a = fma(x, x, a);
    b = fma(y, y, b);
  }
  const float variance = Isa::sum(a + b) / static_cast<float>(width);
  const Floats inverse = all(1.0f / __builtin_sqrtf(variance + shape.epsilon));
  for (std::size_t i = 0; i < width; i += kLanes) {
    const Floats x = (load(row + i) - mean) * inverse;
    store(to + i, fma(x, load(norm.gain.data() + i), load(norm.bias.data() + i)));
  }
}

constexpr float kGeluLeast = -0.17f;

// Quantizes a row of the feed-forward network's inner states, whose largest value is `largest`.
template <class Isa>
SEROTINE_INLINE Range quantize_inner_row(const typename Isa::Half* row, std::size_t width, float largest,
                                         std::uint8_t* bytes) {
  const Range range = byte_range<Isa>(kGeluLeast, largest);
  const Floats factor = all(1.0f / range.scale), zero = all(range.zero), first = all(static_cast<float>(Isa::kLeastByte));
  for (std::size_t i = 0; i < width; i += kLanes) {
    Isa::store_bytes(bytes + i, Isa::max(fma(Isa::load_half(row + i), factor, zero), first));
  }
  return range;
}

}  // namespace
}  // namespace serotine::encoder
