// Self-attention as a block of a layer: from the quantized input to what is added to the states.
#pragma once

#include "activations.hpp"

namespace serotine::encoder {
namespace {

// The queries, keys and values without rotary positions.
template <class Isa>
void attention_in(const Int8Matrix& in, std::size_t tokens, const Activations<Isa>& a) {
  split_panels<Isa>(a, in, tokens, 1, [&](std::size_t, std::size_t first, std::size_t last) {
    int8_product<Isa>(in, first, last, a.bytes, a.ranges, tokens, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      Isa::store_elements(a.attention_in + row * in.outputs + column, low, high);
    });
  });
}

// The same with queries and keys rotated; where they are normalized, their gain is applied, and the sums of squares left
// to attention: rotation is linear.
template <class Isa, bool Normalized>
void rotated_attention_in(const Shape& shape, const Layer& layer, const Rotary& rotary, std::size_t tokens,
                          const Activations<Isa>& a) {
  const Int8Matrix& in = layer.attention_in;
  const std::size_t head_dim = shape.head_dim, rotated = shape.rotated_width(), queries = shape.query_width();
  split_panels<Isa>(a, in, tokens, head_dim / kPanel, [&](std::size_t, std::size_t first, std::size_t last) {
    int8_product<Isa>(in, first, last, a.bytes, a.ranges, tokens, [&](std::size_t row, std::size_t column, Floats x, Floats y) __attribute__((always_inline)) {
      if (column < rotated) {
        const std::size_t at = column % head_dim;
        if constexpr (Normalized) {
          float* squares = a.squares + column / head_dim * tokens + row;
          *squares = Isa::sum(fma(x, x, y * y)) + (at == 0 ? 0.0f : *squares);
          const float* gain = (column < queries ? layer.query_gain : layer.key_gain).data() + at;
          x *= load(gain);
          y *= load(gain + kLanes);
        }
        const std::size_t entry = a.positions[row] * head_dim / 2 + at / 2;
        const Floats cosine = load(rotary.cosines.data() + entry), sine = load(rotary.sines.data() + entry);
        const Floats turned = x * cosine - y * sine;
        y = y * cosine + x * sine;
        x = turned;
      }
      Isa::store_elements(a.attention_in + row * in.outputs + column, x, y);
    });
  });
}

template <class Isa>
void attention_block(const Model& model, const Layer& layer, const std::uint8_t* attended, const std::int64_t* offsets,
                     std::size_t texts, const Activations<Isa>& a) {
  const Shape& shape = model.shape;
  const auto tokens = static_cast<std::size_t>(offsets[texts] - offsets[0]);
  const Rotary& rotary = layer.local ? model.local_rotary : model.rotary;
  if (rotary.cosines.empty()) {
    attention_in<Isa>(layer.attention_in, tokens, a);
  } else if (layer.query_gain.empty()) {
    rotated_attention_in<Isa, false>(shape, layer, rotary, tokens, a);
  } else {
    rotated_attention_in<Isa, true>(shape, layer, rotary, tokens, a);
  }

  const std::size_t width = shape.query_width();
  for (std::size_t i = 0; i < texts; ++i) {
    const auto first = static_cast<std::size_t>(offsets[i] - offsets[0]);
    const auto length = static_cast<std::size_t>(offsets[i + 1] - offsets[i]);
    const AttentionText<Isa> text = {a.attention_in + first * shape.attention_width(), length,
                                     attended == nullptr ? nullptr : attended + first,
                                     layer.query_gain.empty() ? nullptr : a.squares + first, tokens,
                                     layer.local ? shape.reach : length, a.sums + first * width};
    // Below some 30 microseconds' work, waiting for another thread costs more than it does.
    constexpr std::size_t kWorthSharing = std::size_t{1} << 20;
    const std::size_t workers = length * length * width < kWorthSharing ? 1 : a.workers;
    if (workers == 1) {
      a.attention.mask_keys(text);
      for (std::size_t head = 0; head < shape.key_value_heads; ++head) attention<Isa>(shape, text, head, a.attention);
    } else {
      parallel_for(shape.key_value_heads, workers, [&](std::size_t head, std::size_t worker) {
        const AttentionBuffers<Isa> own = a.attention.shifted(worker * a.attention_bytes);
        own.mask_keys(text);
        attention<Isa>(shape, text, head, own);
      });
    }
  }
  quantize_rows<Isa>(a.sums, width, tokens, a.bytes, a.ranges);

  // `sums` held the context until it was quantized.
  const Int8Matrix& out = layer.attention_out;
  split_panels<Isa>(a, out, tokens, 1, [&](std::size_t, std::size_t first, std::size_t last) {
    int8_product<Isa>(out, first, last, a.bytes, a.ranges, tokens, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      float* sum = a.sums + row * out.outputs + column;
      store(sum, low);
      store(sum + kLanes, high);
    });
  });
}

}  // namespace
}  // namespace serotine::encoder
