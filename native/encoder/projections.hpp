// The layers between the states and the vectors.
#pragma once

#include "products.hpp"

namespace serotine::encoder {
namespace {

// tile[t] = panel `column` of the matrix x rows[t]; in bfloat16 where the instruction set multiplies it.
template <class Isa, int T>
SEROTINE_INLINE void project_tile(const FloatMatrix& matrix, std::size_t column, const float* rows,
                                  const typename Isa::Element* rounded, float* tile) {
  if constexpr (sizeof(typename Isa::Element) == 2) {
    if (!matrix.pairs.empty()) {
      float_product<typename Isa::Element, Isa, T>(matrix.pairs.data() + column * matrix.inputs, rounded, matrix.inputs,
                                                   matrix.inputs / 2, nullptr, tile, kPanel);
      return;
    }
  }
  float_product<float, Isa, T>(matrix.panels.data() + column * matrix.inputs, rows, matrix.inputs, matrix.inputs, nullptr,
                               tile, kPanel);
}

// out = activation(matrix x + bias), plus x or residual x where the layer has them. `rounded` has room for the states as
// elements of attention.
template <class Isa>
void project(const Projection& layer, const float* states, std::size_t tokens, typename Isa::Element* rounded, float* out) {
  const FloatMatrix& matrix = layer.matrix;
  if (sizeof(typename Isa::Element) == 2 && !matrix.pairs.empty()) {
    for (std::size_t i = 0; i < tokens * matrix.inputs; i += kPanel) {
      Isa::store_elements(rounded + i, load(states + i), load(states + i + kLanes));
    }
  }
  for (std::size_t column = 0; column < matrix.outputs; column += kPanel) {
    const std::size_t width = matrix.outputs - column < kPanel ? matrix.outputs - column : kPanel;
    for (std::size_t first = 0; first < tokens;) {
      const int now = next_tile(tokens - first, Isa::kFloatRows);
      with_rows<Isa::kFloatRows>(now, [&](auto tag) __attribute__((always_inline)) {
        constexpr int T = decltype(tag)::count;
        float tile[T][kPanel], added[T][kPanel] = {};
        const float* rows = states + first * matrix.inputs;
        const typename Isa::Element* elements = rounded + first * matrix.inputs;
        project_tile<Isa, T>(matrix, column, rows, elements, tile[0]);
        if (layer.residual.outputs != 0) project_tile<Isa, T>(layer.residual, column, rows, elements, added[0]);
        for (int t = 0; t < T; ++t) {
          for (std::size_t i = 0; i < kPanel; i += kLanes) {
            const Floats sum = load(tile[t] + i) + load(matrix.bias.data() + column + i);
            store(tile[t] + i, activate<Isa>(layer.activation, sum) + load(added[t] + i));
          }
          const float* row = rows + static_cast<std::size_t>(t) * matrix.inputs + column;
          float* to = out + (first + static_cast<std::size_t>(t)) * matrix.outputs + column;
          for (std::size_t i = 0; i < width; ++i) to[i] = tile[t][i] + (layer.adds_input ? row[i] : 0.0f);
        }
      });
      first += static_cast<std::size_t>(now);
    }
  }
}

}  // namespace
}  // namespace serotine::encoder
