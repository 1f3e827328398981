// fp16 for tests.
#pragma once

#include <cstdint>

// Halves of the form m / 1024 with |m| < 1024 are exact in fp16: built by hand, so the test needs no conversion.
inline std::uint16_t to_f16(int m) {
  if (m == 0) return 0;
  const std::uint16_t sign = m < 0 ? 0x8000 : 0;
  int magnitude = m < 0 ? -m : m;
  int exponent = 15;
  while (magnitude < 1024) {
    magnitude *= 2;
    --exponent;
  }
  return static_cast<std::uint16_t>(sign | (exponent << 10) | (magnitude & 0x3ff));
}
