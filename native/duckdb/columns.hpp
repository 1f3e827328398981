// Columns of token vectors as DuckDB has them in memory: read in place where layout and alignment allow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "api.hpp"
#include "maxsim.hpp"

namespace serotine::duckdb {

// Vectors that are refused; what() is what the user reads.
struct Refused : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// What blobs hold; `dim` is 0 where only other vectors say it.
struct BlobFormat {
  maxsim::Dtype dtype;
  std::size_t dim;
};

// The format in two constant columns: dimensions, and "float16", "float32" or "int8". Throws Refused.
BlobFormat blob_format(Vector dims, Vector dtypes);

// "row 17 of a batch of 2,048".
std::string row_name(std::size_t row, std::size_t rows);

// One text's tokens: rows of `dim` values end to end, with a scale for every token of int8.
struct Matrix {
  const void* values = nullptr;
  const float* scales = nullptr;
  std::size_t tokens = 0;
};

// Room for what cannot be read in place; one for each thread.
struct Scratch {
  std::vector<float> floats;
  std::vector<std::uint16_t> halves;
  std::vector<std::int8_t> codes;
  std::vector<float> scales;
};

class Column {
 public:
  Column(const char* name, Vector vector, std::size_t rows, BlobFormat blobs);

  std::size_t rows() const { return rows_; }
  bool valid(std::size_t row) const { return kind_ != Kind::null && is_valid(validity_, row); }
  // Checks the rows: tokens must have `dim` dimensions; 0 accepts those of the first. Throws Refused.
  void check(const std::vector<std::uint32_t>& rows, std::size_t dim);

  // After the check: what tokens are once they are read.
  maxsim::Dtype dtype() const { return kind_ == Kind::blobs ? blobs_.dtype : maxsim::Dtype::f32; }
  std::size_t dim() const { return dim_; }
  std::size_t tokens(std::size_t row) const;
  Matrix read(std::size_t row, Scratch& scratch) const;
  // The same as float32, int8 by its scales.
  const float* floats(std::size_t row, Scratch& scratch) const;
  bool is_finite(std::size_t row) const;

 private:
  enum class Kind { null, blobs, lists };
  // Lists, or arrays of a fixed size where `entries` is null.
  struct Level {
    const ListEntry* entries = nullptr;
    std::size_t size = 0;
    const std::uint64_t* validity = nullptr;  // of the items
    std::size_t begin(std::size_t i) const { return entries == nullptr ? i * size : entries[i].offset; }
    std::size_t length(std::size_t i) const { return entries == nullptr ? size : entries[i].length; }
  };
  Level level(Vector* vector, LogicalType* type) const;
  void check_blobs(const std::vector<std::uint32_t>& rows, std::size_t dim);
  void check_lists(const std::vector<std::uint32_t>& rows, std::size_t dim);
  Matrix read_blob(std::size_t row, Scratch& scratch) const;
  Matrix read_list(std::size_t row, Scratch& scratch) const;
  std::string token_name(std::size_t token, std::size_t row) const;
  [[noreturn]] void refuse(const std::string& what) const;

  const char* name_;
  std::size_t rows_;
  BlobFormat blobs_;
  Kind kind_ = Kind::null;
  const std::uint64_t* validity_ = nullptr;
  std::size_t dim_ = 0;
  const String* strings_ = nullptr;
  Level texts_;   // of tokens
  Level tokens_;  // of values
  const float* singles_ = nullptr;
  const double* doubles_ = nullptr;
};

}  // namespace serotine::duckdb
