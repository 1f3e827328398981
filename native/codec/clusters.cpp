// The update step of k-means, deterministic at any number of threads.
#include <algorithm>
#include <vector>

#include "../common/thread_pool.hpp"
#include "codec.hpp"

namespace serotine::codec {

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
