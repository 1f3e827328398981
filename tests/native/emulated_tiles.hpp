// Tile registers in plain C++, each thread's own.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../native/common/tiles.hpp"

namespace serotine::test {

inline void require(bool condition, const char* message) {
  if (!condition) {
    std::printf("FAILED: %s\n0 passed, 1 failed\n", message);
    std::exit(1);
  }
}

// What the processor does with tiles of bytes (TDPBSSD, or TDPBUSD where `Token` is unsigned), with its checks: a mismatch of shapes
// faults. `Token` is how the bytes of A count; those of B are signed.
template <class Token>
struct EmulatedTiles {
  static inline thread_local TileShapes shapes{1, 1};
  static inline thread_local bool shaped = false;
  static inline thread_local unsigned char data[8][16][64];

  static void shape(const TileShapes& new_shapes) {
    for (int t = 0; t < 8; ++t) require(new_shapes.rows[t] <= 16 && new_shapes.row_bytes[t] <= 64, "a tile is too large");
    shapes = new_shapes;
    shaped = true;
    std::memset(data, 0xAA, sizeof(data));
  }
  static void release() { shaped = false; }
  static void ready(int tile) {
    require(shaped && shapes.rows[tile] > 0 && shapes.row_bytes[tile] > 0, "a tile is used without a shape");
  }
  template <int Tile>
  static void clear() {
    ready(Tile);
    std::memset(data[Tile], 0, sizeof(data[Tile]));
  }
  template <int Tile>
  static void load(const void* from, std::size_t stride) {
    ready(Tile);
    for (int r = 0; r < shapes.rows[Tile]; ++r) {
      std::memcpy(data[Tile][r], static_cast<const unsigned char*>(from) + r * stride, shapes.row_bytes[Tile]);
    }
  }
  template <int Tile>
  static void store(void* to, std::size_t stride) {
    ready(Tile);
    for (int r = 0; r < shapes.rows[Tile]; ++r) {
      std::memcpy(static_cast<unsigned char*>(to) + r * stride, data[Tile][r], shapes.row_bytes[Tile]);
    }
  }
  template <int Sums, int Tokens, int Lanes>
  static void multiply() {
    require(shapes.rows[Sums] == shapes.rows[Tokens], "rows of sums and tokens differ");
    require(shapes.row_bytes[Sums] == shapes.row_bytes[Lanes], "columns of sums and lanes differ");
    require(shapes.row_bytes[Tokens] == 4 * shapes.rows[Lanes], "steps of tokens and lanes differ");
    for (int m = 0; m < shapes.rows[Sums]; ++m) {
      for (int k = 0; k < shapes.rows[Lanes]; ++k) {
        for (int n = 0; n < shapes.row_bytes[Sums] / 4; ++n) {
          std::int32_t sum;
          std::memcpy(&sum, data[Sums][m] + 4 * n, 4);
          for (int i = 0; i < 4; ++i) {
            sum += static_cast<Token>(data[Tokens][m][4 * k + i]) *
                   static_cast<std::int8_t>(data[Lanes][k][4 * n + i]);
          }
          std::memcpy(data[Sums][m] + 4 * n, &sum, 4);
        }
      }
    }
  }
};

}  // namespace serotine::test
