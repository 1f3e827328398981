// The half of a k-means step that assigns points to centroids, deterministic at any number of threads.
//
// Points are laid across lanes as a query's tokens are, and centroids are read as a document's, so that MaxSim's fold
// finds them: argmin |p - c|^2 = argmax <p, c> - |c|^2 / 2. A block of points is folded in int8 if they are of similar
// size, as token vectors are, else in fp32.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "../common/aligned.hpp"
#include "../common/thread_pool.hpp"
#include "../maxsim/dispatch.hpp"
#include "codec.hpp"

namespace serotine::codec {
namespace {

// Points whose products are computed side by side, and points one item of parallel work handles.
constexpr std::size_t kPointsPerBlock = 64;
constexpr std::size_t kPointsPerItem = 2048;
// Rows whose norms are computed side by side, and rows that one item of parallel work prepares.
constexpr std::size_t kRowsAbreast = 8;
constexpr std::size_t kRowsPerItem = 1024;
// The points of a block share a scale: one whose largest value is so many times smaller than another's keeps 5 of 7 bits.
constexpr float kSimilarSize = 4.0f;
// Largest values between which squares, and quotients by scales, are normal fp32 numbers.
constexpr float kLeast = 1e-12f;
constexpr float kMost = 1e12f;
// Sums of products of unsigned and signed bytes fit 32 bits up to this dimension.
constexpr std::size_t kMaxInt8Dim = 1 << 15;
constexpr float kMaxInt8 = 127.0f;

struct Item {
  std::size_t group;
  std::size_t first;
  std::size_t last;
};

// The numbers of the centroids that a group's points are compared with.
struct Members {
  const std::int64_t* list;
  std::size_t count;
};

// The largest absolute value; NaN and infinity are larger than all others.
float largest_of(const float* values, std::size_t count) {
  std::uint32_t largest = 0;
  for (std::size_t d = 0; d < count; ++d) largest = std::max(largest, std::bit_cast<std::uint32_t>(values[d]) << 1 >> 1);
  return std::bit_cast<float>(largest);
}

std::int8_t rounded(float value) { return static_cast<std::int8_t>(std::lrintf(value)); }

// The fp32 centroids, with minus half the squared norm of each: one that is on many lists is computed once.
class FloatCentroids {
 public:
  FloatCentroids(const float* rows, std::size_t count, std::size_t dim) : rows_(rows), dim_(dim), halves_(count) {
    parallel_for((count + kRowsPerItem - 1) / kRowsPerItem, num_threads(), [&](std::size_t item, std::size_t) {
      const std::size_t first = item * kRowsPerItem, last = std::min(count, first + kRowsPerItem);
      // Rows side by side: one alone would wait for each addition.
      for (std::size_t row = first; row < last; row += kRowsAbreast) {
        const std::size_t now = std::min(kRowsAbreast, last - row);
        double squares[kRowsAbreast] = {};
        for (std::size_t d = 0; d < dim; ++d) {
          for (std::size_t r = 0; r < now; ++r) {
            const double value = rows[(row + r) * dim + d];
            squares[r] += value * value;
          }
        }
        for (std::size_t r = 0; r < now; ++r) halves_[row + r] = static_cast<float>(-0.5 * squares[r]);
      }
    });
  }

  std::size_t dim() const { return dim_; }
  const float* row(std::size_t centroid) const { return rows_ + centroid * dim_; }
  float half(std::size_t centroid) const { return halves_[centroid]; }

 private:
  const float* rows_;
  std::size_t dim_;
  std::vector<float> halves_;
};

// The same in int8 as the fold reads them, each with a scale. Norms are of the rounded rows, so that most of the rounding
// cancels: what is left is in proportion to a point's distance.
class Int8Centroids {
 public:
  Int8Centroids(const float* rows, std::size_t count, std::size_t dim, const maxsim::Int8Fold& kernel)
      : steps_((dim + kernel.group - 1) / kernel.group),
        stride_(steps_ * kernel.group * kernel.bytes),
        staged_(count * stride_),
        scales_(count),
        halves_(count) {
    std::vector<std::uint8_t> outside((count + kRowsPerItem - 1) / kRowsPerItem);
    parallel_for(outside.size(), num_threads(), [&](std::size_t item, std::size_t) {
      std::vector<std::int8_t> values(dim);
      const std::size_t last = std::min(count, (item + 1) * kRowsPerItem);
      for (std::size_t row = item * kRowsPerItem; row < last; ++row) {
        const float largest = largest_of(rows + row * dim, dim);
        if (!(largest <= kMost)) {
          outside[item] = 1;
          return;
        }
        const float inverse = largest < kLeast ? 0.0f : kMaxInt8 / largest;
        std::int64_t square = 0;
        for (std::size_t d = 0; d < dim; ++d) {
          values[d] = rounded(rows[row * dim + d] * inverse);
          square += std::int64_t{values[d]} * values[d];
        }
        scales_[row] = largest / kMaxInt8;
        halves_[row] = -0.5f * static_cast<float>(square) * scales_[row] * scales_[row];
        kernel.stage(values.data(), 1, dim, staged_.data() + row * stride_, stride_);
      }
    });
    usable_ = std::find(outside.begin(), outside.end(), 1) == outside.end();
  }

  // Whether all values are in the range of the scales.
  bool usable() const { return usable_; }
  std::size_t steps() const { return steps_; }
  std::size_t stride() const { return stride_; }
  const std::uint8_t* row(std::size_t centroid) const { return staged_.data() + centroid * stride_; }
  float scale(std::size_t centroid) const { return scales_[centroid]; }
  float half(std::size_t centroid) const { return halves_[centroid]; }

 private:
  std::size_t steps_;
  std::size_t stride_;
  Aligned<std::uint8_t> staged_;
  std::vector<float> scales_;
  std::vector<float> halves_;
  bool usable_ = true;
};

// What one thread needs to fold blocks in fp32. Rows have a value more than points: minus half the squared norm, times 1.
class FloatBlocks {
 public:
  explicit FloatBlocks(const FloatCentroids& centroids) : centroids_(centroids) {}

  void begin_group() { gathered_ = false; }

  // Finds the winner of every point, as a position in the list.
  void fold(const Members& members, const float* const* points, std::size_t count, std::int32_t* winners) {
    const maxsim::FloatFold& kernel = maxsim::kernels().f32[0];
    const std::size_t dim = centroids_.dim(), steps = dim + 1, lanes = kernel.lanes;
    if (!gathered_) gather(members);
    const std::size_t vectors = (count + lanes - 1) / lanes;
    query_.assign(vectors * steps * lanes, 0.0f);
    for (std::size_t p = 0; p < count; ++p) {
      float* out = query_.data() + (p / lanes) * steps * lanes + p % lanes;
      for (std::size_t d = 0; d < dim; ++d) out[d * lanes] = points[p][d];
      out[dim * lanes] = 1.0f;
    }
    best_.assign(vectors * lanes, -std::numeric_limits<float>::infinity());
    where_.assign(vectors * lanes, 0);
    const auto* rows = reinterpret_cast<const char*>(rows_.data());
    kernel.fold(query_.data(), vectors, steps, rows, steps * sizeof(float), {rows, 0}, members.count, 0, best_.data(),
                where_.data());
    std::copy_n(where_.begin(), count, winners);
  }

 private:
  void gather(const Members& members) {
    const std::size_t dim = centroids_.dim();
    rows_.resize(members.count * (dim + 1));
    for (std::size_t c = 0; c < members.count; ++c) {
      const auto from = static_cast<std::size_t>(members.list[c]);
      std::copy_n(centroids_.row(from), dim, rows_.data() + c * (dim + 1));
      rows_[c * (dim + 1) + dim] = centroids_.half(from);
    }
    gathered_ = true;
  }

  const FloatCentroids& centroids_;
  bool gathered_ = false;
  Aligned<float> rows_;
  Aligned<float> query_;
  Aligned<float> best_;
  Aligned<std::int32_t> where_;
};

// The same in int8.
class Int8Blocks {
 public:
  Int8Blocks(const Int8Centroids& centroids, std::size_t dim) : centroids_(centroids), dim_(dim) {}

  void begin_group() { gathered_ = false; }

  // Whether the points suit one scale; `largest` is of all their values.
  bool suits(const float* const* points, std::size_t count, float& largest) const {
    if (dim_ > kMaxInt8Dim || !centroids_.usable()) return false;
    float least = kMost;
    largest = 0.0f;
    for (std::size_t p = 0; p < count; ++p) {
      const float of_point = largest_of(points[p], dim_);
      if (!(of_point <= kMost)) return false;
      largest = std::max(largest, of_point);
      least = std::min(least, of_point);
    }
    return least >= kLeast && least * kSimilarSize >= largest;
  }

  void fold(const Members& members, const float* const* points, std::size_t count, float largest,
            std::int32_t* winners) {
    const maxsim::Int8Fold& kernel = maxsim::kernels().i8;
    if (!gathered_) gather(members);
    const std::size_t steps = centroids_.steps(), lanes = kernel.lanes;
    const std::size_t vectors = (count + lanes - 1) / lanes;
    query_.assign(vectors * steps * lanes * kernel.group * kernel.bytes, 0);
    bias_.assign(vectors * lanes, 0);
    if (kernel.bytes == 1) {
      lay_out<std::int8_t>(points, count, kMaxInt8 / largest);
    } else {
      lay_out<std::int16_t>(points, count, kMaxInt8 / largest);
    }
    const float inverse = kMaxInt8 / largest;
    offsets_.resize(members.count);
    for (std::size_t c = 0; c < members.count; ++c) offsets_[c] = halves_[c] * inverse;
    best_.assign(vectors * lanes, -std::numeric_limits<float>::infinity());
    where_.assign(vectors * lanes, 0);
    const auto* rows = reinterpret_cast<const char*>(rows_.data());
    kernel.fold(query_.data(), bias_.data(), vectors, steps, rows, centroids_.stride(), {rows, 0}, scales_.data(),
                offsets_.data(), members.count, 0, best_.data(), where_.data());
    std::copy_n(where_.begin(), count, winners);
  }

 private:
  template <class T>
  void lay_out(const float* const* points, std::size_t count, float inverse) {
    const maxsim::Int8Fold& kernel = maxsim::kernels().i8;
    const std::size_t lanes = kernel.lanes, group = kernel.group, vector = centroids_.steps() * lanes * group;
    auto* query = reinterpret_cast<T*>(query_.data());
    for (std::size_t p = 0; p < count; ++p) {
      T* out = query + (p / lanes) * vector + (p % lanes) * group;
      std::int32_t sum = 0;
      for (std::size_t d = 0; d < dim_; ++d) {
        const std::int8_t value = rounded(points[p][d] * inverse);
        sum += value;
        out[(d / group) * lanes * group + d % group] = value;
      }
      // Centroids are read as value + offset: sums start from the contribution of the offset.
      bias_[p] = -kernel.offset * sum;
    }
  }

  void gather(const Members& members) {
    const std::size_t stride = centroids_.stride();
    rows_.resize(members.count * stride);
    scales_.resize(members.count);
    halves_.resize(members.count);
    for (std::size_t c = 0; c < members.count; ++c) {
      const auto from = static_cast<std::size_t>(members.list[c]);
      std::copy_n(centroids_.row(from), stride, rows_.data() + c * stride);
      scales_[c] = centroids_.scale(from);
      halves_[c] = centroids_.half(from);
    }
    gathered_ = true;
  }

  const Int8Centroids& centroids_;
  std::size_t dim_;
  bool gathered_ = false;
  Aligned<std::uint8_t> rows_;
  std::vector<float> scales_;
  std::vector<float> halves_;
  std::vector<float> offsets_;
  Aligned<std::uint8_t> query_;
  Aligned<std::int32_t> bias_;
  Aligned<float> best_;
  Aligned<std::int32_t> where_;
};

}  // namespace

void nearest(const float* points, std::size_t, std::size_t dim, const std::int64_t* order,
             const std::int64_t* group_starts, std::size_t groups, const float* centroids, std::size_t centroid_count,
             const std::int64_t* list, const std::int64_t* list_starts, std::int32_t* ids) {
  std::vector<Item> items;
  for (std::size_t g = 0; g < groups; ++g) {
    const auto end = static_cast<std::size_t>(group_starts[g + 1]);
    for (auto at = static_cast<std::size_t>(group_starts[g]); at < end; at += kPointsPerItem) {
      items.push_back({g, at, std::min(end, at + kPointsPerItem)});
    }
  }
  const FloatCentroids float_centroids(centroids, centroid_count, dim);
  const Int8Centroids int8_centroids(centroids, centroid_count, dim, maxsim::kernels().i8);
  struct Worker {
    FloatBlocks in_float;
    Int8Blocks in_int8;
    std::size_t group = std::numeric_limits<std::size_t>::max();
  };
  std::vector<Worker> workers(num_threads(), {FloatBlocks(float_centroids), Int8Blocks(int8_centroids, dim)});
  parallel_for(items.size(), workers.size(), [&](std::size_t number, std::size_t thread) {
    Worker& mine = workers[thread];
    const Item& item = items[number];
    const Members members{list + list_starts[item.group],
                          static_cast<std::size_t>(list_starts[item.group + 1] - list_starts[item.group])};
    if (mine.group != item.group) {
      mine.group = item.group;
      mine.in_float.begin_group();
      mine.in_int8.begin_group();
    }
    const float* block[kPointsPerBlock];
    std::int32_t winners[kPointsPerBlock];
    for (std::size_t first = item.first; first < item.last; first += kPointsPerBlock) {
      const std::size_t now = std::min(kPointsPerBlock, item.last - first);
      for (std::size_t p = 0; p < now; ++p) block[p] = points + static_cast<std::size_t>(order[first + p]) * dim;
      if (float largest; mine.in_int8.suits(block, now, largest)) {
        mine.in_int8.fold(members, block, now, largest, winners);
      } else {
        mine.in_float.fold(members, block, now, winners);
      }
      for (std::size_t p = 0; p < now; ++p) ids[order[first + p]] = static_cast<std::int32_t>(members.list[winners[p]]);
    }
  });
}

}  // namespace serotine::codec
