// AVX-512 with VNNI and BF16: attention in bfloat16, two products a step.
#pragma once

#include "avx512.hpp"

namespace serotine::encoder {
namespace {

// 16 keys of 32 elements, as pairs: 16 x 16 pairs, transposed.
SEROTINE_INLINE void transpose_pairs(const std::uint16_t* keys, std::size_t stride, std::size_t count,
                                     std::uint16_t* packed) {
  __m512i r[16], t[16];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < 16; ++i) r[i] = i < count ? _mm512_loadu_si512(keys + i * stride) : _mm512_setzero_si512();
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm512_store_si512(packed + i * 64, _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88));
    _mm512_store_si512(packed + (i + 8) * 64, _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd));
    _mm512_store_si512(packed + (i + 4) * 64, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88));
    _mm512_store_si512(packed + (i + 12) * 64, _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd));
  }
}

struct Avx512Bf16 : Avx512 {
  using Element = std::uint16_t;

  template <class T>
  static constexpr std::size_t group() {
    return sizeof(T) == 2 ? 2 : 1;
  }
  using Avx512::load_group;
  using Avx512::load_packed;
  using Avx512::madd;
  static SEROTINE_INLINE __m512i load_packed(const std::uint16_t* p) { return _mm512_load_si512(p); }
  static SEROTINE_INLINE __m512i load_group(const std::uint16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return _mm512_set1_epi32(pair);
  }
  static SEROTINE_INLINE void madd(Floats& acc, __m512i w, __m512i x) {
    // As in dot().
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
  }
  static SEROTINE_INLINE void store_elements(std::uint16_t* p, Floats low, Floats high) {
    const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
    __builtin_memcpy(p, &both, sizeof both);
  }
  // Blocks of 32 keys: pairs [(key / 32) * 32 * head + (i / 2) * 64 + (key % 32) * 2 + i % 2].
  static void pack_keys(const std::uint16_t* keys, std::size_t stride, std::size_t tokens, std::size_t padded,
                        std::size_t head, std::uint16_t* packed) {
    for (std::size_t block = 0; block < padded; block += 16) {
      const std::size_t left = block < tokens ? tokens - block : 0, count = left < 16 ? left : 16;
      std::uint16_t* out = packed + block / 32 * 32 * head + block % 32 * 2;
      for (std::size_t i = 0; i < head; i += 32) transpose_pairs(keys + block * stride + i, stride, count, out + i / 2 * 64);
    }
  }
  // 32 columns of all values: pairs of tokens [(token / 2) * 64 + column * 2 + token % 2].
  static void pack_values(const std::uint16_t* values, std::size_t stride, std::size_t tokens, std::size_t padded,
                          std::uint16_t* packed) {
    alignas(64) static constexpr std::uint16_t kLow[32] = {0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
                                                           8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i low = _mm512_load_si512(kLow), high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    for (std::size_t token = 0; token < padded; token += 2) {
      const __m512i a = token < tokens ? _mm512_loadu_si512(values + token * stride) : _mm512_setzero_si512();
      const __m512i b = token + 1 < tokens ? _mm512_loadu_si512(values + (token + 1) * stride) : _mm512_setzero_si512();
      _mm512_store_si512(packed + token * 32, _mm512_permutex2var_epi16(a, low, b));
      _mm512_store_si512(packed + token * 32 + 32, _mm512_permutex2var_epi16(a, high, b));
    }
  }
};

}  // namespace
}  // namespace serotine::encoder
