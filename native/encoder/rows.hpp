// What happens to one token's row between the products: quantization, normalization.
#pragma once

#include "encoder.hpp"
#include "products.hpp"

namespace serotine::encoder {
namespace {

// The range from `least` <= 0 to `largest` >= 0 in bytes from kLeastByte to 255, one of which represents 0.
template <class Isa>
SEROTINE_INLINE Range byte_range(float least, float largest) {
  constexpr float first = static_cast<float>(Isa::kLeastByte);
  const float scale = (largest - least > 1e-12f ? largest - least : 1e-12f) / (255.0f - first);
  return {scale, 128.0f - first - __builtin_rintf(-least / scale)};
}

// Writes the bytes that represent 16 values.
template <class Isa>
SEROTINE_INLINE void quantize(Floats values, const Range& range, std::uint8_t* bytes) {
  const Floats zero = all(128.0f - range.from_zero), first = all(static_cast<float>(Isa::kLeastByte));
  Isa::store_bytes(bytes, Isa::max(fma(values, all(1.0f / range.scale), zero), first));
}

// The least value, at most 0, and the largest, at least 0, in each lane of a row.
struct Extremes {
  Floats least{}, largest{};

  template <class Isa>
  SEROTINE_INLINE void include(Floats values) {
    least = Isa::min(least, values);
    largest = Isa::max(largest, values);
  }
};

// The functions of `R` rows compute them side by side: one alone would wait for each sum of its own.
template <class Isa, int R>
SEROTINE_INLINE void find_extremes(const float* rows, std::size_t width, Extremes (&extremes)[R]) {
  for (std::size_t i = 0; i < width; i += kLanes) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) extremes[r].template include<Isa>(load(rows + r * width + i));
  }
}

// Quantizes a row from its least to its largest value. Those of the first and last token, to which all others attend, lie
// on one side of zero: around it, half of the levels would be lost on the tokens that matter most.
template <class Isa>
SEROTINE_INLINE Range quantize_row(const float* row, std::size_t width, const Extremes& extremes, std::uint8_t* bytes) {
  const Range range = byte_range<Isa>(-Isa::largest(-extremes.least), Isa::largest(extremes.largest));
  for (std::size_t i = 0; i < width; i += kLanes) quantize<Isa>(load(row + i), range, bytes + i);
  return range;
}

// Quantizes `count` rows.
template <class Isa>
void quantize_rows(const float* rows, std::size_t width, std::size_t count, std::uint8_t* bytes, Range* ranges) {
  for (std::size_t first = 0; first < count; first += Isa::kAbreast) {
    const std::size_t left = count - first;
    with_rows<Isa::kAbreast>(left < Isa::kAbreast ? static_cast<int>(left) : Isa::kAbreast, [&](auto tag) __attribute__((always_inline)) {
      constexpr int R = decltype(tag)::count;
      Extremes extremes[R];
      find_extremes<Isa, R>(rows + first * width, width, extremes);
      for (int r = 0; r < R; ++r) {
        const std::size_t row = first + static_cast<std::size_t>(r);
        ranges[row] = quantize_row<Isa>(rows + row * width, width, extremes[r], bytes + row * width);
      }
    });
  }
}

// rows += added, if there are any; the sums of each row's lanes.
template <class Isa, int R>
SEROTINE_INLINE void add_rows(float* rows, const float* added, std::size_t width, Floats (&sums)[R]) {
  Floats a[R] = {}, b[R] = {};
  for (std::size_t i = 0; i < width; i += 2 * kLanes) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      float* at = rows + r * width + i;
      Floats x = load(at), y = load(at + kLanes);
      if (added != nullptr) {
        x += load(added + r * width + i);
        y += load(added + r * width + i + kLanes);
        store(at, x);
        store(at + kLanes, y);
      }
      a[r] += x;
      b[r] += y;
    }
  }
  for (int r = 0; r < R; ++r) sums[r] = a[r] + b[r];
}

// Writes the normalization of rows, which may replace them, from the sums of their lanes; and its extremes.
template <class Isa, int R>
SEROTINE_INLINE void normalize_rows(const Shape& shape, const Norm& norm, const float* rows, const Floats (&sums)[R], float* to,
                                    Extremes (&extremes)[R]) {
  const std::size_t width = shape.hidden;
  Floats mean[R] = {}, inverse[R], a[R] = {}, b[R] = {};
  if (shape.norm == NormKind::layer) {
    for (int r = 0; r < R; ++r) mean[r] = all(Isa::sum(sums[r]) / static_cast<float>(width));
  }
  for (std::size_t i = 0; i < width; i += 2 * kLanes) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Floats x = load(rows + r * width + i) - mean[r], y = load(rows + r * width + i + kLanes) - mean[r];
      a[r] = fma(x, x, a[r]);
      b[r] = fma(y, y, b[r]);
    }
  }
  for (int r = 0; r < R; ++r) {
    const float variance = Isa::sum(a[r] + b[r]) / static_cast<float>(width);
    inverse[r] = all(1.0f / __builtin_sqrtf(variance + shape.epsilon));
  }
  for (std::size_t i = 0; i < width; i += kLanes) {
    const Floats gain = load(norm.gain.data() + i), bias = load(norm.bias.data() + i);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      const Floats x = fma((load(rows + r * width + i) - mean[r]) * inverse[r], gain, bias);
      store(to + r * width + i, x);
      extremes[r].template include<Isa>(x);
    }
  }
}

// Replaces `count` rows by their normalization.
template <class Isa>
void normalize_all(const Shape& shape, const Norm& norm, std::size_t count, float* rows) {
  for (std::size_t row = 0; row < count; ++row) {
    float* states = rows + row * shape.hidden;
    Floats sums[1];
    Extremes extremes[1];
    add_rows<Isa, 1>(states, nullptr, shape.hidden, sums);
    normalize_rows<Isa, 1>(shape, norm, states, sums, states, extremes);
  }
}

constexpr float kGeluLeast = -0.17f;

// Quantizes a row of the feed-forward network's inner states, whose largest value is `largest`.
template <class Isa>
SEROTINE_INLINE Range quantize_inner_row(const typename Isa::Half* row, std::size_t width, float largest,
                                         std::uint8_t* bytes) {
  const Range range = byte_range<Isa>(kGeluLeast, largest);
  for (std::size_t i = 0; i < width; i += kLanes) quantize<Isa>(Isa::load_half(row + i), range, bytes + i);
  return range;
}

}  // namespace
}  // namespace serotine::encoder
