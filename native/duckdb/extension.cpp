// The DuckDB extension: MaxSim over columns of token vectors, read where DuckDB has them.
//
//   serotine_query(query, dim, dtype) -> BLOB                the query, checked; DuckDB computes it once if it is constant
//   serotine_maxsim(query, document, dim, dtype) -> FLOAT    MaxSim of every row
//   serotine_use(instruction_set, threads) -> BOOLEAN        settings of the process
//
// `dim` and `dtype` are constants and say what blobs hold; dim is 0 where the query says it. serotine.integrations.duckdb
// defines the macros of users over these, and the same functions in Python, with the same scores and messages.
#include <algorithm>
#include <atomic>
#include <exception>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "../common/thread_pool.hpp"
#include "columns.hpp"
#include "dispatch.hpp"
#include "prepare.hpp"
#include "queries.hpp"
#include "scorer.hpp"

namespace serotine::duckdb {

Api api;

namespace {

using Rows = std::vector<std::uint32_t>;

// Multiply-adds that are worth handing to another thread.
constexpr double kWorthSharing = 2e6;
// int8 products summed in int32 stay exact up to this dimension.
constexpr std::size_t kMaxInt8Dim = 65536;
constexpr std::int32_t kMaxThreads = 1024;

// Runs a function's body; what it throws becomes the statement's error.
template <class Body>
void guarded(Info info, const Body& body) {
  try {
    body();
  } catch (const std::exception& error) {
    api.set_error(info, error.what());
  } catch (...) {
    api.set_error(info, "unknown error");
  }
}

void set_null(Vector vector, std::size_t row) {
  api.make_validity_writable(vector);
  api.validity(vector)[row / 64] &= ~(std::uint64_t{1} << (row % 64));
}

void queries(Info info, Chunk chunk, Vector result) {
  guarded(info, [&] {
    const std::size_t count = api.rows(chunk);
    if (count == 0) return;
    Column column("query", api.column(chunk, 0), count, blob_format(api.column(chunk, 1), api.column(chunk, 2)));
    Rows rows;
    for (std::uint32_t row = 0; row < count; ++row) {
      column.valid(row) ? rows.push_back(row) : set_null(result, row);
    }
    if (rows.empty()) return;
    column.check(rows, 0);
    Scratch scratch;
    for (const std::uint32_t row : rows) {
      if (!column.is_finite(row)) {
        throw Refused("query: " + row_name(row, count) + " contains NaN or infinity; clean it");
      }
      const float* values = column.floats(row, scratch);
      const std::string blob = query_blob(values, column.tokens(row), column.dim());
      api.set_string(result, row, blob.data(), blob.size());
    }
  });
}

// One thread's part: a document at a time, whose memory the scorer reads through `range`.
struct Worker {
  Worker(const maxsim::Kernels& kernels, const maxsim::PreparedQueries& query, const Column& documents)
      : tokens{nullptr, documents.dtype(), 0, documents.dim(), nullptr},
        range{&begin, &end, 1, &base, documents.dtype() == maxsim::Dtype::i8 ? &scales : nullptr},
        scorer(kernels, query, tokens, range) {}

  bool score(const Column& documents, std::size_t row, float* score) {
    const Matrix matrix = documents.read(row, scratch);
    end = static_cast<std::int64_t>(matrix.tokens);
    base = matrix.values;
    scales = matrix.scales;
    return scorer.score(0, 0, 1, score, 1, nullptr, 0, 0);
  }

  std::int64_t begin = 0;
  std::int64_t end = 0;
  const void* base = nullptr;
  const float* scales = nullptr;
  Scratch scratch;
  maxsim::Tokens tokens;
  maxsim::Ranges range;
  maxsim::Scorer scorer;
};

// Scores documents with one query; returns the first row whose products were not finite, or the number of rows.
std::size_t score(const Query& query, const Column& documents, const std::uint32_t* rows, std::size_t count,
                  float* scores) {
  const maxsim::Kernels& kernels = maxsim::kernels();
  const maxsim::PreparedQueries prepared(kernels, query.tokens(), query.ranges(), documents.dtype());
  std::size_t tokens = 0;
  for (std::size_t i = 0; i < count; ++i) tokens += documents.tokens(rows[i]);
  const double work = static_cast<double>(tokens) * static_cast<double>(query.count() * documents.dim());
  const std::size_t wanted = std::max<std::size_t>(static_cast<std::size_t>(work / kWorthSharing), 1);
  const std::size_t parts = std::min({wanted, count, 16 * num_threads()});
  std::vector<std::unique_ptr<Worker>> workers(num_threads());
  std::atomic<std::size_t> first_bad{documents.rows()};
  parallel_for(parts, workers.size(), [&](std::size_t part, std::size_t number) {
    if (!workers[number]) workers[number] = std::make_unique<Worker>(kernels, prepared, documents);
    for (std::size_t i = part * count / parts; i < (part + 1) * count / parts; ++i) {
      if (workers[number]->score(documents, rows[i], scores + rows[i])) continue;
      std::size_t current = first_bad.load();
      while (rows[i] < current && !first_bad.compare_exchange_weak(current, rows[i])) {
      }
    }
  });
  return first_bad;
}

void scores(Info info, Chunk chunk, Vector result) {
  guarded(info, [&] {
    const std::size_t count = api.rows(chunk);
    if (count == 0) return;
    const Vector query_column = api.column(chunk, 0);
    const auto* blobs = static_cast<const String*>(api.data(query_column));
    const std::uint64_t* query_validity = api.validity(query_column);
    Column documents("document", api.column(chunk, 1), count,
                     blob_format(api.column(chunk, 2), api.column(chunk, 3)));
    Rows rows;
    std::size_t dim = 0;
    for (std::uint32_t row = 0; row < count; ++row) {
      if (!is_valid(query_validity, row) || !documents.valid(row)) {
        set_null(result, row);
        continue;
      }
      rows.push_back(row);
      const std::size_t own = query_dim(blobs[row]);
      if (own != 0 && dim != 0 && own != dim) {
        throw Refused("query: all rows must have one dimension, got " + std::to_string(std::min(own, dim)) + " and " +
                      std::to_string(std::max(own, dim)));
      }
      dim = std::max(dim, own);
    }
    if (rows.empty()) return;
    documents.check(rows, dim);
    if (documents.dtype() == maxsim::Dtype::i8 && documents.dim() > kMaxInt8Dim) {
      throw Refused("document: must have at most 65536 dimensions of int8, got " + std::to_string(documents.dim()));
    }
    auto* out = static_cast<float*>(api.data(result));
    // A constant query is the same memory in every row.
    for (std::size_t first = 0; first < rows.size();) {
      const String& blob = blobs[rows[first]];
      std::size_t last = first + 1;
      while (last < rows.size() && blobs[rows[last]].data() == blob.data()) ++last;
      const Query query(blob, documents.dim(), documents.dtype());
      const std::size_t bad = score(query, documents, rows.data() + first, last - first, out);
      if (bad < count) {
        const std::string name = "document: " + row_name(bad, count);
        throw Refused(name + (documents.is_finite(bad) ? " overflows float32 in its dot product with the query; scale it"
                                                       : " contains NaN or infinity; clean it"));
      }
      first = last;
    }
  });
}

void use(Info info, Chunk chunk, Vector result) {
  guarded(info, [&] {
    if (api.rows(chunk) == 0) return;
    const Vector names = api.column(chunk, 0);
    const Vector counts = api.column(chunk, 1);
    if (!is_valid(api.validity(names), 0) || !is_valid(api.validity(counts), 0)) {
      throw Refused("instruction_set and threads: must not be NULL");
    }
    const std::int32_t threads = *static_cast<const std::int32_t*>(api.data(counts));
    if (threads < 1 || threads > kMaxThreads) {
      throw Refused("threads: must be between 1 and 1024, got " + std::to_string(threads));
    }
    const auto& name = *static_cast<const String*>(api.data(names));
    if (num_threads() != static_cast<std::size_t>(threads)) set_num_threads(static_cast<std::size_t>(threads));
    const bool known = maxsim::use(std::string(name.data(), name.length));
    std::fill_n(static_cast<bool*>(api.data(result)), api.rows(chunk), known);
  });
}

bool create(Connection connection, const char* name, void (*body)(Info, Chunk, Vector),
            std::initializer_list<Type> parameters, Type result, bool is_volatile) {
  Function function = api.create_function();
  api.set_name(function, name);
  api.set_special_handling(function);
  if (is_volatile) api.set_volatile(function);
  for (const Type parameter : parameters) {
    LogicalType type = api.create_type(parameter);
    api.add_parameter(function, type);
    api.destroy_type(&type);
  }
  LogicalType type = api.create_type(result);
  api.set_return_type(function, type);
  api.destroy_type(&type);
  api.set_body(function, body);
  const bool created = api.register_function(connection, function);
  api.destroy_function(&function);
  return created;
}

}  // namespace
}  // namespace serotine::duckdb

// What LOAD calls; the name is that of the file.
extern "C" __attribute__((visibility("default"))) bool serotine_init_c_api(serotine::duckdb::Info info,
                                                                           serotine::duckdb::Access* access) {
  using namespace serotine::duckdb;
  const void* table = access->get_api(info, Api::kVersion);
  // DuckDB has set the error.
  if (table == nullptr) return false;
  api = Api(table);
  Connection connection = nullptr;
  if (!api.connect(*access->get_database(info), &connection)) {
    access->set_error(info, "serotine: no connection to the database");
    return false;
  }
  const bool created =
      create(connection, "serotine_query", queries, {Type::any, Type::integer, Type::varchar}, Type::blob, false) &&
      create(connection, "serotine_maxsim", scores, {Type::blob, Type::any, Type::integer, Type::varchar},
             Type::floating, false) &&
      create(connection, "serotine_use", use, {Type::varchar, Type::integer}, Type::boolean, true);
  api.disconnect(&connection);
  if (!created) access->set_error(info, "serotine: the database has other functions of these names");
  return created;
}
