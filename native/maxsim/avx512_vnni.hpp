// Sixteen sums of int8 products by AVX-512 VNNI. Internal linkage throughout (see tile.hpp).
#pragma once

#include "avx512.hpp"

namespace serotine::maxsim {
namespace {

// The first eight of sixteen sums. Where a processor computes 512 bits in two passes, they take one.
struct Int8QuadsHalf {
  using Packed = __m256i;
  using Sum = __m256i;
  using Reg = __m256;
  static constexpr std::size_t lanes = 8;
  static Packed load_query(const std::int8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Sum load_sum(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void dot(Sum& acc, Packed q, Packed x) { __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(q)); }
  static Reg scaled(Sum sum, float scale) { return _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(scale)); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm256_storeu_ps(p, r); }
  static Reg plus(Reg value, float offset) { return _mm256_add_ps(value, _mm256_set1_ps(offset)); }
  static Reg max(Reg value, Reg top) { return _mm256_max_ps(value, top); }
};

// int8 with VNNI: documents unsigned (offset 128), queries signed, four products a step.
struct Int8Quads : Lanes16 {
  using Half = Int8QuadsHalf;
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
  static Half::Packed first_half(Packed x) { return _mm512_castsi512_si256(x); }
  static Sum load_sum(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void dot(Sum& acc, Packed q, Packed x) {
    // Inline assembly, not _mm512_dpbusd_epi32: GCC 12 spills every accumulator around the intrinsic.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(q));
  }
  static Reg scaled(Sum sum, float scale) { return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale)); }
};

}  // namespace
}  // namespace serotine::maxsim
