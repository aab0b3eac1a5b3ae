// Float activations that a call quantizes, against plain loops: one scale for all or one for each row, with and without zero
// points, gathered rows, outputs of 8 bits. And rows that are added with weights.
#include <math.h>

#include "test.h"

// Scale and zero point of some values.
static qgemm_quant_params params_of(const float *x, size_t len, int asymmetric) {
  float lo = 0, hi = 0;
  for (size_t i = 0; i < len; i++) lo = fminf(lo, x[i]), hi = fmaxf(hi, x[i]);
  if (!asymmetric) hi = fmaxf(hi, -lo), lo = 0;
  float scale = asymmetric ? (hi - lo) / 255 : hi / 127;
  if (scale == 0) scale = 1;
  int32_t zero = asymmetric ? (int32_t)nearbyintf(fminf(-lo / scale, 255)) : 0;
  return (qgemm_quant_params){scale, zero};
}

static int64_t quantized(float x, qgemm_quant_params by, int asymmetric) {
  int64_t q = (int64_t)nearbyintf(x / by.scale) + by.zero_point;
  return (asymmetric ? clamped(q, 0, 255) : clamped(q, -127, 127)) - by.zero_point;
}

// Rows of `source`, all in order or picked by index; to floats, or to 8 bits.
static void dynamic(qgemm_activations how, int gathered, qgemm_type to) {
  enum { ROWS = 7, COLS = 23, N = 11, TAPS = 2, PICKED = 6 };
  const int asymmetric = how == QGEMM_PER_ROW_ASYMMETRIC || how == QGEMM_PER_TENSOR_ASYMMETRIC;
  const int one = how == QGEMM_PER_TENSOR || how == QGEMM_PER_TENSOR_ASYMMETRIC;
  const uint32_t indices[PICKED * TAPS] = {0, 3, 6, QGEMM_PADDING, 2, 2, 5, 1, QGEMM_PADDING, QGEMM_PADDING, 4, 0};
  const size_t m = gathered ? PICKED : ROWS, k = gathered ? COLS * TAPS : COLS;
  float *source = random_floats(ROWS * COLS, 3), *a = memory(m * k * sizeof *a);
  for (size_t i = 0; i < ROWS * COLS; i++) source[i] += 0.5f;
  for (size_t i = 0; i < m * k; i++) {
    size_t row = i / COLS;
    if (!gathered) a[i] = source[i];
    else a[i] = indices[row] == QGEMM_PADDING ? 0 : source[indices[row] * COLS + i % COLS];
  }
  qgemm_matrix b = random_matrix(k, N, QGEMM_I8, 0, 0);
  qgemm_product p = product_of((qgemm_matrix){source, ROWS, COLS, COLS, 1, QGEMM_F32}, b, NULL, N, to);
  void *y = memory(m * N * 4);
  p.c.data = y, p.c.rows = m;
  qgemm_gather gather = {indices, PICKED * TAPS, TAPS, 0, 0};
  if (gathered) p.gather = &gather;
  qgemm_quant_params *params = memory(m * sizeof *params);
  p.activations = how, p.params = params, p.params_len = one ? 1 : m;
  p.b_zero.one = 5;
  float *columns = random_floats(N, 0.01f);
  for (int j = 0; j < N; j++) columns[j] = fabsf(columns[j]);
  qgemm_stage *stage;
  if (to == QGEMM_F32) {
    qgemm_dequantize_options options = {0};
    options.struct_size = sizeof options, options.dynamic = 1;
    options.scale.columns = columns, options.scale.columns_len = N;
    OK(qgemm_dequantize(&options, &stage));
  } else {
    qgemm_requantize_options options = {0};
    options.struct_size = sizeof options, options.dynamic = 1, options.zero_point = 100;
    options.scale.columns = columns, options.scale.columns_len = N;
    OK(qgemm_requantize(&options, &stage));
  }
  p.stage = stage;
  OK(qgemm_run(&p));
  // One scale is that of the source.
  const qgemm_quant_params all = params_of(source, ROWS * COLS, asymmetric);
  for (size_t i = 0; i < m; i++) {
    const qgemm_quant_params by = one ? all : params_of(a + i * k, k, asymmetric);
    if (!one || i == 0) CHECK(params[i].scale == by.scale && params[i].zero_point == by.zero_point);
    for (size_t j = 0; j < N; j++) {
      int64_t sum = 0;
      for (size_t l = 0; l < k; l++) sum += quantized(a[i * k + l], by, asymmetric) * (element(&b, l, j) - 5);
      float scale = by.scale * columns[j], x = (float)sum * scale;
      const int64_t least = to == QGEMM_I8 ? -128 : 0, rounded = (int64_t)nearbyintf(x) + 100;
      if (to == QGEMM_F32) CHECK(((float *)y)[i * N + j] == x);
      else CHECK(value_at(y, to, i * N + j) == clamped(rounded, least, least + 255));
    }
  }
  qgemm_stage_free(stage);
  free(source), free(a), free((void *)b.data), free(y), free(params), free(columns);
}

static void weighted_rows(void) {
  enum { ROWS = 5, N = 6, TO = 3 };
  float *rows = random_floats(ROWS * N, 2), *weights = random_floats(ROWS, 1), *c = random_floats(TO * N, 1);
  float before[TO * N];
  memcpy(before, c, sizeof before);
  const uint32_t indices[ROWS] = {2, 0, 2, 2, 0};
  qgemm_matrix from = {rows, ROWS, N, N, 1, QGEMM_F32};
  qgemm_matrix_mut to = {c, TO, N, N, 1, QGEMM_F32};
  OK(qgemm_scatter_add(&from, indices, ROWS, weights, &to));
  // In order, each product and each sum rounded by itself.
  for (size_t i = 0; i < ROWS; i++)
    for (size_t j = 0; j < N; j++) {
      float product = weights[i] * rows[i * N + j];
      before[indices[i] * N + j] = before[indices[i] * N + j] + product;
    }
  CHECK(!memcmp(before, c, sizeof before));
  free(rows), free(weights), free(c);
}

// The error of a batch, which depends on values of A, says which product it is of.
static void batch_errors(void) {
  float x[4][6], c[4][4];
  const int8_t b[6] = {1, 2, 3, 4, 5, 6};
  qgemm_dequantize_options options = {0};
  options.struct_size = sizeof options, options.dynamic = 1, options.scale.one = 1;
  qgemm_stage *stage;
  OK(qgemm_dequantize(&options, &stage));
  qgemm_product products[4];
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 6; j++) x[i][j] = (float)j;
    qgemm_matrix a = {x[i], 2, 3, 3, 1, QGEMM_F32};
    products[i] = product_of(a, (qgemm_matrix){b, 3, 2, 2, 1, QGEMM_I8}, c[i], 2, QGEMM_F32);
    products[i].stage = stage;
  }
  OK(qgemm_run_batch(products, 4, NULL));
  x[2][4] = NAN;
  REFUSED(qgemm_run_batch(products, 4, NULL), QGEMM_NOT_FINITE, "products[2]: a: element (1, 1)");
  qgemm_stage_free(stage);
}

void activations(void) {
  const qgemm_type types[] = {QGEMM_F32, QGEMM_I8, QGEMM_U8};
  for (qgemm_activations how = QGEMM_PER_ROW; how <= QGEMM_PER_TENSOR_ASYMMETRIC; how++)
    for (int turn = 0; turn < 6; turn++) dynamic(how, turn & 1, types[turn / 2]);
  weighted_rows();
  batch_errors();
}
