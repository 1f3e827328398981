#include <cstring>

#include "encoder.hpp"

namespace serotine::encoder {

Int8Matrix::Int8Matrix(std::size_t rows, std::size_t columns)
    : outputs(rows), inputs(columns), panels(rows * columns), sums(rows), scales(rows), bias(rows) {}

void Int8Matrix::pack(const std::int8_t* levels, const float* row_scales, const float* row_bias, std::size_t first,
                      std::size_t count, float factor) {
  for (std::size_t row = 0; row < count; ++row) {
    const std::size_t o = first + row;
    std::int8_t* panel = panels.data() + o / kPanel * inputs * kPanel + o % kPanel * 4;
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < inputs; ++i) {
      const std::int8_t level = levels[row * inputs + i];
      sum += level;
      panel[i / 4 * kPanel * 4 + i % 4] = level;
    }
    sums[o] = sum;
    scales[o] = row_scales[row] * factor;
    bias[o] = row_bias == nullptr ? 0.0f : row_bias[row] * factor;
  }
}

namespace {

// The nearest bfloat16, ties to even; weights are finite.
std::uint16_t bfloat16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

FloatMatrix::FloatMatrix(const float* weights, const float* row_bias, std::size_t rows, std::size_t columns)
    : outputs(rows), inputs(columns) {
  const std::size_t padded = (rows + kPanel - 1) / kPanel * kPanel;
  panels.assign(padded * columns, 0.0f);
  bias.assign(padded, 0.0f);
  for (std::size_t o = 0; o < rows; ++o) {
    for (std::size_t i = 0; i < columns; ++i) {
      panels[o / kPanel * columns * kPanel + i * kPanel + o % kPanel] = weights[o * columns + i];
    }
    if (row_bias != nullptr) bias[o] = row_bias[o];
  }
  if (columns % kPanel != 0) return;
  pairs.assign(padded * columns, 0);
  for (std::size_t o = 0; o < rows; ++o) {
    for (std::size_t i = 0; i < columns; ++i) {
      pairs[o / kPanel * columns * kPanel + i / 2 * kPanel * 2 + o % kPanel * 2 + i % 2] = bfloat16(weights[o * columns + i]);
    }
  }
}

}  // namespace serotine::encoder
