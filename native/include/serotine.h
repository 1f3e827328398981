/* libserotine: exact MaxSim of token vectors, for programs in C and whatever calls C.
 *
 *   score(q, d) = sum over query tokens i of  max over document tokens j of  <q_i, d_j>
 *
 * Sums are float32 whatever the dtype. The same pair gets the same score, bit for bit, in every function and on any
 * number of threads; two instruction sets may differ in the last bits. A document without tokens scores -infinity, a query
 * without tokens 0. Ties go to the document with the lower number.
 *
 * Every function may be called from any number of threads. A call uses the threads of one pool in the process; while one
 * call uses them, another runs on its own thread only. The pool is not started before it is needed, and a forked child
 * starts its own. Functions allocate no memory that outlives them, print nothing, and throw nothing.
 *
 * ABI. Names, arguments, structures and codes of version 1 do not change; later versions of the library add names, and
 * keep the file name libserotine.so.1 as long as programs built with this header run.
 */
#ifndef SEROTINE_H
#define SEROTINE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(SEROTINE_BUILDING)
#define SEROTINE_API __declspec(dllexport)
#elif defined(_WIN32)
#define SEROTINE_API __declspec(dllimport)
#else
#define SEROTINE_API __attribute__((visibility("default")))
#endif

#define SEROTINE_ABI_VERSION 1

/* What a token's values are. int8 needs a scale for every token: a value is its code times the scale. */
#define SEROTINE_FLOAT32 0
#define SEROTINE_FLOAT16 1
#define SEROTINE_BFLOAT16 2
#define SEROTINE_INT8 3

/* What functions return. A result is written only with SEROTINE_OK, and with SEROTINE_NOT_FINITE. */
#define SEROTINE_OK 0
#define SEROTINE_NULL_POINTER 1        /* a pointer that must not be null */
#define SEROTINE_BAD_DTYPE 2           /* an unknown dtype, or int8 with floats */
#define SEROTINE_BAD_DIM 3             /* no dimensions, more than 65,536 of int8, or other ones than the query's */
#define SEROTINE_BAD_OFFSETS 4         /* offsets that decrease, are negative, or exceed the number of tokens */
#define SEROTINE_UNALIGNED 5           /* values or scales that are not at a multiple of their size in memory */
#define SEROTINE_NOT_FINITE 6          /* NaN, infinity or an overflow in query or documents; NaN never won */
#define SEROTINE_OUT_OF_MEMORY 7
#define SEROTINE_BAD_INSTRUCTION_SET 8 /* this library does not have it, or this processor cannot run it */
#define SEROTINE_BAD_THREADS 9         /* not between 1 and 1,024 */
#define SEROTINE_BAD_K 10              /* k is 0 */
#define SEROTINE_INTERNAL 11

/* Token vectors: `tokens` rows of `dim` values, end to end. `scales`, one for every token, only for int8. */
typedef struct serotine_vectors {
  const void* values;
  const float* scales;
  size_t tokens;
  size_t dim;
  int32_t dtype;
} serotine_vectors;

/* Score one query with one document. Floating dtypes may differ; int8 needs int8. */
SEROTINE_API int serotine_maxsim(const serotine_vectors* query, const serotine_vectors* document, float* score);

/* Score one query with documents that lie end to end: document i has the tokens offsets[i] to offsets[i + 1].
 * offsets: count + 1 numbers. scores: room for count. */
SEROTINE_API int serotine_maxsim_packed(const serotine_vectors* query, const serotine_vectors* documents,
                                        const int64_t* offsets, size_t count, float* scores);

/* Score one query with documents that are anywhere, such as rows of a database: an array of `count`, of one dtype. */
SEROTINE_API int serotine_maxsim_many(const serotine_vectors* query, const serotine_vectors* documents, size_t count,
                                      float* scores);

/* Find the k best of documents that lie end to end, best first. keep: null, or a byte for every document; those with 0
 * are left out. scores, numbers: room for k. found: how many were written, fewer than k if there are fewer. */
SEROTINE_API int serotine_top_k(const serotine_vectors* query, const serotine_vectors* documents,
                                const int64_t* offsets, size_t count, const uint8_t* keep, size_t k, float* scores,
                                int64_t* numbers, size_t* found);

/* The ABI that the library has; compare it with SEROTINE_ABI_VERSION. */
SEROTINE_API uint32_t serotine_abi_version(void);

/* The library's version, such as "0.1.0". */
SEROTINE_API const char* serotine_version(void);

/* The instruction set in use, such as "avx512_vnni", chosen for this processor. Valid as long as the library is loaded. */
SEROTINE_API const char* serotine_instruction_set(void);

/* Set the instruction set of the whole process. */
SEROTINE_API int serotine_set_instruction_set(const char* name);

/* The number of threads that a call may use, and how it is set; a database whose processes serve one client each sets 1. */
SEROTINE_API size_t serotine_threads(void);
SEROTINE_API int serotine_set_threads(size_t count);

/* What a code means, in English. */
SEROTINE_API const char* serotine_message(int code);

#ifdef __cplusplus
}
#endif

#endif
