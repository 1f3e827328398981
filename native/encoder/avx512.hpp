// What the AVX-512 files share: one register of sixteen lanes, and 8-bit dot products by VNNI.
#pragma once

#include <immintrin.h>

#include "pass.hpp"
#include "plain.hpp"

namespace serotine::encoder {
namespace {

struct Avx512 : FloatElements {
  static constexpr int kRows = 12;
  static constexpr int kFloatRows = 12, kAbreast = 4;
  using Half = std::uint16_t;
  using Sum = __m512i;
  using Weights = __m512i;
  using Quad = __m512i;

  static SEROTINE_INLINE Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
  static SEROTINE_INLINE Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
  template <class Isa>
  static SEROTINE_INLINE Floats between(Floats x, float bound) {
    return _mm512_range_ps(x, all(bound), 0b0010);  // the smaller magnitude, with the sign of x
  }
  static SEROTINE_INLINE float sum(Floats v) { return _mm512_reduce_add_ps(v); }
  static SEROTINE_INLINE float largest(Floats v) { return _mm512_reduce_max_ps(v); }
  static SEROTINE_INLINE Floats from_levels(const std::int8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static SEROTINE_INLINE Floats from_ints_at(const std::int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  static SEROTINE_INLINE void store_bytes(std::uint8_t* p, Floats v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  static SEROTINE_INLINE void store_half(std::uint16_t* p, Floats v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static SEROTINE_INLINE Floats load_half(const std::uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }

  static SEROTINE_INLINE Sum start(const std::int32_t* sums) {
    return _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), _mm512_loadu_si512(sums)), 7);
  }
  static SEROTINE_INLINE Weights load_weights(const std::int8_t* p) { return _mm512_load_si512(p); }
  static SEROTINE_INLINE Quad load_quad(const std::uint8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm512_set1_epi32(quad);
  }
  static SEROTINE_INLINE void dot(Sum& acc, Weights w, Quad x) {
    // Inline assembly, not _mm512_dpbusd_epi32: GCC 12 spills every accumulator around the intrinsic.
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
  }
  static SEROTINE_INLINE Floats floats(Sum sum) { return _mm512_cvtepi32_ps(sum); }
};

}  // namespace
}  // namespace serotine::encoder
