// The two halves of a k-means step, deterministic at any number of threads.
#include <algorithm>
#include <limits>
#include <vector>

#include "../common/aligned.hpp"
#include "../common/thread_pool.hpp"
#include "../maxsim/dispatch.hpp"
#include "codec.hpp"

namespace serotine::codec {
namespace {

// Points whose dot products are computed side by side, and points one item of parallel work handles.
constexpr std::size_t kPointsPerBlock = 64;
constexpr std::size_t kPointsPerItem = 2048;
// Rows whose norms are computed side by side, and by one item of parallel work.
constexpr std::size_t kRowsAbreast = 8;
constexpr std::size_t kRowsPerItem = 1024;

struct Item {
  std::size_t group;
  std::size_t first;
  std::size_t last;
};

// Minus half the squared norm of every row. A centroid is on many lists: its norm is computed once.
std::vector<float> minus_half_squares(const float* rows, std::size_t count, std::size_t dim) {
  std::vector<float> halves(count);
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
      for (std::size_t r = 0; r < now; ++r) halves[row + r] = static_cast<float>(-0.5 * squares[r]);
    }
  });
  return halves;
}

// Rows of `dim` + 1 values: the centroid and minus half its squared norm. The point gets a 1 there, so that the
// largest dot product is the smallest distance: the MaxSim kernel unchanged.
void gather(const float* centroids, const float* halves, std::size_t dim, const std::int64_t* list, std::size_t count,
            float* rows) {
  for (std::size_t c = 0; c < count; ++c) {
    const auto from = static_cast<std::size_t>(list[c]);
    std::copy_n(centroids + from * dim, dim, rows + c * (dim + 1));
    rows[c * (dim + 1) + dim] = halves[from];
  }
}

}  // namespace

void nearest(const float* points, std::size_t, std::size_t dim, const std::int64_t* order,
             const std::int64_t* group_starts, std::size_t groups, const float* centroids, std::size_t centroid_count,
             const std::int64_t* list, const std::int64_t* list_starts, std::int32_t* ids) {
  const std::vector<float> halves = minus_half_squares(centroids, centroid_count, dim);
  const maxsim::FloatFold& kernel = maxsim::kernels().f32[0];
  const std::size_t lanes = kernel.lanes;
  const std::size_t vectors = (kPointsPerBlock + lanes - 1) / lanes;
  const std::size_t row_size = dim + 1;
  std::vector<Item> items;
  for (std::size_t g = 0; g < groups; ++g) {
    const auto end = static_cast<std::size_t>(group_starts[g + 1]);
    for (auto at = static_cast<std::size_t>(group_starts[g]); at < end; at += kPointsPerItem) {
      items.push_back({g, at, std::min(end, at + kPointsPerItem)});
    }
  }
  struct Scratch {
    std::size_t group = std::numeric_limits<std::size_t>::max();
    Aligned<float> rows;
    Aligned<float> block;
    Aligned<float> best;
    Aligned<std::int32_t> where;
  };
  std::vector<Scratch> scratch(num_threads());
  parallel_for(items.size(), scratch.size(), [&](std::size_t number, std::size_t worker) {
    Scratch& mine = scratch[worker];
    const Item& item = items[number];
    const std::int64_t* members = list + list_starts[item.group];
    const auto count = static_cast<std::size_t>(list_starts[item.group + 1] - list_starts[item.group]);
    if (mine.group != item.group) {
      mine.group = item.group;
      mine.rows.resize(count * row_size);
      gather(centroids, halves.data(), dim, members, count, mine.rows.data());
    }
    mine.block.assign(vectors * row_size * lanes, 0.0f);
    mine.best.resize(vectors * lanes);
    mine.where.resize(vectors * lanes);
    for (std::size_t first = item.first; first < item.last; first += kPointsPerBlock) {
      const std::size_t now = std::min(kPointsPerBlock, item.last - first);
      for (std::size_t p = 0; p < now; ++p) {
        const float* point = points + static_cast<std::size_t>(order[first + p]) * dim;
        float* out = mine.block.data() + (p / lanes) * row_size * lanes + p % lanes;
        for (std::size_t d = 0; d < dim; ++d) out[d * lanes] = point[d];
        out[dim * lanes] = 1.0f;
      }
      std::fill(mine.best.begin(), mine.best.end(), -std::numeric_limits<float>::infinity());
      std::fill(mine.where.begin(), mine.where.end(), 0);
      const auto* rows = reinterpret_cast<const char*>(mine.rows.data());
      kernel.fold(mine.block.data(), (now + lanes - 1) / lanes, row_size, rows, row_size * sizeof(float),
                  {rows, 0}, count, 0, mine.best.data(), mine.where.data());
      for (std::size_t p = 0; p < now; ++p) {
        ids[order[first + p]] = static_cast<std::int32_t>(members[mine.where[p]]);
      }
    }
  });
}

void means(const float* points, std::size_t count, std::size_t dim, const std::int32_t* ids, std::size_t clusters,
           float* means, double* squares, std::int64_t* sizes) {
  // A counting sort leaves the points of a cluster in their order, so that every sum has a fixed order.
  std::vector<std::size_t> starts(clusters + 1, 0);
  for (std::size_t p = 0; p < count; ++p) ++starts[static_cast<std::size_t>(ids[p]) + 1];
  for (std::size_t c = 0; c < clusters; ++c) starts[c + 1] += starts[c];
  std::vector<std::size_t> order(count);
  {
    std::vector<std::size_t> next(starts.begin(), starts.end() - 1);
    for (std::size_t p = 0; p < count; ++p) order[next[static_cast<std::size_t>(ids[p])]++] = p;
  }
  std::vector<std::vector<double>> sums(num_threads());
  parallel_for(clusters, sums.size(), [&](std::size_t c, std::size_t worker) {
    const std::size_t size = starts[c + 1] - starts[c];
    sizes[c] = static_cast<std::int64_t>(size);
    squares[c] = 0.0;
    if (size == 0) return;
    std::vector<double>& sum = sums[worker];
    sum.assign(dim, 0.0);
    double square = 0.0;
    for (std::size_t i = starts[c]; i < starts[c + 1]; ++i) {
      const float* point = points + order[i] * dim;
      for (std::size_t d = 0; d < dim; ++d) {
        sum[d] += point[d];
        square += static_cast<double>(point[d]) * point[d];
      }
    }
    float* mean = means + c * dim;
    for (std::size_t d = 0; d < dim; ++d) {
      const double value = sum[d] / static_cast<double>(size);
      mean[d] = static_cast<float>(value);
      square -= value * sum[d];
    }
    squares[c] = std::max(square, 0.0);
  });
}

}  // namespace serotine::codec
