// Prefetching more than one cache line.
#pragma once

#include <cstddef>

namespace serotine {

// Prefetches `bytes` bytes at `from`, which may point anywhere.
inline void prefetch(const void* from, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes; at += 64) __builtin_prefetch(static_cast<const char*>(from) + at);
}

}  // namespace serotine
