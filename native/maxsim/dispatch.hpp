// Which instruction set is in use.
#pragma once

#include "kernels.hpp"

namespace serotine::maxsim {

// The table in use: the fastest this processor runs, unless use() chose another.
const Kernels& kernels();

// What the other rooms of the core compile their plain loops for; the extensions of a set share its level.
enum class Level { portable, neon, avx2, avx512 };
Level level();

}  // namespace serotine::maxsim
