/* Random products, a plain loop that computes them, and what is counted. */
#ifndef CALLS_H
#define CALLS_H

#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct random {
  uint64_t state;
};

/* The next number of a multiplicative generator of 64 bits, its upper half. */
static inline uint32_t next(struct random *r) {
  r->state = r->state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(r->state >> 32);
}

/* One of 0..n-1. */
static inline int below(struct random *r, int n) { return (int)(next(r) % (uint32_t)n); }

static inline void *allocated(size_t bytes) {
  void *memory = malloc(bytes ? bytes : 1);
  if (!memory) {
    fputs("no memory\n", stderr);
    exit(2);
  }
  return memory;
}

/* C = alpha * (A - a_zero) * (B - b_zero) + beta * C + offset. Values of A and B are read by their strides. */
struct product {
  int m, n, k;
  float alpha, beta;
  int a_signed, b_signed;
  int a_zero, b_zero;
  const uint8_t *a, *b;
  int64_t a_strides[2], b_strides[2], c_strides[2];
  /* Offsets: one ('F'), for each row ('C') or column ('R'). */
  char offsetc;
  const int32_t *offsets;
};

static inline int64_t element(const uint8_t *at, int is_signed) {
  return is_signed ? (int64_t)(int8_t)*at : (int64_t)*at;
}

/* The definition. The sum is exact; scaled, it is rounded half away from zero and saturates; offsets are added modulo 2^32. */
static inline void reference(const struct product *p, int32_t *c) {
  for (int i = 0; i < p->m; i++)
    for (int j = 0; j < p->n; j++) {
      int64_t sum = 0;
      for (int l = 0; l < p->k; l++)
        sum += (element(p->a + i * p->a_strides[0] + l * p->a_strides[1], p->a_signed) - p->a_zero) *
               (element(p->b + l * p->b_strides[0] + j * p->b_strides[1], p->b_signed) - p->b_zero);
      int32_t *to = c + i * p->c_strides[0] + j * p->c_strides[1];
      uint32_t value;
      if (p->alpha == 1 && (p->beta == 0 || p->beta == 1)) {
        value = (uint32_t)sum + (p->beta == 1 ? (uint32_t)*to : 0);
      } else {
        double scaled = (double)p->alpha * (double)sum;
        if (p->beta != 0) scaled += (double)p->beta * (double)*to;
        scaled = round(scaled);
        value = (uint32_t)(scaled > INT32_MAX ? INT32_MAX : scaled < INT32_MIN ? INT32_MIN : (int32_t)scaled);
      }
      int index = p->offsetc == 'F' ? 0 : p->offsetc == 'C' ? i : j;
      *to = (int32_t)(value + (p->offsets ? (uint32_t)p->offsets[index] : 0));
    }
}

/* The vendors' libraries round after each block of K, of more than this many values. */
enum { ONE_BLOCK = 128 };

/* Whether the vendors' libraries are exact, too: sums are only added, or are multiplied once, or no step rounds. Others are
   compared with the plain loop alone. */
static inline int is_exact_everywhere(const struct product *p, int has_large_c) {
  int whole = truncf(p->alpha) == p->alpha && truncf(p->beta) == p->beta;
  return (p->alpha == 1 && (p->beta == 0 || p->beta == 1)) || p->k <= ONE_BLOCK ||
         (whole && fabsf(p->alpha) <= 2 && !has_large_c && p->k <= 4096);
}

static const float ALPHAS[] = {1, 1, 1, 1, 1, 0, -1, 2, 0.5f, 0.3f, -1.75f, 1e-3f, 3e6f};
static const float BETAS[] = {0, 0, 0, 1, 1, 1, 0.5f, -1, 2, 0.25f, -3};
#define PICK(r, array) (array)[below(r, (int)(sizeof(array) / sizeof *(array)))]

/* A size: often at the edges of the kernels' blocks, seldom large. */
static inline int size_of_dimension(struct random *r) {
  static const int SOME[] = {0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65};
  int kind = below(r, 10);
  return kind < 5 ? PICK(r, SOME) : kind < 9 ? 1 + below(r, 100) : 1 + below(r, 300);
}

static inline void choose_shape(struct random *r, struct product *p) {
  p->m = size_of_dimension(r), p->n = size_of_dimension(r), p->k = size_of_dimension(r);
  int kind = below(r, 40);
  if (kind < 3) p->k = 300 + below(r, 1200);
  if (kind == 3) p->m = 1 + below(r, 3), p->n = 1 + below(r, 3), p->k = 30000 + below(r, 20000);
  if (kind == 4) p->m = 1, p->n = 200 + below(r, 800);
  if (kind == 5) p->n = 1, p->m = 200 + below(r, 800);
  p->alpha = PICK(r, ALPHAS), p->beta = PICK(r, BETAS);
}

/* Bytes of any value, or, if `few_bits`, of 0..127 without sign and -64..63 with one: 16-bit sums of two products fit. */
static inline uint8_t *values(struct random *r, size_t len, int is_signed, int few_bits) {
  uint8_t *all = allocated(len);
  int extreme = below(r, 8) == 0;
  for (size_t i = 0; i < len; i++) {
    int value = extreme ? (below(r, 2) ? 0xff : 0x7f) : (int)(next(r) & 0xff);
    if (few_bits) value = is_signed ? (value & 0x7f) - 64 : value & 0x7f;
    all[i] = (uint8_t)value;
  }
  return all;
}

/* What C holds before, also between its rows. */
static inline int32_t *integers(struct random *r, size_t len, int large) {
  int32_t *all = allocated(len * sizeof *all);
  for (size_t i = 0; i < len; i++) all[i] = large ? (int32_t)next(r) : below(r, 2000001) - 1000000;
  return all;
}

struct counts {
  int calls, exact_calls, wrong, inexact_calls, inexact_wrong;
};

/* Counts a call whose C has `len` numbers, and writes C to `out` if the vendors' libraries are exact there, too. */
static inline void count(struct counts *counts, int exact, const int32_t *got, const int32_t *want, size_t len, FILE *out) {
  int differs = memcmp(got, want, len * sizeof *got) != 0;
  counts->calls++;
  counts->exact_calls += exact, counts->inexact_calls += !exact;
  counts->wrong += exact && differs, counts->inexact_wrong += !exact && differs;
  if (out && exact && fwrite(got, sizeof *got, len, out) != len) exit(2);
}

/* Prints the library that a function is in, and the counts. Fails if a result is wrong that has to be right: all with `strict`. */
static inline int report(const char *who, void *function, const struct counts *counts, int strict) {
  Dl_info info;
  const char *file = dladdr(function, &info) && info.dli_fname ? info.dli_fname : "?";
  printf("%s from %s: %d calls, %d of %d differ from the plain loop, and %d of %d others\n", who, file,
         counts->calls, counts->wrong, counts->exact_calls, counts->inexact_wrong, counts->inexact_calls);
  return counts->wrong || (strict && counts->inexact_wrong);
}

/* The command line: NAME [-s] [-b] [-u] [-o FILE] [-n CALLS] [-t THREADS]. With -s all results have to be right, with -b values
   have few bits, with -u products of an A of i8 are not among those that the vendor's library is exact for. */
struct options {
  int strict, few_bits, unsigned_only, calls, threads;
  const char *out;
};

static inline struct options parse(int argc, char **argv) {
  struct options o = {0, 0, 0, 1500, 1, NULL};
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "-s")) o.strict = 1;
    else if (!strcmp(argv[i], "-b")) o.few_bits = 1;
    else if (!strcmp(argv[i], "-u")) o.unsigned_only = 1;
    else if (i + 1 < argc && !strcmp(argv[i], "-o")) o.out = argv[++i];
    else if (i + 1 < argc && !strcmp(argv[i], "-n")) o.calls = atoi(argv[++i]);
    else if (i + 1 < argc && !strcmp(argv[i], "-t")) o.threads = atoi(argv[++i]);
    else exit(2);
  }
  return o;
}

#endif
