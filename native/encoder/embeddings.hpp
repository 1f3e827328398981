// The states before the first layer: the words' vectors, with learned positions where the model has them.
#pragma once

#include "rows.hpp"

namespace serotine::encoder {
namespace {

SEROTINE_INLINE float half_to_float(std::uint16_t half) {
  // The exponent's bias by a product, which also normalizes denormals.
  const std::uint32_t magnitude = static_cast<std::uint32_t>(half & 0x7fff) << 13;
  float value;
  __builtin_memcpy(&value, &magnitude, sizeof value);
  value *= 0x1p112f;
  return half & 0x8000 ? -value : value;
}

// Writes a word's vector of 4-bit blocks.
inline void expand_nibbles(const Words& words, std::size_t word, std::size_t hidden, float* out) {
  const std::uint8_t* nibbles = words.nibbles + word * hidden / 2;
  const std::uint16_t* scales = words.block_scales + word * hidden / 32;
  for (std::size_t i = 0; i < hidden; i += 2) {
    const float scale = half_to_float(scales[i / 32]);
    const int low = nibbles[i / 2] & 15, high = nibbles[i / 2] >> 4;
    out[i] = static_cast<float>(low < 8 ? low : low - 16) * scale;
    out[i + 1] = static_cast<float>(high < 8 ? high : high - 16) * scale;
  }
}

// Writes the states of one text.
template <class Isa>
void embed(const Model& model, const std::int32_t* ids, std::size_t tokens, float* states) {
  const std::size_t hidden = model.shape.hidden;
  for (std::size_t t = 0; t < tokens; ++t) {
    const auto word = static_cast<std::size_t>(ids[t]);
    float* state = states + t * hidden;
    if (model.words.nibbles != nullptr) {
      expand_nibbles(model.words, word, hidden, state);
    } else {
      const std::int8_t* levels = model.words.levels + word * hidden;
      const Floats scale = all(model.words.scales[word]);
      for (std::size_t i = 0; i < hidden; i += kLanes) store(state + i, Isa::from_levels(levels + i) * scale);
    }
    if (!model.position_vectors.empty()) {
      const float* position = model.position_vectors.data() + t * hidden;
      for (std::size_t i = 0; i < hidden; i += kLanes) store(state + i, load(state + i) + load(position + i));
    }
  }
  if (!model.embedding_norm.gain.empty()) normalize_all<Isa>(model.shape, model.embedding_norm, tokens, states);
}

}  // namespace
}  // namespace serotine::encoder
