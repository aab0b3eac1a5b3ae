/* A client of oneDNN's integer products. It knows nothing of qgemm. */
#define _GNU_SOURCE
#include "run.h"
#include <oneapi/dnnl/dnnl.h>

static void one_call(struct random *r, const struct options *options, struct counts *counts, FILE *out) {
  int few_bits = options->few_bits;
  struct product p = {0};
  choose_shape(r, &p);
  int a_transposed = below(r, 2), b_transposed = below(r, 2), large_c = below(r, 4) == 0;
  p.a_signed = below(r, 2), p.b_signed = 1;
  int64_t lda = (a_transposed ? p.m : p.k) + below(r, 5), ldb = (b_transposed ? p.k : p.n) + below(r, 5);
  int64_t ldc = p.n + below(r, 5);
  lda += !lda, ldb += !ldb, ldc += !ldc;
  size_t a_len = (size_t)(lda * (a_transposed ? p.k : p.m)), b_len = (size_t)(ldb * (b_transposed ? p.n : p.k));
  uint8_t *a = values(r, a_len, p.a_signed, few_bits), *b = values(r, b_len, 1, few_bits);
  size_t c_len = (size_t)(ldc * p.m);
  int32_t *c = integers(r, c_len, large_c), *want = allocated(c_len * sizeof *want);
  memcpy(want, c, c_len * sizeof *c);
  p.offsetc = "FRC"[below(r, 3)];
  char offset_letter = below(r, 4) ? p.offsetc : (char)(p.offsetc + 'a' - 'A');
  int32_t *offsets = integers(r, (size_t)(p.m > p.n ? p.m : p.n) + 1, below(r, 4) == 0);
  p.a_zero = below(r, 3) ? 0 : below(r, 256) - (p.a_signed ? 128 : 0);
  p.b_zero = below(r, 3) ? 0 : below(r, 256) - 128;

  char transa = "NTnt"[a_transposed + 2 * below(r, 2)], transb = "NTnt"[b_transposed + 2 * below(r, 2)];
  dnnl_status_t status =
      p.a_signed ? dnnl_gemm_s8s8s32(transa, transb, offset_letter, p.m, p.n, p.k, p.alpha, (const int8_t *)a, lda,
                                     (int8_t)p.a_zero, (const int8_t *)b, ldb, (int8_t)p.b_zero, p.beta, c, ldc, offsets)
                 : dnnl_gemm_u8s8s32(transa, transb, offset_letter, p.m, p.n, p.k, p.alpha, a, lda, (uint8_t)p.a_zero,
                                     (const int8_t *)b, ldb, (int8_t)p.b_zero, p.beta, c, ldc, offsets);
  if (status != dnnl_success) {
    printf("status %d for %dx%dx%d\n", status, p.m, p.k, p.n);
    exit(2);
  }
  p.a = a, p.b = b, p.offsets = offsets;
  p.a_strides[a_transposed] = lda, p.a_strides[!a_transposed] = 1;
  p.b_strides[b_transposed] = ldb, p.b_strides[!b_transposed] = 1;
  p.c_strides[0] = ldc, p.c_strides[1] = 1;
  /* Without K nothing is computed. */
  if (p.k > 0) reference(&p, want);
  int exact = is_exact_everywhere(&p, large_c) && !(options->unsigned_only && p.a_signed);
  count(counts, exact, c, want, c_len, out);
  free(a), free(b), free(c), free(want), free(offsets);
}

int main(int argc, char **argv) { return run(argc, argv, "dnnl_gemm_u8s8s32", (void *)dnnl_gemm_u8s8s32); }
