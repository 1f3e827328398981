// AMX (TILE, INT8, BF16).
//
// It has not been run on a processor with AMX yet: its loops are tested with emulated tiles (tests/native). It is therefore
// never the default; use("amx") selects it where the processor has it.
#include "amx.hpp"

#include "../common/hardware_tiles.hpp"

namespace serotine::encoder {
namespace {

// Unsigned activations with signed levels.
struct ByteTiles : HardwareTiles {
  template <int Sums, int Rows, int Levels>
  static void multiply() {
    __asm__ volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Rows), "i"(Levels));
  }
};

}  // namespace

const Kernels amx_kernels = {"amx", forward<Amx<ByteTiles>>};

}  // namespace serotine::encoder
