#include "query.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace serotine::search {
namespace {

// int8 with one scale per token, before the query is laid across lanes.
std::vector<std::int8_t> quantize(const float* values, std::size_t tokens, std::size_t dim, std::vector<float>& scales) {
  std::vector<std::int8_t> out(tokens * dim);
  scales.resize(tokens);
  for (std::size_t t = 0; t < tokens; ++t) {
    float largest = 0.0f;
    for (std::size_t d = 0; d < dim; ++d) largest = std::max(largest, std::fabs(values[t * dim + d]));
    const float scale = largest > 0.0f ? largest / 127.0f : 1.0f;
    scales[t] = scale;
    for (std::size_t d = 0; d < dim; ++d) {
      out[t * dim + d] = static_cast<std::int8_t>(std::clamp(std::lround(values[t * dim + d] / scale), -127L, 127L));
    }
  }
  return out;
}

maxsim::Tokens tokens_of(const std::vector<std::int8_t>& values, const std::vector<float>& scales, std::size_t tokens,
                         std::size_t dim) {
  return {values.data(), maxsim::Dtype::i8, tokens, dim, scales.data()};
}

}  // namespace

LaidQuery::LaidQuery(const maxsim::Kernels& kernels, const std::vector<std::int8_t>& values,
                     const std::vector<float>& scales, std::size_t tokens, std::size_t dim)
    : dim_(dim),
      end_(static_cast<std::int64_t>(tokens)),
      scales_(scales),
      prepared_(kernels, tokens_of(values, scales_, tokens, dim), {&begin_, &end_, 1}, maxsim::Dtype::i8) {}

void LaidQuery::fold(const maxsim::Kernels& kernels, const void* rows, std::size_t stride_bytes, const float* scales,
                     const float* offsets, std::size_t count, float* best) const {
  const maxsim::PreparedQuery& query = prepared_[0];
  // The next rows are decoded, not read: there is nothing to prefetch.
  kernels.i8.fold(prepared_.data(query), prepared_.bias(query), query.vectors, prepared_.steps(), rows, stride_bytes,
                  {static_cast<const char*>(rows), 0}, scales, offsets, count, 0, best, nullptr);
}

void LaidQuery::dots(const maxsim::Kernels& kernels, const void* rows, std::size_t stride_bytes, const float* scales,
                     std::size_t count, float* out, std::size_t out_stride) const {
  const maxsim::PreparedQuery& query = prepared_[0];
  if (kernels.i8.dots != nullptr) {
    kernels.i8.dots(prepared_.data(query), prepared_.bias(query), query.vectors, prepared_.steps(), rows, stride_bytes,
                    scales, count, out, out_stride);
    return;
  }
  // A running maximum that begins at -infinity and sees one token is that token's similarity.
  const auto* at = static_cast<const char*>(rows);
  for (std::size_t i = 0; i < count; ++i) {
    float* row = out + i * out_stride;
    std::fill_n(row, lanes(), -std::numeric_limits<float>::infinity());
    fold(kernels, at + i * stride_bytes, stride_bytes, scales + i, nullptr, 1, row);
  }
}

Query::Query(const float* values, std::size_t tokens, std::size_t dim)
    : kernels_(maxsim::kernels()),
      values_(values),
      tokens_(tokens),
      dim_(dim),
      quantized_(quantize(values, tokens, dim, scales_)),
      laid_(kernels_, quantized_, scales_, tokens, dim) {
  norms_.resize(tokens);
  for (std::size_t t = 0; t < tokens; ++t) {
    double square = 0.0;
    for (std::size_t d = 0; d < dim; ++d) square += static_cast<double>(values[t * dim + d]) * values[t * dim + d];
    norms_[t] = static_cast<float>(std::sqrt(square));
    norm_sum_ += std::sqrt(square);
  }
}

EvenQuery Query::even() const {
  // In double precision: the norm of finite floats can be infinite as a float.
  std::vector<double> norms(tokens_, 0.0);
  double peak = 0.0;
  for (std::size_t t = 0; t < tokens_; ++t) {
    double largest = 0.0;
    for (std::size_t d = 0; d < dim_; ++d) {
      const double value = values_[t * dim_ + d];
      norms[t] += value * value;
      largest = std::max(largest, std::fabs(value));
    }
    norms[t] = std::sqrt(norms[t]);
    if (norms[t] > 0.0) peak = std::max(peak, largest / norms[t]);
  }
  std::vector<std::int8_t> values(tokens_ * dim_, 0);
  // Above zero, also for a token of zeros: 0 times an infinite bound would be NaN.
  std::vector<float> scales(tokens_, std::numeric_limits<float>::min());
  double norm = 0.0;
  double lost_sum = 0.0;
  for (std::size_t t = 0; t < tokens_; ++t) {
    scales[t] = std::max(scales[t], static_cast<float>(norms[t] * peak / 127.0));
    double lost = 0.0;
    for (std::size_t d = 0; d < dim_; ++d) {
      const double value = values_[t * dim_ + d];
      const long rounded = std::clamp(std::lround(value / scales[t]), -127L, 127L);
      const double off = value - static_cast<double>(scales[t]) * static_cast<double>(rounded);
      values[t * dim_ + d] = static_cast<std::int8_t>(rounded);
      lost += off * off;
    }
    norm = std::max(norm, norms[t] / scales[t]);
    lost_sum += std::sqrt(lost);
  }
  return {{kernels_, values, scales, tokens_, dim_}, norm, lost_sum};
}

}  // namespace serotine::search
