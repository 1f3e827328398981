// Queries on their way from one SQL function to the other: a blob of the number of dimensions and float32 values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "api.hpp"
#include "maxsim.hpp"

namespace serotine::duckdb {

// Returns the blob of one query.
std::string query_blob(const float* values, std::size_t tokens, std::size_t dim);

// The dimensions of a blob's query; 0 without tokens, which fits any document. Throws Refused.
std::size_t query_dim(const String& blob);

// One query as the kernels take it, beside documents of a dtype.
class Query {
 public:
  Query(const String& blob, std::size_t document_dim, maxsim::Dtype documents);

  std::size_t count() const { return static_cast<std::size_t>(end_); }
  maxsim::Tokens tokens() const;
  maxsim::Ranges ranges() const { return {&begin_, &end_, 1}; }

 private:
  void quantize();

  std::size_t dim_;
  std::int64_t begin_ = 0;
  std::int64_t end_ = 0;
  bool is_int8_;
  std::vector<float> floats_;
  std::vector<std::int8_t> codes_;
  std::vector<float> scales_;
};

}  // namespace serotine::duckdb
