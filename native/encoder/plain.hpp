// What every instruction set starts from: attention in float32.
#pragma once

#include "lanes.hpp"

namespace serotine::encoder {
namespace {

// Queries, keys and values as float32.
struct FloatElements : GenericLanes {
  using Element = float;
  using Half = float;
  static constexpr int kSums = 2, kLeastByte = 0, kAbreast = 1;
  static constexpr bool kMultipliesMatrices = false;
  struct Product {};

  template <class T>
  static constexpr std::size_t group() {
    return 1;
  }
  static SEROTINE_INLINE Floats load_packed(const float* p) { return load(p); }
  static SEROTINE_INLINE Floats load_group(const float* p) { return all(*p); }
  static SEROTINE_INLINE void madd(Floats& acc, Floats w, Floats x) { acc = encoder::fma(w, x, acc); }
  static SEROTINE_INLINE void store_elements(float* p, Floats low, Floats high) {
    store(p, low);
    store(p + kLanes, high);
  }
  static SEROTINE_INLINE void store_half(float* p, Floats v) { store(p, v); }
  static SEROTINE_INLINE Floats load_half(const float* p) { return load(p); }

  // Blocks of 32 keys: float [(key / 32) * 32 * head + i * 32 + key % 32].
  static void pack_keys(const float* keys, std::size_t stride, std::size_t tokens, std::size_t padded, std::size_t head,
                        float* packed) {
    for (std::size_t block = 0; block < padded; block += 32) {
      for (std::size_t key = 0; key < 32; ++key) {
        float* column = packed + block * head + key;
        for (std::size_t i = 0; i < head; ++i) {
          column[i * 32] = block + key < tokens ? keys[(block + key) * stride + i] : 0.0f;
        }
      }
    }
  }
  // 32 columns of all values: float [token * 32 + column].
  static void pack_values(const float* values, std::size_t stride, std::size_t tokens, std::size_t padded,
                          float* packed) {
    for (std::size_t token = 0; token < padded; ++token) {
      store(packed + token * 32, token < tokens ? load(values + token * stride) : Floats{});
      store(packed + token * 32 + kLanes, token < tokens ? load(values + token * stride + kLanes) : Floats{});
    }
  }
};

}  // namespace
}  // namespace serotine::encoder
