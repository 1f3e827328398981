// One instruction set's forward pass.
#pragma once

#include <cstddef>
#include <cstdint>

#include "encoder.hpp"

namespace serotine::encoder {

// Memory of one thread, reused from group to group.
struct Workspace {
  Aligned<unsigned char> memory;
  template <class T>
  static std::size_t bytes(std::size_t count) {
    return (count * sizeof(T) + 63) / 64 * 64;
  }
};

struct Kernels {
  const char* name;
  // Encodes the texts [0, texts) of one group on `workers` threads; offsets need not start at 0.
  void (*forward)(const Model& model, const std::int32_t* ids, const std::uint8_t* attended, const std::int64_t* offsets,
                  std::size_t texts, float* out, Workspace& workspace, std::size_t workers);
};

extern const Kernels portable_kernels;
#if defined(SEROTINE_X86)
extern const Kernels avx2_kernels;
extern const Kernels avx_vnni_kernels;
extern const Kernels avx512_vnni_kernels;
extern const Kernels avx512_bf16_kernels;
#endif
#if defined(SEROTINE_AMX)
extern const Kernels amx_kernels;
#endif
#if defined(SEROTINE_ARM)
extern const Kernels neon_dotprod_kernels;
extern const Kernels neon_i8mm_kernels;
#endif

}  // namespace serotine::encoder
