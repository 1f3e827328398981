// The AMX folds, written over a tile policy so that their logic can be tested where no processor has AMX: `Tiles` is
// the hardware in amx.cpp and a plain loop in tests/native/amx_test.cpp. Internal linkage throughout (see tile.hpp).
//
// A tile register holds 16 rows of 64 bytes. Here a row of A is 64 bytes of one document token, a row of B one step
// of the prepared query (16 lanes x 4 bytes), so C[token][lane] gathers 16 tokens x 16 query tokens at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::maxsim {
namespace {

constexpr std::size_t kTileRows = 16;
constexpr std::size_t kTileBytes = 64;
// The numbers of the tile registers. A last, shorter group of steps needs registers of another shape.
constexpr int kSums0 = 0, kSums1 = 1, kTokens = 2, kLanes0 = 3, kLanes1 = 4, kRestTokens = 5, kRestLanes0 = 6,
              kRestLanes1 = 7;

// Shapes of the eight registers for `rows` tokens and a rest of `rest` steps, in the processor's own format.
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

// Dot products of `tokens` (<= 16) document tokens with one or two query vectors of 16 lanes: sums[V][16][16] of
// 4-byte values. Every step is 4 bytes of each token.
template <class Tiles, int V>
inline void amx_products(const std::uint8_t* query, std::size_t vector_bytes, std::size_t steps,
                         const std::uint8_t* tokens, std::size_t stride_bytes, void* sums) {
  Tiles::template clear<kSums0>();
  if constexpr (V == 2) Tiles::template clear<kSums1>();
  std::size_t s = 0;
  for (; s + kTileRows <= steps; s += kTileRows) {
    Tiles::template load<kTokens>(tokens + s * 4, stride_bytes);
    Tiles::template load<kLanes0>(query + s * kTileBytes, kTileBytes);
    Tiles::template multiply<kSums0, kTokens, kLanes0>();
    if constexpr (V == 2) {
      Tiles::template load<kLanes1>(query + vector_bytes + s * kTileBytes, kTileBytes);
      Tiles::template multiply<kSums1, kTokens, kLanes1>();
    }
  }
  if (s < steps) {
    Tiles::template load<kRestTokens>(tokens + s * 4, stride_bytes);
    Tiles::template load<kRestLanes0>(query + s * kTileBytes, kTileBytes);
    Tiles::template multiply<kSums0, kRestTokens, kRestLanes0>();
    if constexpr (V == 2) {
      Tiles::template load<kRestLanes1>(query + vector_bytes + s * kTileBytes, kTileBytes);
      Tiles::template multiply<kSums1, kRestTokens, kRestLanes1>();
    }
  }
  Tiles::template store<kSums0>(sums, kTileBytes);
  if constexpr (V == 2) Tiles::template store<kSums1>(static_cast<std::uint8_t*>(sums) + 1024, kTileBytes);
}

// Walks tokens by sixteen and vectors by two; fold(vector, sums of that vector, tokens in it, first token).
template <class Tiles, class Fold>
inline void amx_walk(const std::uint8_t* query, std::size_t vectors, std::size_t steps, const std::uint8_t* tokens,
                     std::size_t stride_bytes, std::size_t count, const Fold& fold) {
  alignas(64) std::uint8_t sums[2048];
  const std::size_t vector_bytes = steps * kTileBytes;
  std::size_t shaped = 0;
  for (std::size_t done = 0; done < count; done += kTileRows) {
    const std::size_t now = count - done < kTileRows ? count - done : kTileRows;
    if (now != shaped) {
      Tiles::shape(TileShapes(now, steps % kTileRows));
      shaped = now;
    }
    const std::uint8_t* at = tokens + done * stride_bytes;
    std::size_t v = 0;
    for (; v + 2 <= vectors; v += 2) {
      amx_products<Tiles, 2>(query + v * vector_bytes, vector_bytes, steps, at, stride_bytes, sums);
      fold(v, sums, now, done);
      fold(v + 1, sums + 1024, now, done);
    }
    if (v < vectors) {
      amx_products<Tiles, 1>(query + v * vector_bytes, vector_bytes, steps, at, stride_bytes, sums);
      fold(v, sums, now, done);
    }
  }
  if (shaped != 0) Tiles::release();
}

}  // namespace
}  // namespace serotine::maxsim
