#include <algorithm>
#include <atomic>

#include "kernels.hpp"
#include "../common/thread_pool.hpp"

#if defined(SEROTINE_ARM)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

namespace serotine::encoder {
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
  const bool vnni = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                    __builtin_cpu_supports("avx512vnni");
  all.push_back({&avx2_kernels, avx2});
  all.push_back({&avx512_vnni_kernels, vnni});
  all.push_back({&avx512_bf16_kernels, vnni && __builtin_cpu_supports("avx512bf16")});
#endif
#if defined(SEROTINE_ARM)
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

// Tokens of a group: its activations, about 9 kB a token at 384 dimensions, stay in the second-level cache.
constexpr std::int64_t kGroupTokens = 96;

}  // namespace

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

std::string current() { return chosen().load(std::memory_order_relaxed)->name; }

bool use(const std::string& name) {
  for (const Candidate& candidate : candidates()) {
    if (candidate.runs_here && name == candidate.table->name) {
      chosen().store(candidate.table, std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

void encode(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
            std::size_t texts, float* out, std::size_t threads) {
  std::vector<std::size_t> groups = {0};
  for (std::size_t i = 1; i < texts; ++i) {
    if (offsets[i + 1] - offsets[groups.back()] > kGroupTokens) groups.push_back(i);
  }
  groups.push_back(texts);
  const Kernels& kernels = *chosen().load(std::memory_order_relaxed);
  const std::size_t count = groups.size() - 1;
  const std::size_t workers = std::min(threads == 0 ? num_threads() : threads, count);
  parallel_for(count, workers, [&](std::size_t group, std::size_t) {
    // Kept from call to call: fresh memory would cost a short query a third of its time.
    static thread_local Workspace workspace;
    const std::size_t first = groups[group];
    const std::int64_t row = offsets[first] - offsets[0];
    kernels.forward(model, ids + row, attended == nullptr ? nullptr : attended + row, offsets + first,
                    groups[group + 1] - first, out + static_cast<std::size_t>(row) * model.dim(), workspace);
  });
}

}  // namespace serotine::encoder
