// The 16-lane AVX-512 vector type, shared by the AVX-512 and AMX files. Internal linkage throughout (see tile.hpp).
#pragma once

#include "avx2.hpp"

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
  static Reg plus(Reg value, float offset) { return _mm512_add_ps(value, _mm512_set1_ps(offset)); }
  // vmaxps returns its second operand when either is NaN.
  static Reg max(Reg value, Reg top) { return _mm512_max_ps(value, top); }
  static Mask greater(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
  static Index set_index(std::int32_t i) { return _mm512_set1_epi32(i); }
  static Index load_index(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static void store_index(std::int32_t* p, Index i) { _mm512_storeu_si512(p, i); }
  static Index select(Mask m, Index yes, Index no) { return _mm512_mask_mov_epi32(no, m, yes); }
  static bool all_zero(Reg r) { return _mm512_cmp_ps_mask(r, zero(), _CMP_EQ_OQ) == 0xffff; }
};

}  // namespace
}  // namespace serotine::maxsim
