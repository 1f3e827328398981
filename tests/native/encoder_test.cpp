// The forward pass of every family on every instruction set that runs here, against the portable one, which Python's tests
// compare with float64; and each text alone, on one thread or two, against the same text in a batch.
#include "../../native/encoder/encoder.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

namespace {

using namespace serotine::encoder;

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

double least_cosine(const std::vector<float>& a, const std::vector<float>& b, std::size_t dim) {
  double least = 1;
  for (std::size_t row = 0; row < a.size() / dim; ++row) {
    double ab = 0, aa = 0, bb = 0;
    for (std::size_t i = 0; i < dim; ++i) {
      const double x = a[row * dim + i], y = b[row * dim + i];
      ab += x * y;
      aa += x * x;
      bb += y * y;
    }
    least = std::min(least, ab / std::sqrt(aa * bb));
  }
  return least;
}

}  // namespace

int main() {
  int passed = 0, failed = 0;
  const auto check = [&](bool condition, const char* what) {
    condition ? ++passed : ++failed;
    if (!condition) std::printf("FAILED: %s\n", what);
  };
  for (const Family& family : families()) {
    Case c;
    make(c, family);
    const std::size_t dim = c.model.dim();
    std::vector<std::int64_t> offsets = {0};
    // Threads share the columns of the matrices for the longest alone.
    for (const int length : {1, 12, 13, 0, 90, 2, 33, 24, 64, 300}) offsets.push_back(offsets.back() + length);
    const auto tokens = static_cast<std::size_t>(offsets.back());
    const std::size_t texts = offsets.size() - 1;
    std::vector<std::int32_t> ids(tokens);
    std::vector<std::uint8_t> attended(tokens);
    for (std::size_t i = 0; i < tokens; ++i) {
      ids[i] = static_cast<std::int32_t>(generator() % 60);
      attended[i] = generator() % 5 != 0;
    }
    std::vector<float> reference(tokens * dim);
    use("portable");
    encode(c.model, ids.data(), attended.data(), offsets.data(), texts, reference.data(), 1);
    for (const std::string& name : supported()) {
      const int before = failed;
      check(use(name) && current() == name, "use");
      std::vector<float> together(tokens * dim), alone(tokens * dim);
      encode(c.model, ids.data(), attended.data(), offsets.data(), texts, together.data(), 2);
      // AVX2 has one level fewer, so its rounding differs everywhere, which random weights amplify. How far each is from
      // the float64 reference is tested in Python.
      check(least_cosine(together, reference, dim) > (name == "avx2" ? 0.98 : 0.995), "close to the portable pass");
      for (std::size_t i = 0; i < texts; ++i) {
        const auto first = static_cast<std::size_t>(offsets[i]);
        const std::int64_t own[] = {0, offsets[i + 1] - offsets[i]};
        encode(c.model, ids.data() + first, attended.data() + first, own, 1, alone.data() + first * dim, 1 + i % 2);
      }
      check(alone == together, "the same alone");
      if (failed == before) std::printf("%s, %s: ok\n", family.name, name.c_str());
    }
  }
  // Cosines and sines at the last of many positions, where an error would have grown.
  const Rotary far(10000.0, 32768, 64);
  const double angle = 32767 * std::pow(10000.0, -2.0 * 3 / 64);
  check(std::abs(far.cosines[32767 * 32 + 3] - std::cos(angle)) < 1e-6 && std::abs(far.sines[32767 * 32 + 3] - std::sin(angle)) < 1e-6,
        "rotary positions are exact far out");
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
