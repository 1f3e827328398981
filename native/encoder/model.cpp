#include <cmath>
#include <cstring>

#include "encoder.hpp"

namespace serotine::encoder {

Panels::Panels(const std::int8_t* bytes, std::size_t count) {
  if (reinterpret_cast<std::uintptr_t>(bytes) % 64 == 0) {
    view_ = bytes;
  } else {
    copy_.assign(bytes, bytes + count);
  }
}

Int8Matrix::Int8Matrix(const std::int8_t* levels, const float* output_scales, const float* output_bias,
                       std::size_t rows, std::size_t columns, std::size_t factored, float factor)
    : outputs(rows), inputs(columns), panels(levels, rows * columns), scales(rows), bias(rows) {
  sums.assign(rows, 0);
  const std::int8_t* quad = levels;
  for (std::size_t panel = 0; panel < rows; panel += kPanel) {
    for (std::size_t i = 0; i < columns; i += 4) {
      for (std::size_t o = panel; o < panel + kPanel; ++o, quad += 4) sums[o] += quad[0] + quad[1] + quad[2] + quad[3];
    }
  }
  for (std::size_t o = 0; o < rows; ++o) {
    scales[o] = output_scales[o] * (o < factored ? factor : 1.0f);
    bias[o] = output_bias == nullptr ? 0.0f : output_bias[o] * (o < factored ? factor : 1.0f);
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

Rotary::Rotary(double theta, std::size_t positions, std::size_t head_dim)
    : cosines(positions * head_dim / 2), sines(positions * head_dim / 2) {
  const std::size_t half = head_dim / 2;
  for (std::size_t i = 0; i < half; ++i) {
    // Each position's angle from the last one's: the error after a million is below 1e-9.
    const double angle = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
    const double turn_cosine = std::cos(angle), turn_sine = std::sin(angle);
    double cosine = 1, sine = 0;
    for (std::size_t position = 0; position < positions; ++position) {
      cosines[position * half + i] = static_cast<float>(cosine);
      sines[position * half + i] = static_cast<float>(sine);
      const double next = cosine * turn_cosine - sine * turn_sine;
      sine = sine * turn_cosine + cosine * turn_sine;
      cosine = next;
    }
  }
}

}  // namespace serotine::encoder
