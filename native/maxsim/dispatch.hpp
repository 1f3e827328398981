// Which instruction set is in use.
#pragma once

#include "kernels.hpp"

namespace serotine::maxsim {

// The table in use: the fastest this processor runs, unless use() chose another.
const Kernels& kernels();

// The instruction sets that codec/ and search/ compile their plain loops for; extensions share the level of their base.
enum class Level { portable, neon, avx2, avx512 };
Level level();

}  // namespace serotine::maxsim
