// The products in AMX's tile registers, over a tile policy (see ../common/tiles.hpp): 16 rows with 32 columns at a time. All else
// as with AVX-512 BF16, bit by bit.
#pragma once

#include "../common/prefetch.hpp"
#include "../common/tiles.hpp"
#include "avx512_bf16.hpp"

namespace serotine::encoder {
namespace {

template <class Tiles>
struct Amx : Avx512Bf16 {
  static constexpr int kRows = static_cast<int>(kTileRows);
  static constexpr bool kMultipliesMatrices = true;
  // Registers are shaped for a number of rows: most products need one or two.
  using Product = ShapedTiles<Tiles>;

  template <int T>
  static SEROTINE_INLINE void tile_sums(Product& product, TileInput in, Floats (&tile)[T][2]) {
    alignas(64) std::int32_t sums[2][kTileRows][kLanes];
    const std::size_t steps = in.inputs / 4;
    product.shape(T, steps);
    tile_products<Tiles, 2>(serotine::Lanes{in.weights, 2 * kTileBytes, kTileBytes}, steps, in.rows, in.inputs, sums,
                            [&](std::size_t step) { prefetch(in.ahead + step * in.ahead_step, kTileRows * in.ahead_step); });
    // Less 128 times the levels, which is the contract's sum.
    const __m512i low = start(in.sums), high = start(in.sums + kLanes);
    for (int t = 0; t < T; ++t) {
      tile[t][0] = floats(_mm512_add_epi32(_mm512_load_si512(sums[0][t]), low));
      tile[t][1] = floats(_mm512_add_epi32(_mm512_load_si512(sums[1][t]), high));
    }
  }
};

}  // namespace
}  // namespace serotine::encoder
