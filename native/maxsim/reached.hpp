// The loop of XTR's retrieval, plain code that each instruction-set file compiles with its own flags. Internal linkage:
// the linker must never merge two files' copies.
#pragma once

#include <cstddef>
#include <cstdint>

namespace serotine::maxsim {
namespace {

typedef float Similarities16 __attribute__((vector_size(64)));

// See Kernels::reached.
std::size_t reached(const float* values, const float* thresholds, std::size_t count, std::uint32_t* positions) {
  std::size_t found = 0;
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    Similarities16 value;
    Similarities16 threshold;
    __builtin_memcpy(&value, values + i, sizeof(value));
    __builtin_memcpy(&threshold, thresholds + i, sizeof(threshold));
    const auto there = value >= threshold;
    // Once the thresholds have risen, most tokens reach none of them.
    std::uint64_t any[8];
    __builtin_memcpy(any, &there, sizeof(any));
    if ((any[0] | any[1] | any[2] | any[3] | any[4] | any[5] | any[6] | any[7]) == 0) continue;
    for (std::size_t j = i; j < i + 16; ++j) {
      positions[found] = static_cast<std::uint32_t>(j);
      found += values[j] >= thresholds[j] ? 1 : 0;
    }
  }
  for (; i < count; ++i) {
    positions[found] = static_cast<std::uint32_t>(i);
    found += values[i] >= thresholds[i] ? 1 : 0;
  }
  return found;
}

}  // namespace
}  // namespace serotine::maxsim
