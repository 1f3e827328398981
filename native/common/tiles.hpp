// Products of bytes in AMX's tile registers, written over a tile policy so that their logic can be tested where no processor
// has AMX: `Tiles` is the hardware in hardware_tiles.hpp and a plain loop in tests/native/emulated_tiles.hpp. Internal linkage:
// each instruction-set file compiles its own copy.
//
// A tile register holds 16 rows of 64 bytes. Here a row of A is 64 bytes of one row of tokens, a row of B one step (16 lanes x 4
// bytes), so C[row][lane] gathers 16 rows x 16 lanes at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileBytes = 64;
// The numbers of the tile registers. A last, shorter group of steps needs registers of another shape.
constexpr int kSums0 = 0, kSums1 = 1, kTokens = 2, kLanes0 = 3, kLanes1 = 4, kRestTokens = 5, kRestLanes0 = 6,
              kRestLanes1 = 7;

// Shapes of the eight registers for `tokens` rows and a rest of `rest` steps, in the processor's own format.
struct alignas(64) TileShapes {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};

  TileShapes(std::size_t tokens, std::size_t rest) {
    set(kSums0, tokens, kTileBytes);
    set(kSums1, tokens, kTileBytes);
    set(kTokens, tokens, kTileBytes);
    set(kLanes0, kTileRows, kTileBytes);
    set(kLanes1, kTileRows, kTileBytes);
    if (rest > 0) {
      set(kRestTokens, tokens, rest * 4);
      set(kRestLanes0, rest, kTileBytes);
      set(kRestLanes1, rest, kTileBytes);
    }
  }
  void set(int tile, std::size_t count, std::size_t bytes) {
    rows[tile] = static_cast<std::uint8_t>(count);
    row_bytes[tile] = static_cast<std::uint16_t>(bytes);
  }
};

// The shape of a thread's registers, set when it changes and given up in the end.
template <class Tiles>
class ShapedTiles {
 public:
  ShapedTiles() = default;
  ShapedTiles(const ShapedTiles&) = delete;
  ShapedTiles& operator=(const ShapedTiles&) = delete;
  ~ShapedTiles() {
    if (tokens_ != 0) Tiles::release();
  }
  void shape(std::size_t tokens, std::size_t steps) {
    if (tokens == tokens_) return;
    Tiles::shape(TileShapes(tokens, steps % kTileRows));
    tokens_ = tokens;
  }

 private:
  std::size_t tokens_ = 0;
};

// One or two vectors of 16 lanes: the bytes of a step, 64 of them, are `step_bytes` behind those of the step before, and the
// second vector `vector_bytes` behind the first.
struct Lanes {
  const void* bytes;
  std::size_t step_bytes, vector_bytes;

  const void* at(std::size_t step, std::size_t vector) const {
    return static_cast<const unsigned char*>(bytes) + step * step_bytes + vector * vector_bytes;
  }
};

// Adds one group of steps, from `step` on, to the sums of V vectors, by registers of the group's shape.
template <class Tiles, int V, int Tokens, int First, int Second>
inline void add_steps(const Lanes& lanes, std::size_t step, const std::uint8_t* rows, std::size_t stride_bytes) {
  Tiles::template load<Tokens>(rows + step * 4, stride_bytes);
  Tiles::template load<First>(lanes.at(step, 0), lanes.step_bytes);
  Tiles::template multiply<kSums0, Tokens, First>();
  if constexpr (V == 2) {
    Tiles::template load<Second>(lanes.at(step, 1), lanes.step_bytes);
    Tiles::template multiply<kSums1, Tokens, Second>();
  }
}

// Dot products of the shaped number of rows, `stride_bytes` apart, with V vectors of lanes: sums[V][16][16] of 4-byte values.
// Every step is 4 bytes of each row. `before(step)` is called before each group of 16 steps.
template <class Tiles, int V, class Before>
inline void tile_products(const Lanes& lanes, std::size_t steps, const std::uint8_t* rows, std::size_t stride_bytes,
                          void* sums, const Before& before) {
  Tiles::template clear<kSums0>();
  if constexpr (V == 2) Tiles::template clear<kSums1>();
  std::size_t s = 0;
  for (; s + kTileRows <= steps; s += kTileRows) {
    before(s);
    add_steps<Tiles, V, kTokens, kLanes0, kLanes1>(lanes, s, rows, stride_bytes);
  }
  if (s < steps) {
    before(s);
    add_steps<Tiles, V, kRestTokens, kRestLanes0, kRestLanes1>(lanes, s, rows, stride_bytes);
  }
  Tiles::template store<kSums0>(sums, kTileBytes);
  if constexpr (V == 2) Tiles::template store<kSums1>(static_cast<std::uint8_t*>(sums) + kTileRows * kTileBytes, kTileBytes);
}

}  // namespace
}  // namespace serotine
