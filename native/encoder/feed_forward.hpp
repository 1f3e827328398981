// The feed-forward network as a block of a layer: from the quantized input to what is added to the states.
#pragma once

#include "activations.hpp"

namespace serotine::encoder {
namespace {

// The inner states of the rows [first, first + count), and their largest values in as many parts as are returned.
template <class Isa, bool Tanh>
std::size_t feed_forward_in(const Int8Matrix& matrix, std::size_t first, std::size_t count, const Activations<Isa>& a) {
  return split_panels<Isa>(a, matrix, count, 1, [&](std::size_t part, std::size_t first_panel, std::size_t last_panel) {
    float* part_largest = a.largest + part * count * kLanes;
    // At least a tenth, so that the scale of a row without positive values is no denormal.
    for (std::size_t i = 0; i < count * kLanes; i += kLanes) store(part_largest + i, all(0.1f));
    int8_product<Isa>(
        matrix, first_panel, last_panel, a.bytes + first * matrix.inputs, a.ranges + first, count,
        [&](std::size_t row, std::size_t column, Floats x, Floats y) __attribute__((always_inline)) {
          x = Tanh ? gelu_tanh<Isa>(x) : gelu<Isa>(x);
          y = Tanh ? gelu_tanh<Isa>(y) : gelu<Isa>(y);
          typename Isa::Half* out = a.inner + row * matrix.outputs + column;
          Isa::store_half(out, x);
          Isa::store_half(out + kLanes, y);
          float* largest = part_largest + row * kLanes;
          store(largest, Isa::max(Isa::max(x, y), load(largest)));
        });
  });
}

// The same where half of a panel is activated and multiplied by the other half.
template <class Isa, Activation Kind>
void gated_feed_forward_in(const Int8Matrix& matrix, std::size_t first, std::size_t count, const Activations<Isa>& a) {
  split_panels<Isa>(a, matrix, count, 1, [&](std::size_t, std::size_t first_panel, std::size_t last_panel) {
    int8_product<Isa>(
        matrix, first_panel, last_panel, a.bytes + first * matrix.inputs, a.ranges + first, count,
        [&](std::size_t row, std::size_t column, Floats x, Floats y) __attribute__((always_inline)) {
          store(a.gated_inner + (row * matrix.outputs + column) / 2, activate<Isa>(Kind, x) * y);
        });
  });
}

// Quantizes the inner states.
template <class Isa>
void quantize_inner(const Shape& shape, std::size_t parts, std::size_t count, const Activations<Isa>& a) {
  if (shape.gated) {
    quantize_rows<Isa>(a.gated_inner, shape.intermediate, count, a.inner_bytes, a.inner_ranges);
    return;
  }
  for (std::size_t row = 0; row < count; ++row) {
    Floats largest = load(a.largest + row * kLanes);
    for (std::size_t part = 1; part < parts; ++part) largest = Isa::max(largest, load(a.largest + (part * count + row) * kLanes));
    a.inner_ranges[row] = quantize_inner_row<Isa>(a.inner + row * shape.intermediate, shape.intermediate, Isa::largest(largest),
                                                  a.inner_bytes + row * shape.intermediate);
  }
}

// The rows [first, first + count), at most kGroupTokens.
template <class Isa>
void feed_forward_block(const Model& model, const Layer& layer, std::size_t first, std::size_t count, const Activations<Isa>& a) {
  const Shape& shape = model.shape;
  std::size_t parts = 0;
  if (!shape.gated) {
    parts = shape.activation == Activation::gelu ? feed_forward_in<Isa, false>(layer.feed_in, first, count, a)
                                                 : feed_forward_in<Isa, true>(layer.feed_in, first, count, a);
  } else if (shape.activation == Activation::gelu) {
    gated_feed_forward_in<Isa, Activation::gelu>(layer.feed_in, first, count, a);
  } else if (shape.activation == Activation::gelu_tanh) {
    gated_feed_forward_in<Isa, Activation::gelu_tanh>(layer.feed_in, first, count, a);
  } else {
    gated_feed_forward_in<Isa, Activation::silu>(layer.feed_in, first, count, a);
  }
  quantize_inner<Isa>(shape, parts, count, a);
  const Int8Matrix& out = layer.feed_out;
  split_panels<Isa>(a, out, count, 1, [&](std::size_t, std::size_t first_panel, std::size_t last_panel) {
    int8_product<Isa>(out, first_panel, last_panel, a.inner_bytes, a.inner_ranges, count, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      float* sum = a.sums + (first + row) * out.outputs + column;
      store(sum, low);
      store(sum + kLanes, high);
    });
  });
}

}  // namespace
}  // namespace serotine::encoder
