// A query in the forms the stages read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../maxsim/dispatch.hpp"
#include "../maxsim/maxsim.hpp"
#include "../maxsim/prepare.hpp"

namespace serotine::search {

// int8 tokens with a scale each, laid across lanes for the kernels.
class LaidQuery {
 public:
  LaidQuery(const maxsim::Kernels& kernels, const std::vector<std::int8_t>& values, const std::vector<float>& scales,
            std::size_t tokens, std::size_t dim);
  std::size_t dim() const { return dim_; }
  std::size_t lanes() const { return prepared_[0].vectors * prepared_[0].lanes; }
  std::size_t steps() const { return prepared_.steps(); }
  // The forms that the kernels read.
  const void* data() const { return prepared_.data(prepared_[0]); }
  const std::int32_t* bias() const { return prepared_.bias(prepared_[0]); }
  std::size_t vectors() const { return prepared_[0].vectors; }
  // Whether the tokens end within the first half of the last vector.
  bool ends_in_half() const { return 2 * static_cast<std::size_t>(end_) <= 2 * lanes() - prepared_[0].lanes; }
  const std::vector<float>& scales() const { return scales_; }
  // Folds `count` staged rows into the running maxima best[lanes]; `offsets` [count] or null, see Int8Fold.
  void fold(const maxsim::Kernels& kernels, const void* rows, std::size_t stride_bytes, const float* scales,
            const float* offsets, std::size_t count, float* best) const;
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

// int8 tokens whose scales are in proportion to their norms, so that an error of a document token adds the same bound to
// its similarity with each of them, in units of their scales.
struct EvenQuery {
  LaidQuery laid;
  double norm;      // an upper bound of every token's norm, in units of its scale
  double lost_sum;  // of the norms of the tokens' rounding errors
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
  // The sum of the tokens' norms.
  double norm_sum() const { return norm_sum_; }
  const LaidQuery& laid() const { return laid_; }
  EvenQuery even() const;

 private:
  const maxsim::Kernels& kernels_;
  const float* values_;
  std::size_t tokens_;
  std::size_t dim_;
  std::vector<float> scales_;
  std::vector<float> norms_;
  double norm_sum_ = 0.0;
  std::vector<std::int8_t> quantized_;
  LaidQuery laid_;
};

}  // namespace serotine::search
