// What the operating system is asked for, one answer per system. macOS and Windows are experimental.
#pragma once

#include <cstddef>

namespace serotine {

// The processors that this process may run on, or 0 where the system does not say.
std::size_t allowed_processors();

// Calls `child` in every process that is forked from this one. Windows has no fork.
void after_fork(void (*child)());

#if defined(SEROTINE_ARM)
// Whether the processor has the dot products of int8, and the matrix products of int8.
bool has_asimd_dotprod();
bool has_asimd_i8mm();
#endif

}  // namespace serotine
