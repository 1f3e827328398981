// Small random models of every family, and texts for them.
#pragma once

#include "../../native/encoder/encoder.hpp"

#include <cmath>
#include <random>

namespace serotine::encoder {
namespace {

std::mt19937 generator(7);

std::vector<float> floats(std::size_t count, float scale, float shift = 0.0f) {
  std::normal_distribution<float> normal(shift, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

std::vector<std::int8_t> levels(std::size_t count) {
  std::vector<std::int8_t> values(count);
  for (std::int8_t& value : values) value = static_cast<std::int8_t>(static_cast<int>(generator() % 255) - 127);
  return values;
}

Norm norm(std::size_t width) {
  Norm norm;
  const std::vector<float> gain = floats(width, 0.1f, 1.0f), bias = floats(width, 0.1f);
  norm.gain.assign(gain.begin(), gain.end());
  norm.bias.assign(bias.begin(), bias.end());
  return norm;
}

// Levels at an odd address are copied, others are not.
struct Levels {
  std::vector<std::vector<std::int8_t>> arrays;

  void fill(Int8Matrix& matrix, std::size_t outputs, std::size_t inputs) {
    arrays.push_back(levels(outputs * inputs));
    const std::vector<float> scales(outputs, 1.0f / (73.0f * std::sqrt(static_cast<float>(inputs)))), bias = floats(outputs, 0.1f);
    matrix = Int8Matrix(arrays.back().data(), scales.data(), bias.data(), outputs, inputs);
  }
};

struct Case {
  Model model;
  Levels matrices;
  std::vector<std::int8_t> words;
  std::vector<float> word_scales;
};

struct Family {
  const char* name;
  Shape shape;
  bool rotary;
};

// Small models of each family, and one that has all that they have together.
std::vector<Family> families() {
  const Shape bert = {.hidden = 128, .heads = 2, .intermediate = 704, .key_value_heads = 2, .head_dim = 64, .longest = 300};
  Shape tanh = bert, modern = bert, qwen = bert, mixed = bert;
  tanh.hidden = 64;
  tanh.intermediate = 96;
  tanh.head_dim = 32;
  tanh.activation = Activation::gelu_tanh;
  modern.pre_norm = modern.gated = true;
  modern.intermediate = 160;
  modern.reach = 8;
  qwen.intermediate = 512;
  qwen.heads = 4;
  qwen.head_dim = 128;
  qwen.pre_norm = qwen.gated = true;
  qwen.norm = NormKind::root_mean_square;
  qwen.activation = Activation::silu;
  mixed.intermediate = 160;
  mixed.heads = 6;
  mixed.key_value_heads = 3;
  mixed.head_dim = 32;
  mixed.reach = 40;
  mixed.gated = true;
  mixed.activation = Activation::gelu_tanh;
  return {{"BERT", bert, false}, {"BERT, tanh", tanh, false}, {"ModernBERT", modern, true}, {"Qwen3", qwen, true}, {"mixed", mixed, true}};
}

void make(Case& c, const Family& family) {
  Model& model = c.model;
  model.shape = family.shape;
  model.shape.vocabulary = 60;
  const Shape& shape = model.shape;
  const std::size_t hidden = shape.hidden;
  const bool normalized = shape.heads != shape.key_value_heads;
  c.words = levels(shape.vocabulary * hidden);
  c.word_scales.assign(shape.vocabulary, 0.015f);
  model.words = {.levels = c.words.data(), .scales = c.word_scales.data()};
  if (family.rotary) {
    model.rotary = Rotary(10000.0, shape.longest, shape.head_dim);
    model.local_rotary = Rotary(500.0, shape.longest, shape.head_dim);
  } else {
    const std::vector<float> positions = floats(shape.longest * hidden, 0.3f);
    model.position_vectors.assign(positions.begin(), positions.end());
  }
  model.embedding_norm = norm(hidden);
  if (shape.pre_norm) model.final_norm = norm(hidden);
  for (int i = 0; i < 2; ++i) {
    Layer layer;
    c.matrices.fill(layer.attention_in, shape.attention_width(), hidden);
    c.matrices.fill(layer.attention_out, hidden, shape.query_width());
    c.matrices.fill(layer.feed_in, shape.gated ? 2 * shape.intermediate : shape.intermediate, hidden);
    c.matrices.fill(layer.feed_out, hidden, shape.intermediate);
    if (i > 0 || !shape.pre_norm) layer.attention_norm = norm(hidden);
    layer.feed_norm = norm(hidden);
    if (normalized) {
      const std::vector<float> query = floats(shape.head_dim, 0.02f, 0.2f), key = floats(shape.head_dim, 0.1f, 1.0f);
      layer.query_gain.assign(query.begin(), query.end());
      layer.key_gain.assign(key.begin(), key.end());
    }
    layer.local = shape.reach > 0 && i == 1;
    model.layers.push_back(std::move(layer));
  }
  Projection first, last;
  const std::vector<float> square = floats(hidden * hidden, 0.1f), narrow = floats(20 * hidden, 0.1f), bias = floats(20, 0.1f);
  first.matrix = FloatMatrix(square.data(), nullptr, hidden, hidden);
  first.activation = Activation::gelu;
  first.adds_input = true;
  last.matrix = FloatMatrix(narrow.data(), bias.data(), 20, hidden);
  last.activation = Activation::tanh;
  last.residual = FloatMatrix(narrow.data(), nullptr, 20, hidden);
  model.projections.push_back(std::move(first));
  model.projections.push_back(std::move(last));
}

// Texts of many lengths. Threads share the columns of the matrices for the longest alone.
struct Texts {
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int32_t> ids;
  std::vector<std::uint8_t> attended;

  Texts() {
    for (const int length : {1, 12, 13, 0, 90, 2, 33, 24, 64, 300}) offsets.push_back(offsets.back() + length);
    for (std::int64_t i = 0; i < offsets.back(); ++i) {
      ids.push_back(static_cast<std::int32_t>(generator() % 60));
      attended.push_back(generator() % 5 != 0);
    }
  }
  std::size_t count() const { return offsets.size() - 1; }
  std::size_t tokens() const { return ids.size(); }
};

}  // namespace
}  // namespace serotine::encoder
