// The AMX folds' walk over document tokens and query vectors, over a tile policy (see ../common/tiles.hpp).
#pragma once

#include "../common/tiles.hpp"

namespace serotine::maxsim {
namespace {

// Walks tokens by sixteen and vectors by two; fold(vector, sums of that vector, tokens in it, first token).
template <class Tiles, class Fold>
inline void amx_walk(const std::uint8_t* query, std::size_t vectors, std::size_t steps, const std::uint8_t* tokens,
                     std::size_t stride_bytes, std::size_t count, const Fold& fold) {
  alignas(64) std::uint8_t sums[2 * kTileRows * kTileBytes];
  const std::size_t vector_bytes = steps * kTileBytes;
  const auto unobserved = [](std::size_t) {};
  ShapedTiles<Tiles> tiles;
  for (std::size_t done = 0; done < count; done += kTileRows) {
    const std::size_t now = count - done < kTileRows ? count - done : kTileRows;
    tiles.shape(now, steps);
    const std::uint8_t* at = tokens + done * stride_bytes;
    std::size_t v = 0;
    for (; v + 2 <= vectors; v += 2) {
      const Lanes lanes = {query + v * vector_bytes, kTileBytes, vector_bytes};
      tile_products<Tiles, 2>(lanes, steps, at, stride_bytes, sums, unobserved);
      fold(v, sums, now, done);
      fold(v + 1, sums + kTileRows * kTileBytes, now, done);
    }
    if (v < vectors) {
      const Lanes lanes = {query + v * vector_bytes, kTileBytes, vector_bytes};
      tile_products<Tiles, 1>(lanes, steps, at, stride_bytes, sums, unobserved);
      fold(v, sums, now, done);
    }
  }
}

}  // namespace
}  // namespace serotine::maxsim
