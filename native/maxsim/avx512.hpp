// The AVX-512 vector types, shared by the three AVX-512 files. Internal linkage throughout (see tile.hpp).
#pragma once

#include <immintrin.h>

#include "kernels.hpp"
#include "tile.hpp"

namespace serotine::maxsim {
namespace {

struct Lanes16 {
  using Reg = __m512;
  using Index = __m512i;
  using Mask = __mmask16;
  static constexpr std::size_t lanes = 16;
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm512_storeu_ps(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  // vmaxps returns its second operand when either is NaN.
  static Reg max(Reg value, Reg top) { return _mm512_max_ps(value, top); }
  static Mask greater(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm512_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void store_index(std::int32_t* p, Index i) { _mm512_storeu_si512(p, i); }
  static Index select(Mask m, Index yes, Index no) { return _mm512_mask_mov_epi32(no, m, yes); }
  static bool all_zero(Reg r) { return _mm512_cmp_ps_mask(r, zero(), _CMP_EQ_OQ) == 0xffff; }
};

struct Float16Lanes : Lanes16 {
  using Query = float;
  using Token = float;
  using Packed = __m512;
  static constexpr std::size_t group = 1;
  static Packed load_query(const float* p) { return _mm512_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm512_fmadd_ps(q, x, acc); }
};

struct Float8Lanes {
  using Reg = __m256;
  using Index = __m256i;
  using Mask = __mmask8;
  using Query = float;
  using Token = float;
  using Packed = __m256;
  static constexpr std::size_t lanes = 8;
  static constexpr std::size_t group = 1;
  static Reg zero() { return _mm256_setzero_ps(); }
  static Reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm256_storeu_ps(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg max(Reg value, Reg top) { return _mm256_max_ps(value, top); }
  static Mask greater(Reg a, Reg b) { return _mm256_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm256_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static void store_index(std::int32_t* p, Index i) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), i); }
  static Index select(Mask m, Index yes, Index no) { return _mm256_mask_mov_epi32(no, m, yes); }
  static bool all_zero(Reg r) { return _mm256_cmp_ps_mask(r, zero(), _CMP_EQ_OQ) == 0xff; }
  static Packed load_query(const float* p) { return _mm256_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm256_set1_ps(*p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm256_fmadd_ps(q, x, acc); }
};

struct Float4Lanes {
  using Reg = __m128;
  using Index = __m128i;
  using Mask = __mmask8;
  using Query = float;
  using Token = float;
  using Packed = __m128;
  static constexpr std::size_t lanes = 4;
  static constexpr std::size_t group = 1;
  static Reg zero() { return _mm_setzero_ps(); }
  static Reg load(const float* p) { return _mm_loadu_ps(p); }
  static void store(float* p, Reg r) { _mm_storeu_ps(p, r); }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm_fmadd_ps(a, b, c); }
  static Reg max(Reg value, Reg top) { return _mm_max_ps(value, top); }
  static Mask greater(Reg a, Reg b) { return _mm_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static void store_index(std::int32_t* p, Index i) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), i); }
  static Index select(Mask m, Index yes, Index no) { return _mm_mask_mov_epi32(no, m, yes); }
  static bool all_zero(Reg r) { return _mm_cmp_ps_mask(r, zero(), _CMP_EQ_OQ) == 0xf; }
  static Packed load_query(const float* p) { return _mm_load_ps(p); }
  static Packed broadcast(const float* p) { return _mm_set1_ps(*p); }
  static Reg madd(Packed q, Packed x, Reg acc) { return _mm_fmadd_ps(q, x, acc); }
};

// int8 without VNNI: both sides widened to int16, vpmaddwd adds two products exactly.
struct Int16Pairs : Lanes16 {
  using Query = std::int16_t;
  using Token = std::int16_t;
  using Packed = __m512i;
  using Sum = __m512i;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::int16_t* p) { return _mm512_load_si512(p); }
  static Packed broadcast(const std::int16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return _mm512_set1_epi32(pair);
  }
  static Sum load_sum(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void dot(Sum& acc, Packed q, Packed x) { acc = _mm512_add_epi32(acc, _mm512_madd_epi16(q, x)); }
  static Reg scaled(Sum sum, float scale) { return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(scale)); }
};

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

inline void widen_f16_512(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm512_mask_storeu_ps(out + i, rest, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(rest, in + i)));
  }
}

inline __m512 bf16_to_f32(__m256i half) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

inline void widen_bf16_512(const std::uint16_t* in, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    _mm512_storeu_ps(out + i, bf16_to_f32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + i))));
  }
  if (i < count) {
    const auto rest = static_cast<__mmask16>((1u << (count - i)) - 1);
    _mm512_mask_storeu_ps(out + i, rest, bf16_to_f32(_mm256_maskz_loadu_epi16(rest, in + i)));
  }
}

}  // namespace
}  // namespace serotine::maxsim
