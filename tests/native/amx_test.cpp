// The AMX loops over emulated tile registers, which check every shape and bound as the processor would.
#include "../../native/maxsim/amx.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

namespace {

using namespace serotine::maxsim;

void require(bool condition, const char* message) {
  if (!condition) {
    std::printf("FAILED: %s\n0 passed, 1 failed\n", message);
    std::exit(1);
  }
}

// What the processor does with int8 tiles (TDPBSSD), with its checks: a mismatch of shapes faults.
struct EmulatedTiles {
  static inline TileShapes shapes{1, 1};
  static inline bool shaped = false;
  static inline unsigned char data[8][16][64];

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
            sum += static_cast<std::int8_t>(data[Tokens][m][4 * k + i]) *
                   static_cast<std::int8_t>(data[Lanes][k][4 * n + i]);
          }
          std::memcpy(data[Sums][m] + 4 * n, &sum, 4);
        }
      }
    }
  }
};

}  // namespace

int main() {
  std::mt19937 rng(2);
  std::uniform_int_distribution<int> byte(-128, 127);
  int passed = 0;
  for (const std::size_t steps : {1, 3, 8, 15, 16, 17, 24, 32, 33}) {
    for (const std::size_t vectors : {1, 2, 3}) {
      for (const std::size_t count : {1, 2, 15, 16, 17, 31, 40}) {
        std::vector<std::uint8_t> query(vectors * steps * 64), tokens(count * steps * 4);
        for (auto& value : query) value = static_cast<std::uint8_t>(byte(rng));
        for (auto& value : tokens) value = static_cast<std::uint8_t>(byte(rng));
        std::vector<int> visits(vectors * count, 0);
        amx_walk<EmulatedTiles>(
            query.data(), vectors, steps, tokens.data(), steps * 4, count,
            [&](std::size_t v, const std::uint8_t* sums, std::size_t now, std::size_t done) {
              for (std::size_t t = 0; t < now; ++t) {
                ++visits[v * count + done + t];
                for (std::size_t lane = 0; lane < 16; ++lane) {
                  std::int32_t expected = 0;
                  for (std::size_t d = 0; d < steps * 4; ++d) {
                    const auto q = static_cast<std::int8_t>(query[((v * steps + d / 4) * 16 + lane) * 4 + d % 4]);
                    expected += q * static_cast<std::int8_t>(tokens[(done + t) * steps * 4 + d]);
                  }
                  std::int32_t sum;
                  std::memcpy(&sum, sums + t * 64 + lane * 4, 4);
                  require(sum == expected, "a dot product differs");
                }
              }
            });
        for (const int times : visits) require(times == 1, "a token was folded twice, or never");
        ++passed;
      }
    }
  }
  std::printf("%d passed, 0 failed\n", passed);
  return 0;
}
