// AVX-VNNI: 8-bit dot products in registers of eight lanes, on processors without AVX-512.
#include "avx2.hpp"

// Processors without AVX-512 have the instruction in the VEX encoding only. Tests build it in the other one, to run where
// there is AVX-512 VNNI.
#if defined(SEROTINE_EVEX)
#define SEROTINE_VEX ""
#else
#define SEROTINE_VEX "%{vex%} "
#endif

namespace serotine::encoder {
namespace {

struct AvxVnni : Avx2Lanes {
  static constexpr int kRows = 6, kSums = 1;
  struct Sum {
    __m256i low, high;
  };
  struct Weights {
    __m256i low, high;
  };
  using Quad = __m256i;
  static SEROTINE_INLINE Sum start(const std::int32_t* sums) {
    return {_mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), at(sums)), 7),
            _mm256_slli_epi32(_mm256_sub_epi32(_mm256_setzero_si256(), at(sums + 8)), 7)};
  }
  static SEROTINE_INLINE Weights load_weights(const std::int8_t* p) { return {at(p), at(p + 32)}; }
  static SEROTINE_INLINE Quad load_quad(const std::uint8_t* p) {
    std::int32_t quad;
    __builtin_memcpy(&quad, p, 4);
    return _mm256_set1_epi32(quad);
  }
  static SEROTINE_INLINE __m256i dot(__m256i acc, __m256i w, __m256i x) {
    // Inline assembly for the reason given in avx512.hpp.
    __asm__(SEROTINE_VEX "vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w));
    return acc;
  }
  static SEROTINE_INLINE void dot(Sum& acc, Weights w, Quad x) {
    acc.low = dot(acc.low, w.low, x);
    acc.high = dot(acc.high, w.high, x);
  }
  static SEROTINE_INLINE Floats floats(Sum sum) { return columns(sum.low, sum.high); }
};

}  // namespace

const Kernels avx_vnni_kernels = {"avx_vnni", forward<AvxVnni>};

}  // namespace serotine::encoder
