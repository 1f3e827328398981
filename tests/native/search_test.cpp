// The codec and the search without Python, so that they run under the sanitizers and under an emulator: on every
// instruction set, codes decode to what a plain loop gives, and an exact search is brute force. Arrays are allocated to
// the byte, so that AddressSanitizer sees any read past their end.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "codec.hpp"
#include "maxsim.hpp"
#include "search.hpp"

namespace {

using namespace serotine;

int failures = 0;

void expect(bool condition, const std::string& what) {
  if (!condition) {
    ++failures;
    std::printf("FAILED: %s\n", what.c_str());
  }
}

template <class T>
std::unique_ptr<T[]> exactly(const std::vector<T>& values) {
  std::unique_ptr<T[]> out(new T[values.size()]);
  std::copy(values.begin(), values.end(), out.get());
  return out;
}

// Whole numbers below 1024 over 1024 are exact in fp16.
std::uint16_t to_f16(int m) {
  if (m == 0) return 0;
  const std::uint16_t sign = m < 0 ? 0x8000 : 0;
  int magnitude = m < 0 ? -m : m;
  int exponent = 15;
  while (magnitude < 1024) {
    magnitude *= 2;
    --exponent;
  }
  return static_cast<std::uint16_t>(sign | (exponent << 10) | (magnitude & 0x3ff));
}

struct Collection {
  std::size_t dim = 0;
  std::vector<float> floats;
  std::unique_ptr<std::uint16_t[]> halves;
  std::unique_ptr<std::int64_t[]> offsets;
  std::unique_ptr<std::int64_t[]> numbers;
  std::unique_ptr<std::int8_t[]> centroids;
  std::unique_ptr<float[]> scales;
  std::unique_ptr<std::uint16_t[]> ids;
  std::unique_ptr<std::uint8_t[]> steps;
  std::unique_ptr<std::uint8_t[]> errors;
  std::unique_ptr<std::uint8_t[]> residuals;
  std::vector<std::uint64_t> starts;
  std::vector<std::uint32_t> postings;
  std::vector<float> mean;
  codec::Codebook codebook;
  search::Part part;
};

void fill(Collection& c, std::mt19937& rng, std::size_t documents, std::size_t dim, int bits) {
  constexpr std::size_t kCentroids = 5;
  std::uniform_int_distribution<int> value(-700, 700);
  std::uniform_int_distribution<int> length(0, 60);
  std::uniform_int_distribution<int> byte(-90, 90);
  c.dim = dim;
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int64_t> numbers;
  for (std::size_t d = 0; d < documents; ++d) {
    offsets.push_back(offsets.back() + length(rng));
    numbers.push_back(static_cast<std::int64_t>(3 * d));
  }
  const auto tokens = static_cast<std::size_t>(offsets.back());
  std::vector<std::uint16_t> halves(tokens * dim);
  c.floats.resize(tokens * dim);
  for (std::size_t i = 0; i < tokens * dim; ++i) {
    const int v = value(rng);
    halves[i] = to_f16(v);
    c.floats[i] = static_cast<float>(v) / 1024.0f;
  }
  std::vector<std::int8_t> centroids(kCentroids * dim);
  for (auto& v : centroids) v = static_cast<std::int8_t>(byte(rng));
  c.halves = exactly(halves);
  c.offsets = exactly(offsets);
  c.numbers = exactly(numbers);
  c.centroids = exactly(centroids);
  c.scales = exactly(std::vector<float>(kCentroids, 0.007f));
  c.mean.assign(dim, 0.0f);
  double longest = 0.0;
  for (std::size_t k = 0; k < kCentroids; ++k) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) square += 4.9e-5 * centroids[k * dim + d] * centroids[k * dim + d];
    longest = std::max(longest, std::sqrt(square));
  }
  c.codebook = {c.centroids.get(), c.scales.get(), c.mean.data(), static_cast<float>(longest * 1.001), kCentroids, dim};
  std::vector<std::int32_t> ids(tokens);
  std::vector<std::uint16_t> narrow(tokens);
  for (std::size_t t = 0; t < tokens; ++t) narrow[t] = static_cast<std::uint16_t>(ids[t] = static_cast<int>(t % kCentroids));
  c.ids = exactly(narrow);
  c.steps.reset(new std::uint8_t[tokens]);
  c.errors.reset(new std::uint8_t[tokens]);
  c.residuals.reset(new std::uint8_t[tokens * codec::row_bytes(dim, bits)]);
  codec::encode(c.codebook, c.floats.data(), ids.data(), tokens, bits, c.steps.get(), c.errors.get(), c.residuals.get());
  c.part.documents = documents;
  c.part.offsets = c.offsets.get();
  c.part.numbers = c.numbers.get();
  c.part.vectors = c.halves.get();
  c.part.codebook = &c.codebook;
  c.part.codes = {c.ids.get(), false, c.steps.get(), c.errors.get(), c.residuals.get(), bits};
  for (std::size_t t = 0; t < tokens; ++t) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) square += static_cast<double>(c.floats[t * dim + d]) * c.floats[t * dim + d];
    const double norm = std::sqrt(square) + codec::error_bound(c.errors[t]) * 0.007;
    c.part.longest = std::max(c.part.longest, static_cast<float>(norm * 1.001));
  }
  c.starts.resize(kCentroids + 1);
  c.postings = search::postings(c.part.codes, kCentroids, c.offsets.get(), documents, c.starts.data());
}

// What decoding gives must lie within the bound that the encoder stored.
void check_codes(const Collection& c, const std::string& name) {
  const auto tokens = static_cast<std::size_t>(c.offsets[c.part.documents]);
  std::unique_ptr<std::uint8_t[]> rows(new std::uint8_t[tokens * c.dim]);
  std::unique_ptr<float[]> scales(new float[tokens]);
  codec::decode(c.codebook, c.part.codes, 0, tokens, 0, rows.get(), c.dim, scales.get(), c.residuals.get());
  bool within = true;
  for (std::size_t t = 0; t < tokens; ++t) {
    double square = 0.0;
    for (std::size_t d = 0; d < c.dim; ++d) {
      const double off = c.floats[t * c.dim + d] - static_cast<double>(scales[t]) * static_cast<std::int8_t>(rows[t * c.dim + d]);
      square += off * off;
    }
    within = within && std::sqrt(square) <= static_cast<double>(codec::error_bound(c.errors[t])) * scales[t];
  }
  expect(within, name + ": an error is above its bound");
}

std::vector<std::pair<float, std::int64_t>> brute_force(const Collection& c, const std::vector<float>& query,
                                                        std::size_t tokens, std::size_t k) {
  const std::int64_t begin = 0;
  const auto end = static_cast<std::int64_t>(tokens);
  std::vector<float> scores(c.part.documents);
  const auto rows = static_cast<std::size_t>(c.offsets[c.part.documents]);
  maxsim::score_grid({query.data(), maxsim::Dtype::f32, tokens, c.dim, nullptr}, {&begin, &end, 1},
                     {c.halves.get(), maxsim::Dtype::f16, rows, c.dim, nullptr},
                     {c.offsets.get(), c.offsets.get() + 1, c.part.documents}, scores.data(), nullptr, 0);
  std::vector<std::pair<float, std::int64_t>> out;
  for (std::size_t d = 0; d < c.part.documents; ++d) out.emplace_back(scores[d], c.numbers[d]);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  out.resize(std::min(k, out.size()));
  return out;
}

void check_search(Collection& c, std::mt19937& rng, std::size_t tokens, const std::string& name) {
  std::uniform_real_distribution<float> value(-1.0f, 1.0f);
  std::vector<float> query(tokens * c.dim);
  for (float& v : query) v = value(rng);
  const std::size_t k = 7;
  const auto truth = brute_force(c, query, tokens, k);
  const std::vector<std::uint64_t> bits((c.part.documents + 63) / 64, 0x5555555555555555ull);
  for (const bool probing : {false, true}) {
    c.part.posting_starts = probing ? c.starts.data() : nullptr;
    c.part.postings = probing ? c.postings.data() : nullptr;
    search::Options options;
    options.k = k;
    for (const bool exact : {true, false}) {
      options.exact = exact;
      options.candidates = exact ? 0 : c.part.documents;
      options.rescored = c.part.documents;
      search::Report report;
      const auto found = search::search(query.data(), tokens, c.dim, {c.part}, {nullptr}, options, report);
      bool same = found.size() == truth.size();
      for (std::size_t i = 0; same && i < truth.size(); ++i) {
        same = found[i].score == truth[i].first && found[i].number == truth[i].second;
      }
      expect(same, name + (exact ? ": exact search" : ": staged search with every candidate") + " is not brute force");
    }
    // Little effort: as many results, each with its true score; and with a mask, only what it lets through.
    options.candidates = k;
    options.rescored = k;
    options.probes = 2;
    search::Report report;
    const auto some = search::search(query.data(), tokens, c.dim, {c.part}, {nullptr}, options, report);
    expect(some.size() == std::min(k, c.part.documents), name + ": too few results");
    const auto masked = search::search(query.data(), tokens, c.dim, {c.part}, {bits.data()}, options, report);
    for (const auto& hit : masked) expect(hit.number % 2 == 0, name + ": a document that the mask leaves out");
    expect(masked.size() == std::min(k, (c.part.documents + 1) / 2), name + ": too few results behind a mask");
  }
}

}  // namespace

int main() {
  for (const std::string& name : maxsim::supported()) {
    maxsim::use(name);
    const int before = failures;
    std::mt19937 rng(1);
    for (const int bits : {2, 4, 8}) {
      for (const std::size_t dim : {1u, 7u, 31u, 64u, 129u}) {
        Collection c;
        fill(c, rng, 41, dim, bits);
        const std::string what = name + ", " + std::to_string(bits) + " bits, dim " + std::to_string(dim);
        check_codes(c, what);
        for (const std::size_t tokens : {1u, 16u, 37u}) check_search(c, rng, tokens, what);
      }
    }
    std::printf("search on %s: %s\n", name.c_str(), failures == before ? "ok" : "not ok");
  }
  std::printf("search: %d failed\n", failures);
  return failures == 0 ? 0 : 1;
}
