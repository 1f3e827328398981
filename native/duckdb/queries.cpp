#include "queries.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "columns.hpp"

namespace serotine::duckdb {
namespace {

constexpr std::size_t kHeader = sizeof(std::uint64_t);
constexpr float kMaxCode = 127.0f;

}  // namespace

std::string query_blob(const float* values, std::size_t tokens, std::size_t dim) {
  const std::uint64_t header = tokens == 0 ? 0 : dim;
  const std::size_t size = tokens * dim * sizeof(float);
  std::string blob(kHeader + size, '\0');
  std::memcpy(blob.data(), &header, kHeader);
  if (size > 0) std::memcpy(blob.data() + kHeader, values, size);
  return blob;
}

std::size_t query_dim(const String& blob) {
  std::uint64_t dim = 0;
  if (blob.length >= kHeader) std::memcpy(&dim, blob.data(), kHeader);
  const std::size_t values = blob.length < kHeader ? 1 : blob.length - kHeader;
  const bool fits = dim == 0 ? values == 0 : dim <= values && values % (dim * sizeof(float)) == 0;
  if (!fits) throw Refused("query: must be a result of serotine_query");
  return dim;
}

Query::Query(const String& blob, std::size_t document_dim, maxsim::Dtype documents)
    : dim_(document_dim), is_int8_(documents == maxsim::Dtype::i8), floats_((blob.length - kHeader) / sizeof(float)) {
  end_ = static_cast<std::int64_t>(floats_.size() / dim_);
  if (!floats_.empty()) std::memcpy(floats_.data(), blob.data() + kHeader, blob.length - kHeader);
  if (is_int8_) quantize();
}

// As maxsim.quantize of the Python package does it, to the bit.
void Query::quantize() {
  codes_.resize(floats_.size());
  scales_.resize(count());
  for (std::size_t token = 0; token < scales_.size(); ++token) {
    const float* values = floats_.data() + token * dim_;
    float largest = 0.0f;
    for (std::size_t i = 0; i < dim_; ++i) largest = std::max(largest, std::fabs(values[i]));
    scales_[token] = largest / kMaxCode;
    const float divisor = scales_[token] == 0.0f ? 1.0f : scales_[token];
    for (std::size_t i = 0; i < dim_; ++i) {
      const float rounded = std::nearbyint(values[i] / divisor);
      codes_[token * dim_ + i] = static_cast<std::int8_t>(std::clamp(rounded, -kMaxCode, kMaxCode));
    }
  }
}

maxsim::Tokens Query::tokens() const {
  if (is_int8_) return {codes_.data(), maxsim::Dtype::i8, count(), dim_, scales_.data()};
  return {floats_.data(), maxsim::Dtype::f32, count(), dim_, nullptr};
}

}  // namespace serotine::duckdb
