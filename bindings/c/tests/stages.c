// Output stages of an 8-bit product against plain loops.
#include <math.h>

#include "test.h"

enum { M = 5, K = 40, N = 9 };

// (a * b + 2^30) / 2^31, rounded as gemmlowp's SaturatingRoundingDoublingHighMul does. b is positive.
static int64_t high_product(int64_t a, int64_t b) {
  int64_t product = a * b;
  return (product + (product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30))) / ((int64_t)1 << 31);
}

static int64_t fixed_point(int64_t x, qgemm_multiplier by, qgemm_scaling rounding) {
  const int left = by.shift > 0 ? by.shift : 0, right = by.shift < 0 ? -by.shift : 0;
  x = clamped(x, INT32_MIN, INT32_MAX);
  if (rounding == QGEMM_FIXED_REFERENCE) {
    int64_t product = x * by.m, half = (int64_t)1 << (30 - by.shift);
    int64_t magnitude = ((product < 0 ? -product : product) + half) >> (31 - by.shift);
    return product < 0 ? -magnitude : magnitude;
  }
  int64_t high = high_product(clamped(x * ((int64_t)1 << left), INT32_MIN, INT32_MAX), by.m);
  if (rounding == QGEMM_FIXED_RUY) return right ? (high + ((int64_t)1 << (right - 1))) >> right : high;
  int64_t mask = ((int64_t)1 << right) - 1;
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}

static void fixed_points(qgemm_product p, const int64_t *want) {
  qgemm_multiplier multipliers[N];
  // Half of a step often lies between two of these.
  for (int j = 0; j < N; j++) OK(qgemm_multiplier_of(j % 2 ? 1.0 / 1024 : 0.3 / (1 + 97 * j), &multipliers[j]));
  const qgemm_scaling roundings[] = {QGEMM_FIXED_GEMMLOWP, QGEMM_FIXED_RUY, QGEMM_FIXED_REFERENCE};
  uint8_t y[M * N];
  p.c = (qgemm_matrix_mut){y, M, N, N, 1, QGEMM_U8};
  for (int turn = 0; turn < 6; turn++) {
    qgemm_requantize_options options = {0};
    options.struct_size = sizeof options, options.scaling = roundings[turn % 3];
    options.multipliers = multipliers, options.multipliers_len = turn < 3 ? N : 1;
    options.zero_point = 128;
    qgemm_stage *stage;
    OK(qgemm_requantize(&options, &stage));
    p.stage = stage;
    OK(qgemm_run(&p));
    for (int i = 0; i < M * N; i++) {
      int64_t x = fixed_point(want[i], multipliers[turn < 3 ? i % N : 0], options.scaling);
      CHECK(y[i] == clamped(x + 128, 0, 255));
    }
    qgemm_stage_free(stage);
  }
}

// Clamps, and residuals of each type, beside the output and in its place, for outputs of each type.
static void clamps_and_residuals(qgemm_product p, const int64_t *want) {
  for (unsigned turn = 0; turn < 32; turn++) {
    const qgemm_type type = turn & 1 ? QGEMM_U8 : QGEMM_I8, residual_type = turn & 2 ? QGEMM_U8 : QGEMM_I8;
    const int32_t least = type == QGEMM_U8 ? 0 : -128;
    void *y = random_bytes(M * N), *before = random_bytes(M * N);
    qgemm_requantize_options options = {0};
    options.struct_size = sizeof options;
    options.scale.one = 1.0f / 512, options.zero_point = least + 50;
    options.clamp = turn & 4 ? QGEMM_CLAMP_RELU6 : QGEMM_CLAMP_RELU, options.output_scale = 0.07f;
    qgemm_residual residual = {{before, M, N, N, 1, residual_type}, 0.75f, -3};
    if (turn & 8) {
      // What C holds is of its own type.
      options.residual_in_place = 1, options.residual_scale = 0.75f, options.residual_zero_point = -3;
      memcpy(y, before, M * N);
    } else {
      p.residual = turn & 16 ? &residual : NULL;
    }
    qgemm_stage *stage;
    OK(qgemm_requantize(&options, &stage));
    p.stage = stage, p.c = (qgemm_matrix_mut){y, M, N, N, 1, type};
    OK(qgemm_run(&p));
    const int32_t six = (int32_t)nearbyintf(6.0f / 0.07f);
    for (size_t i = 0; i < M * N; i++) {
      float x = (float)want[i] * (1.0f / 512);
      if (turn & 24) x += (float)(value_at(before, turn & 8 ? type : residual_type, i) + 3) * 0.75f;
      int64_t hi = turn & 4 ? least + 50 + six : least + 255;
      CHECK(value_at(y, type, i) == clamped((int64_t)nearbyintf(x) + least + 50, least + 50, hi));
    }
    qgemm_stage_free(stage);
    p.residual = NULL;
    free(y), free(before);
  }
}

static double activated(qgemm_activation activation, double x) {
  switch (activation) {
    case QGEMM_GELU: return x / 2 * erfc(-x * sqrt(0.5));
    case QGEMM_GELU_TANH: return x / 2 * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    case QGEMM_SILU: return x / (1 + exp(-x));
    case QGEMM_SIGMOID: return 1 / (1 + exp(-x));
    case QGEMM_TANH: return tanh(x);
    case QGEMM_HARD_SWISH: return x * fmin(fmax(x + 3, 0), 6) / 6;
    default: return x;
  }
}

// f32 outputs: scales of rows and columns, what C held, clamps, and functions, which are right to some 2^-20.
static void reals(qgemm_product p, const int64_t *want) {
  float *rows = random_floats(M, 1), *columns = random_floats(N, 0.01f), *y = memory(M * N * sizeof *y);
  for (int i = 0; i < M; i++) rows[i] = fabsf(rows[i]);
  for (int j = 0; j < N; j++) columns[j] = fabsf(columns[j]);
  p.c = (qgemm_matrix_mut){y, M, N, N, 1, QGEMM_F32};
  for (qgemm_activation activation = QGEMM_IDENTITY; activation <= QGEMM_HARD_SWISH; activation++)
    for (qgemm_clamp clamp = QGEMM_CLAMP_NONE; clamp <= QGEMM_CLAMP_RELU6; clamp++) {
      float *before = random_floats(M * N, 2);
      memcpy(y, before, M * N * sizeof *y);
      qgemm_dequantize_options options = {0};
      options.struct_size = sizeof options;
      options.scale.rows = rows, options.scale.rows_len = M;
      options.scale.columns = columns, options.scale.columns_len = N;
      options.clamp = clamp, options.lo = -2.5f, options.hi = INFINITY;
      options.activation = activation, options.residual_in_place = 1;
      qgemm_stage *stage;
      OK(qgemm_dequantize(&options, &stage));
      p.stage = stage;
      OK(qgemm_run(&p));
      for (size_t i = 0; i < M * N; i++) {
        float scale = rows[i / N] * columns[i % N], x = (float)want[i] * scale;
        x = x + before[i];
        if (clamp == QGEMM_CLAMP_TO && x < -2.5f) x = -2.5f;
        if (clamp >= QGEMM_CLAMP_RELU && x < 0) x = 0;
        if (clamp == QGEMM_CLAMP_RELU6 && x > 6) x = 6;
        double right = activated(activation, x);
        if (activation == QGEMM_IDENTITY) CHECK(y[i] == x);
        else CHECK(fabs(y[i] - right) <= 1e-6 * fmax(1, fabs(right)));
      }
      qgemm_stage_free(stage);
      free(before);
    }
  free(rows), free(columns), free(y);
}

void stages(void) {
  qgemm_matrix a = random_matrix(M, K, QGEMM_U8, 0, 0), b = random_matrix(K, N, QGEMM_I8, 0, 0);
  qgemm_product p = product_of(a, b, NULL, N, QGEMM_I32);
  p.a_zero.one = 117, p.b_zero.one = -3;
  int64_t *want = sums(&p);
  fixed_points(p, want);
  clamps_and_residuals(p, want);
  reals(p, want);
  free((void *)a.data), free((void *)b.data), free(want);
}
