// The codec and the search without Python, so that they run under the sanitizers and under an emulator: on every
// instruction set, codes decode as in a plain loop, tokens get their nearest centroid, and an exact search equals
// brute force. Arrays are allocated to the byte, so that AddressSanitizer sees any read past their end.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "codec.hpp"
#include "half.hpp"
#include "maxsim.hpp"
#include "search.hpp"
#include "../../native/common/thread_pool.hpp"

namespace {

using namespace serotine;

std::atomic<int> failures{0};

void expect(bool condition, const std::string& message) {
  if (!condition) {
    ++failures;
    std::printf("FAILED: %s\n", message.c_str());
  }
}

template <class T>
std::unique_ptr<T[]> exact_copy(const std::vector<T>& values) {
  std::unique_ptr<T[]> out(new T[values.size()]);
  std::copy(values.begin(), values.end(), out.get());
  return out;
}

struct Collection {
  std::size_t dim = 0;
  std::vector<float> floats;
  std::unique_ptr<std::uint16_t[]> halves;
  std::unique_ptr<std::int64_t[]> offsets;
  std::unique_ptr<std::int64_t[]> numbers;
  std::unique_ptr<std::int8_t[]> centroids;
  std::unique_ptr<float[]> scales;
  std::unique_ptr<float[]> spreads;
  std::unique_ptr<std::uint16_t[]> ids;
  std::unique_ptr<std::uint32_t[]> ids32;
  std::unique_ptr<std::uint8_t[]> residual_scales;
  std::unique_ptr<std::uint8_t[]> errors;
  std::unique_ptr<std::uint8_t[]> residuals;
  std::vector<std::uint64_t> starts;
  std::vector<std::uint32_t> postings;
  std::vector<float> mean;
  codec::Codebook codebook;
  search::Segment segment;
};

void fill(Collection& c, std::mt19937& rng, std::size_t documents, std::size_t dim, int bits, bool uint32_ids,
          std::int64_t first_number) {
  constexpr std::size_t kCentroids = 5;
  std::uniform_int_distribution<int> value(-700, 700);
  std::uniform_int_distribution<int> length(0, 60);
  std::uniform_int_distribution<int> byte(-90, 90);
  c.dim = dim;
  std::vector<std::int64_t> offsets = {0};
  std::vector<std::int64_t> numbers;
  for (std::size_t d = 0; d < documents; ++d) {
    offsets.push_back(offsets.back() + length(rng));
    numbers.push_back(first_number + static_cast<std::int64_t>(d));
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
  c.halves = exact_copy(halves);
  c.offsets = exact_copy(offsets);
  c.numbers = exact_copy(numbers);
  c.centroids = exact_copy(centroids);
  c.scales = exact_copy(std::vector<float>(kCentroids, 0.007f));
  c.mean.assign(dim, 0.0f);
  double max_norm = 0.0;
  for (std::size_t k = 0; k < kCentroids; ++k) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) square += 4.9e-5 * centroids[k * dim + d] * centroids[k * dim + d];
    max_norm = std::max(max_norm, std::sqrt(square));
  }
  c.spreads = exact_copy(std::vector<float>(kCentroids, 0.05f));
  c.codebook = {c.centroids.get(), c.scales.get(), c.mean.data(), c.spreads.get(), static_cast<float>(max_norm * 1.001 + 0.05),
                kCentroids, dim};
  std::vector<std::int32_t> ids(tokens);
  std::vector<std::uint16_t> narrow(tokens);
  for (std::size_t t = 0; t < tokens; ++t) narrow[t] = static_cast<std::uint16_t>(ids[t] = static_cast<int>(t % kCentroids));
  c.ids = exact_copy(narrow);
  c.ids32 = exact_copy(std::vector<std::uint32_t>(narrow.begin(), narrow.end()));
  c.residual_scales.reset(new std::uint8_t[tokens]);
  c.errors.reset(new std::uint8_t[tokens]);
  c.residuals.reset(new std::uint8_t[tokens * codec::row_bytes(dim, bits)]);
  codec::encode(c.codebook, c.floats.data(), ids.data(), tokens, bits, c.residual_scales.get(), c.errors.get(), c.residuals.get());
  c.segment.documents = documents;
  c.segment.offsets = c.offsets.get();
  c.segment.numbers = c.numbers.get();
  c.segment.vectors = c.halves.get();
  c.segment.codebook = &c.codebook;
  const void* id_data = uint32_ids ? static_cast<const void*>(c.ids32.get()) : c.ids.get();
  c.segment.codes = {id_data, uint32_ids, c.residual_scales.get(), c.errors.get(), c.residuals.get(), bits};
  for (std::size_t t = 0; t < tokens; ++t) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) square += static_cast<double>(c.floats[t * dim + d]) * c.floats[t * dim + d];
    const double norm = std::sqrt(square) + codec::error_bound(c.errors[t]) * 0.007;
    c.segment.max_norm = std::max(c.segment.max_norm, static_cast<float>(norm * 1.001));
  }
  c.starts.resize(kCentroids + 1);
  c.postings = search::postings(c.segment.codes, kCentroids, c.offsets.get(), documents, c.starts.data());
}

// The values of a token's codes in one dimension, as codec.hpp defines them; for 8 bits, the high and the low half.
std::pair<int, int> residual(const Collection& c, std::size_t t, std::size_t d) {
  static constexpr int kTwo[4] = {-127, -38, 38, 127};
  static constexpr int kFour[16] = {-127, -96, -75, -58, -44, -31, -18, -6, 6, 18, 31, 44, 58, 75, 96, 127};
  const codec::Codes& codes = c.segment.codes;
  const std::size_t bytes = codec::row_bytes(c.dim, codes.bits);
  const int byte = codes.residuals[t * bytes + d % bytes];
  const int at = static_cast<int>(d / bytes) * codes.bits;
  const int code = (byte >> at) & ((1 << codes.bits) - 1);
  const int scale = codes.residual_scales[t];
  if (codes.bits == 8) return {((16 * (code >> 4) - 120) * scale + 128) >> 8, ((2 * (code & 15) - 15) * scale + 256) >> 9};
  return {((codes.bits == 2 ? kTwo[code] : kFour[code]) * scale + 128) >> 8, 0};
}

// One dimension of a rebuilt token.
int rebuilt(const Collection& c, std::size_t t, std::size_t d) {
  const auto [high, low] = residual(c, t, d);
  return std::clamp(std::clamp(c.centroids[c.segment.codes.id(t) * c.dim + d] + high, -128, 127) + low, -128, 127);
}

// Products of query rows with residuals, the tokens in any order and some of them twice.
void check_products(const Collection& c, std::mt19937& rng, const std::string& name) {
  const auto tokens = static_cast<std::size_t>(c.offsets[c.segment.documents]);
  const std::size_t first = tokens / 4;
  std::uniform_int_distribution<int> value(-127, 127);
  std::uniform_int_distribution<std::size_t> position(0, tokens - first - 1);
  constexpr std::size_t kPairs = 19;
  std::unique_ptr<std::int16_t[]> rows(new std::int16_t[kPairs * c.dim]);
  std::unique_ptr<std::uint16_t[]> chosen(new std::uint16_t[kPairs]);
  std::unique_ptr<std::int32_t[]> products(new std::int32_t[kPairs]);
  for (std::size_t i = 0; i < kPairs * c.dim; ++i) rows[i] = static_cast<std::int16_t>(value(rng));
  for (std::size_t i = 0; i < kPairs; ++i) chosen[i] = static_cast<std::uint16_t>(position(rng));
  chosen[0] = static_cast<std::uint16_t>(tokens - first - 1);
  codec::multiply_residuals(c.segment.codes, c.dim, first, chosen.get(), kPairs, rows.get(), c.dim, products.get());
  bool same = true;
  for (std::size_t i = 0; i < kPairs; ++i) {
    int sum = 0;
    for (std::size_t d = 0; d < c.dim; ++d) {
      const auto [high, low] = residual(c, first + chosen[i], d);
      sum += rows[i * c.dim + d] * std::clamp(high + low, -128, 127);
    }
    same = same && sum == products[i];
  }
  expect(same, name + ": products with residuals differ from a plain loop");
}

// Every code, every residual scale and both ends of int8, from any token on, with and without the sign bit flipped.
void check_decoding(const Collection& c, std::mt19937& rng, const std::string& name) {
  const auto tokens = static_cast<std::size_t>(c.offsets[c.segment.documents]);
  std::uniform_int_distribution<int> byte(0, 255);
  const std::size_t packed = tokens * codec::row_bytes(c.dim, c.segment.codes.bits);
  for (std::size_t i = 0; i < packed; ++i) c.residuals[i] = static_cast<std::uint8_t>(byte(rng));
  for (std::size_t t = 0; t < tokens; ++t) c.residual_scales[t] = static_cast<std::uint8_t>(t % 3 == 0 ? 255 : byte(rng));
  for (std::size_t d = 0; d < c.dim; ++d) {
    c.centroids[d] = 127;
    c.centroids[c.dim + d] = -128;
  }
  for (const std::size_t first : {std::size_t{0}, tokens / 3, tokens - 1}) {
    for (const int flip : {0, 128}) {
      const std::size_t count = tokens - first;
      std::unique_ptr<std::uint8_t[]> rows(new std::uint8_t[count * c.dim]);
      std::unique_ptr<float[]> scales(new float[count]);
      const codec::Run run{c.codebook, c.segment.codes, first, count};
      codec::decode(run, run, static_cast<std::uint8_t>(flip), rows.get(), c.dim, scales.get());
      bool same = true;
      for (std::size_t t = 0; t < count; ++t) {
        same = same && scales[t] == c.scales[c.segment.codes.id(first + t)];
        for (std::size_t d = 0; d < c.dim; ++d) {
          same = same && rows[t * c.dim + d] == (static_cast<std::uint8_t>(rebuilt(c, first + t, d)) ^ flip);
        }
      }
      expect(same, name + ": decoding differs from a plain loop");
    }
  }
}

// Decoded vectors must lie within the bound that the encoder stored.
void check_codes(const Collection& c, const std::string& name) {
  const auto tokens = static_cast<std::size_t>(c.offsets[c.segment.documents]);
  std::unique_ptr<std::uint8_t[]> rows(new std::uint8_t[tokens * c.dim]);
  std::unique_ptr<float[]> scales(new float[tokens]);
  const codec::Run run{c.codebook, c.segment.codes, 0, tokens};
  codec::decode(run, run, 0, rows.get(), c.dim, scales.get());
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
  std::vector<float> scores(c.segment.documents);
  const auto rows = static_cast<std::size_t>(c.offsets[c.segment.documents]);
  maxsim::score_grid({query.data(), maxsim::Dtype::f32, tokens, c.dim, nullptr}, {&begin, &end, 1},
                     {c.halves.get(), maxsim::Dtype::f16, rows, c.dim, nullptr},
                     {c.offsets.get(), c.offsets.get() + 1, c.segment.documents}, scores.data(), nullptr, 0);
  std::vector<std::pair<float, std::int64_t>> out;
  for (std::size_t d = 0; d < c.segment.documents; ++d) out.emplace_back(scores[d], c.numbers[d]);
  std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  out.resize(std::min(k, out.size()));
  return out;
}

void check_search(Collection& c, std::mt19937& rng, std::size_t tokens, const std::string& name) {
  std::uniform_real_distribution<float> value(-1.0f, 1.0f);
  std::vector<float> query(tokens * c.dim);
  for (float& v : query) v = value(rng);
  const std::size_t k = 7;
  const auto expected = brute_force(c, query, tokens, k);
  const std::vector<std::uint64_t> bits((c.segment.documents + 63) / 64, 0x5555555555555555ull);
  for (const bool probing : {false, true}) {
    c.segment.posting_starts = probing ? c.starts.data() : nullptr;
    c.segment.postings = probing ? c.postings.data() : nullptr;
    search::Options options;
    options.k = k;
    for (const bool exact : {true, false}) {
      options.exact = exact;
      options.candidates = exact ? 0 : c.segment.documents;
      options.rescored = c.segment.documents;
      search::Report report;
      const auto hits = search::search(query.data(), tokens, c.dim, {c.segment}, {nullptr}, options, report);
      bool same = hits.size() == expected.size();
      for (std::size_t i = 0; same && i < expected.size(); ++i) {
        same = hits[i].score == expected[i].first && hits[i].number == expected[i].second;
      }
      expect(same, name + (exact ? ": exact search" : ": staged search with every candidate") + " differs from brute force");
    }
    // Small limits give as many results, and with a mask only allowed documents.
    options.candidates = k;
    options.rescored = k;
    options.postings = 30;
    search::Report report;
    const auto approximate = search::search(query.data(), tokens, c.dim, {c.segment}, {nullptr}, options, report);
    expect(approximate.size() == std::min(k, c.segment.documents), name + ": too few results");
    const auto masked = search::search(query.data(), tokens, c.dim, {c.segment}, {bits.data()}, options, report);
    for (const auto& hit : masked) expect(hit.number % 2 == 0, name + ": a document outside the mask");
    expect(masked.size() == std::min(k, (c.segment.documents + 1) / 2), name + ": too few results with a mask");
  }
}

// A search of two segments, the second small, equals a search of one collection.
void check_segments(Collection& large, Collection& small, std::mt19937& rng, const std::string& name) {
  std::uniform_real_distribution<float> value(-1.0f, 1.0f);
  std::vector<float> query(3 * large.dim);
  for (float& v : query) v = value(rng);
  for (const bool with_vectors : {true, false}) {
    auto expected = brute_force(large, query, 3, large.segment.documents);
    const auto others = brute_force(small, query, 3, small.segment.documents);
    expected.insert(expected.end(), others.begin(), others.end());
    std::stable_sort(expected.begin(), expected.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::vector<search::Segment> segments = {large.segment, small.segment};
    // Without vectors, no document outside the hits may score above the bound.
    if (!with_vectors) segments[1].vectors = nullptr;
    search::Options options;
    options.k = 5;
    options.exact = true;
    search::Report report;
    const auto hits = search::search(query.data(), 3, large.dim, segments, {nullptr, nullptr}, options, report);
    bool same = hits.size() == 5;
    bool above = false;
    for (const auto& [score, number] : expected) {
      const auto is_document = [number = number](const search::Hit& hit) { return hit.number == number; };
      above = above || (std::none_of(hits.begin(), hits.end(), is_document) && score > report.bound);
    }
    for (std::size_t i = 0; with_vectors && same && i < 5; ++i) {
      same = hits[i].score == expected[i].first && hits[i].number == expected[i].second;
    }
    expect(same, name + ": exact search of two segments differs from brute force");
    expect(!above, name + ": a document outside the hits is above the bound");
    options.exact = false;
    options.candidates = small.segment.documents + 1;
    search::Report staged;
    const auto approximate = search::search(query.data(), 3, large.dim, segments, {nullptr, nullptr}, options, staged);
    expect(approximate.size() == 5 && !staged.direct, name + ": a segment's few documents were not compared with another's");
  }
}

// XTR: with every token retrieved, the sums of the best similarities of centroid plus residual; with fewer, or with a mask,
// documents that are allowed, once each.
void check_xtr(Collection& c, std::mt19937& rng, std::size_t tokens, const std::string& name) {
  std::uniform_int_distribution<int> value(-127, 127);
  std::vector<float> query(tokens * c.dim);
  // int8 holds such values exactly.
  for (std::size_t i = 0; i < query.size(); ++i) query[i] = static_cast<float>(i % c.dim == 0 ? 127 : value(rng)) / 128.0f;
  std::vector<double> expected(c.segment.documents, 0.0);
  for (std::size_t d = 0; d < c.segment.documents; ++d) {
    for (std::size_t t = 0; t < tokens; ++t) {
      double best = -1e30;
      for (auto i = static_cast<std::size_t>(c.offsets[d]); i < static_cast<std::size_t>(c.offsets[d + 1]); ++i) {
        double dot = 0.0;
        for (std::size_t e = 0; e < c.dim; ++e) {
          const auto [high, low] = residual(c, i, e);
          const int level = c.centroids[c.segment.codes.id(i) * c.dim + e] + std::clamp(high + low, -128, 127);
          dot += static_cast<double>(query[t * c.dim + e]) * level * static_cast<double>(c.scales[0]);
        }
        best = std::max(best, dot);
      }
      expected[d] += best;
    }
  }
  const std::vector<std::uint64_t> bits((c.segment.documents + 63) / 64, 0x5555555555555555ull);
  for (const bool listed : {false, true}) {
    c.segment.posting_starts = listed ? c.starts.data() : nullptr;
    c.segment.postings = listed ? c.postings.data() : nullptr;
    for (const std::size_t k_token : {std::size_t{1}, std::size_t{9}, std::size_t{1} << 40}) {
      search::Options options;
      options.k = c.segment.documents;
      options.k_token = k_token;
      search::Report report;
      const auto hits = search::search(query.data(), tokens, c.dim, {c.segment}, {nullptr}, options, report);
      std::vector<bool> seen(c.segment.documents, false);
      bool same = true;
      for (const auto& hit : hits) {
        const auto d = static_cast<std::size_t>(hit.number - c.numbers[0]);
        same = same && !seen[d];
        seen[d] = true;
        if (k_token > 9) same = same && std::fabs(hit.score - expected[d]) < 1e-3 * static_cast<double>(tokens);
      }
      expect(same, name + ": XTR differs from a plain loop");
      const auto masked = search::search(query.data(), tokens, c.dim, {c.segment, c.segment}, {bits.data(), bits.data()},
                                         options, report);
      for (const auto& hit : masked) expect((hit.number - c.numbers[0]) % 2 == 0, name + ": XTR outside the mask");
    }
    // Without codes, over vectors.
    search::Segment flat = c.segment;
    flat.codebook = nullptr;
    search::Options options;
    options.k = c.segment.documents;
    options.k_token = std::size_t{1} << 40;
    search::Report report;
    const auto hits = search::search(query.data(), tokens, c.dim, {flat, c.segment}, {nullptr, bits.data()}, options, report);
    const auto best = brute_force(c, query, tokens, c.segment.documents);
    expect(!hits.empty() && hits[0].score >= best[0].first - 1e-3f, name + ": XTR over vectors misses the best");
  }
}

// Every point gets the nearest centroid of its group's list, but for the rounding to 8 bits, and every cluster the mean of
// its points.
void check_clusters(std::mt19937& rng, std::size_t dim, const std::string& name) {
  constexpr std::size_t kPoints = 133, kCentroids = 19;
  std::uniform_real_distribution<float> value(-1.0f, 1.0f);
  std::vector<float> points(kPoints * dim);
  std::vector<float> centroids(kCentroids * dim);
  for (float& v : points) v = value(rng);
  for (float& v : centroids) v = value(rng);
  std::vector<std::int64_t> order(kPoints);
  for (std::size_t p = 0; p < kPoints; ++p) order[p] = static_cast<std::int64_t>(p);
  std::shuffle(order.begin(), order.end(), rng);
  const std::vector<std::int64_t> starts = {0, 0, 70, 71, 71, kPoints};
  const std::vector<std::int64_t> list = {3, 18, 0, 7, 9, 1, 2, 4, 5, 6, 8, 10, 11, 12};
  const std::vector<std::int64_t> list_starts = {0, 1, 4, 5, 5, 14};
  const auto packed = exact_copy(points);
  const auto exact_centroids = exact_copy(centroids);
  std::unique_ptr<std::int32_t[]> ids(new std::int32_t[kPoints]);
  codec::nearest(packed.get(), kPoints, dim, order.data(), starts.data(), 5, exact_centroids.get(), kCentroids,
                 list.data(), list_starts.data(), ids.get());
  const auto distance = [&](std::size_t point, std::size_t centroid) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
      const double off = static_cast<double>(points[point * dim + d]) - centroids[centroid * dim + d];
      square += off * off;
    }
    return square;
  };
  // Both ends of both distances may be rounded by half a step in every dimension; less their mean, no value is above 2.
  const double rounding = 1.001 * std::sqrt(static_cast<double>(dim)) * 4.0 / 127.0;
  bool correct = true;
  for (std::size_t g = 0; g < 5; ++g) {
    for (auto i = starts[g]; i < starts[g + 1]; ++i) {
      const auto point = static_cast<std::size_t>(order[static_cast<std::size_t>(i)]);
      double smallest = 1e30;
      bool listed = false;
      for (auto c = list_starts[g]; c < list_starts[g + 1]; ++c) {
        smallest = std::min(smallest, distance(point, static_cast<std::size_t>(list[static_cast<std::size_t>(c)])));
        listed = listed || ids[point] == list[static_cast<std::size_t>(c)];
      }
      const double found = std::sqrt(distance(point, static_cast<std::size_t>(ids[point])));
      correct = correct && listed && found <= std::sqrt(smallest) + rounding;
    }
  }
  expect(correct, name + ": not the nearest centroid of the list");
  std::unique_ptr<float[]> means(new float[kCentroids * dim]);
  std::fill_n(means.get(), kCentroids * dim, 9.0f);
  std::unique_ptr<double[]> squares(new double[kCentroids]);
  std::unique_ptr<std::int64_t[]> sizes(new std::int64_t[kCentroids]);
  codec::means(packed.get(), kPoints, dim, ids.get(), kCentroids, means.get(), squares.get(), sizes.get());
  bool mean = true;
  for (std::size_t c = 0; c < kCentroids; ++c) {
    for (std::size_t d = 0; d < dim; ++d) {
      double sum = 0.0;
      std::int64_t size = 0;
      for (std::size_t p = 0; p < kPoints; ++p) {
        if (ids[p] != static_cast<std::int32_t>(c)) continue;
        sum += points[p * dim + d];
        ++size;
      }
      const double expected = size == 0 ? 9.0 : sum / static_cast<double>(size);
      mean = mean && size == sizes[c] && std::fabs(means[c * dim + d] - expected) < 1e-6;
    }
  }
  expect(mean, name + ": not the mean of the cluster, or an empty cluster was changed");
}

// Random shapes on a random instruction set, searched from several threads that share the pool.
void attack(unsigned seed) {
  std::mt19937 rng(seed);
  const std::vector<std::string> names = maxsim::supported();
  const std::string name = names[rng() % names.size()];
  maxsim::use(name);
  set_num_threads(1 + rng() % 4);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([own_seed = rng(), &name] {
      std::mt19937 own(own_seed);
      constexpr int kBits[3] = {2, 4, 8};
      const std::size_t dim = 1 + own() % 160;
      Collection c;
      fill(c, own, 8 + own() % 60, dim, kBits[own() % 3], own() % 2 == 0, 0);
      const std::string label = name + ", seed " + std::to_string(own_seed) + ", dim " + std::to_string(dim);
      check_codes(c, label);
      check_search(c, own, 1 + own() % 40, label);
      Collection other;
      fill(other, own, 6, dim, kBits[own() % 3], own() % 2 == 0, 1000);
      check_segments(c, other, own, label);
      check_xtr(c, own, 1 + own() % 40, label);
      check_decoding(c, own, label);
      check_products(c, own, label);
      check_clusters(own, dim, label);
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace

// With a seed, a random attack; without, every shape and instruction set in turn.
int main(int argc, char** argv) {
  if (argc > 1) {
    attack(static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)));
    std::printf("search: %d failed\n", failures.load());
    return failures == 0 ? 0 : 1;
  }
  for (const std::string& name : maxsim::supported()) {
    maxsim::use(name);
    const int before = failures;
    std::mt19937 rng(1);
    for (const int bits : {2, 4, 8}) {
      for (const std::size_t dim : {1u, 7u, 31u, 64u, 128u, 129u}) {
        Collection c;
        fill(c, rng, 41, dim, bits, dim % 4 == 3, 0);
        const std::string label = name + ", " + std::to_string(bits) + " bits, dim " + std::to_string(dim);
        check_codes(c, label);
        for (const std::size_t tokens : {1u, 16u, 37u}) check_search(c, rng, tokens, label);
        Collection other;
        fill(other, rng, 6, dim, 4, dim % 4 != 3, 1000);
        check_segments(c, other, rng, label);
        for (const std::size_t tokens : {1u, 16u, 37u}) check_xtr(c, rng, tokens, label);
        check_decoding(c, rng, label);
        check_products(c, rng, label);
      }
    }
    for (const std::size_t dim : {1u, 30u, 65u}) check_clusters(rng, dim, name + ", dim " + std::to_string(dim));
    std::printf("search on %s: %s\n", name.c_str(), failures == before ? "ok" : "not ok");
  }
  std::printf("search: %d failed\n", failures.load());
  return failures == 0 ? 0 : 1;
}
