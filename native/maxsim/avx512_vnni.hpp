// Sixteen sums of int8 products by AVX-512 VNNI. Internal linkage throughout (see tile.hpp).
#pragma once

#include "avx512.hpp"

namespace serotine::maxsim {
namespace {

// int8 with VNNI: documents unsigned (offset 128), queries signed, four products a step.
struct Int8Quads : Lanes16 {
  using Query = std::int8_t;
  using Token = std::uint8_t;
  using Packed = __m512i;
  using Sum = __m512i;
  static constexpr std::size_t group = 4;
  static Packed load_query(const std::int8_t* p) { return _mm512_load_si512(p); }
  static Packed broadcast(const std::uint8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm512_set1_epi32(quad);
  }
  static Sum load_sum(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void dot(Sum& acc, Packed q, Packed x) {
    // Inline assembly, not _mm512_dpbusd_epi32: GCC 12 spills every accumulator around the intrinsic.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(q));
  }
  static Reg scaled(Sum sum, float scale) { return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale)); }
};

}  // namespace
}  // namespace serotine::maxsim
