#include "dispatch.hpp"

#include "../common/dispatch.hpp"
#include "../common/processor.hpp"
#include "maxsim.hpp"

namespace serotine::maxsim {
namespace {

// A base table with the additions of an extension.
[[maybe_unused]] Kernels extended(const Kernels& base, const char* name, const FloatFold& bf16, const Int8Fold& i8) {
  Kernels table = base;
  table.name = name;
  table.bf16 = bf16;
  table.i8 = i8;
  return table;
}

// Slowest first: the default is the last that runs here.
std::vector<Candidate<Kernels>> candidates() {
  std::vector<Candidate<Kernels>> all = {{&portable_kernels, true}};
#if defined(SEROTINE_X86)
  all.push_back({&avx2_kernels, has_avx2()});
  all.push_back({&avx512_kernels, has_avx512()});
  static const Kernels vnni_table = extended(avx512_kernels, "avx512_vnni", {nullptr, 0}, avx512_vnni_int8);
  static const Kernels bf16_table = extended(avx512_kernels, "avx512_bf16", avx512_bf16_fold, avx512_vnni_int8);
  all.push_back({&vnni_table, has_avx512_vnni()});
  all.push_back({&bf16_table, has_avx512_bf16()});
#if defined(SEROTINE_AMX)
  static const Kernels amx_table = extended(avx512_kernels, "amx", amx_bf16_fold, amx_int8);
  all.push_back({&amx_table, has_amx(), false});
#endif
#endif
#if defined(SEROTINE_ARM)
  all.push_back({&neon_kernels, true});
  static const Kernels dotprod_table = extended(neon_kernels, "neon_dotprod", {nullptr, 0}, neon_dotprod_int8);
  all.push_back({&dotprod_table, has_neon_dotprod()});
#endif
  return all;
}

Dispatch<Kernels>& dispatch() {
  // Never destroyed: threads may compute until the process ends.
  static Dispatch<Kernels>& instance = *new Dispatch<Kernels>(candidates());
  return instance;
}

}  // namespace

const Kernels& kernels() { return dispatch().kernels(); }

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

std::vector<std::string> compiled() { return dispatch().compiled(); }

std::vector<std::string> supported() { return dispatch().supported(); }

std::string preferred() { return dispatch().preferred(); }

std::string current() { return kernels().name; }

bool use(const std::string& name) { return dispatch().use(name); }

}  // namespace serotine::maxsim
