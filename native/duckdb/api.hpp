// The part of DuckDB's C API that the extension calls.
//
// DuckDB hands a loaded extension a table of function pointers. Positions and signatures of version v1.2.0 do not change
// (https://duckdb.org/docs/stable/clients/c/api); the extension names each by its position and needs no other header.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace serotine::duckdb {

using Database = struct DatabaseTag*;
using Connection = struct ConnectionTag*;
using Info = struct InfoTag*;
using Chunk = struct ChunkTag*;
using Vector = struct VectorTag*;
using LogicalType = struct LogicalTypeTag*;
using Function = struct FunctionTag*;

// What LOAD passes to the extension.
struct Access {
  void (*set_error)(Info info, const char* message);
  Database* (*get_database)(Info info);
  const void* (*get_api)(Info info, const char* version);
};

enum class Type : int {
  boolean = 1, tinyint = 2, smallint = 3, integer = 4, bigint = 5, floating = 10, doubles = 11, hugeint = 16,
  varchar = 17, blob = 18, decimal = 19, list = 24, structure = 25, map = 26, array = 33, any = 34, null = 36,
};

// A VARCHAR or BLOB in a vector: up to 12 bytes lie in it, more where `pointer` says.
struct String {
  std::uint32_t length;
  char start[4];
  const char* pointer;
  const char* data() const { return length <= 12 ? start : pointer; }
};
static_assert(sizeof(String) == 16);

// A list in a vector: its items are those of the child vector from `offset`.
struct ListEntry {
  std::uint64_t offset;
  std::uint64_t length;
};

inline bool is_valid(const std::uint64_t* validity, std::size_t row) {
  return validity == nullptr || (validity[row / 64] >> (row % 64) & 1) != 0;
}

class Api {
 public:
  static constexpr const char* kVersion = "v1.2.0";

  Api() = default;
  // Copies the table, which is DuckDB's only until the extension is loaded.
  explicit Api(const void* table) { std::memcpy(slots_.data(), table, sizeof(slots_)); }

  bool connect(Database database, Connection* connection) const {
    return at<int(Database, Connection*)>(3)(database, connection) == 0;
  }
  void disconnect(Connection* connection) const { at<void(Connection*)>(6)(connection); }

  LogicalType create_type(Type type) const { return at<LogicalType(int)>(156)(static_cast<int>(type)); }
  Type type_of(LogicalType type) const { return static_cast<Type>(at<int(LogicalType)>(166)(type)); }
  int decimal_width(LogicalType type) const { return at<std::uint8_t(LogicalType)>(167)(type); }
  int decimal_scale(LogicalType type) const { return at<std::uint8_t(LogicalType)>(168)(type); }
  LogicalType list_child(LogicalType type) const { return at<LogicalType(LogicalType)>(173)(type); }
  LogicalType array_child(LogicalType type) const { return at<LogicalType(LogicalType)>(174)(type); }
  std::uint64_t array_size(LogicalType type) const { return at<std::uint64_t(LogicalType)>(175)(type); }
  void destroy_type(LogicalType* type) const { at<void(LogicalType*)>(184)(type); }

  Vector column(Chunk chunk, std::uint64_t number) const { return at<Vector(Chunk, std::uint64_t)>(190)(chunk, number); }
  std::uint64_t rows(Chunk chunk) const { return at<std::uint64_t(Chunk)>(191)(chunk); }
  LogicalType column_type(Vector vector) const { return at<LogicalType(Vector)>(193)(vector); }
  void* data(Vector vector) const { return at<void*(Vector)>(194)(vector); }
  std::uint64_t* validity(Vector vector) const { return at<std::uint64_t*(Vector)>(195)(vector); }
  void make_validity_writable(Vector vector) const { at<void(Vector)>(196)(vector); }
  void set_string(Vector vector, std::uint64_t row, const char* bytes, std::uint64_t length) const {
    at<void(Vector, std::uint64_t, const char*, std::uint64_t)>(198)(vector, row, bytes, length);
  }
  Vector list_items(Vector vector) const { return at<Vector(Vector)>(199)(vector); }
  Vector array_items(Vector vector) const { return at<Vector(Vector)>(204)(vector); }

  Function create_function() const { return at<Function()>(209)(); }
  void destroy_function(Function* function) const { at<void(Function*)>(210)(function); }
  void set_name(Function function, const char* name) const { at<void(Function, const char*)>(211)(function, name); }
  // NULLs reach the function.
  void set_special_handling(Function function) const { at<void(Function)>(213)(function); }
  void set_volatile(Function function) const { at<void(Function)>(214)(function); }
  void add_parameter(Function function, LogicalType type) const { at<void(Function, LogicalType)>(215)(function, type); }
  void set_return_type(Function function, LogicalType type) const {
    at<void(Function, LogicalType)>(216)(function, type);
  }
  void set_body(Function function, void (*body)(Info, Chunk, Vector)) const {
    at<void(Function, void (*)(Info, Chunk, Vector))>(218)(function, body);
  }
  bool register_function(Connection connection, Function function) const {
    return at<int(Connection, Function)>(219)(connection, function) == 0;
  }
  void set_error(Info info, const char* message) const { at<void(Info, const char*)>(221)(info, message); }

 private:
  template <class Signature>
  Signature* at(std::size_t position) const {
    return reinterpret_cast<Signature*>(slots_[position]);
  }

  std::array<void (*)(), 222> slots_{};
};

// Set when the extension is loaded; the same for every database of the process.
extern Api api;

}  // namespace serotine::duckdb
