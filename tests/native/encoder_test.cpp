// The forward pass of every family on every instruction set that runs here, against the portable one, which Python's tests
// compare with float64; and each text alone, on one thread or two, against the same text in a batch.
#include "encoder_models.hpp"

#include <algorithm>
#include <cstdio>

namespace {

using namespace serotine::encoder;

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
    const Texts all_texts;
    const std::vector<std::int64_t>& offsets = all_texts.offsets;
    const std::vector<std::int32_t>& ids = all_texts.ids;
    const std::vector<std::uint8_t>& attended = all_texts.attended;
    const std::size_t tokens = all_texts.tokens(), texts = all_texts.count();
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
