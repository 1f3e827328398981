// Whether values are finite.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace serotine::maxsim {

// By the exponent's bits, without branches, so that the compiler vectorizes it: it runs once per block of documents.
inline bool all_finite(const float* values, std::size_t count) {
  std::uint32_t bad = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, 4);
    bad |= static_cast<std::uint32_t>((bits & 0x7f800000u) == 0x7f800000u);
  }
  return bad == 0;
}

}  // namespace serotine::maxsim
