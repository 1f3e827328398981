#include "prepare.hpp"

#include <cmath>
#include <cstring>

#include "finite.hpp"

namespace serotine::maxsim {
namespace {

std::size_t round_up(std::size_t value, std::size_t to) { return (value + to - 1) / to * to; }

Path path_for(const Kernels& kernels, const Tokens& queries, Dtype documents) {
  if (queries.dtype == Dtype::i8) return Path::i8;
  // An odd dimension would make the last pair of one row read the first value of the next.
  if (queries.dtype == Dtype::bf16 && documents == Dtype::bf16 && kernels.bf16.fold != nullptr && queries.dim % 2 == 0) {
    return Path::bf16;
  }
  return Path::f32;
}

// Row `row` of the queries as fp32.
void widen_row(const Kernels& kernels, const Tokens& tokens, std::size_t row, float* out) {
  const std::size_t at = row * tokens.dim;
  switch (tokens.dtype) {
    case Dtype::f32:
      std::memcpy(out, static_cast<const float*>(tokens.data) + at, tokens.dim * sizeof(float));
      break;
    case Dtype::f16:
      kernels.widen_f16(static_cast<const std::uint16_t*>(tokens.data) + at, tokens.dim, out);
      break;
    case Dtype::bf16:
      kernels.widen_bf16(static_cast<const std::uint16_t*>(tokens.data) + at, tokens.dim, out);
      break;
    case Dtype::i8:
      break;
  }
}

}  // namespace

PreparedQueries::PreparedQueries(const Kernels& kernels, const Tokens& tokens, const Ranges& ranges, Dtype documents)
    : path_(path_for(kernels, tokens, documents)) {
  const Int8Fold& i8 = kernels.i8;
  const std::size_t group = path_ == Path::i8 ? i8.group : path_ == Path::bf16 ? 2 : 1;
  const std::size_t element = path_ == Path::i8 ? i8.bytes : path_ == Path::bf16 ? 2 : 4;
  steps_ = (tokens.dim + group - 1) / group;

  queries_.resize(ranges.count);
  std::size_t bytes = 0;
  std::size_t total_lanes = 0;
  for (std::size_t q = 0; q < ranges.count; ++q) {
    PreparedQuery& query = queries_[q];
    query.tokens = static_cast<std::size_t>(ranges.end[q] - ranges.begin[q]);
    tokens_ += query.tokens;
    if (path_ == Path::i8) {
      query.lanes = i8.lanes;
      if (query.tokens > 0) query.scales = tokens.scales + ranges.begin[q];
    } else if (path_ == Path::bf16) {
      query.lanes = kernels.bf16.lanes;
    } else {
      // The narrowest vector that holds the whole query, else the widest.
      for (std::size_t w = 0; w < 3; ++w) {
        if (kernels.f32[w].fold != nullptr && (w == 0 || kernels.f32[w].lanes >= query.tokens)) query.width = w;
      }
      query.lanes = kernels.f32[query.width].lanes;
    }
    query.vectors = (query.tokens + query.lanes - 1) / query.lanes;
    query.data = bytes;
    query.bias = total_lanes;
    bytes += round_up(query.vectors * steps_ * query.lanes * group * element, 64);
    total_lanes += query.vectors * query.lanes;
  }
  data_.assign(bytes, 0);
  if (path_ == Path::i8) bias_.assign(total_lanes, 0);

  std::vector<float> row(tokens.dim);
  for (std::size_t q = 0; q < ranges.count; ++q) {
    const PreparedQuery& query = queries_[q];
    std::uint8_t* out = data_.data() + query.data;
    for (std::size_t i = 0; i < query.tokens; ++i) {
      const std::size_t source = static_cast<std::size_t>(ranges.begin[q]) + i;
      const std::size_t vector = i / query.lanes;
      const std::size_t lane = i % query.lanes;
      const auto index_of = [&](std::size_t d) {
        return ((vector * steps_ + d / group) * query.lanes + lane) * group + d % group;
      };
      bool finite = true;
      if (path_ == Path::i8) {
        const auto* values = static_cast<const std::int8_t*>(tokens.data) + source * tokens.dim;
        std::int32_t sum = 0;
        for (std::size_t d = 0; d < tokens.dim; ++d) {
          sum += values[d];
          if (element == 1) {
            reinterpret_cast<std::int8_t*>(out)[index_of(d)] = values[d];
          } else {
            reinterpret_cast<std::int16_t*>(out)[index_of(d)] = values[d];
          }
        }
        // A document value is read as value + offset: start from the contribution of the offset.
        bias_[query.bias + i] = -i8.offset * sum;
        finite = std::isfinite(query.scales[i]);
      } else {
        widen_row(kernels, tokens, source, row.data());
        finite = all_finite(row.data(), tokens.dim);
        if (path_ == Path::bf16) {
          const auto* values = static_cast<const std::uint16_t*>(tokens.data) + source * tokens.dim;
          for (std::size_t d = 0; d < tokens.dim; ++d) reinterpret_cast<std::uint16_t*>(out)[index_of(d)] = values[d];
        } else {
          for (std::size_t d = 0; d < tokens.dim; ++d) reinterpret_cast<float*>(out)[index_of(d)] = row[d];
        }
      }
      if (!finite && first_nonfinite_ < 0) first_nonfinite_ = static_cast<std::int64_t>(q);
    }
  }
}

}  // namespace serotine::maxsim
