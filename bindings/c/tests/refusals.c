// Arguments that are refused, each with its status and the name of the argument.
#include <math.h>
#include <stdint.h>

#include "test.h"

static uint8_t a_data[3 * 4];
static int8_t b_data[4 * 2];
static int32_t c_data[3 * 2 + 4];
static float f_data[3 * 4];

// A product that is right: 3x4 times 4x2 to 32 bits.
static qgemm_product right(void) {
  qgemm_product p = {0};
  p.struct_size = sizeof p;
  p.a = (qgemm_matrix){a_data, 3, 4, 4, 1, QGEMM_U8};
  p.b = (qgemm_matrix){b_data, 4, 2, 2, 1, QGEMM_I8};
  p.c = (qgemm_matrix_mut){c_data, 3, 2, 2, 1, QGEMM_I32};
  return p;
}

// Refuses the product with one field set otherwise, and sees that C is as it was.
#define WRONG(field, value, status, words)              \
  do {                                                  \
    qgemm_product p = right();                          \
    p.field = (value);                                  \
    for (int i = 0; i < 10; i++) c_data[i] = 1000 + i;  \
    REFUSED(qgemm_run(&p), status, words);              \
    for (int i = 0; i < 10; i++) CHECK(c_data[i] == 1000 + i); \
  } while (0)

static void products(void) {
  qgemm_product p = right();
  OK(qgemm_run(&p));
  REFUSED(qgemm_run(NULL), QGEMM_NULL, "product");
  REFUSED(qgemm_run((const qgemm_product *)((uintptr_t)&p + 1)), QGEMM_MISALIGNED, "product");
  WRONG(struct_size, 0, QGEMM_SHAPE, "struct_size");
  WRONG(struct_size, sizeof p - 1, QGEMM_SHAPE, "struct_size");
  WRONG(struct_size, SIZE_MAX, QGEMM_SHAPE, "struct_size");
  WRONG(a.data, NULL, QGEMM_NULL, "a");
  WRONG(b.data, NULL, QGEMM_NULL, "b");
  WRONG(c.data, NULL, QGEMM_NULL, "output");
  WRONG(c.data, (char *)c_data + 2, QGEMM_MISALIGNED, "output");
  WRONG(a.rows, 2, QGEMM_SHAPE, "output");
  WRONG(a.cols, 3, QGEMM_SHAPE, "b");
  WRONG(b.cols, 1, QGEMM_SHAPE, "output");
  WRONG(a.row_stride, -4, QGEMM_SHAPE, "a: a stride is negative");
  WRONG(b.col_stride, -1, QGEMM_SHAPE, "b: a stride is negative");
  WRONG(c.row_stride, -2, QGEMM_SHAPE, "output: a stride is negative");
  WRONG(a.row_stride, PTRDIFF_MAX, QGEMM_TOO_LARGE, "a");
  WRONG(a.rows, SIZE_MAX, QGEMM_TOO_LARGE, "a");
  WRONG(b.rows, SIZE_MAX / 2, QGEMM_TOO_LARGE, "b");
  WRONG(c.rows, SIZE_MAX, QGEMM_TOO_LARGE, "output");
  WRONG(c.row_stride, PTRDIFF_MAX / 4, QGEMM_TOO_LARGE, "output");
  WRONG(c.row_stride, 1, QGEMM_OVERLAP, "output");
  WRONG(c.col_stride, 0, QGEMM_OVERLAP, "output");
  WRONG(a.type, 0, QGEMM_TYPE, "a");
  WRONG(a.type, 77, QGEMM_TYPE, "a: 77");
  WRONG(a.type, QGEMM_I32, QGEMM_TYPE, "a");
  WRONG(b.type, 0, QGEMM_NULL, "weights");
  WRONG(b.type, QGEMM_F32, QGEMM_TYPE, "b");
  WRONG(c.type, QGEMM_F16, QGEMM_OPTIONS, "stage");
  WRONG(c.type, QGEMM_F32, QGEMM_OPTIONS, "stage");
  WRONG(accumulate, 2, QGEMM_TYPE, "accumulate");
  WRONG(activations, QGEMM_PER_ROW, QGEMM_OPTIONS, "activations");
  WRONG(bias_len, 2, QGEMM_NULL, "bias");
  WRONG(bias, c_data, QGEMM_SHAPE, "bias");
  WRONG(a_zero.len, 3, QGEMM_NULL, "a_zero");
  WRONG(params_len, 3, QGEMM_OPTIONS, "params");
  WRONG(threads.parallel_for, (qgemm_parallel_for)(uintptr_t)64, QGEMM_RANGE, "threads");
  // Fields of a later version.
  struct { qgemm_product p; uint64_t more; } later = {right(), 0};
  later.p.struct_size = sizeof later;
  OK(qgemm_run(&later.p));
  later.more = 1;
  REFUSED(qgemm_run(&later.p), QGEMM_OPTIONS, "version");
}

static void arrays(void) {
  static const int32_t numbers[5];
  qgemm_zero_points zeros = {numbers, 2, QGEMM_I32, 0};
  WRONG(a_zero, zeros, QGEMM_SHAPE, "a_zero");
  zeros.len = 3, zeros.type = QGEMM_F32;
  WRONG(a_zero, zeros, QGEMM_TYPE, "a_zero");
  zeros.type = QGEMM_I32, zeros.each = (const char *)numbers + 1;
  WRONG(a_zero, zeros, QGEMM_MISALIGNED, "a_zero");
  zeros.each = numbers, zeros.len = SIZE_MAX;
  WRONG(b_zero, zeros, QGEMM_TOO_LARGE, "b_zero");
  zeros.len = 3;
  WRONG(b_zero, zeros, QGEMM_SHAPE, "b_zero");
  qgemm_product p = right();
  p.bias = (const int32_t *)((uintptr_t)numbers + 1), p.bias_len = 2;
  REFUSED(qgemm_run(&p), QGEMM_MISALIGNED, "bias");

  const uint32_t indices[] = {0, 3, 1};
  qgemm_gather gather = {indices, 3, 1, 0, 0};
  WRONG(gather, &gather, QGEMM_RANGE, "indices");
  gather.taps = 0;
  WRONG(gather, &gather, QGEMM_RANGE, "taps");
  gather.taps = 2;
  WRONG(gather, &gather, QGEMM_SHAPE, "indices");
  gather.indices = NULL;
  WRONG(gather, &gather, QGEMM_NULL, "indices");
  gather = (qgemm_gather){indices, 1, 1, 1, 256};
  WRONG(gather, &gather, QGEMM_RANGE, "padding");
  gather.has_padding = 7;
  WRONG(gather, &gather, QGEMM_TYPE, "has_padding");
}

// C over each of the inputs.
static void overlaps(void) {
  static int32_t shared[64];
  const uint32_t *indices = (const uint32_t *)shared;
  for (int at = 0; at < 6; at++) {
    qgemm_product p = right();
    p.c.data = shared;
    qgemm_gather gather = {indices + 5, 3, 1, 0, 0};
    switch (at) {
      case 0: p.a.data = (uint8_t *)shared + 23; break;
      case 1: p.b.data = (int8_t *)shared + 16; break;
      case 2: p.bias = shared + 5, p.bias_len = 2; break;
      case 3: p.a_zero = (qgemm_zero_points){shared + 4, 3, QGEMM_I32, 0}; break;
      case 4: p.b_zero = (qgemm_zero_points){(int8_t *)shared + 1, 2, QGEMM_I8, 0}; break;
      case 5: p.gather = &gather; break;
    }
    REFUSED(qgemm_run(&p), QGEMM_OVERLAP, "output");
  }
  // Between the rows of C an input may lie, but not C between those of an input.
  qgemm_product p = right();
  p.c = (qgemm_matrix_mut){shared, 3, 2, 8, 1, QGEMM_I32};
  p.a.data = (uint8_t *)(shared + 2);
  OK(qgemm_run(&p));
  p.a = (qgemm_matrix){(uint8_t *)shared, 3, 4, 32, 1, QGEMM_U8};
  p.c.data = shared + 2;
  REFUSED(qgemm_run(&p), QGEMM_OVERLAP, "output");

  // In a batch: an output over another, and over another's input.
  qgemm_product both[2] = {right(), right()};
  both[0].c.data = shared, both[1].c.data = shared + 5;
  REFUSED(qgemm_run_batch(both, 2, NULL), QGEMM_OVERLAP, "products[");
  both[1].c.data = shared + 6;
  OK(qgemm_run_batch(both, 2, NULL));
  both[0].a.data = (uint8_t *)(shared + 7);
  REFUSED(qgemm_run_batch(both, 2, NULL), QGEMM_OVERLAP, "products[1]: output");
  both[0] = both[1], both[1].struct_size += 8;
  REFUSED(qgemm_run_batch(both, 2, NULL), QGEMM_OPTIONS, "products[1]");
  both[1] = both[0], both[1].a.type = 9;
  REFUSED(qgemm_run_batch(both, 2, NULL), QGEMM_TYPE, "products[1]: a");
  REFUSED(qgemm_run_batch(both, SIZE_MAX / 8, NULL), QGEMM_TOO_LARGE, "products");
  REFUSED(qgemm_run_batch(NULL, 1, NULL), QGEMM_NULL, "products");
  both[0].params_len = 1;
  REFUSED(qgemm_run_batch(both, 1, NULL), QGEMM_OPTIONS, "params");
}

// Indices of a convolution, of which none is written if the output's shape cannot be.
static void conv_indices(void) {
  qgemm_conv2d conv = {sizeof conv, 1, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0};
  uint32_t indices[24] = {7};
  size_t shape[4] = {7, 7, 7, 7};
  REFUSED(qgemm_conv2d_indices(&conv, indices, 24, NULL), QGEMM_NULL, "output");
  REFUSED(qgemm_conv2d_indices(&conv, indices, 24, (size_t *)((char *)shape + 1)), QGEMM_MISALIGNED, "output");
  REFUSED(qgemm_conv2d_indices(&conv, indices, 23, shape), QGEMM_SHAPE, "indices");
  REFUSED(qgemm_conv2d_indices(&conv, (uint32_t *)shape, 24, shape + 1), QGEMM_OVERLAP, "indices");
  CHECK(indices[0] == 7 && shape[0] == 7 && shape[3] == 7);
}

static void wrong_stages(void) {
  qgemm_stage *stage = NULL;
  qgemm_requantize_options o = {0};
  o.struct_size = sizeof o;
  REFUSED(qgemm_requantize(NULL, &stage), QGEMM_NULL, "options");
  REFUSED(qgemm_requantize(&o, NULL), QGEMM_NULL, "stage");
  const float wrong[] = {NAN, -1, INFINITY};
  for (int i = 0; i < 3; i++) {
    o.scale.one = wrong[i];
    REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "scale");
    const float scales[] = {1, wrong[i]};
    o.scale.columns = scales, o.scale.columns_len = 2;
    REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "scale");
    o.scale.columns = NULL, o.scale.columns_len = 0;
    const double factor = wrong[i];
    o.scaling = QGEMM_SCALE_F64, o.factors = &factor, o.factors_len = 1;
    REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "factor");
    o.scaling = QGEMM_SCALE_F32;
    qgemm_multiplier multiplier;
    REFUSED(qgemm_multiplier_of(wrong[i], &multiplier), QGEMM_RANGE, "multiplier");
  }
  o.scale.one = 1, o.zero_point = 1 << 22;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "zero point");
  o.zero_point = 0, o.clamp = QGEMM_CLAMP_TO, o.lo = 1;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "clamp");
  o.clamp = 9;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_TYPE, "clamp");
  o.clamp = 0, o.scaling = 17;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_TYPE, "scaling");
  o.scaling = QGEMM_FIXED_RUY, o.multipliers_len = 1;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_NULL, "multipliers");
  const qgemm_multiplier small = {5, 0};
  o.multipliers = &small;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_RANGE, "multiplier");
  o.scaling = 0, o.scale.rows_len = 4;
  REFUSED(qgemm_requantize(&o, &stage), QGEMM_NULL, "scale.rows");
  o.scale.rows_len = 0, o.table = a_data, o.table_type = QGEMM_F32;
  CHECK(stage == NULL);

  qgemm_dequantize_options d = {0};
  d.struct_size = sizeof d;
  d.scale.one = NAN;
  REFUSED(qgemm_dequantize(&d, &stage), QGEMM_RANGE, "scale");
  d.scale.one = 1, d.clamp = QGEMM_CLAMP_TO, d.lo = NAN;
  REFUSED(qgemm_dequantize(&d, &stage), QGEMM_RANGE, "clamp");
  d.clamp = 0, d.activation = 7;
  REFUSED(qgemm_dequantize(&d, &stage), QGEMM_TYPE, "activation");
  d.activation = 0;
  OK(qgemm_dequantize(&d, &stage));
  // A stage for f32 with other outputs, and one without the scales that the call finds.
  WRONG(stage, stage, QGEMM_TYPE, "output");
  static float x[3 * 4] = {1, 2, 3};
  qgemm_product p = right();
  p.stage = stage;
  p.a = (qgemm_matrix){x, 3, 4, 4, 1, QGEMM_F32};
  p.c = (qgemm_matrix_mut){f_data, 3, 2, 2, 1, QGEMM_F32};
  REFUSED(qgemm_run(&p), QGEMM_OPTIONS, "scale");
  p.a_zero.one = 1;
  REFUSED(qgemm_run(&p), QGEMM_OPTIONS, "a_zero");
  p.a_zero.one = 0;
  qgemm_stage_free(stage);
  d.dynamic = 1;
  OK(qgemm_dequantize(&d, &stage));
  p.stage = stage;
  OK(qgemm_run(&p));
  x[5] = NAN;
  REFUSED(qgemm_run(&p), QGEMM_NOT_FINITE, "a");
  x[5] = 0;
  qgemm_quant_params params[3];
  p.params = params, p.params_len = 2;
  REFUSED(qgemm_run(&p), QGEMM_SHAPE, "params");
  p.params = (qgemm_quant_params *)f_data, p.params_len = 3;
  REFUSED(qgemm_run(&p), QGEMM_OVERLAP, "output");
  p.params = (qgemm_quant_params *)x;
  REFUSED(qgemm_run(&p), QGEMM_OVERLAP, "params");
  p.params = NULL, p.params_len = 0;
  qgemm_residual residual = {{f_data, 3, 2, 2, 1, QGEMM_F32}, 0, 0};
  p.residual = &residual;
  REFUSED(qgemm_run(&p), QGEMM_OVERLAP, "output");
  residual.matrix.data = x, residual.matrix.rows = 2;
  REFUSED(qgemm_run(&p), QGEMM_SHAPE, "residual");
  residual.scale = 1;
  REFUSED(qgemm_run(&p), QGEMM_RANGE, "residual");
  qgemm_stage_free(stage);
  qgemm_stage_free(NULL);
}

static void weights(void) {
  qgemm_weights *w = NULL;
  qgemm_matrix b = {b_data, 4, 2, 2, 1, QGEMM_I8};
  qgemm_pack_options o = {0};
  REFUSED(qgemm_pack(NULL, NULL, &w), QGEMM_NULL, "b");
  REFUSED(qgemm_pack(&b, NULL, NULL), QGEMM_NULL, "weights");
  REFUSED(qgemm_pack(&b, &o, &w), QGEMM_SHAPE, "struct_size");
  o.struct_size = sizeof o, o.kernel = "z80";
  REFUSED(qgemm_pack(&b, &o, &w), QGEMM_KERNEL, "z80");
  o.kernel = "\xff";
  REFUSED(qgemm_pack(&b, &o, &w), QGEMM_SHAPE, "kernel");
  o.kernel = NULL, o.activations = QGEMM_F32;
  REFUSED(qgemm_pack(&b, &o, &w), QGEMM_TYPE, "activations");
  REFUSED(qgemm_weights_info(NULL, NULL), QGEMM_NULL, "weights");
  CHECK(w == NULL && qgemm_kernel_name(NULL) == NULL);
  qgemm_weights_free(NULL);

  static float scales[2] = {1, 1};
  qgemm_groupwise_options g = {0};
  g.struct_size = sizeof g, g.bits = 4, g.group = 8;
  g.codes = b, g.scales = (qgemm_matrix){scales, 1, 2, 2, 1, QGEMM_F32};
  g.bits = 5;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_RANGE, "bits");
  g.bits = 4, g.group = 3;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_SHAPE, "group");
  g.group = 8, b_data[3] = 8;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_RANGE, "codes");
  b_data[3] = 0, scales[1] = INFINITY;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_NOT_FINITE, "scales");
  scales[1] = 1, g.scales.rows = 2;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_SHAPE, "scales");
  g.scales.rows = 1, g.zeros = g.scales;
  REFUSED(qgemm_pack_groupwise(&g, &w), QGEMM_TYPE, "zeros");
  g.zeros.type = 0;
  OK(qgemm_pack_groupwise(&g, &w));
  qgemm_product p = right();
  p.weights = w;
  REFUSED(qgemm_run(&p), QGEMM_OPTIONS, "b");
  p.b.type = 0;
  REFUSED(qgemm_run(&p), QGEMM_TYPE, "output");
  p.b_zero.one = 1;
  REFUSED(qgemm_run(&p), QGEMM_OPTIONS, "b_zero");
  p.b_zero.one = 0, p.a = (qgemm_matrix){f_data, 3, 4, 4, 1, QGEMM_F32}, p.activations = QGEMM_PER_TENSOR;
  REFUSED(qgemm_run(&p), QGEMM_OPTIONS, "activations");
  p.activations = 99;
  REFUSED(qgemm_run(&p), QGEMM_TYPE, "activations");
  qgemm_weights_free(w);
  qgemm_matrix x = {f_data, 3, 4, 4, 1, QGEMM_F32};
  qgemm_matrix_mut q = {b_data, 2, 4, 4, 1, QGEMM_I8};
  x.rows = 2;
  REFUSED(qgemm_quantize_columns(&x, &q, f_data + 2, 4), QGEMM_OVERLAP, "scales");
  REFUSED(qgemm_quantize_columns(&x, &q, scales, 2), QGEMM_SHAPE, "scales");
  const qgemm_scales one = {NULL, 0, NULL, 0, 1};
  REFUSED(qgemm_quantize_bias(f_data, 1, &one, (int32_t *)f_data + 1, 2), QGEMM_OVERLAP, "out");
  REFUSED(qgemm_quantize_bias(f_data, NAN, &one, c_data, 2), QGEMM_RANGE, "scale");
  const uint32_t indices[] = {0, 3};
  qgemm_matrix_mut sum = {f_data + 8, 1, 4, 4, 1, QGEMM_F32};
  REFUSED(qgemm_scatter_add(&x, indices, 2, NULL, &sum), QGEMM_RANGE, "indices");
  sum.data = f_data + 7;
  REFUSED(qgemm_scatter_add(&x, indices, 2, NULL, &sum), QGEMM_OVERLAP, "output");
  REFUSED(qgemm_pack_gguf(1, 1, 32, a_data, 1, &w), QGEMM_TYPE, "type");
  REFUSED(qgemm_pack_gguf(QGEMM_GGUF_Q4_0, 1, 32, a_data, 1, &w), QGEMM_SHAPE, "blocks");
}

void refusals(void) {
  products();
  arrays();
  overlaps();
  conv_indices();
  wrong_stages();
  weights();
}
