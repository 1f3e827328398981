// The feed-forward network as a block of a layer: from the quantized input to what is added to the states.
#pragma once

#include "activations.hpp"

namespace serotine::encoder {
namespace {

// The inner states of the rows [first, first + count), and their largest values in as many parts as are returned.
template <class Isa, bool Tanh>
std::size_t feed_forward_in(const Int8Matrix& matrix, std::size_t first, std::size_t count, const Activations<Isa>& a) {
  const Range* ranges = a.ranges + first;
  return split_panels<Isa>(a, matrix, count, 1, [&](std::size_t part, std::size_t first_panel, std::size_t last_panel) {
    float* part_largest = a.largest + part * count * kLanes;
    int8_product<Isa>(
        matrix, first_panel, last_panel, a.bytes + first * matrix.inputs, count,
        [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
          Floats x = product_values<Isa>(matrix, column, ranges[row], low);
          Floats y = product_values<Isa>(matrix, column + kLanes, ranges[row], high);
          x = Tanh ? gelu_tanh<Isa>(x) : gelu<Isa>(x);
          y = Tanh ? gelu_tanh<Isa>(y) : gelu<Isa>(y);
          typename Isa::Half* out = a.inner + row * matrix.outputs + column;
          Isa::store_half(out, x);
          Isa::store_half(out + kLanes, y);
          float* largest = part_largest + row * kLanes;
          // At least a tenth, so that the scale of a row without positive values is no denormal.
          store(largest, Isa::max(Isa::max(x, y), column == first_panel * kPanel ? all(0.1f) : load(largest)));
        });
  });
}

// The same where half of a panel is activated and multiplied by the other half.
template <class Isa, Activation Kind>
void gated_feed_forward_in(const Int8Matrix& matrix, std::size_t first, std::size_t count, const Activations<Isa>& a) {
  const Range* ranges = a.ranges + first;
  split_panels<Isa>(a, matrix, count, 1, [&](std::size_t, std::size_t first_panel, std::size_t last_panel) {
    int8_product<Isa>(
        matrix, first_panel, last_panel, a.bytes + first * matrix.inputs, count,
        [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
          const Floats x = product_values<Isa>(matrix, column, ranges[row], low);
          const Floats y = product_values<Isa>(matrix, column + kLanes, ranges[row], high);
          store(a.gated_inner + (row * matrix.outputs + column) / 2, activate<Isa>(Kind, x) * y);
        });
  });
}

// Quantizes the inner states.
template <class Isa>
void quantize_inner(const Shape& shape, std::size_t parts, std::size_t count, const Activations<Isa>& a) {
  for (std::size_t row = 0; row < count; ++row) {
    std::uint8_t* bytes = a.inner_bytes + row * shape.intermediate;
    if (shape.gated) {
      a.inner_ranges[row] = quantize_row<Isa>(a.gated_inner + row * shape.intermediate, shape.intermediate, bytes);
      continue;
    }
    Floats largest = load(a.largest + row * kLanes);
    for (std::size_t part = 1; part < parts; ++part) largest = Isa::max(largest, load(a.largest + (part * count + row) * kLanes));
    a.inner_ranges[row] =
        quantize_inner_row<Isa>(a.inner + row * shape.intermediate, shape.intermediate, Isa::largest(largest), bytes);
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
    int8_product<Isa>(out, first_panel, last_panel, a.inner_bytes, count, [&](std::size_t row, std::size_t column, Floats low, Floats high) __attribute__((always_inline)) {
      float* sum = a.sums + (first + row) * out.outputs + column;
      store(sum, product_values<Isa>(out, column, a.inner_ranges[row], low));
      store(sum + kLanes, product_values<Isa>(out, column + kLanes, a.inner_ranges[row], high));
    });
  });
}

}  // namespace
}  // namespace serotine::encoder
