// What happens to one token's row between the products: quantization, normalization.
#pragma once

#include "encoder.hpp"
#include "lanes.hpp"

namespace serotine::encoder {
namespace {

// Quantizes a row to bytes around 128, with the largest magnitude at 127; returns the scale.
template <class Isa>
SEROTINE_INLINE float quantize_row(const float* row, std::size_t width, std::uint8_t* bytes) {
  Floats low{}, high{};
  for (std::size_t i = 0; i < width; i += 2 * kLanes) {
    low = Isa::max(low, Isa::abs(load(row + i)));
    high = Isa::max(high, Isa::abs(load(row + i + kLanes)));
  }
  const float largest = Isa::largest(Isa::max(low, high));
  const float bounded = largest > 1e-12f ? largest : 1e-12f;
  const Floats scale = all(127.0f / bounded);
  for (std::size_t i = 0; i < width; i += kLanes) Isa::store_bytes(bytes + i, fma(load(row + i), scale, all(128.0f)));
  return bounded / 127.0f;
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

// GELU's least value is -0.17: what is below zero needs little of the range. Bytes with a zero point of their own.
constexpr float kGeluLeast = 0.17f;

struct Range {
  float scale, zero;
};

// Quantizes a row of the feed-forward network's inner states, whose largest value is `largest`.
template <class Isa>
SEROTINE_INLINE Range quantize_inner_row(const typename Isa::Half* row, std::size_t width, float largest,
                                         std::uint8_t* bytes) {
  const float scale = (largest + kGeluLeast) / 255.0f, inverse = 1.0f / scale;
  const float zero = __builtin_rintf(kGeluLeast * inverse);
  const Floats factor = all(inverse), shift = all(zero);
  for (std::size_t i = 0; i < width; i += kLanes) {
    Isa::store_bytes(bytes + i, Isa::max(fma(Isa::load_half(row + i), factor, shift), Floats{}));
  }
  return {scale, zero};
}

}  // namespace
}  // namespace serotine::encoder
