/* What is refused leaves outputs as they were, and says why; and what only this library promises of packed buffers. */
#define _GNU_SOURCE
#include <mkl.h>
#include <oneapi/dnnl/dnnl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int failures;

#define CHECK(condition, ...)                                                                                             \
  do {                                                                                                                    \
    if (!(condition)) failures++, printf("line %d: ", __LINE__), printf(__VA_ARGS__), putchar('\n');                      \
  } while (0)

/* 2x3, 3x2, 2x2 */
static uint8_t A[6] = {1, 2, 3, 4, 5, 255};
static int8_t B[6] = {1, -2, 3, 4, -5, -128};
static int32_t C[4], CO[2] = {10, 20};

static int is_untouched(void) {
  for (int i = 0; i < 4; i++)
    if (C[i] != 7 + i) return 0;
  return 1;
}

static void reset(void) {
  for (int i = 0; i < 4; i++) C[i] = 7 + i;
}

static void dnnl_is(dnnl_status_t want, dnnl_status_t got, int line) {
  if (got != want) failures++, printf("line %d: status %d, not %d\n", line, got, want);
  if (!is_untouched()) failures++, printf("line %d: C was written\n", line);
}

static void onednn(void) {
  reset();
#define INVALID(ta, tb, off, m, n, k, a, lda, b, ldb, c, ldc, co)                                                         \
  dnnl_is(dnnl_invalid_arguments, dnnl_gemm_u8s8s32(ta, tb, off, m, n, k, 1, a, lda, 0, b, ldb, 0, 0, c, ldc, co), __LINE__)
  INVALID('x', 'N', 'F', 2, 2, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'C', 'F', 2, 2, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', '\0', 2, 2, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', -1, 2, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, INT64_MIN, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, -3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 2, B, 2, C, 2, CO);
  INVALID('T', 'N', 'F', 2, 2, 3, A, 1, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, 1, C, 2, CO);
  INVALID('N', 'T', 'F', 2, 2, 3, A, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, 2, C, 1, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, -3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 0, 2, 3, A, 0, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, NULL, 3, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, NULL, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, 2, NULL, 2, CO);
  INVALID('N', 'N', 'R', 2, 2, 3, A, 3, B, 2, C, 2, NULL);
  INVALID('N', 'N', 'F', 2, 2, 3, A, INT64_MAX, B, 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, INT64_MAX / 2, C, 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, 2, C, INT64_MAX / 2, CO);
  INVALID('N', 'N', 'F', 2, 2, 3, A, 3, B, 2, (int32_t *)((char *)C + 1), 2, CO);
#undef INVALID
  dnnl_status_t without_k = dnnl_gemm_u8s8s32('N', 'N', 'F', 2, 2, 0, 1, A, 1, 0, B, 2, 0, 0, C, 2, NULL);
  dnnl_is(dnnl_success, without_k, __LINE__);
  dnnl_status_t without_m = dnnl_gemm_s8s8s32('N', 'N', 'F', 0, 2, 3, 1, B, 3, 0, B, 2, 0, 0, C, 2, CO);
  dnnl_is(dnnl_success, without_m, __LINE__);
}

/* The sums of so large a C, which are kept beside it, fit no address space: C is not reached. */
static void onednn_out_of_memory(void) {
  const dnnl_dim_t size = 1 << 23;
  uint8_t *a = calloc((size_t)size, 1);
  reset();
  dnnl_status_t got = dnnl_gemm_u8s8s32('N', 'N', 'F', size, size, 1, 1, a, 1, 0, (int8_t *)a, size, 0, 0.5f, C, size, CO);
  dnnl_is(dnnl_out_of_memory, got, __LINE__);
  free(a);
}

/* A factor that C lies in is read before C is written. */
static void overlaps(void) {
  int32_t c[4] = {0x01020304, 0x05060708, 7, 8}, want[4] = {0};
  uint8_t a[6];
  memcpy(a, c, sizeof a);
  dnnl_gemm_u8s8s32('N', 'N', 'F', 2, 2, 3, 1, a, 3, 0, B, 2, 0, 0, want, 2, CO);
  CHECK(dnnl_gemm_u8s8s32('N', 'N', 'F', 2, 2, 3, 1, (uint8_t *)c, 3, 0, B, 2, 0, 0, c, 2, CO) == 0, "refused");
  CHECK(!memcmp(c, want, sizeof c), "an A in the memory of C");
}


static void expect(const char *want, int line) {
  char got[256] = "";
  fflush(stderr);
  long end = (lseek(2, 0, SEEK_END));
  if (end > 0 && pread(2, got, sizeof got - 1, 0) < 0) exit(2);
  if (strcmp(got, want)) failures++, printf("line %d: \"%s\", not \"%s\"\n", line, got, want);
  if (!is_untouched()) failures++, printf("line %d: C was written\n", line);
  if (ftruncate(2, 0) || lseek(2, 0, SEEK_SET)) exit(2);
  reset();
}

static const CBLAS_LAYOUT ROWS = CblasRowMajor, COLUMNS = CblasColMajor;
static const CBLAS_TRANSPOSE N = CblasNoTrans, T = CblasTrans;
static const CBLAS_OFFSET FIX = CblasFixOffset;
#define PARAMETER(number, name, function)                                                                                 \
  expect("qgemm ERROR: Parameter " #number " (" name ") was incorrect on entry to " function ".\n", __LINE__)

static void mkl(void) {
#define REFUSED(number, name, layout, ta, tb, off, m, n, k, a, lda, b, ldb, c, ldc, oc)                                   \
  cblas_gemm_s8u8s32(layout, ta, tb, off, m, n, k, 1, a, lda, 0, b, ldb, 0, 0, c, ldc, oc);                               \
  PARAMETER(number, name, "cblas_gemm_s8u8s32")
  REFUSED(1, "Layout", 3, N, N, FIX, 2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(2, "transa", ROWS, CblasConjTrans, N, FIX, 2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(3, "transb", ROWS, N, (CBLAS_TRANSPOSE)CblasPacked, FIX, 2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(4, "offsetc", ROWS, N, N, 0, 2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(5, "m", ROWS, N, N, FIX, -2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(6, "n", ROWS, N, N, FIX, 2, INT_MIN, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(7, "k", ROWS, N, N, FIX, 2, 2, -1, A, 3, B, 2, C, 2, CO);
  REFUSED(9, "a", ROWS, N, N, FIX, 2, 2, 3, NULL, 3, B, 2, C, 2, CO);
  REFUSED(10, "lda", ROWS, N, N, FIX, 2, 2, 3, A, 2, B, 2, C, 2, CO);
  REFUSED(10, "lda", COLUMNS, T, N, FIX, 2, 2, 3, A, 2, B, 3, C, 2, CO);
  REFUSED(10, "lda", ROWS, N, N, FIX, 0, 2, 0, A, 0, B, 2, C, 2, CO);
  REFUSED(12, "b", COLUMNS, N, N, FIX, 2, 2, 3, A, 2, NULL, 3, C, 2, CO);
  REFUSED(13, "ldb", COLUMNS, N, N, FIX, 2, 2, 3, A, 2, B, 2, C, 2, CO);
  REFUSED(13, "ldb", ROWS, N, T, FIX, 2, 2, 3, A, 3, B, 2, C, 2, CO);
  REFUSED(16, "c", ROWS, N, N, FIX, 2, 2, 3, A, 3, B, 2, NULL, 2, CO);
  REFUSED(17, "ldc", ROWS, N, N, FIX, 2, 2, 3, A, 3, B, 2, C, 1, CO);
  REFUSED(18, "oc", ROWS, N, N, CblasRowOffset, 2, 2, 3, A, 3, B, 2, C, 2, NULL);
#undef REFUSED
  const MKL_INT two = 2, three = 3, one = 1;
  const float alpha = 1;
  const MKL_INT8 o = 0;
  gemm_s8u8s32("N", "c", "F", &two, &two, &three, &alpha, (MKL_INT8 *)B, &two, &o, A, &three, &o, &alpha, C, &two, CO);
  PARAMETER(2, "transb", "gemm_s8u8s32");
  gemm_s8u8s32("N", "N", "F", &two, &two, &three, &alpha, (MKL_INT8 *)B, &one, &o, A, &three, &o, &alpha, C, &two, CO);
  PARAMETER(9, "lda", "gemm_s8u8s32");
  gemm_s8u8s32("N", "N", "F", &two, &two, NULL, &alpha, (MKL_INT8 *)B, &two, &o, A, &three, &o, &alpha, C, &two, CO);
  PARAMETER(6, "k", "gemm_s8u8s32");
  gemm_s8u8s32_compute("Q", "N", "F", &two, &two, &three, &alpha, (MKL_INT8 *)B, &two, &o, A, &three, &o, &alpha, C, &two, CO);
  PARAMETER(1, "transa", "gemm_s8u8s32_compute");
  gemm_s8u8s32_pack("C", "N", &two, &two, &three, A, &two, C);
  PARAMETER(1, "identifier", "gemm_s8u8s32_pack");
  CHECK(gemm_s8u8s32_pack_get_size("A", &two, NULL, &two) == 0, "a size");
  PARAMETER(3, "n", "gemm_s8u8s32_pack_get_size");
}

static void packed_matrices(void) {
  CHECK(cblas_gemm_s8u8s32_pack_get_size(7, 2, 2, 3) == 0, "a size");
  PARAMETER(1, "identifier", "cblas_gemm_s8u8s32_pack_get_size");
  CHECK(cblas_gemm_s8u8s32_pack_get_size(CblasAMatrix, 2, 2, -3) == 0, "a size");
  PARAMETER(4, "k", "cblas_gemm_s8u8s32_pack_get_size");
  size_t large = cblas_gemm_s8u8s32_pack_get_size(CblasAMatrix, INT_MAX, INT_MAX, INT_MAX);
  CHECK(large >= (size_t)INT_MAX * INT_MAX && large < (size_t)INT_MAX * INT_MAX * 3, "%zu bytes", large);
  size_t bytes = cblas_gemm_s8u8s32_pack_get_size(CblasBMatrix, 2, 2, 3);
  /* Guards on both sides, at every alignment. */
  char *memory = malloc(bytes + 256), *other = malloc(bytes + 256);
  for (int shift = 64; shift < 128; shift++) {
    memset(memory, 0x55, bytes + 256);
    char *buffer = memory + shift;
    cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 3, B, 2, buffer);
    for (size_t i = 0; i < bytes + 256; i++)
      if (i < (size_t)shift || i >= (size_t)shift + bytes) CHECK(memory[i] == 0x55, "byte %zu", i);
    /* Another M than it was packed with, and a copy at another address. */
    memcpy(other + 128 - shift, buffer, bytes);
    const char *at[2] = {buffer, other + 128 - shift};
    for (int moved = 0; moved < 2; moved++) {
      int32_t c[3] = {0};
      cblas_gemm_s8u8s32_compute(ROWS, N, CblasPacked, CblasRowOffset, 1, 2, 3, 1, A, 3, 0, at[moved], 0, 0, 0, c, 2, CO);
      CHECK(c[0] == 1 + 6 - 15 + 10 && c[1] == -2 + 8 - 384 + 20 && c[2] == 0, "%d %d", c[0], c[1]);
    }
  }
  reset();
  char *buffer = memory + 64;
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 3, B, 2, buffer);
#define REFUSED(number, name, layout, ta, tb, m, n, k, a, b)                                                              \
  cblas_gemm_s8u8s32_compute(layout, ta, tb, FIX, m, n, k, 1, a, 3, 0, b, 3, 0, 0, C, 2, CO);                             \
  PARAMETER(number, name, "cblas_gemm_s8u8s32_compute")
  /* Another layout, N, K, matrix; no buffer. */
  REFUSED(12, "b", COLUMNS, N, CblasPacked, 2, 2, 3, A, buffer);
  REFUSED(12, "b", ROWS, N, CblasPacked, 2, 1, 3, A, buffer);
  REFUSED(12, "b", ROWS, N, CblasPacked, 2, 2, 2, A, buffer);
  REFUSED(9, "a", ROWS, CblasPacked, N, 2, 2, 3, buffer, B);
  REFUSED(12, "b", ROWS, N, CblasPacked, 2, 2, 3, A, NULL);
  REFUSED(2, "transa", ROWS, 5, CblasPacked, 2, 2, 3, A, buffer);
  /* Each byte of a buffer's header is watched. */
  for (int i = 0; i < 64; i++) {
    buffer[i] ^= 1;
    REFUSED(12, "b", ROWS, N, CblasPacked, 2, 2, 3, A, buffer);
    buffer[i] ^= 1;
  }
  /* C in the buffer. */
  cblas_gemm_s8u8s32_compute(ROWS, N, CblasPacked, FIX, 2, 2, 3, 1, A, 3, 0, buffer, 3, 0, 0, (int32_t *)(buffer + 64), 2, CO);
  PARAMETER(12, "b", "cblas_gemm_s8u8s32_compute");
#undef REFUSED
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 3, B, 1, buffer);
  PARAMETER(8, "ld", "cblas_gemm_s8u8s32_pack");
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 3, NULL, 2, buffer);
  PARAMETER(7, "src", "cblas_gemm_s8u8s32_pack");
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, (CBLAS_TRANSPOSE)CblasPacked, 2, 2, 3, B, 2, buffer);
  PARAMETER(3, "trans", "cblas_gemm_s8u8s32_pack");
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 3, B, 2, NULL);
  PARAMETER(9, "dest", "cblas_gemm_s8u8s32_pack");
  /* The buffer is as it was. */
  cblas_gemm_s8u8s32_compute(ROWS, N, CblasPacked, FIX, 2, 2, 3, 1, A, 3, 0, buffer, 3, 0, 0, C, 2, CO);
  CHECK(C[0] == 1 + 6 - 15 + 10, "%d", C[0]);
  reset();
  expect("", __LINE__);
  /* Matrices without elements. */
  char *empty = malloc(cblas_gemm_s8u8s32_pack_get_size(CblasBMatrix, 2, 2, 0));
  cblas_gemm_s8u8s32_pack(ROWS, CblasBMatrix, N, 2, 2, 0, B, 2, empty);
  int32_t c[4] = {3, 4, 5, 6};
  cblas_gemm_s8u8s32_compute(ROWS, N, CblasPacked, FIX, 2, 2, 0, 1, A, 3, 0, empty, 0, 0, 2, c, 2, CO);
  CHECK(c[0] == 6 && c[3] == 12, "%d %d", c[0], c[3]);
  expect("", __LINE__);
  free(memory), free(other), free(empty);
}

int main(int argc, char **argv) {
  (void)argv;
  char path[] = "/tmp/refusals.XXXXXX";
  int file = mkstemp(path);
  if (file < 0 || unlink(path) || dup2(file, 2) < 0) return 2;
  onednn();
  if (argc == 1) onednn_out_of_memory();
  overlaps();
  reset();
  mkl();
  packed_matrices();
  printf("refusals: %d failures\n", failures);
  return failures != 0;
}
