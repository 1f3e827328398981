// Which instruction set is in use.
#pragma once

#include "kernels.hpp"

namespace serotine::maxsim {

// The table in use: the fastest this processor runs, unless use() chose another.
const Kernels& kernels();

}  // namespace serotine::maxsim
