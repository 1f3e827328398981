#include "dispatch.hpp"

#include <atomic>

#include "maxsim.hpp"

#if defined(SEROTINE_AMX)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif
#if defined(SEROTINE_ARM)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

namespace serotine::maxsim {
namespace {

struct Candidate {
  const Kernels* table;
  bool runs_here;
  bool by_default = true;
};

#if defined(SEROTINE_AMX)
// Whether the processor has AMX and the kernel lets this process use its registers.
bool has_amx() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  if ((d & (kBf16 | kTile | kInt8)) != (kBf16 | kTile | kInt8)) return false;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#endif

// A base table with the additions of an extension.
[[maybe_unused]] Kernels extended(const Kernels& base, const char* name, const FloatFold& bf16, const Int8Fold& i8) {
  Kernels table = base;
  table.name = name;
  table.bf16 = bf16;
  table.i8 = i8;
  return table;
}

// Slowest first: the default is the last that runs here.
std::vector<Candidate> candidates() {
  std::vector<Candidate> all = {{&portable_kernels, true}};
#if defined(SEROTINE_X86)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni");
  const bool bf16 = vnni && __builtin_cpu_supports("avx512bf16");
  all.push_back({&avx2_kernels, avx2});
  all.push_back({&avx512_kernels, avx512});
  static const Kernels vnni_table = extended(avx512_kernels, "avx512_vnni", {nullptr, 0}, avx512_vnni_int8);
  static const Kernels bf16_table = extended(avx512_kernels, "avx512_bf16", avx512_bf16_fold, avx512_vnni_int8);
  all.push_back({&vnni_table, vnni});
  all.push_back({&bf16_table, bf16});
#if defined(SEROTINE_AMX)
  static const bool amx = bf16 && has_amx();
  static const Kernels amx_table = extended(avx512_kernels, "amx", amx_bf16_fold, amx_int8);
  all.push_back({&amx_table, amx, false});
#endif
#endif
#if defined(SEROTINE_ARM)
  all.push_back({&neon_kernels, true});
  static const Kernels dotprod_table = extended(neon_kernels, "neon_dotprod", {nullptr, 0}, neon_dotprod_int8);
  all.push_back({&dotprod_table, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0});
#endif
  return all;
}

const Kernels* fastest() {
  const Kernels* best = &portable_kernels;
  for (const Candidate& candidate : candidates()) {
    if (candidate.runs_here && candidate.by_default) best = candidate.table;
  }
  return best;
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> table{fastest()};
  return table;
}

}  // namespace

const Kernels& kernels() { return *chosen().load(std::memory_order_relaxed); }

Level level() {
#if defined(SEROTINE_X86)
  const Kernels& table = kernels();
  if (table.f32[0].fold == avx512_kernels.f32[0].fold) return Level::avx512;
  if (table.f32[0].fold == avx2_kernels.f32[0].fold) return Level::avx2;
#endif
#if defined(SEROTINE_ARM)
  if (kernels().f32[0].fold == neon_kernels.f32[0].fold) return Level::neon;
#endif
  return Level::portable;
}

std::vector<std::string> compiled() {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates()) names.emplace_back(candidate.table->name);
  return names;
}

std::vector<std::string> supported() {
  std::vector<std::string> names;
  for (const Candidate& candidate : candidates()) {
    if (candidate.runs_here) names.emplace_back(candidate.table->name);
  }
  return names;
}

std::string preferred() { return fastest()->name; }

std::string current() { return kernels().name; }

bool use(const std::string& name) {
  for (const Candidate& candidate : candidates()) {
    if (candidate.runs_here && name == candidate.table->name) {
      chosen().store(candidate.table, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

}  // namespace serotine::maxsim
