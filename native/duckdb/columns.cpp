#include "columns.hpp"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <string_view>

#include "dispatch.hpp"

namespace serotine::duckdb {
namespace {

using maxsim::Dtype;

constexpr std::size_t kScaleBytes = sizeof(float);

std::string grouped(std::size_t number) {
  const std::string digits = std::to_string(number);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

// A type as SQL writes it.
std::string sql_name(LogicalType type) {
  const Type id = api.type_of(type);
  if (id == Type::list || id == Type::array) {
    const bool fixed = id == Type::array;
    LogicalType child = fixed ? api.array_child(type) : api.list_child(type);
    std::string name = sql_name(child);
    api.destroy_type(&child);
    name += '[';
    if (fixed) name += std::to_string(api.array_size(type));
    return name += ']';
  }
  switch (id) {
    case Type::boolean:
      return "BOOLEAN";
    case Type::tinyint:
      return "TINYINT";
    case Type::smallint:
      return "SMALLINT";
    case Type::integer:
      return "INTEGER";
    case Type::bigint:
      return "BIGINT";
    case Type::hugeint:
      return "HUGEINT";
    case Type::floating:
      return "FLOAT";
    case Type::doubles:
      return "DOUBLE";
    case Type::varchar:
      return "VARCHAR";
    case Type::blob:
      return "BLOB";
    case Type::structure:
      return "STRUCT";
    case Type::map:
      return "MAP";
    case Type::null:
      return "NULL";
    case Type::decimal:
      return "DECIMAL(" + std::to_string(api.decimal_width(type)) + ", " + std::to_string(api.decimal_scale(type)) + ")";
    default:
      return "another type";
  }
}

const char* name_of(Dtype dtype) {
  return dtype == Dtype::i8 ? "int8" : dtype == Dtype::f16 ? "float16" : "float32";
}

std::size_t token_bytes(Dtype dtype, std::size_t dim) {
  return dim * maxsim::bytes_of(dtype) + (dtype == Dtype::i8 ? kScaleBytes : 0);
}

bool overflows(double value) { return std::isfinite(value) && !std::isfinite(static_cast<float>(value)); }

std::string beyond_float(double value) {
  char text[96];
  std::snprintf(text, sizeof text, " has a value beyond float32 (%.5g), got %.5g; scale it",
                static_cast<double>(std::numeric_limits<float>::max()), std::fabs(value));
  return text;
}

// The values where they are, or a copy of them at a multiple of their size.
template <class Value>
const void* aligned(const char* bytes, std::size_t size, std::vector<Value>& copy) {
  if (reinterpret_cast<std::uintptr_t>(bytes) % sizeof(Value) == 0) return bytes;
  copy.resize(size / sizeof(Value));
  std::memcpy(copy.data(), bytes, size);
  return copy.data();
}

}  // namespace

BlobFormat blob_format(Vector dims, Vector dtypes) {
  if (!is_valid(api.validity(dims), 0) || !is_valid(api.validity(dtypes), 0)) {
    throw Refused("dim and dtype: must not be NULL");
  }
  const std::int32_t dim = *static_cast<const std::int32_t*>(api.data(dims));
  const std::size_t width = dim < 0 ? 0 : static_cast<std::size_t>(dim);
  const auto& dtype = *static_cast<const String*>(api.data(dtypes));
  const std::string_view name(dtype.data(), dtype.length);
  for (const Dtype known : {Dtype::f16, Dtype::i8, Dtype::f32}) {
    if (name == name_of(known)) return {known, width};
  }
  throw Refused("dtype: must be one of 'float16', 'int8', 'float32', got '" + std::string(name) + "'");
}

std::string row_name(std::size_t row, std::size_t rows) {
  return "row " + grouped(row) + " of a batch of " + grouped(rows);
}

Column::Column(const char* name, Vector vector, std::size_t rows, BlobFormat blobs)
    : name_(name), rows_(rows), blobs_(blobs), validity_(api.validity(vector)) {
  LogicalType type = api.column_type(vector);
  const Type id = api.type_of(type);
  if (id == Type::blob) {
    kind_ = Kind::blobs;
    strings_ = static_cast<const String*>(api.data(vector));
  } else if (id != Type::null) {
    LogicalType whole = api.column_type(vector);
    texts_ = level(&vector, &type);
    // Without tokens anywhere, as of an empty array: DuckDB cannot tell what they would be.
    const bool nothing = vector != nullptr && api.type_of(type) == Type::null;
    if (vector != nullptr && !nothing) tokens_ = level(&vector, &type);
    const Type value = vector == nullptr ? Type::null : api.type_of(type);
    const std::string got = sql_name(whole);
    api.destroy_type(&whole);
    if (!nothing && value != Type::floating && value != Type::doubles) {
      api.destroy_type(&type);
      refuse("must be FLOAT[][], FLOAT[n][] or BLOB, got " + got + "; cast it to one of these");
    }
    kind_ = Kind::lists;
    if (nothing) {
      // Its tokens, if any, are NULL, and refused.
    } else if (value == Type::floating) {
      singles_ = static_cast<const float*>(api.data(vector));
    } else {
      doubles_ = static_cast<const double*>(api.data(vector));
    }
  }
  api.destroy_type(&type);
}

// Goes down one level, to the items; `vector` becomes null where there is none.
Column::Level Column::level(Vector* vector, LogicalType* type) const {
  const Type id = api.type_of(*type);
  Level found;
  if (id != Type::list && id != Type::array) {
    *vector = nullptr;
    return found;
  }
  const LogicalType child = id == Type::list ? api.list_child(*type) : api.array_child(*type);
  if (id == Type::list) {
    found.entries = static_cast<const ListEntry*>(api.data(*vector));
    *vector = api.list_items(*vector);
  } else {
    found.size = api.array_size(*type);
    *vector = api.array_items(*vector);
  }
  found.validity = api.validity(*vector);
  api.destroy_type(type);
  *type = child;
  return found;
}

void Column::check(const std::vector<std::uint32_t>& rows, std::size_t dim) {
  kind_ == Kind::blobs ? check_blobs(rows, dim) : check_lists(rows, dim);
}

void Column::check_blobs(const std::vector<std::uint32_t>& rows, std::size_t dim) {
  // Read by another width, they would give scores that mean nothing.
  if (blobs_.dim != 0 && dim != 0 && dim != blobs_.dim) {
    throw Refused("query: must have " + std::to_string(blobs_.dim) + " dimensions, got " + std::to_string(dim));
  }
  dim_ = dim == 0 ? blobs_.dim : dim;
  if (dim_ == 0) {
    refuse("a BLOB does not say how many dimensions its vectors have; pass dim= to register, or FLOAT[][]");
  }
  const std::size_t size = token_bytes(blobs_.dtype, dim_);
  for (const std::uint32_t row : rows) {
    const std::size_t length = strings_[row].length;
    if (length % size == 0) continue;
    refuse(row_name(row, rows_) + " must be a multiple of " + std::to_string(size) + " bytes (" + std::to_string(dim_) +
           " dimensions of " + name_of(blobs_.dtype) + "), got " + std::to_string(length) +
           " bytes; check dim and dtype");
  }
}

void Column::check_lists(const std::vector<std::uint32_t>& rows, std::size_t dim) {
  const auto each_token = [&](const auto& body) {
    for (const std::uint32_t row : rows) {
      for (std::size_t i = 0; i < texts_.length(row); ++i) body(row, i, texts_.begin(row) + i);
    }
  };
  if (texts_.validity != nullptr) {
    each_token([&](std::size_t row, std::size_t i, std::size_t token) {
      if (!is_valid(texts_.validity, token)) refuse(token_name(i, row) + " is NULL; remove it");
    });
  }
  dim_ = dim;
  bool first = dim == 0;
  each_token([&](std::size_t row, std::size_t i, std::size_t token) {
    const std::size_t width = tokens_.length(token);
    if (first) dim_ = width;
    first = false;
    if (width == dim_) return;
    refuse(token_name(i, row) + " must have " + std::to_string(dim_) + " dimensions, got " + std::to_string(width));
  });
  // Without tokens, any dimension fits.
  if (first) dim_ = 1;
  each_token([&](std::size_t row, std::size_t i, std::size_t token) {
    if (dim_ == 0) refuse(token_name(i, row) + " must have at least one dimension, got 0");
    const std::size_t begin = tokens_.begin(token);
    for (std::size_t value = begin; tokens_.validity != nullptr && value < begin + dim_; ++value) {
      if (!is_valid(tokens_.validity, value)) refuse(token_name(i, row) + " has a NULL value; remove it");
    }
    for (std::size_t value = begin; doubles_ != nullptr && value < begin + dim_; ++value) {
      if (overflows(doubles_[value])) refuse(token_name(i, row) + beyond_float(doubles_[value]));
    }
  });
}

std::size_t Column::tokens(std::size_t row) const {
  return kind_ == Kind::blobs ? strings_[row].length / token_bytes(blobs_.dtype, dim_) : texts_.length(row);
}

Matrix Column::read(std::size_t row, Scratch& scratch) const {
  return kind_ == Kind::blobs ? read_blob(row, scratch) : read_list(row, scratch);
}

Matrix Column::read_blob(std::size_t row, Scratch& scratch) const {
  const char* bytes = strings_[row].data();
  const std::size_t size = strings_[row].length;
  Matrix matrix{nullptr, nullptr, tokens(row)};
  if (blobs_.dtype == Dtype::f16) {
    matrix.values = aligned(bytes, size, scratch.halves);
  } else if (blobs_.dtype == Dtype::f32) {
    matrix.values = aligned(bytes, size, scratch.floats);
  } else {
    // Codes and scale of every token lie side by side.
    scratch.codes.resize(matrix.tokens * dim_);
    scratch.scales.resize(matrix.tokens);
    for (std::size_t token = 0; token < matrix.tokens; ++token, bytes += dim_ + kScaleBytes) {
      std::memcpy(scratch.codes.data() + token * dim_, bytes, dim_);
      std::memcpy(scratch.scales.data() + token, bytes + dim_, kScaleBytes);
    }
    matrix.values = scratch.codes.data();
    matrix.scales = scratch.scales.data();
  }
  return matrix;
}

Matrix Column::read_list(std::size_t row, Scratch& scratch) const {
  const std::size_t first = texts_.begin(row);
  Matrix matrix{nullptr, nullptr, texts_.length(row)};
  bool together = singles_ != nullptr;
  for (std::size_t token = 1; together && tokens_.entries != nullptr && token < matrix.tokens; ++token) {
    together = tokens_.begin(first + token) == tokens_.begin(first) + token * dim_;
  }
  if (together) {
    if (matrix.tokens > 0) matrix.values = singles_ + tokens_.begin(first);
    return matrix;
  }
  scratch.floats.resize(matrix.tokens * dim_);
  for (std::size_t token = 0; token < matrix.tokens; ++token) {
    const std::size_t from = tokens_.begin(first + token);
    float* to = scratch.floats.data() + token * dim_;
    for (std::size_t i = 0; i < dim_; ++i) {
      to[i] = singles_ != nullptr ? singles_[from + i] : static_cast<float>(doubles_[from + i]);
    }
  }
  matrix.values = scratch.floats.data();
  return matrix;
}

const float* Column::floats(std::size_t row, Scratch& scratch) const {
  const Matrix matrix = read(row, scratch);
  if (dtype() == Dtype::f32) return static_cast<const float*>(matrix.values);
  scratch.floats.resize(matrix.tokens * dim_);
  float* out = scratch.floats.data();
  if (dtype() == Dtype::f16) {
    maxsim::kernels().widen_f16(static_cast<const std::uint16_t*>(matrix.values), matrix.tokens * dim_, out);
    return out;
  }
  const auto* codes = static_cast<const std::int8_t*>(matrix.values);
  for (std::size_t i = 0; i < matrix.tokens * dim_; ++i) out[i] = static_cast<float>(codes[i]) * matrix.scales[i / dim_];
  return out;
}

bool Column::is_finite(std::size_t row) const {
  Scratch scratch;
  const float* values = floats(row, scratch);
  for (std::size_t i = 0; i < tokens(row) * dim_; ++i) {
    if (!std::isfinite(values[i])) return false;
  }
  return true;
}

std::string Column::token_name(std::size_t token, std::size_t row) const {
  return "token " + std::to_string(token) + " of " + row_name(row, rows_);
}

void Column::refuse(const std::string& what) const { throw Refused(name_ + (": " + what)); }

}  // namespace serotine::duckdb
