/* Print the best documents for a query, by libserotine.
 *
 *     cc rerank.c -o rerank -lserotine
 *     ./rerank DIM K query.f32 documents.f16 offsets.i64
 *
 * query.f32 has the token vectors of the query in float32, documents.f16 those of all documents end to end in float16,
 * and offsets.i64 where every document begins and the last one ends, counted in tokens, as int64. No headers: NumPy's
 * tofile() writes such files.
 */
#include <serotine.h>
#include <stdio.h>
#include <stdlib.h>

static void *contents(const char *path, size_t *bytes) {
  FILE *file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
    perror(path);
    exit(1);
  }
  *bytes = (size_t)ftell(file);
  rewind(file);
  void *memory = malloc(*bytes + 1);
  if (memory == NULL || fread(memory, 1, *bytes, file) != *bytes) {
    perror(path);
    exit(1);
  }
  fclose(file);
  return memory;
}

int main(int argc, char **argv) {
  if (argc != 6 || serotine_abi_version() != SEROTINE_ABI_VERSION) {
    fprintf(stderr, "usage: rerank DIM K query.f32 documents.f16 offsets.i64\n");
    return 2;
  }
  const size_t dim = strtoul(argv[1], NULL, 10), k = strtoul(argv[2], NULL, 10);
  if (dim == 0 || k == 0) {
    fprintf(stderr, "DIM and K: must be at least 1\n");
    return 2;
  }
  size_t query_bytes, document_bytes, offset_bytes;
  void *query_values = contents(argv[3], &query_bytes);
  void *document_values = contents(argv[4], &document_bytes);
  int64_t *offsets = contents(argv[5], &offset_bytes);

  const serotine_vectors query = {query_values, NULL, query_bytes / 4 / dim, dim, SEROTINE_FLOAT32};
  const serotine_vectors documents = {document_values, NULL, document_bytes / 2 / dim, dim, SEROTINE_FLOAT16};
  float *scores = malloc(k * sizeof *scores);
  int64_t *numbers = malloc(k * sizeof *numbers);
  size_t found = 0;
  const int code = serotine_top_k(&query, &documents, offsets, offset_bytes / sizeof *offsets - 1, NULL, k, scores,
                                  numbers, &found);
  if (code != SEROTINE_OK) {
    fprintf(stderr, "%s\n", serotine_message(code));
    return 1;
  }
  for (size_t i = 0; i < found; ++i) printf("%lld %.9g\n", (long long)numbers[i], scores[i]);
  free(query_values);
  free(document_values);
  free(offsets);
  free(scores);
  free(numbers);
  return 0;
}
