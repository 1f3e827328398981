#include "dispatch.hpp"

#include <atomic>

#include "maxsim.hpp"

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
};

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
  all.push_back({&avx512_vnni_kernels, vnni});
  all.push_back({&avx512_bf16_kernels, bf16});
#endif
#if defined(SEROTINE_ARM)
  all.push_back({&neon_kernels, true});
  all.push_back({&neon_dotprod_kernels, (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0});
#endif
  return all;
}

const Kernels* fastest() {
  const Kernels* best = &portable_kernels;
  for (const Candidate& candidate : candidates()) {
    if (candidate.runs_here) best = candidate.table;
  }
  return best;
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> table{fastest()};
  return table;
}

}  // namespace

const Kernels& kernels() { return *chosen().load(std::memory_order_relaxed); }

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
