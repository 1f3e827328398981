// The forward pass on every instruction set that runs here, against the portable one, which Python's tests compare with
// float64; and each text alone against the same text in a batch on several threads.
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

void make(Case& c, std::size_t hidden, std::size_t heads, std::size_t intermediate, bool tanh) {
  Model& model = c.model;
  model.hidden = hidden;
  model.heads = heads;
  model.intermediate = intermediate;
  model.vocabulary = 60;
  model.positions = 90;
  model.activation = tanh ? Activation::gelu_tanh : Activation::gelu;
  c.words = levels(model.vocabulary * hidden);
  c.word_scales.assign(model.vocabulary, 0.015f);
  model.words = {.levels = c.words.data(), .scales = c.word_scales.data()};
  const std::vector<float> positions = floats(model.positions * hidden, 0.3f);
  model.position_vectors.assign(positions.begin(), positions.end());
  model.norm = norm(hidden);
  for (int i = 0; i < 2; ++i) {
    Layer layer;
    c.matrices.fill(layer.attention_in, 3 * hidden, hidden);
    c.matrices.fill(layer.attention_out, hidden, hidden);
    c.matrices.fill(layer.feed_in, intermediate, hidden);
    c.matrices.fill(layer.feed_out, hidden, intermediate);
    layer.attention_norm = norm(hidden);
    layer.feed_norm = norm(hidden);
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
  for (const bool tanh : {false, true}) {
    Case c;
    make(c, tanh ? 64 : 128, 2, tanh ? 96 : 160, tanh);
    const std::size_t dim = c.model.dim();
    std::vector<std::int64_t> offsets = {0};
    for (const int length : {1, 12, 13, 0, 90, 2, 33, 24, 64}) offsets.push_back(offsets.back() + length);
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
      check(least_cosine(together, reference, dim) > 0.995, "close to the portable pass");
      for (std::size_t i = 0; i < texts; ++i) {
        const auto first = static_cast<std::size_t>(offsets[i]);
        const std::int64_t own[] = {0, offsets[i + 1] - offsets[i]};
        encode(c.model, ids.data() + first, attended.data() + first, own, 1, alone.data() + first * dim, 1);
      }
      check(alone == together, "the same alone");
      if (failed == before) std::printf("%s: ok\n", name.c_str());
    }
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
