// The AMX loops over emulated tile registers, which check every shape and bound as the processor would.
#include "../../native/maxsim/amx.hpp"

#include "emulated_tiles.hpp"

#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace {

using namespace serotine::maxsim;
using serotine::test::require;
using Tiles = serotine::test::EmulatedTiles<std::int8_t>;

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
        amx_walk<Tiles>(
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
