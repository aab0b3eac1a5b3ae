// What the test programs share.
#ifndef QGEMM_TEST_H
#define QGEMM_TEST_H

#include <qgemm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                                      \
  do {                                                                                   \
    if (!(what)) {                                                                       \
      fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #what, qgemm_last_error()); \
      exit(1);                                                                           \
    }                                                                                    \
  } while (0)

#define OK(call) CHECK((call) == QGEMM_OK)

// The call is refused with this status, and the text of the error holds these words.
static inline void refused(int line, qgemm_status got, qgemm_status want, const char *words) {
  if (got == want && strstr(qgemm_last_error(), words)) return;
  fprintf(stderr, "%s:%d: status %d, not %d; \"%s\" without \"%s\"\n", __FILE__, line, got, want, qgemm_last_error(), words);
  exit(1);
}
#define REFUSED(call, status, words) refused(__LINE__, (call), (status), (words))

// Memory of exactly so many bytes, not set, so that tools see what is read before it is written and what lies outside.
static inline void *memory(size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  CHECK(p != NULL);
  return p;
}

// The next of a sequence of numbers that look random.
static inline uint32_t next(void) {
  static uint64_t seed = 1;
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33);
}

static inline void *random_bytes(size_t bytes) {
  uint8_t *p = memory(bytes);
  for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)next();
  return p;
}

// Numbers of either sign.
static inline float *random_floats(size_t len, float magnitude) {
  float *p = memory(len * sizeof *p);
  for (size_t i = 0; i < len; i++) p[i] = magnitude * ((float)(next() % 20001) / 10000.0f - 1.0f);
  return p;
}

static inline int32_t value_at(const void *data, qgemm_type type, size_t at) {
  switch (type) {
    case QGEMM_I8: return ((const int8_t *)data)[at];
    case QGEMM_U8: return ((const uint8_t *)data)[at];
    default: return ((const int32_t *)data)[at];
  }
}

static inline int32_t element(const qgemm_matrix *x, size_t i, size_t j) {
  return value_at(x->data, x->type, i * (size_t)x->row_stride + j * (size_t)x->col_stride);
}

// A matrix of random bytes: row-major with `gap` elements between rows, or that transposed.
static inline qgemm_matrix random_matrix(size_t rows, size_t cols, qgemm_type type, int transposed, size_t gap) {
  size_t lines = transposed ? cols : rows, len = transposed ? rows : cols, stride = len + gap;
  size_t extent = lines && len ? (lines - 1) * stride + len : 0;
  qgemm_matrix x = {random_bytes(extent), rows, cols, (ptrdiff_t)stride, 1, type};
  if (transposed) x.row_stride = 1, x.col_stride = (ptrdiff_t)stride;
  return x;
}

// A product of unpacked matrices, with C of any type.
static inline qgemm_product product_of(qgemm_matrix a, qgemm_matrix b, void *c, size_t stride, qgemm_type type) {
  qgemm_product p = {0};
  p.struct_size = sizeof p;
  p.a = a;
  p.b = b;
  p.c = (qgemm_matrix_mut){c, a.rows, b.cols, (ptrdiff_t)stride, 1, type};
  return p;
}

// The sums of a product with zero points and bias, in 64 bits.
static inline int64_t *sums(const qgemm_product *p) {
  size_t m = p->c.rows, n = p->c.cols, k = p->b.rows;
  int64_t *all = memory(m * n * sizeof *all);
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      int64_t za = p->a_zero.each ? value_at(p->a_zero.each, p->a_zero.type, i) : p->a_zero.one;
      int64_t zb = p->b_zero.each ? value_at(p->b_zero.each, p->b_zero.type, j) : p->b_zero.one;
      int64_t sum = p->bias ? p->bias[j] : 0;
      for (size_t l = 0; l < k; l++) sum += (element(&p->a, i, l) - za) * (element(&p->b, l, j) - zb);
      all[i * n + j] = sum;
    }
  return all;
}

static inline int64_t clamped(int64_t x, int64_t lo, int64_t hi) { return x < lo ? lo : x > hi ? hi : x; }

void results(void);
void stages(void);
void activations(void);
void groups(void);
void saved(void);
void refusals(void);

#endif
