/* A client of MKL's integer products, plain and packed. It knows nothing of qgemm. */
#define _GNU_SOURCE
#include "run.h"
#include <mkl.h>

/* A call as the client chose it. */
struct call {
  CBLAS_LAYOUT layout;
  CBLAS_TRANSPOSE transa, transb;
  CBLAS_OFFSET offsetc;
  int lda, ldb, ldc;
  MKL_INT8 oa, ob;
  const uint8_t *a, *b;
  int32_t *c;
  const int32_t *oc;
};

static void *buffer(size_t bytes) {
  void *memory = NULL;
  if (!bytes || posix_memalign(&memory, 64, bytes)) exit(2);
  return memory;
}

static void cblas(const struct product *p, const struct call *x) {
  cblas_gemm_s8u8s32(x->layout, x->transa, x->transb, x->offsetc, p->m, p->n, p->k, p->alpha, x->a, x->lda, x->oa, x->b,
                     x->ldb, x->ob, p->beta, x->c, x->ldc, x->oc);
}

static void cblas_packed(const struct product *p, const struct call *x, int pack_a, int pack_b) {
  void *a = NULL, *b = NULL;
  if (pack_a) {
    a = buffer(cblas_gemm_s8u8s32_pack_get_size(CblasAMatrix, p->m, p->n, p->k));
    cblas_gemm_s8u8s32_pack(x->layout, CblasAMatrix, x->transa, p->m, p->n, p->k, x->a, x->lda, a);
  }
  if (pack_b) {
    b = buffer(cblas_gemm_s8u8s32_pack_get_size(CblasBMatrix, p->m, p->n, p->k));
    cblas_gemm_s8u8s32_pack(x->layout, CblasBMatrix, x->transb, p->m, p->n, p->k, x->b, x->ldb, b);
  }
  cblas_gemm_s8u8s32_compute(x->layout, a ? (MKL_INT)CblasPacked : (MKL_INT)x->transa,
                             b ? (MKL_INT)CblasPacked : (MKL_INT)x->transb, x->offsetc, p->m, p->n, p->k, p->alpha,
                             a ? a : x->a, x->lda, x->oa, b ? b : x->b, x->ldb, x->ob, p->beta, x->c, x->ldc, x->oc);
  free(a), free(b);
}

static void fortran(const struct product *p, const struct call *x, int packed) {
  const char *transa = x->transa == CblasTrans ? "T" : "n", *transb = x->transb == CblasTrans ? "t" : "N";
  const char *offsetc = x->offsetc == CblasRowOffset ? "R" : x->offsetc == CblasColOffset ? "c" : "F";
  const MKL_INT m = p->m, n = p->n, k = p->k;
  if (!packed) {
    gemm_s8u8s32(transa, transb, offsetc, &m, &n, &k, &p->alpha, (const MKL_INT8 *)x->a, &x->lda, &x->oa, x->b, &x->ldb,
                 &x->ob, &p->beta, x->c, &x->ldc, x->oc);
    return;
  }
  void *a = buffer(gemm_s8u8s32_pack_get_size("A", &m, &n, &k));
  gemm_s8u8s32_pack("A", transa, &m, &n, &k, x->a, &x->lda, a);
  gemm_s8u8s32_compute("P", transb, offsetc, &m, &n, &k, &p->alpha, a, &x->lda, &x->oa, x->b, &x->ldb, &x->ob, &p->beta,
                       x->c, &x->ldc, x->oc);
  free(a);
}

static void one_call(struct random *r, const struct options *options, struct counts *counts, FILE *out) {
  int few_bits = options->few_bits;
  struct product p = {0};
  choose_shape(r, &p);
  int way = below(r, 6);
  /* MKL divides by zero when it packs a matrix of a product without elements. */
  if (way != 0 && way != 4 && (!p.m || !p.n || !p.k)) way = 0;
  int a_transposed = below(r, 2), b_transposed = below(r, 2), large_c = below(r, 4) == 0;
  int by_rows = way < 4 && below(r, 2);
  /* Row-major, A is of u8 and B of i8; column-major, it is the other way round. */
  p.a_signed = !by_rows, p.b_signed = by_rows;
  int a_rows_lie_apart = by_rows != a_transposed, b_rows_lie_apart = by_rows != b_transposed;
  struct call x = {.layout = by_rows ? CblasRowMajor : CblasColMajor};
  x.lda = (a_rows_lie_apart ? p.k : p.m) + below(r, 5), x.lda += !x.lda;
  x.ldb = (b_rows_lie_apart ? p.n : p.k) + below(r, 5), x.ldb += !x.ldb;
  x.ldc = (by_rows ? p.n : p.m) + below(r, 5), x.ldc += !x.ldc;
  uint8_t *a = values(r, (size_t)x.lda * (size_t)(a_rows_lie_apart ? p.m : p.k), p.a_signed, few_bits);
  uint8_t *b = values(r, (size_t)x.ldb * (size_t)(b_rows_lie_apart ? p.k : p.n), p.b_signed, few_bits);
  size_t c_len = (size_t)x.ldc * (size_t)(by_rows ? p.m : p.n);
  int32_t *c = integers(r, c_len, large_c), *want = allocated(c_len * sizeof *want);
  memcpy(want, c, c_len * sizeof *c);
  int32_t *offsets = integers(r, (size_t)(p.m > p.n ? p.m : p.n) + 1, below(r, 4) == 0);
  p.offsetc = "FRC"[below(r, 3)];
  x.offsetc = p.offsetc == 'F' ? CblasFixOffset : p.offsetc == 'R' ? CblasRowOffset : CblasColOffset;
  x.transa = a_transposed ? CblasTrans : CblasNoTrans, x.transb = b_transposed ? CblasTrans : CblasNoTrans;
  x.oa = (MKL_INT8)(below(r, 3) ? 0 : below(r, 256) - 128), x.ob = (MKL_INT8)(below(r, 3) ? 0 : below(r, 256) - 128);
  x.a = a, x.b = b, x.c = c, x.oc = offsets;

  if (way == 0) cblas(&p, &x);
  else if (way < 4) cblas_packed(&p, &x, way & 1, way & 2);
  else fortran(&p, &x, way == 5);

  /* MKL adds its offsets. */
  p.a_zero = -(signed char)x.oa, p.b_zero = -(signed char)x.ob, p.a = a, p.b = b;
  p.a_strides[!a_rows_lie_apart] = x.lda, p.a_strides[a_rows_lie_apart] = 1;
  p.b_strides[!b_rows_lie_apart] = x.ldb, p.b_strides[b_rows_lie_apart] = 1;
  p.c_strides[!by_rows] = x.ldc, p.c_strides[by_rows] = 1;
  /* Without K, C is scaled, and no offset is added unless alpha is 0. */
  p.offsets = p.k > 0 || p.alpha == 0 ? offsets : NULL;
  reference(&p, want);
  /* Where there is nothing to multiply, MKL scales C in 24 bits. */
  int exact = is_exact_everywhere(&p, large_c) && !(large_c && (!p.k || p.alpha == 0));
  count(counts, exact, c, want, c_len, out);
  free(a), free(b), free(c), free(want), free(offsets);
}

int main(int argc, char **argv) { return run(argc, argv, "cblas_gemm_s8u8s32", (void *)cblas_gemm_s8u8s32); }
