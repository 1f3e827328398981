// What this processor has. The names are those of the instruction-set files.
#pragma once

#include "platform.hpp"

#if defined(SEROTINE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace serotine {

#if defined(SEROTINE_X86)
inline bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
inline bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
inline bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
#if defined(SEROTINE_EVEX)
inline bool has_avx_vnni() { return has_avx512_vnni(); }
#else
inline bool has_avx_vnni() { return has_avx2() && __builtin_cpu_supports("avxvnni"); }
#endif
inline bool has_avx512_bf16() { return has_avx512_vnni() && __builtin_cpu_supports("avx512bf16"); }
#endif
#if defined(SEROTINE_AMX)
// Whether the processor has AMX and the kernel lets this process use its registers.
inline bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!has_avx512_bf16() || __get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  if ((d & (kBf16 | kTile | kInt8)) != (kBf16 | kTile | kInt8)) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif
#if defined(SEROTINE_ARM)
inline bool has_neon_dotprod() { return has_asimd_dotprod(); }
inline bool has_neon_i8mm() { return has_neon_dotprod() && has_asimd_i8mm(); }
#endif

}  // namespace serotine
