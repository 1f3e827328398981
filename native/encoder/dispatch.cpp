#include <algorithm>

#include "../common/dispatch.hpp"
#include "../common/processor.hpp"
#include "../common/thread_pool.hpp"
#include "kernels.hpp"

namespace serotine::encoder {
namespace {

// Slowest first: the default is the last that runs here.
std::vector<Candidate<Kernels>> candidates() {
  std::vector<Candidate<Kernels>> all = {{&portable_kernels, true}};
#if defined(SEROTINE_X86)
  all.push_back({&avx2_kernels, has_avx2()});
  all.push_back({&avx_vnni_kernels, has_avx_vnni()});
  all.push_back({&avx512_vnni_kernels, has_avx512_vnni()});
  all.push_back({&avx512_bf16_kernels, has_avx512_bf16()});
#endif
#if defined(SEROTINE_AMX)
  all.push_back({&amx_kernels, has_amx(), false});
#endif
#if defined(SEROTINE_ARM)
  all.push_back({&neon_dotprod_kernels, has_neon_dotprod()});
  all.push_back({&neon_i8mm_kernels, has_neon_i8mm()});
#endif
  return all;
}

Dispatch<Kernels>& dispatch() {
  // Never destroyed: threads may compute until the process ends.
  static Dispatch<Kernels>& instance = *new Dispatch<Kernels>(candidates());
  return instance;
}

}  // namespace

std::vector<std::string> compiled() { return dispatch().compiled(); }

std::vector<std::string> supported() { return dispatch().supported(); }

std::string current() { return dispatch().kernels().name; }

bool use(const std::string& name) { return dispatch().use(name); }

void encode(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
            std::size_t texts, float* out, std::size_t threads) {
  std::vector<std::size_t> groups = {0};
  for (std::size_t i = 1; i < texts; ++i) {
    if (offsets[i + 1] - offsets[groups.back()] > static_cast<std::int64_t>(kGroupTokens)) groups.push_back(i);
  }
  groups.push_back(texts);
  const Kernels& kernels = dispatch().kernels();
  const std::size_t count = groups.size() - 1;
  // Each worker has memory of its own: no more of them than there are threads.
  const std::size_t workers = threads == 0 ? num_threads() : std::min(threads, num_threads());
  // One group is encoded by all threads together, several by one thread each.
  parallel_for(count, std::min(workers, count), [&](std::size_t group, std::size_t) {
    // Kept from call to call: fresh memory would cost a short query a third of its time.
    static thread_local Workspace workspace;
    const std::size_t first = groups[group];
    const std::int64_t row = offsets[first] - offsets[0];
    kernels.forward(model, ids + row, attended == nullptr ? nullptr : attended + row, offsets + first,
                    groups[group + 1] - first, out + static_cast<std::size_t>(row) * model.dim(), workspace,
                    count == 1 ? workers : 1);
  });
}

}  // namespace serotine::encoder
