// A layer of 3 inputs and 2 outputs: packed once, then run for two rows of activations.
#include <qgemm.h>
#include <stdio.h>

static int failed(const char *call) {
  fprintf(stderr, "%s: %s\n", call, qgemm_last_error());
  return 1;
}

int main(void) {
  const int8_t weights[] = {1, -2, 3, 4, 5, -6}; // 3 x 2, row-major
  qgemm_matrix b = {weights, 3, 2, 2, 1, QGEMM_I8};
  qgemm_weights *packed = NULL;
  if (qgemm_pack(&b, NULL, &packed) != QGEMM_OK) return failed("qgemm_pack");

  // From sums to int8: a scale for each column, zero point -3, ReLU.
  const float scales[] = {0.5f, 0.25f}; // scale_a * scale_b / scale_out
  qgemm_requantize_options output = {0};
  output.struct_size = sizeof output;
  output.scale.columns = scales;
  output.scale.columns_len = 2;
  output.zero_point = -3;
  output.clamp = QGEMM_CLAMP_RELU;
  qgemm_stage *stage = NULL;
  if (qgemm_requantize(&output, &stage) != QGEMM_OK) return failed("qgemm_requantize");

  const uint8_t a[] = {10, 20, 30, 0, 10, 255}; // 2 x 3, zero point 10
  const int32_t bias[] = {1, 2};
  int8_t c[4];
  qgemm_product product = {0};
  product.struct_size = sizeof product;
  product.a = (qgemm_matrix){a, 2, 3, 3, 1, QGEMM_U8};
  product.a_zero.one = 10;
  product.weights = packed;
  product.bias = bias;
  product.bias_len = 2;
  product.stage = stage;
  product.c = (qgemm_matrix_mut){c, 2, 2, 2, 1, QGEMM_I8};
  if (qgemm_run(&product) != QGEMM_OK) return failed("qgemm_run");

  printf("qgemm %s, %s: %d %d %d %d\n", qgemm_version(), qgemm_kernel_name(packed), c[0], c[1], c[2], c[3]);
  qgemm_stage_free(stage);
  qgemm_weights_free(packed);
  return c[0] == 63 && c[1] == -3 && c[2] == 127 && c[3] == -3 ? 0 : 1;
}
