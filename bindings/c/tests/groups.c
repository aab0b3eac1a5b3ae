// Group-wise weights: minimums and activations of 8 bits against plain loops, and the layouts of other software against codes
// in bytes.
#include <math.h>

#include "test.h"

enum { M = 4, K = 64, N = 16, GROUP = 16, GROUPS = K / GROUP };

static void eight_bit_activations(qgemm_type a_type, uint32_t bits, int with_minimums) {
  qgemm_matrix a = random_matrix(M, K, a_type, 0, 0);
  uint8_t *codes = random_bytes(K * N), *zeros = random_bytes(GROUPS * N);
  for (int i = 0; i < K * N; i++) codes[i] &= bits == 4 ? 15 : 255;
  for (int i = 0; i < GROUPS * N; i++) zeros[i] &= bits == 4 ? 15 : 255;
  float *scales = random_floats(GROUPS * N, 1), *minimums = random_floats(GROUPS * N, 1), c[M * N], scale = 0.125f;
  qgemm_groupwise_options options = {0};
  options.struct_size = sizeof options, options.bits = bits, options.group = GROUP;
  options.codes = (qgemm_matrix){codes, K, N, N, 1, QGEMM_U8};
  options.scales = (qgemm_matrix){scales, GROUPS, N, N, 1, QGEMM_F32};
  options.zeros = (qgemm_matrix){zeros, GROUPS, N, N, 1, QGEMM_U8};
  if (with_minimums) options.minimums = (qgemm_matrix){minimums, GROUPS, N, N, 1, QGEMM_F32};
  qgemm_weights *weights;
  OK(qgemm_pack_groupwise(&options, &weights));
  qgemm_dequantize_options output = {0};
  output.struct_size = sizeof output, output.scale.one = scale;
  qgemm_stage *stage;
  OK(qgemm_dequantize(&output, &stage));
  qgemm_product p = {0};
  p.struct_size = sizeof p, p.a = a, p.weights = weights, p.stage = stage, p.a_zero.one = 9;
  p.c = (qgemm_matrix_mut){c, M, N, N, 1, QGEMM_F32};
  OK(qgemm_run(&p));
  for (size_t i = 0; i < M; i++)
    for (size_t j = 0; j < N; j++) {
      float acc = 0;
      for (size_t g = 0; g < GROUPS; g++) {
        int32_t sum = 0, sum_of_a = 0;
        for (size_t l = g * GROUP; l < (g + 1) * GROUP; l++) {
          int32_t value = element(&a, i, l) - 9;
          sum += value * (codes[l * N + j] - zeros[g * N + j]), sum_of_a += value;
        }
        acc = fmaf((float)sum, scales[g * N + j], acc);
        if (with_minimums) acc = fmaf((float)sum_of_a, minimums[g * N + j], acc);
      }
      float y = acc * scale;
      CHECK(c[i * N + j] == y);
    }
  qgemm_stage_free(stage), qgemm_weights_free(weights);
  free((void *)a.data), free(codes), free(zeros), free(scales), free(minimums);
}

// Weights as bytes, which are freed.
static uint8_t *bytes_of(qgemm_weights *weights, size_t *len) {
  OK(qgemm_saved_size(weights, len));
  uint8_t *bytes = memory(*len);
  OK(qgemm_save(weights, bytes, *len));
  qgemm_weights_free(weights);
  return bytes;
}

// Both are the same weights.
static void same(qgemm_weights *got, qgemm_weights *want) {
  size_t got_len, want_len;
  uint8_t *got_bytes = bytes_of(got, &got_len), *want_bytes = bytes_of(want, &want_len);
  CHECK(got_len == want_len && !memcmp(got_bytes, want_bytes, got_len));
  free(got_bytes), free(want_bytes);
}

// Puts a code of some bits at place `at` of packed codes, the lowest bits first.
static void put(uint8_t *packed, size_t at, uint32_t bits, uint8_t code) {
  if (bits == 8) packed[at] = code;
  else packed[at / 2] = (uint8_t)(at % 2 ? (packed[at / 2] & 15) | code << 4 : (packed[at / 2] & 240) | code);
}

static void layouts(uint32_t bits) {
  uint8_t codes[K * N], zeros[GROUPS * N], packed[K * N], packed_zeros[GROUPS * N], transposed_zeros[GROUPS * N];
  float *scales = random_floats(GROUPS * N, 1), real[GROUPS * N];
  const uint8_t most = bits == 4 ? 15 : 255;
  for (int i = 0; i < K * N; i++) codes[i] = next() & most;
  for (int i = 0; i < GROUPS * N; i++) zeros[i] = (uint8_t)(1 + next() % most), real[i] = zeros[i];
  qgemm_groupwise_options plain = {0};
  plain.struct_size = sizeof plain, plain.bits = bits, plain.group = GROUP;
  plain.codes = (qgemm_matrix){codes, K, N, N, 1, QGEMM_U8};
  plain.scales = (qgemm_matrix){scales, GROUPS, N, N, 1, QGEMM_F32};
  plain.zeros = (qgemm_matrix){zeros, GROUPS, N, N, 1, QGEMM_U8};
  qgemm_weights *want, *got;

  // ONNX: columns one after the other.
  for (size_t k = 0; k < K; k++)
    for (size_t j = 0; j < N; j++) put(packed, j * K + k, bits, codes[k * N + j]);
  for (size_t g = 0; g < GROUPS; g++)
    for (size_t j = 0; j < N; j++) put(transposed_zeros, j * GROUPS + g, bits, zeros[g * N + j]);
  qgemm_onnx_options onnx = {0};
  onnx.struct_size = sizeof onnx, onnx.bits = bits, onnx.k = K, onnx.n = N, onnx.block_size = GROUP;
  onnx.b = packed, onnx.b_len = K * N * bits / 8;
  onnx.scales = (qgemm_matrix){scales, N, GROUPS, 1, N, QGEMM_F32};
  onnx.zero_points = transposed_zeros, onnx.zero_points_len = GROUPS * N * bits / 8;
  OK(qgemm_pack_onnx(&onnx, &got));
  OK(qgemm_pack_groupwise(&plain, &want));
  same(got, want);
  onnx.real_zero_points = (qgemm_matrix){real, N, GROUPS, 1, N, QGEMM_F32};
  REFUSED(qgemm_pack_onnx(&onnx, &got), QGEMM_OPTIONS, "zero_points: are given twice");
  onnx.zero_points = NULL, onnx.zero_points_len = 0;
  OK(qgemm_pack_onnx(&onnx, &got));
  OK(qgemm_pack_groupwise(&plain, &want));
  same(got, want);
  real[5] = 0.5f;
  REFUSED(qgemm_pack_onnx(&onnx, &got), QGEMM_RANGE, "zero_points");
  onnx.b_len--;
  REFUSED(qgemm_pack_onnx(&onnx, &got), QGEMM_SHAPE, "b: has");
  onnx.b_len++, onnx.real_zero_points.type = 0;
  qgemm_groupwise_options middle = plain;
  middle.zeros.type = 0;
  OK(qgemm_pack_onnx(&onnx, &got));
  OK(qgemm_pack_groupwise(&middle, &want));
  same(got, want);

  // GPTQ: each integer holds codes of consecutive rows, and zero points of consecutive columns.
  const size_t each = 32 / bits;
  for (unsigned less = 0; less < 2; less++) {
    for (size_t k = 0; k < K; k++)
      for (size_t j = 0; j < N; j++) put(packed, (k / each * N + j) * each + k % each, bits, codes[k * N + j]);
    for (size_t i = 0; i < GROUPS * N; i++) put(packed_zeros, i, bits, (uint8_t)(zeros[i] - less));
    int32_t g_idx[K];
    for (int k = 0; k < K; k++) g_idx[k] = k / GROUP;
    qgemm_gptq_options gptq = {0};
    gptq.struct_size = sizeof gptq, gptq.bits = bits, gptq.zeros_less_one = less, gptq.k = K, gptq.n = N;
    gptq.group = GROUP, gptq.qweight = packed, gptq.qweight_len = K * N * bits / 8;
    gptq.qzeros = packed_zeros, gptq.qzeros_len = GROUPS * N * bits / 8;
    gptq.scales = plain.scales, gptq.g_idx = less ? g_idx : NULL, gptq.g_idx_len = less ? K : 0;
    OK(qgemm_pack_gptq(&gptq, &got));
    OK(qgemm_pack_groupwise(&plain, &want));
    same(got, want);
    gptq.g_idx = g_idx, gptq.g_idx_len = K, g_idx[0] = 1;
    REFUSED(qgemm_pack_gptq(&gptq, &got), QGEMM_RANGE, "g_idx: value 0 was 1");
    gptq.g_idx_len = 3;
    REFUSED(qgemm_pack_gptq(&gptq, &got), QGEMM_SHAPE, "g_idx: has 3");
    gptq.zeros_less_one = 2;
    REFUSED(qgemm_pack_gptq(&gptq, &got), QGEMM_TYPE, "zeros_less_one");
  }

  // AWQ, of 4 bits only: each integer holds columns 0 2 4 6 1 3 5 7.
  if (bits == 4) {
    static const size_t places[] = {0, 4, 1, 5, 2, 6, 3, 7};
    for (size_t i = 0; i < K * N; i++) put(packed, i / 8 * 8 + places[i % 8], 4, codes[i]);
    for (size_t i = 0; i < GROUPS * N; i++) put(packed_zeros, i / 8 * 8 + places[i % 8], 4, zeros[i]);
    qgemm_awq_options awq = {0};
    awq.struct_size = sizeof awq, awq.k = K, awq.n = N, awq.group = GROUP;
    awq.qweight = packed, awq.qweight_len = K * N / 2, awq.qzeros = packed_zeros, awq.qzeros_len = GROUPS * N / 2;
    awq.scales = plain.scales;
    OK(qgemm_pack_awq(&awq, &got));
    OK(qgemm_pack_groupwise(&plain, &want));
    same(got, want);
    awq.qzeros_len = 0;
    REFUSED(qgemm_pack_awq(&awq, &got), QGEMM_SHAPE, "qzeros: has 0");
    awq.n = 12;
    REFUSED(qgemm_pack_awq(&awq, &got), QGEMM_SHAPE, "n: has 12");
  }
  free(scales);
}

void groups(void) {
  for (int turn = 0; turn < 8; turn++) eight_bit_activations(turn & 1 ? QGEMM_I8 : QGEMM_U8, turn & 2 ? 4 : 8, turn & 4);
  layouts(4);
  layouts(8);
}
