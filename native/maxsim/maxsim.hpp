// MaxSim on the CPU: the public header of the core, and its manual.
//
//   score(q, d) = sum over query tokens i of  max over document tokens j of  <q_i, d_j>
//
// Strategy. Everything here is one primitive, a dot product folded into a running (arg)max. A query is
// prepared once: its tokens are laid across vector lanes, so that one fused multiply-add advances the dot
// product of one document token with 16 (AVX-512), 8 (AVX2) or 4 (NEON) query tokens. Document tokens are
// read in place and broadcast; the running maxima stay in registers; the similarity table is never stored.
//
// Precision. Every dot product is one sequential chain of fp32 fused multiply-adds over the dimension (int32
// for int8 input, where it is exact), so its value depends on nothing but the two vectors and the instruction
// set: not on the batch, the layout, the tile it falls in or the number of threads. The sum over query
// tokens is taken in double, in token order, and rounded once to fp32.
//
// Contract. A document with no tokens scores -inf, a query with no tokens scores 0 (against anything). A NaN
// dot product never wins. Ties go to the lowest token; where nothing can win, the argmax is -1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace serotine::maxsim {

enum class Dtype : int { f32 = 0, f16 = 1, bf16 = 2, i8 = 3 };

std::size_t bytes_of(Dtype dtype);

// A read-only matrix of token vectors, rows contiguous. `scales` (one per row) only for i8.
struct Tokens {
  const void* data = nullptr;
  Dtype dtype = Dtype::f32;
  std::size_t rows = 0;
  std::size_t dim = 0;
  const float* scales = nullptr;
};

// Ranges of rows: item i owns the rows [begin[i], end[i]) of its matrix, which is the one given beside the ranges
// or, for documents that are not in one matrix, its own: bases[i] (with scale_bases[i] for i8).
struct Ranges {
  const std::int64_t* begin = nullptr;
  const std::int64_t* end = nullptr;
  std::size_t count = 0;
  const void* const* bases = nullptr;
  const float* const* scale_bases = nullptr;
};

// The first query and document (lowest index) whose values were not finite or whose dot products overflowed; -1 where
// there is none.
struct Outcome {
  std::int64_t bad_query = -1;
  std::int64_t bad_document = -1;
  bool finite() const { return bad_query < 0 && bad_document < 0; }
};

// Every query against every document. scores: [queries, documents]; where: null, or
// [queries, documents, where_width] int32, the winning token of the document for every query token, -1 beyond
// the query's length.
Outcome score_grid(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
                   const Ranges& document_ranges, float* scores, std::int32_t* where, std::size_t where_width);

// Chosen pairs. scores: [pairs]; where: null or [pairs, where_width].
Outcome score_pairs(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
                    const Ranges& document_ranges, const std::int64_t* pair_queries,
                    const std::int64_t* pair_documents, std::size_t pairs, float* scores, std::int32_t* where,
                    std::size_t where_width);

// The k best documents of every query, best first, ties to the lower document; documents whose `keep` byte is
// 0 are skipped (keep may be null). Memory is O(threads x queries x k), never queries x documents.
// scores, indices: [queries, k]; unfilled entries hold -inf and -1.
Outcome top_k(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents,
              const Ranges& document_ranges, const std::uint8_t* keep, std::size_t k, float* scores,
              std::int64_t* indices);

// XTR's scores of every query with every document (Lee et al. 2023, arXiv 2304.01982): every query token retrieves its
// `k_token` most similar tokens among all documents, ties to the lower document and token. A document's similarity to a
// query token is that of its best retrieved token. Scores are means: over all query tokens if `impute`, where a missing
// similarity is that of the last retrieved token; otherwise over those that retrieved a token of the document, and 0 where
// none did. Memory is O(threads x query tokens x k_token + documents). scores: [queries, documents].
Outcome xtr_grid(const Tokens& queries, const Ranges& query_ranges, const Tokens& documents, const Ranges& document_ranges,
                 std::size_t k_token, bool impute, float* scores);

// Instruction sets, slowest first. `compiled` lists what this build contains, `supported` what this
// processor can run, `current` what is in use. use() returns false for one that cannot run here.
std::vector<std::string> compiled();
std::vector<std::string> supported();
std::string current();
bool use(const std::string& name);
// The default: the fastest supported instruction set that has been tested on real hardware.
std::string preferred();

}  // namespace serotine::maxsim
