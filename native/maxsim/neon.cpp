// AArch64 NEON: 5 tokens x 16 query lanes, 20 of the 32 registers hold accumulators.
#include "neon.hpp"
#include "reached.hpp"

namespace serotine::maxsim {

const Kernels neon_kernels = {
    "neon",
    {{float_fold<Float4Lanes, 5, 4>, 4}, {nullptr, 0}, {nullptr, 0}},
    {nullptr, 0},
    {int8_fold<Int16Pairs, 4, 4>, int8_dots<Int16Pairs, 4, 4>, stage_int16, 4, 2, 2, 0},
    widen_f16_neon,
    widen_bf16_neon,
    reached,
};

}  // namespace serotine::maxsim
