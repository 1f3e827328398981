// AVX-512 BF16: bf16 x bf16 dot products two at a time.
//
// vdpbf16ps accumulates in fp32 with round-to-nearest-even and flushes subnormals to zero; the products of two
// bf16 values are exact, so the error stays that of fp32 accumulation.
#include "avx512.hpp"

namespace serotine::maxsim {
namespace {

struct Bfloat16Pairs : Lanes16 {
  using Query = std::uint16_t;
  using Token = std::uint16_t;
  using Packed = __m512i;
  static constexpr std::size_t group = 2;
  static Packed load_query(const std::uint16_t* p) { return _mm512_load_si512(p); }
  static Packed broadcast(const std::uint16_t* p) {
    std::int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return _mm512_set1_epi32(pair);
  }
  static Reg madd(Packed q, Packed x, Reg acc) {
    // Inline assembly for the same reason as vpdpbusd in avx512_vnni.cpp.
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(q), "v"(x));
    return acc;
  }
};

}  // namespace

const FloatFold avx512_bf16_fold = {float_fold<Bfloat16Pairs, 12, 2>, 16};

}  // namespace serotine::maxsim
