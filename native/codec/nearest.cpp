// The assignment step of k-means, deterministic at any number of threads.
//
// Points are laid across lanes as a query's tokens are, and centroids are read as a document's, so that MaxSim's fold
// finds them: argmin |p - c|^2 = argmax <p, c> - |c|^2 / 2. A block of points is folded in int8 if they are of similar
// size, as token vectors are, else in fp32. Of points and centroids in int8, what all centroids have in common is
// subtracted first, so that rounding spares what they differ in.
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
// The points of a block share a scale: one that is 4 times smaller than the largest keeps 5 of 7 bits.
constexpr float kSimilarSize = 4.0f;
// Bounds of the largest value of a row: within them norms, and their quotients by scales, are normal fp32 numbers.
constexpr float kMinMagnitude = 1e-9f;
constexpr float kMaxMagnitude = 1e9f;
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

// The centroids in int8 as the fold reads them, each with a scale, less their mean. Norms are of the rounded rows, so
// that most of the rounding cancels: what is left is in proportion to a point's distance.
class Int8Centroids {
 public:
  Int8Centroids(const float* rows, std::size_t count, std::size_t dim, const maxsim::Int8Fold& kernel)
      : kernel_(kernel),
        steps_((dim + kernel.group - 1) / kernel.group),
        stride_(steps_ * kernel.group * kernel.bytes),
        staged_(count * stride_),
        scales_(count),
        halves_(count),
        mean_(mean_of(rows, count, dim)) {
    std::vector<std::uint8_t> out_of_range((count + kRowsPerItem - 1) / kRowsPerItem);
    parallel_for(out_of_range.size(), num_threads(), [&](std::size_t item, std::size_t) {
      std::vector<float> centered(dim);
      std::vector<std::int8_t> values(dim);
      const std::size_t last = std::min(count, (item + 1) * kRowsPerItem);
      for (std::size_t row = item * kRowsPerItem; row < last; ++row) {
        for (std::size_t d = 0; d < dim; ++d) centered[d] = rows[row * dim + d] - mean_[d];
        const float largest = largest_of(centered.data(), dim);
        if (!(largest <= kMaxMagnitude)) {
          out_of_range[item] = 1;
          return;
        }
        const float inverse = largest < kMinMagnitude ? 0.0f : kMaxInt8 / largest;
        std::int64_t square = 0;
        for (std::size_t d = 0; d < dim; ++d) {
          values[d] = rounded(centered[d] * inverse);
          square += std::int64_t{values[d]} * values[d];
        }
        scales_[row] = largest / kMaxInt8;
        halves_[row] = -0.5f * static_cast<float>(square) * scales_[row] * scales_[row];
        kernel.stage(values.data(), 1, dim, staged_.data() + row * stride_, stride_);
      }
    });
    in_range_ = std::find(out_of_range.begin(), out_of_range.end(), 1) == out_of_range.end();
  }

  const maxsim::Int8Fold& kernel() const { return kernel_; }
  // Whether all values are in the range of the scales.
  bool in_range() const { return in_range_; }
  const float* mean() const { return mean_.data(); }
  std::size_t steps() const { return steps_; }
  std::size_t stride() const { return stride_; }
  const std::uint8_t* row(std::size_t centroid) const { return staged_.data() + centroid * stride_; }
  float scale(std::size_t centroid) const { return scales_[centroid]; }
  float half(std::size_t centroid) const { return halves_[centroid]; }

 private:
  static std::vector<float> mean_of(const float* rows, std::size_t count, std::size_t dim) {
    std::vector<double> sums(dim);
    for (std::size_t row = 0; row < count; ++row) {
      for (std::size_t d = 0; d < dim; ++d) sums[d] += rows[row * dim + d];
    }
    std::vector<float> mean(dim);
    for (std::size_t d = 0; d < dim; ++d) {
      mean[d] = static_cast<float>(sums[d] / static_cast<double>(std::max<std::size_t>(count, 1)));
    }
    return mean;
  }

  const maxsim::Int8Fold& kernel_;
  std::size_t steps_;
  std::size_t stride_;
  Aligned<std::uint8_t> staged_;
  std::vector<float> scales_;
  std::vector<float> halves_;
  std::vector<float> mean_;
  bool in_range_ = true;
};

// What one thread needs to fold blocks in fp32. Rows and points have one more value: minus half the squared norm, and 1.
class FloatBlocks {
 public:
  FloatBlocks(const float* centroids, std::size_t dim, const maxsim::FloatFold& kernel)
      : centroids_(centroids), dim_(dim), kernel_(kernel) {}

  void begin_group() { gathered_ = false; }

  // Finds the winner of every point, as a position in the list.
  void fold(const Members& members, const float* const* points, std::size_t count, std::int32_t* winners) {
    const std::size_t steps = dim_ + 1, lanes = kernel_.lanes;
    if (!gathered_) gather(members);
    const std::size_t vectors = (count + lanes - 1) / lanes;
    query_.assign(vectors * steps * lanes, 0.0f);
    for (std::size_t p = 0; p < count; ++p) {
      float* out = query_.data() + (p / lanes) * steps * lanes + p % lanes;
      for (std::size_t d = 0; d < dim_; ++d) out[d * lanes] = points[p][d];
      out[dim_ * lanes] = 1.0f;
    }
    best_.assign(vectors * lanes, -std::numeric_limits<float>::infinity());
    where_.assign(vectors * lanes, 0);
    const auto* rows = reinterpret_cast<const char*>(rows_.data());
    kernel_.fold(query_.data(), vectors, steps, rows, steps * sizeof(float), {rows, 0}, members.count, 0, best_.data(),
                 where_.data());
    std::copy_n(where_.begin(), count, winners);
  }

 private:
  void gather(const Members& members) {
    const std::size_t steps = dim_ + 1;
    rows_.resize(members.count * steps);
    for (std::size_t c = 0; c < members.count; ++c) {
      std::copy_n(centroids_ + static_cast<std::size_t>(members.list[c]) * dim_, dim_, rows_.data() + c * steps);
    }
    // Rows side by side: one alone would wait for each addition.
    for (std::size_t first = 0; first < members.count; first += kRowsAbreast) {
      float* rows = rows_.data() + first * steps;
      const std::size_t abreast = std::min(kRowsAbreast, members.count - first);
      double squares[kRowsAbreast] = {};
      for (std::size_t d = 0; d < dim_; ++d) {
        for (std::size_t c = 0; c < abreast; ++c) {
          const double value = rows[c * steps + d];
          squares[c] += value * value;
        }
      }
      for (std::size_t c = 0; c < abreast; ++c) rows[c * steps + dim_] = static_cast<float>(-0.5 * squares[c]);
    }
    gathered_ = true;
  }

  const float* centroids_;
  std::size_t dim_;
  const maxsim::FloatFold& kernel_;
  bool gathered_ = false;
  Aligned<float> rows_;
  Aligned<float> query_;
  Aligned<float> best_;
  Aligned<std::int32_t> where_;
};

// What one thread needs to fold blocks in int8.
class Int8Blocks {
 public:
  Int8Blocks(const Int8Centroids& centroids, std::size_t dim) : centroids_(centroids), dim_(dim) {}

  void begin_group() { gathered_ = false; }

  // Centers the points of a block; returns false if they do not fit one scale.
  bool take(const float* const* points, std::size_t count) {
    if (dim_ > kMaxInt8Dim || !centroids_.in_range()) return false;
    centered_.resize(count * dim_);
    const float* mean = centroids_.mean();
    float smallest = kMaxMagnitude;
    largest_ = 0.0f;
    for (std::size_t p = 0; p < count; ++p) {
      float* row = centered_.data() + p * dim_;
      for (std::size_t d = 0; d < dim_; ++d) row[d] = points[p][d] - mean[d];
      const float largest = largest_of(row, dim_);
      if (!(largest <= kMaxMagnitude)) return false;
      largest_ = std::max(largest_, largest);
      smallest = std::min(smallest, largest);
    }
    return smallest >= kMinMagnitude && smallest * kSimilarSize >= largest_;
  }

  // Finds the winner of every point that was taken, as a position in the list.
  void fold(const Members& members, std::size_t count, std::int32_t* winners) {
    const maxsim::Int8Fold& kernel = centroids_.kernel();
    if (!gathered_) gather(members);
    const std::size_t steps = centroids_.steps(), lanes = kernel.lanes;
    const std::size_t vectors = (count + lanes - 1) / lanes;
    query_.assign(vectors * steps * lanes * kernel.group * kernel.bytes, 0);
    bias_.assign(vectors * lanes, 0);
    const float inverse = kMaxInt8 / largest_;
    if (kernel.bytes == 1) {
      lay_out<std::int8_t>(count, inverse);
    } else {
      lay_out<std::int16_t>(count, inverse);
    }
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
  void lay_out(std::size_t count, float inverse) {
    const maxsim::Int8Fold& kernel = centroids_.kernel();
    const std::size_t lanes = kernel.lanes, group = kernel.group, vector = centroids_.steps() * lanes * group;
    auto* query = reinterpret_cast<T*>(query_.data());
    for (std::size_t p = 0; p < count; ++p) {
      T* out = query + (p / lanes) * vector + (p % lanes) * group;
      std::int32_t sum = 0;
      for (std::size_t d = 0; d < dim_; ++d) {
        const std::int8_t value = rounded(centered_[p * dim_ + d] * inverse);
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
  float largest_ = 0.0f;
  std::vector<float> centered_;
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
  // Read once: another thread may choose another instruction set meanwhile.
  const maxsim::Kernels& kernels = maxsim::kernels();
  const Int8Centroids int8_centroids(centroids, centroid_count, dim, kernels.i8);
  struct Worker {
    FloatBlocks in_float;
    Int8Blocks in_int8;
    std::size_t group = std::numeric_limits<std::size_t>::max();
  };
  std::vector<Worker> workers(num_threads(), {FloatBlocks(centroids, dim, kernels.f32[0]), Int8Blocks(int8_centroids, dim)});
  parallel_for(items.size(), workers.size(), [&](std::size_t number, std::size_t thread) {
    Worker& worker = workers[thread];
    const Item& item = items[number];
    const Members members{list + list_starts[item.group],
                          static_cast<std::size_t>(list_starts[item.group + 1] - list_starts[item.group])};
    if (worker.group != item.group) {
      worker.group = item.group;
      worker.in_float.begin_group();
      worker.in_int8.begin_group();
    }
    const float* block[kPointsPerBlock];
    std::int32_t winners[kPointsPerBlock];
    for (std::size_t first = item.first; first < item.last; first += kPointsPerBlock) {
      const std::size_t now = std::min(kPointsPerBlock, item.last - first);
      for (std::size_t p = 0; p < now; ++p) block[p] = points + static_cast<std::size_t>(order[first + p]) * dim;
      if (worker.in_int8.take(block, now)) {
        worker.in_int8.fold(members, now, winners);
      } else {
        worker.in_float.fold(members, block, now, winners);
      }
      for (std::size_t p = 0; p < now; ++p) ids[order[first + p]] = static_cast<std::int32_t>(members.list[winners[p]]);
    }
  });
}

}  // namespace serotine::codec
