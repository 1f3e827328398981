// Compares every instruction set this processor runs with a double-precision loop, over odd shapes and dtypes.
// Documents are allocated to the byte, so that AddressSanitizer sees any read past their end.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "../../native/common/thread_pool.hpp"
#include "half.hpp"
#include "maxsim.hpp"

namespace {

using namespace serotine::maxsim;

std::uint16_t to_bf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<std::uint16_t>(bits >> 16);
}

float from_bf16(std::uint16_t half) {
  const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

struct Matrix {
  std::unique_ptr<unsigned char[]> raw;
  std::vector<float> scales;
  std::vector<double> values;
  Tokens tokens;
};

Matrix random_matrix(std::mt19937& rng, Dtype dtype, std::size_t rows, std::size_t dim) {
  Matrix m;
  m.raw.reset(new unsigned char[rows * dim * bytes_of(dtype)]);
  m.values.resize(rows * dim);
  m.scales.resize(rows);
  std::uniform_int_distribution<int> value(-1023, 1023);
  std::uniform_int_distribution<int> byte(-128, 127);
  for (std::size_t r = 0; r < rows; ++r) {
    m.scales[r] = static_cast<float>(1 + r % 7) / 1024.0f;
    for (std::size_t d = 0; d < dim; ++d) {
      const std::size_t i = r * dim + d;
      const float x = static_cast<float>(value(rng)) / 1024.0f;
      switch (dtype) {
        case Dtype::f32:
          std::memcpy(m.raw.get() + 4 * i, &x, 4);
          m.values[i] = x;
          break;
        case Dtype::f16: {
          const std::uint16_t half = to_f16(static_cast<int>(x * 1024.0f));
          std::memcpy(m.raw.get() + 2 * i, &half, 2);
          m.values[i] = x;
          break;
        }
        case Dtype::bf16: {
          const std::uint16_t half = to_bf16(x);
          std::memcpy(m.raw.get() + 2 * i, &half, 2);
          m.values[i] = from_bf16(half);
          break;
        }
        case Dtype::i8: {
          const auto code = static_cast<std::int8_t>(byte(rng));
          std::memcpy(m.raw.get() + i, &code, 1);
          m.values[i] = static_cast<double>(code) * m.scales[r];
          break;
        }
      }
    }
  }
  m.tokens = {m.raw.get(), dtype, rows, dim, dtype == Dtype::i8 ? m.scales.data() : nullptr};
  return m;
}

double reference(const Matrix& q, std::int64_t q0, std::int64_t q1, const Matrix& x, std::int64_t d0, std::int64_t d1) {
  const std::size_t dim = q.tokens.dim;
  double sum = 0.0;
  for (std::int64_t i = q0; i < q1; ++i) {
    double best = -std::numeric_limits<double>::infinity();
    for (std::int64_t j = d0; j < d1; ++j) {
      double dot = 0.0;
      for (std::size_t d = 0; d < dim; ++d) dot += q.values[i * dim + d] * x.values[j * dim + d];
      best = std::max(best, dot);
    }
    sum += best;
  }
  return sum;
}

int failures = 0;

void check(bool condition, const std::string& message) {
  if (!condition && ++failures <= 10) std::printf("FAILED: %s\n", message.c_str());
}

void compare(const std::string& path, Dtype dtype, std::size_t dim, std::mt19937& rng) {
  const std::vector<std::int64_t> query_cuts = {0, 1, 1, 4, 9, 25, 57, 90};
  const std::vector<std::int64_t> document_cuts = {0, 0, 1, 3, 14, 26, 51, 200, 231};
  const Matrix q = random_matrix(rng, dtype, 90, dim);
  const Matrix x = random_matrix(rng, dtype, 231, dim);
  const std::size_t queries = query_cuts.size() - 1;
  const std::size_t documents = document_cuts.size() - 1;
  const Ranges q_ranges{query_cuts.data(), query_cuts.data() + 1, queries};
  const Ranges x_ranges{document_cuts.data(), document_cuts.data() + 1, documents};
  std::vector<float> scores(queries * documents);
  std::vector<std::int32_t> winners(queries * documents * 33);
  const Outcome outcome = score_grid(q.tokens, q_ranges, x.tokens, x_ranges, scores.data(), winners.data(), 33);
  check(outcome.finite(), path + " reports non-finite input");
  std::vector<std::int64_t> pair_q;
  std::vector<std::int64_t> pair_x;
  for (std::size_t i = 0; i < queries; ++i) {
    for (std::size_t j = 0; j < documents; ++j) {
      const double expected =
          reference(q, query_cuts[i], query_cuts[i + 1], x, document_cuts[j], document_cuts[j + 1]);
      const double score = scores[i * documents + j];
      const double bound = 2e-6 * static_cast<double>(dim) * static_cast<double>(query_cuts[i + 1] - query_cuts[i]);
      check(std::isinf(expected) ? score == expected : std::abs(score - expected) <= bound + 1e-6,
            path + " dtype " + std::to_string(static_cast<int>(dtype)) + " dim " + std::to_string(dim) + ": got " +
                std::to_string(score) + ", expected " + std::to_string(expected));
      pair_q.push_back(static_cast<std::int64_t>(i));
      pair_x.push_back(static_cast<std::int64_t>(j));
    }
  }
  std::vector<float> paired(pair_q.size());
  score_pairs(q.tokens, q_ranges, x.tokens, x_ranges, pair_q.data(), pair_x.data(), pair_q.size(), paired.data(),
              nullptr, 0);
  check(std::memcmp(paired.data(), scores.data(), scores.size() * 4) == 0, path + " pairs differ from the grid");
  std::vector<float> top(queries * 3);
  std::vector<std::int64_t> numbers(queries * 3);
  top_k(q.tokens, q_ranges, x.tokens, x_ranges, nullptr, 3, top.data(), numbers.data());
  for (std::size_t i = 0; i < queries; ++i) {
    check(top[3 * i] == *std::max_element(&scores[i * documents], &scores[i * documents] + documents),
          path + " top_k misses the best");
  }
}

// With every token retrieved, XTR's score is the mean MaxSim; with one, no higher similarity is missed.
void compare_xtr(const std::string& path, Dtype dtype, std::size_t dim, std::mt19937& rng) {
  const std::vector<std::int64_t> document_cuts = {0, 0, 1, 3, 14, 26, 51, 200, 231};
  const std::size_t documents = document_cuts.size() - 1;
  for (const std::int64_t tokens : {0, 1, 5, 17, 33}) {
    const Matrix q = random_matrix(rng, dtype, static_cast<std::size_t>(tokens), dim);
    const Matrix x = random_matrix(rng, dtype, 231, dim);
    const std::int64_t begin = 0;
    const Ranges q_range{&begin, &tokens, 1};
    const Ranges x_ranges{document_cuts.data(), document_cuts.data() + 1, documents};
    std::vector<float> scores(documents);
    std::vector<float> xtr(documents);
    score_grid(q.tokens, q_range, x.tokens, x_ranges, scores.data(), nullptr, 0);
    for (const bool impute : {true, false}) {
      check(xtr_grid(q.tokens, q_range, x.tokens, x_ranges, 231, impute, xtr.data()).finite(), path + " XTR: not finite");
      for (std::size_t d = 0; d < documents; ++d) {
        const double mean = static_cast<double>(scores[d]) / static_cast<double>(std::max<std::int64_t>(tokens, 1));
        check(xtr[d] == mean || std::abs(xtr[d] - mean) < 1e-5 * (1.0 + std::abs(mean)), path + " XTR differs from MaxSim");
      }
    }
    xtr_grid(q.tokens, q_range, x.tokens, x_ranges, 1, true, xtr.data());
    const float best = *std::max_element(xtr.begin(), xtr.end());
    for (std::size_t d = 0; d < documents; ++d) {
      const double mean = static_cast<double>(scores[d]) / static_cast<double>(std::max<std::int64_t>(tokens, 1));
      check(mean <= static_cast<double>(best) + 1e-4 * (1.0 + std::abs(mean)), path + " XTR misses the most similar token");
    }
  }
}

}  // namespace

int main() {
  serotine::set_num_threads(3);
  std::mt19937 rng(1);
  int passed = 0;
  for (const std::string& path : supported()) {
    use(path);
    const int before = failures;
    for (const Dtype dtype : {Dtype::f32, Dtype::f16, Dtype::bf16, Dtype::i8}) {
      for (const std::size_t dim : {1, 2, 3, 5, 16, 31, 48, 96, 128, 129}) {
        compare(path, dtype, dim, rng);
        compare_xtr(path, dtype, dim, rng);
      }
    }
    std::printf("%s: %s\n", path.c_str(), failures == before ? "ok" : "FAILED");
    if (failures == before) ++passed;
  }
  std::printf("%d passed, %d failed\n", passed, failures);
  return failures == 0 ? 0 : 1;
}
