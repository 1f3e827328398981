// The tile registers of processors with AMX (see tiles.hpp).
#pragma once

#include <immintrin.h>

#include "tiles.hpp"

namespace serotine {
namespace {

// Assembly, not the intrinsics: GCC's are macros that paste the register's number and cannot take a template argument.
struct HardwareTiles {
  static void shape(const TileShapes& shapes) { _tile_loadconfig(&shapes); }
  static void release() { _tile_release(); }
  template <int Tile>
  static void clear() {
    __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
  }
  template <int Tile>
  static void load(const void* from, std::size_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile>
  static void store(void* to, std::size_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(Tile) : "memory");
  }
};

}  // namespace
}  // namespace serotine
