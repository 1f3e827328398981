// A query in the forms the stages read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../maxsim/dispatch.hpp"
#include "../maxsim/maxsim.hpp"
#include "../maxsim/prepare.hpp"

namespace serotine::search {

// The int8 kernel consumes dimensions in groups of at most this many: one more group carries the error bounds.
constexpr std::size_t kBoundDims = 4;

// int8 tokens with a scale each, laid across lanes for the kernels.
class LaidQuery {
 public:
  LaidQuery(const maxsim::Kernels& kernels, const std::vector<std::int8_t>& values, const std::vector<float>& scales,
            std::size_t tokens, std::size_t dim);
  std::size_t dim() const { return dim_; }
  std::size_t lanes() const { return prepared_[0].vectors * prepared_[0].lanes; }
  std::size_t steps() const { return prepared_.steps(); }
  // Folds `count` staged rows into the running maxima best[lanes].
  void fold(const maxsim::Kernels& kernels, const void* rows, std::size_t stride_bytes, const float* scales,
            std::size_t count, float* best) const;
  // The similarities without maxima: `lanes` values per row, rows `out_stride` apart.
  void dots(const maxsim::Kernels& kernels, const void* rows, std::size_t stride_bytes, const float* scales,
            std::size_t count, float* out, std::size_t out_stride) const;

 private:
  std::size_t dim_;
  std::int64_t begin_ = 0;
  std::int64_t end_;
  std::vector<float> scales_;
  maxsim::PreparedQueries prepared_;
};

class Query {
 public:
  Query(const float* values, std::size_t tokens, std::size_t dim);

  const maxsim::Kernels& kernels() const { return kernels_; }
  const float* values() const { return values_; }
  std::size_t tokens() const { return tokens_; }
  std::size_t dim() const { return dim_; }
  const std::vector<float>& scales() const { return scales_; }
  // int8 [tokens][dim]: times their scales, the query.
  const std::vector<std::int8_t>& quantized() const { return quantized_; }
  const std::vector<float>& norms() const { return norms_; }
  // Sums over tokens of the norm, and of the norm of the int8 rounding error.
  double norm_sum() const { return norm_sum_; }
  double lost_sum() const { return lost_sum_; }
  const LaidQuery& laid() const { return laid_; }
  // The same with kBoundDims more dimensions: the row's values there, times the row's scale and the token's norm (rounded
  // up) over `bound_unit`, are added to every similarity.
  LaidQuery bounded() const;
  // A row's bound dimensions must sum to its error in units times this, rounded up.
  double bound_unit() const { return bound_unit_; }

 private:
  const maxsim::Kernels& kernels_;
  const float* values_;
  std::size_t tokens_;
  std::size_t dim_;
  std::vector<float> scales_;
  std::vector<float> norms_;
  double norm_sum_ = 0.0;
  double lost_sum_ = 0.0;
  double bound_unit_ = 0.0;
  std::vector<std::int8_t> quantized_;
  LaidQuery laid_;
};

}  // namespace serotine::search
