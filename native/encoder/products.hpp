// The products: 8-bit rows with an int8 matrix, and rows of floats with packed columns.
//
// `Isa` provides, beside the lanes:
//   kRows, kSums    rows of an 8-bit tile, and how many Sums of each, 1 or 2, it computes at once: they stay in registers
//   Sum             16 int32 sums
//   Weights         16 columns of 4 levels; Quad: 4 activations, for every column
//   start(sums)     what sums begin with, so that they end as the sum of (activation - 128) * level
//   load_weights, load_quad, dot(Sum&, Weights, Quad), floats(Sum)
//   kMultipliesMatrices: whether instead of these, from Sum on, it has a tile_sums<T>(Product&, TileInput, Floats (&)[T][2])
//   Product         what lasts for all tiles of one thread's part of a product
//   kLeastByte      the least activation, 0 or 1; store_bytes stores activations as load_quad reads them
//   kFloatRows      rows of a tile of floats
//   kAbreast        rows that are normalized and quantized side by side, at most 4
//   Element         how queries, keys, values and weights of attention are stored; kGroup of them make one step
//   Packed          16 columns of kGroup elements; load_packed, load_group (for every column), madd(Floats&, Packed, Packed)
#pragma once

#include "encoder.hpp"
#include "lanes.hpp"

namespace serotine::encoder {
namespace {

// A byte represents (byte - zero) * scale; from_zero is 128 - zero, as sums are of bytes less 128.
struct Range {
  float scale, from_zero;
};

// How many rows the next tile has. The last two tiles share the rest evenly: a tile of one row would wait for the
// latency of its own additions.
SEROTINE_INLINE int next_tile(std::size_t remaining, int rows) {
  if (remaining <= static_cast<std::size_t>(rows)) return static_cast<int>(remaining);
  if (remaining < 2 * static_cast<std::size_t>(rows)) return static_cast<int>((remaining + 1) / 2);
  return rows;
}

// Calls body(std::integral_constant-like tag) for a count known only at run time, 1 <= count <= Rows.
template <int Count>
struct Rows {
  static constexpr int count = Count;
};
template <int Count, class Body>
SEROTINE_INLINE void with_rows(int count, const Body& body) {
  if constexpr (Count > 0) {
    if (count == Count) {
      body(Rows<Count>{});
    } else {
      with_rows<Count - 1>(count, body);
    }
  }
}

// What a tile reads: `T` rows of `inputs` activations, a panel, and memory to prefetch, `ahead_step` further on at each step.
struct TileInput {
  const std::uint8_t* rows;
  std::size_t inputs;
  const std::int8_t* weights;
  const std::int32_t* sums;  // of the panel's levels
  const char* ahead;
  std::size_t ahead_step;
};

// The sums of 32 columns of each row.
template <class Isa, int T>
SEROTINE_INLINE void tile_sums(TileInput in, Floats (&tile)[T][2]) {
  constexpr int sums = Isa::kSums;
#pragma GCC unroll 2
  for (int block = 0; block < 2; block += sums) {
    const std::int8_t* weights = in.weights + block * 64;
    typename Isa::Sum acc[T][sums];
#pragma GCC unroll 2
    for (int s = 0; s < sums; ++s) {
      const typename Isa::Sum start = Isa::start(in.sums + (block + s) * kLanes);
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) acc[t][s] = start;
    }
    // One pointer for three rows: with one a row, GCC 12 holds pointers in vector registers and spills sums.
    const std::uint8_t* third[(T + 2) / 3];
#pragma GCC unroll 16
    for (int t = 0; t < T; t += 3) third[t / 3] = in.rows + static_cast<std::size_t>(t) * in.inputs;
    for (std::size_t i = 0; i < in.inputs; i += 4) {
      __builtin_prefetch(in.ahead, 0, 3);
      // A single tile asks for all of the next panel, two lines a step.
      if (sums == 2 && in.ahead_step > 64) __builtin_prefetch(in.ahead + 64, 0, 3);
      in.ahead += in.ahead_step;
      typename Isa::Weights w[sums];
#pragma GCC unroll 2
      for (int s = 0; s < sums; ++s) w[s] = Isa::load_weights(weights + s * 64);
      weights += 128;
#pragma GCC unroll 16
      for (int t = 0; t < T; ++t) {
        const typename Isa::Quad x = Isa::load_quad(third[t / 3] + static_cast<std::size_t>(t % 3) * in.inputs);
#pragma GCC unroll 2
        for (int s = 0; s < sums; ++s) Isa::dot(acc[t][s], w[s], x);
      }
#pragma GCC unroll 16
      for (int t = 0; t < T; t += 3) third[t / 3] += 4;
    }
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
#pragma GCC unroll 2
      for (int s = 0; s < sums; ++s) tile[t][block + s] = Isa::floats(acc[t][s]);
    }
  }
}

// One tile: `T` rows of activations with one panel. `epilogue(row, column, low, high)` gets the entries of 32 columns.
template <class Isa, int T, class Epilogue>
__attribute__((noinline)) void int8_tile([[maybe_unused]] typename Isa::Product& product, const Int8Matrix& matrix, std::size_t panel, const std::uint8_t* rows,
                                         const Range* ranges, std::size_t first, const char* ahead,
                                         std::size_t ahead_step, const Epilogue& epilogue) {
  const std::size_t column = panel * kPanel;
  const TileInput in = {rows + first * matrix.inputs, matrix.inputs, matrix.panels.data() + column * matrix.inputs,
                        matrix.sums.data() + column, ahead, ahead_step};
  Floats tile[T][2];
  if constexpr (Isa::kMultipliesMatrices) {
    Isa::template tile_sums<T>(product, in, tile);
  } else {
    tile_sums<Isa, T>(in, tile);
  }
  // Loaded here once: what the epilogue stores might overlap with them, for all that the compiler knows.
  const Floats low_sums = Isa::from_ints_at(in.sums), high_sums = Isa::from_ints_at(in.sums + kLanes);
  const float *scales = matrix.scales.data() + column, *bias = matrix.bias.data() + column;
  const Floats low_scales = load(scales), high_scales = load(scales + kLanes);
  const Floats low_bias = load(bias), high_bias = load(bias + kLanes);
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    const Range range = ranges[first + t];
    const Floats from_zero = all(range.from_zero);
    const Floats low = fma(from_zero, low_sums, tile[t][0]) * range.scale;
    const Floats high = fma(from_zero, high_sums, tile[t][1]) * range.scale;
    epilogue(first + t, column, fma(low, low_scales, low_bias), fma(high, high_scales, high_bias));
  }
}

// All rows, whose bytes have the given ranges, with the panels [first_panel, last_panel). Every tile asks for its share of
// the next panel. Of a row, the epilogue gets the columns in rising order.
template <class Isa, class Epilogue>
void int8_product(const Int8Matrix& matrix, std::size_t first_panel, std::size_t last_panel, const std::uint8_t* rows,
                  const Range* ranges, std::size_t count, const Epilogue& epilogue) {
  std::size_t tiles = 0;
  for (std::size_t first = 0; first < count; first += next_tile(count - first, Isa::kRows)) ++tiles;
  const std::size_t lines = matrix.inputs * kPanel / 64, share = (lines + tiles - 1) / tiles;
  const std::size_t steps = matrix.inputs / 4 * (2 / Isa::kSums), ahead_step = (share * 64 + steps - 1) / steps;
  typename Isa::Product product;
  for (std::size_t panel = first_panel; panel < last_panel; ++panel) {
    // Past the last panel that is unowned memory, which a prefetch may address.
    const char* next = reinterpret_cast<const char*>(matrix.panels.data()) + (panel + 1) * matrix.inputs * kPanel;
    std::size_t tile = 0;
    for (std::size_t first = 0; first < count; ++tile) {
      const int now = next_tile(count - first, Isa::kRows);
      const char* ahead = next + (tile * share < lines ? tile * share : lines) * 64;
      with_rows<Isa::kRows>(now, [&](auto tag) __attribute__((always_inline)) {
        int8_tile<Isa, decltype(tag)::count>(product, matrix, panel, rows, ranges, first, ahead, ahead_step, epilogue);
      });
      first += static_cast<std::size_t>(now);
    }
  }
}

// `T` rows with 32 packed columns: acc[t] = start, if given, plus the sum over `steps` groups of rows[t] x packed.
template <class Element, class Isa, int T>
SEROTINE_INLINE void float_tile(const Element* packed, const Element* rows, std::size_t stride, std::size_t steps,
                                const float* start, Floats (&acc)[T][2]) {
  constexpr std::size_t group = Isa::template group<Element>();
  const Floats low = start == nullptr ? Floats{} : load(start), high = start == nullptr ? Floats{} : load(start + kLanes);
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    acc[t][0] = low;
    acc[t][1] = high;
  }
  for (std::size_t s = 0; s < steps; ++s) {
    const auto w0 = Isa::load_packed(packed);
    const auto w1 = Isa::load_packed(packed + kLanes * group);
    packed += 2 * kLanes * group;
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      const auto x = Isa::load_group(rows + t * stride + s * group);
      Isa::madd(acc[t][0], w0, x);
      Isa::madd(acc[t][1], w1, x);
    }
  }
}

template <class Element, class Isa, int T>
__attribute__((noinline)) void float_product(const Element* packed, const Element* rows, std::size_t stride,
                                             std::size_t steps, const float* start, float* out, std::size_t out_stride) {
  Floats acc[T][2];
  float_tile<Element, Isa, T>(packed, rows, stride, steps, start, acc);
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    store(out + t * out_stride, acc[t][0]);
    store(out + t * out_stride + kLanes, acc[t][1]);
  }
}

}  // namespace
}  // namespace serotine::encoder
