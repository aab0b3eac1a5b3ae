// Products against plain loops. Compiled without fused multiply-adds: each operation rounds by itself.
#include <math.h>

#include "test.h"

// A parallel loop in one thread, from the last part to the first but one: the library runs what is left.
static void backwards(void *context, size_t parts, qgemm_run_part run, void *job) {
  ++*(int *)context;
  for (size_t part = parts; part-- > 1;) run(job, part);
}

static const size_t SIZES[][3] = {{0, 3, 2},   {2, 0, 3},    {3, 2, 0},    {1, 1, 1},    {1, 7, 3},    {2, 3, 5},
                                  {5, 17, 9},  {1, 64, 65},  {13, 33, 16}, {7, 130, 31}, {33, 65, 67}, {64, 64, 64},
                                  {3, 257, 1}, {70, 5, 130}, {2, 300, 97}};

// One shape with types, layouts and zero points chosen by `turn`.
static void integers(const size_t *size, unsigned turn) {
  size_t m = size[0], k = size[1], n = size[2];
  qgemm_matrix a = random_matrix(m, k, turn & 1 ? QGEMM_I8 : QGEMM_U8, turn >> 2 & 1, turn % 3);
  qgemm_matrix b = random_matrix(k, n, turn & 2 ? QGEMM_I8 : QGEMM_U8, turn >> 3 & 1, turn % 5);
  size_t stride = n + turn % 4, len = m * stride + n;
  int32_t *c = memory(len * 4), *bias = random_bytes(n * 4);
  void *a_zero = random_bytes(m * 4), *b_zero = random_bytes(n);
  for (size_t i = 0; i < m; i++) ((int32_t *)a_zero)[i] %= 1000;
  for (size_t j = 0; j < n; j++) bias[j] %= 100000;

  qgemm_product p = product_of(a, b, c, stride, QGEMM_I32);
  if (turn & 1) p.a_zero = (qgemm_zero_points){a_zero, m, QGEMM_I32, 0};
  else p.a_zero.one = (int32_t)(turn * 7);
  if (turn & 2) p.b_zero = (qgemm_zero_points){b_zero, n, turn & 4 ? QGEMM_I8 : QGEMM_U8, 0};
  else p.b_zero.one = -(int32_t)turn;
  if (turn & 4) p.bias = bias, p.bias_len = n;
  int calls = 0;
  p.threads.most = turn % 3;
  if (turn & 8) p.threads = (qgemm_threads){3, backwards, &calls};
  int64_t *want = sums(&p);

  qgemm_weights *packed = NULL;
  if (turn % 3) {
    qgemm_pack_options options = {sizeof options, a.type, turn & 16 ? "portable" : NULL};
    OK(qgemm_pack(&b, &options, &packed));
    CHECK(strlen(qgemm_kernel_name(packed)) > 5 && (!(turn & 16) || !strncmp(qgemm_kernel_name(packed), "portable", 8)));
    qgemm_weights_description about;
    OK(qgemm_weights_info(packed, &about));
    CHECK(about.k == k && about.n == n && about.type == b.type && about.bits == 8 && about.group == 0);
    p.weights = packed;
    memset(&p.b, 0, sizeof p.b);
  }
  // Output that is not set, and what lies between its rows.
  OK(qgemm_run(&p));
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) CHECK(c[i * stride + j] == (int32_t)want[i * n + j]);
  // The caller's loop was asked where there is work for two threads.
  if (turn & 8 && m * k * n > 4000000) CHECK(calls > 0);
  p.accumulate = 1;
  OK(qgemm_run(&p));
  p.accumulate = 0;
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) CHECK(c[i * stride + j] == (int32_t)(2 * (uint64_t)want[i * n + j]));

  // 8 bits by each way of scaling.
  int8_t *y = memory(len);
  p.c = (qgemm_matrix_mut){y, m, n, (ptrdiff_t)stride, 1, QGEMM_I8};
  float *scales = random_floats(n, 1);
  qgemm_multiplier *multipliers = memory(n * sizeof *multipliers);
  double *factors = memory(n * sizeof *factors);
  for (size_t j = 0; j < n; j++) {
    scales[j] = fabsf(scales[j]) / 500;
    if (j % 3 == 0) scales[j] = 1.0f / 1024; // many values half-way between two integers
    factors[j] = scales[j];
    OK(qgemm_multiplier_of(factors[j], &multipliers[j]));
  }
  qgemm_requantize_options options = {0};
  options.struct_size = sizeof options;
  options.scale.columns = scales, options.scale.columns_len = n;
  options.multipliers = multipliers, options.multipliers_len = n;
  options.factors = factors, options.factors_len = n;
  options.zero_point = 3, options.clamp = QGEMM_CLAMP_TO, options.lo = -100, options.hi = 120;
  uint8_t table[256];
  for (int i = 0; i < 256; i++) table[i] = (uint8_t)(i ^ 0x55);
  const qgemm_scaling ways[] = {QGEMM_SCALE_F32, QGEMM_FIXED_SINGLE, QGEMM_SCALE_F64};
  for (int way = 0; way < 3; way++) {
    options.scaling = ways[way];
    options.table = turn & 1 ? table : NULL, options.table_type = QGEMM_I8;
    qgemm_stage *stage = NULL;
    OK(qgemm_requantize(&options, &stage));
    p.stage = stage;
    OK(qgemm_run(&p));
    for (size_t i = 0; i < m; i++)
      for (size_t j = 0; j < n; j++) {
        int64_t x = want[i * n + j], scaled = 0;
        if (way == 0) {
          float product = (float)x * scales[j];
          scaled = (int64_t)nearbyintf(product);
        } else if (way == 1) {
          int shift = multipliers[j].shift;
          x = clamped(x, INT32_MIN, INT32_MAX);
          scaled = (x * multipliers[j].m + ((int64_t)1 << (30 - shift))) >> (31 - shift);
        } else {
          scaled = (int64_t)round((double)x * factors[j]);
        }
        int8_t byte = (int8_t)clamped(scaled + 3, -100, 120);
        if (turn & 1) byte = (int8_t)table[(uint8_t)byte];
        CHECK(y[i * stride + j] == byte);
      }
    qgemm_stage_free(stage);
  }

  // f32 with bias, residual and ReLU.
  float *f = memory(len * 4), *float_bias = random_floats(n, 10), *residual = random_floats(m * n, 10);
  qgemm_dequantize_options float_options = {0};
  float_options.struct_size = sizeof float_options;
  float_options.scale.columns = scales, float_options.scale.columns_len = n;
  float_options.bias = float_bias, float_options.bias_len = n;
  float_options.clamp = QGEMM_CLAMP_RELU;
  qgemm_stage *stage = NULL;
  OK(qgemm_dequantize(&float_options, &stage));
  qgemm_residual added = {{residual, m, n, (ptrdiff_t)n, 1, QGEMM_F32}, 0, 0};
  p.stage = stage, p.residual = &added;
  p.c = (qgemm_matrix_mut){f, m, n, (ptrdiff_t)stride, 1, QGEMM_F32};
  OK(qgemm_run(&p));
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      float x = (float)want[i * n + j] * scales[j];
      x = x + float_bias[j];
      x = x + residual[i * n + j];
      CHECK(f[i * stride + j] == (x < 0 ? 0 : x));
    }
  qgemm_stage_free(stage);
  qgemm_weights_free(packed);
  free((void *)a.data), free((void *)b.data), free(c), free(bias), free(a_zero), free(b_zero), free(want), free(y);
  free(scales), free(multipliers), free(factors), free(f), free(float_bias), free(residual);
}

// f32 activations, quantized per row, times 8-bit weights; then times group-wise weights, per row and group.
static void floats(size_t m, size_t k, size_t n) {
  float *a = random_floats(m * k, 3), *c = memory(m * n * 4), *scales = random_floats(n, 1);
  for (size_t j = 0; j < n; j++) scales[j] = fabsf(scales[j]);
  qgemm_matrix b = random_matrix(k, n, QGEMM_I8, 0, 0);
  qgemm_quant_params *params = memory(m * sizeof *params);
  qgemm_dequantize_options options = {0};
  options.struct_size = sizeof options;
  options.scale.columns = scales, options.scale.columns_len = n, options.dynamic = 1;
  qgemm_stage *stage = NULL;
  OK(qgemm_dequantize(&options, &stage));
  qgemm_product p = product_of((qgemm_matrix){a, m, k, (ptrdiff_t)k, 1, QGEMM_F32}, b, c, n, QGEMM_F32);
  p.stage = stage, p.params = params, p.params_len = m;
  OK(qgemm_run(&p));
  for (size_t i = 0; i < m; i++) {
    float most = 0;
    for (size_t l = 0; l < k; l++) most = fmaxf(most, fabsf(a[i * k + l]));
    float s = most / 127;
    if (s == 0) s = 1;
    CHECK(params[i].scale == s && params[i].zero_point == 0);
    for (size_t j = 0; j < n; j++) {
      int64_t sum = 0;
      for (size_t l = 0; l < k; l++) sum += (int64_t)nearbyintf(a[i * k + l] / s) * element(&b, l, j);
      float scale = s * scales[j];
      CHECK(c[i * n + j] == (float)sum * scale);
    }
  }
  qgemm_stage_free(stage);

  const size_t group = 16, groups = (k + group - 1) / group;
  float *group_scales = random_floats(groups * n, 1);
  uint8_t *codes = random_bytes(k * n);
  for (size_t i = 0; i < k * n; i++) codes[i] &= 15;
  qgemm_groupwise_options grouped = {0};
  grouped.struct_size = sizeof grouped;
  grouped.bits = 4, grouped.group = group;
  grouped.codes = (qgemm_matrix){codes, k, n, (ptrdiff_t)n, 1, QGEMM_U8};
  grouped.scales = (qgemm_matrix){group_scales, groups, n, (ptrdiff_t)n, 1, QGEMM_F32};
  qgemm_weights *packed = NULL;
  OK(qgemm_pack_groupwise(&grouped, &packed));
  p = product_of(p.a, b, c, n, QGEMM_F32);
  memset(&p.b, 0, sizeof p.b);
  p.weights = packed;
  OK(qgemm_run(&p));
  for (size_t i = 0; i < m; i++)
    for (size_t j = 0; j < n; j++) {
      float acc = 0;
      for (size_t g = 0; g < groups; g++) {
        size_t end = (g + 1) * group < k ? (g + 1) * group : k;
        float most = 0;
        for (size_t l = g * group; l < end; l++) most = fmaxf(most, fabsf(a[i * k + l]));
        float s = most / 127;
        if (s == 0) s = 1;
        int32_t sum = 0;
        for (size_t l = g * group; l < end; l++) sum += (int32_t)nearbyintf(a[i * k + l] / s) * (codes[l * n + j] - 8);
        float scale = s * group_scales[g * n + j];
        acc = fmaf((float)sum, scale, acc);
      }
      CHECK(c[i * n + j] == acc);
    }
  qgemm_weights_free(packed);
  free(a), free(c), free(scales), free((void *)b.data), free(params), free(group_scales), free(codes);
}

// Outputs side by side in one matrix, rows picked by index with padding, and rows added by index.
static void batches(void) {
  enum { M = 6, K = 5, N = 7, HEADS = 3 };
  qgemm_matrix source = random_matrix(4, K, QGEMM_U8, 0, 0), b[HEADS];
  const uint32_t indices[M] = {3, 0, QGEMM_PADDING, 1, 1, 2};
  qgemm_gather gather = {indices, M, 1, 1, 9};
  int32_t *c = memory(M * N * HEADS * 4);
  qgemm_product products[HEADS];
  for (size_t h = 0; h < HEADS; h++) {
    b[h] = random_matrix(K, N, QGEMM_I8, 0, 0);
    products[h] = product_of(source, b[h], c + h * N, N * HEADS, QGEMM_I32);
    products[h].gather = &gather;
    products[h].c.rows = M;
  }
  OK(qgemm_run_batch(products, HEADS, NULL));
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N * HEADS; j++) {
      int32_t sum = 0;
      for (size_t l = 0; l < K; l++) {
        int32_t x = indices[i] == QGEMM_PADDING ? 9 : element(&source, indices[i], l);
        sum += x * element(&b[j / N], l, j % N);
      }
      CHECK(c[i * N * HEADS + j] == sum);
    }
  OK(qgemm_run_batch(NULL, 0, NULL));

  int32_t total[4 * N * HEADS] = {0};
  const uint32_t to[M] = {0, 3, 3, 0, 1, 0};
  qgemm_matrix rows = {c, M, N * HEADS, N * HEADS, 1, QGEMM_I32};
  qgemm_matrix_mut sum = {total, 4, N * HEADS, N * HEADS, 1, QGEMM_I32};
  OK(qgemm_scatter_add(&rows, to, M, NULL, &sum));
  for (size_t j = 0; j < N * HEADS; j++) {
    CHECK(total[j] == c[j] + c[3 * N * HEADS + j] + c[5 * N * HEADS + j]);
    CHECK(total[2 * N * HEADS + j] == 0);
  }
  for (size_t h = 0; h < HEADS; h++) free((void *)b[h].data);
  free((void *)source.data), free(c);
}

static void surroundings(void) {
  const float x[] = {1.0f, -2.0f, 0.5f, 4.0f};
  float scales[2];
  int8_t q[4];
  qgemm_matrix from = {x, 2, 2, 2, 1, QGEMM_F32};
  qgemm_matrix_mut to = {q, 2, 2, 2, 1, QGEMM_I8};
  OK(qgemm_quantize_columns(&from, &to, scales, 2));
  CHECK(scales[0] == 1.0f / 127 && scales[1] == 4.0f / 127 && q[0] == 127 && q[1] == -64 && q[3] == 127);
  qgemm_scales one = {NULL, 0, NULL, 0, 0.5f};
  int32_t bias[4];
  OK(qgemm_quantize_bias(x, 0.25f, &one, bias, 4));
  CHECK(bias[0] == 8 && bias[1] == -16 && bias[2] == 4 && bias[3] == 32);
  uint8_t table[256];
  OK(qgemm_activation_table(QGEMM_HARD_SWISH, QGEMM_I8, (qgemm_quant_params){1, 0}, (qgemm_quant_params){1, 0}, table));
  CHECK(table[4] == 4 && table[(uint8_t)-4] == 0);

  qgemm_conv2d conv = {sizeof conv, 1, 3, 3, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0};
  uint32_t indices[3 * 2 * 4];
  size_t shape[3];
  OK(qgemm_conv2d_indices(&conv, NULL, 0, shape));
  CHECK(shape[0] == 1 && shape[1] == 3 && shape[2] == 2);
  OK(qgemm_conv2d_indices(&conv, indices, 24, shape));
  CHECK(indices[0] == QGEMM_PADDING && indices[2] == 0 && indices[3] == 1);

  qgemm_weights *packed = NULL;
  OK(qgemm_pack_float(&from, 4, 32, QGEMM_GROUPS_ASYMMETRIC, &packed));
  qgemm_weights_description about;
  OK(qgemm_weights_info(packed, &about));
  CHECK(about.bits == 4 && about.group == 32 && about.k == 2);
  qgemm_weights_free(packed);
  uint8_t *blocks = random_bytes(34);
  blocks[0] = 0, blocks[1] = 0x3c; // 1.0
  OK(qgemm_pack_gguf(QGEMM_GGUF_Q8_0, 1, 32, blocks, 34, &packed));
  qgemm_weights_free(packed);
  free(blocks);
}

void results(void) {
  unsigned turn = 0;
  for (unsigned repeat = 0; repeat < 4; repeat++)
    for (size_t i = 0; i < sizeof SIZES / sizeof *SIZES; i++) integers(SIZES[i], turn++);
  // Large enough for threads.
  const size_t large[] = {130, 256, 130};
  for (turn = 7; turn < 10; turn++) integers(large, turn);
  floats(1, 1, 1), floats(5, 40, 9), floats(17, 100, 35), floats(3, 16, 70);
  batches();
  surroundings();
}
