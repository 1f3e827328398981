// AVX-512 (F, BW, DQ, VL): 12 tokens x 32 query lanes, 24 of the 32 registers hold accumulators.
#include "avx512.hpp"

namespace serotine::maxsim {

const Kernels avx512_kernels = {
    "avx512",
    {{float_fold<Float16Lanes, 12, 2>, 16}, {float_fold<Float8Lanes, 12, 1>, 8}, {float_fold<Float4Lanes, 12, 1>, 4}},
    {nullptr, 0},
    {int8_fold<Int16Pairs, 10, 2>, stage_int16, 16, 2, 2, 0},
    widen_f16_512,
    widen_bf16_512,
};

}  // namespace serotine::maxsim
