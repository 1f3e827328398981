// AVX-512 with VNNI: as avx512.cpp, with int8 dot products four at a time.
#include "avx512.hpp"

namespace serotine::maxsim {

const Kernels avx512_vnni_kernels = {
    "avx512_vnni",
    {{float_fold<Float16Lanes, 12, 2>, 16}, {float_fold<Float8Lanes, 12, 1>, 8}, {float_fold<Float4Lanes, 12, 1>, 4}},
    {nullptr, 0},
    {int8_fold<Int8Quads, 12, 2>, stage_bytes<128>, 16, 4, 1, 128},
    widen_f16_512,
    widen_bf16_512,
};

}  // namespace serotine::maxsim
