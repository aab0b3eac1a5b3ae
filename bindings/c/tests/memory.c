// Every function under a malloc that fails, from the first allocation on, then from the second on, and so on: the call is
// refused by QGEMM_MEMORY and writes nothing, until it needs no more allocations than it gets. A program of its own, for
// glibc: it replaces malloc.
#include <errno.h>

#include "test.h"

void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);

// Allocations of this thread that still succeed; without limit if negative. Smaller ones than `least` are not counted.
static _Thread_local long left = -1;
static _Thread_local size_t least, most;
static _Thread_local int failed;
static long refused_calls;

static int fails(size_t bytes) {
  if (bytes > most) most = bytes;
  if (left < 0 || bytes < least) return 0;
  if (left > 0) return left--, 0;
  errno = ENOMEM;
  return failed = 1;
}

void *malloc(size_t bytes) { return fails(bytes) ? NULL : __libc_malloc(bytes); }
void *calloc(size_t count, size_t size) { return fails(count * size) ? NULL : __libc_calloc(count, size); }
void *realloc(void *p, size_t bytes) { return fails(bytes) ? NULL : __libc_realloc(p, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) { return fails(bytes) ? NULL : __libc_memalign(alignment, bytes); }
int posix_memalign(void **p, size_t alignment, size_t bytes) {
  void *got = fails(bytes) ? NULL : __libc_memalign(alignment, bytes);
  if (!got) return ENOMEM;
  *p = got;
  return 0;
}

// Runs `call` until it succeeds without a failure. `written` holds `len` bytes that it may write if it succeeds only.
#define EACH_FAILURE(call, written, len, after)                                          \
  do {                                                                                   \
    long count = 0;                                                                      \
    for (;; count++) {                                                                   \
      qgemm_release_thread_memory();                                                     \
      memset((written), 0x5a, (len));                                                    \
      failed = 0, left = count;                                                          \
      qgemm_status status = (call);                                                      \
      left = -1;                                                                         \
      CHECK(status == QGEMM_OK || status == QGEMM_MEMORY);                               \
      if (status == QGEMM_MEMORY) {                                                      \
        CHECK(failed && (strstr(qgemm_last_error(), "memory") || strstr(qgemm_last_error(), "needs"))); \
        for (size_t i_ = 0; i_ < (len); i_++) CHECK(((uint8_t *)(written))[i_] == 0x5a); \
      } else {                                                                           \
        after;                                                                           \
      }                                                                                  \
      if (!failed) break;                                                                \
    }                                                                                    \
    CHECK(count < 1000);                                                                 \
    refused_calls += count;                                                              \
  } while (0)

enum { M = 9, K = 96, N = 40, GROUP = 32, GROUPS = 3 };

static void weights_and_bytes(qgemm_weights *made) {
  size_t len, got;
  OK(qgemm_saved_size(made, &len));
  uint8_t *bytes = aligned_alloc(64, (len + 63) / 64 * 64), *again = memory(len);
  OK(qgemm_save(made, bytes, len));
  EACH_FAILURE(qgemm_saved_size(made, &got), &got, sizeof got, CHECK(got == len));
  EACH_FAILURE(qgemm_save(made, again, len), again, len, CHECK(!memcmp(again, bytes, len)));
  qgemm_weights *w;
  qgemm_load_options options = {sizeof options, QGEMM_REPACK, "scalar"};
  for (int named = 0; named < 2; named++)
    EACH_FAILURE(qgemm_load(bytes, len, named ? &options : NULL, &w), &w, sizeof w, qgemm_weights_free(w));
  qgemm_saved_description about;
  EACH_FAILURE(qgemm_saved_info(bytes, len, &about), &about, sizeof about, CHECK(about.k == K));
  // What the weights share is counted by a few numbers of the Rust library, which cannot go without them.
  least = 64;
  for (int named = 0; named < 2; named++)
    EACH_FAILURE(qgemm_map(bytes, len, named ? &options : NULL, NULL, NULL, &w), &w, sizeof w, qgemm_weights_free(w));
  OK(qgemm_save_file(made, "memory.qgemm"));
  EACH_FAILURE(qgemm_map_file("memory.qgemm", NULL, &w), &w, sizeof w, qgemm_weights_free(w));
  least = 0;
  uint8_t none;
  EACH_FAILURE(qgemm_save_file(made, "memory.qgemm"), &none, 1, (void)0);
  CHECK(remove("memory.qgemm") == 0);
  free(bytes), free(again);
}

static void in_place(void) {
  enum { ROWS = 4096, COLS = 1024 };
  float *b = random_floats(ROWS * COLS, 1);
  qgemm_matrix matrix = {b, ROWS, COLS, COLS, 1, QGEMM_F32};
  qgemm_weights *w, *mapped;
  OK(qgemm_pack_float(&matrix, 8, 128, QGEMM_GROUPS_SYMMETRIC, &w));
  OK(qgemm_save_file(w, "memory.qgemm"));
  most = 0;
  OK(qgemm_map_file("memory.qgemm", NULL, &mapped));
  // Of 4 MiB nothing is copied.
  CHECK(most < 4096);
  qgemm_weights_free(mapped), qgemm_weights_free(w);
  CHECK(remove("memory.qgemm") == 0);
  free(b);
}

int main(void) {
  qgemm_matrix a = random_matrix(M, K, QGEMM_U8, 0, 0), b = random_matrix(K, N, QGEMM_I8, 0, 0);
  float *real = random_floats(M * K, 2), *real_b = random_floats(K * N, 1), *columns = random_floats(N, 1), y[M * N];
  qgemm_matrix float_a = {real, M, K, K, 1, QGEMM_F32}, float_b = {real_b, K, N, N, 1, QGEMM_F32};
  for (int j = 0; j < N; j++) columns[j] *= columns[j];
  // What the library finds out once: kernels, caches.
  qgemm_weights *warm, *w;
  OK(qgemm_pack(&b, NULL, &warm));

  qgemm_pack_options options = {sizeof options, QGEMM_I8, "portable"};
  EACH_FAILURE(qgemm_pack(&b, NULL, &w), &w, sizeof w, qgemm_weights_free(w));
  EACH_FAILURE(qgemm_pack(&b, &options, &w), &w, sizeof w, qgemm_weights_free(w));
  weights_and_bytes(warm);

  uint8_t *codes = random_bytes(K * N);
  for (int i = 0; i < K * N; i++) codes[i] &= 15;
  qgemm_groupwise_options grouped = {0};
  grouped.struct_size = sizeof grouped, grouped.bits = 4, grouped.group = GROUP;
  grouped.codes = (qgemm_matrix){codes, K, N, N, 1, QGEMM_U8};
  grouped.scales = (qgemm_matrix){real, GROUPS, N, N, 1, QGEMM_F32};
  grouped.zeros = (qgemm_matrix){codes, GROUPS, N, N, 1, QGEMM_U8}, grouped.minimums = grouped.scales;
  EACH_FAILURE(qgemm_pack_groupwise(&grouped, &w), &w, sizeof w, qgemm_weights_free(w));
  qgemm_weights *groups;
  OK(qgemm_pack_groupwise(&grouped, &groups));
  weights_and_bytes(groups);
  EACH_FAILURE(qgemm_pack_float(&float_b, 4, GROUP, QGEMM_GROUPS_ASYMMETRIC, &w), &w, sizeof w, qgemm_weights_free(w));
  uint8_t blocks[18 * GROUPS] = {0};
  EACH_FAILURE(qgemm_pack_gguf(QGEMM_GGUF_Q4_0, 1, K, blocks, sizeof blocks, &w), &w, sizeof w, qgemm_weights_free(w));
  qgemm_onnx_options onnx = {0};
  onnx.struct_size = sizeof onnx, onnx.bits = 4, onnx.k = K, onnx.n = N, onnx.block_size = GROUP;
  onnx.b = codes, onnx.b_len = K * N / 2, onnx.scales = (qgemm_matrix){real, N, GROUPS, GROUPS, 1, QGEMM_F32};
  EACH_FAILURE(qgemm_pack_onnx(&onnx, &w), &w, sizeof w, qgemm_weights_free(w));
  qgemm_gptq_options gptq = {0};
  gptq.struct_size = sizeof gptq, gptq.bits = 4, gptq.k = K, gptq.n = N, gptq.group = GROUP, gptq.scales = grouped.scales;
  gptq.qweight = codes, gptq.qweight_len = K * N / 2, gptq.qzeros = codes, gptq.qzeros_len = GROUPS * N / 2;
  EACH_FAILURE(qgemm_pack_gptq(&gptq, &w), &w, sizeof w, qgemm_weights_free(w));
  qgemm_awq_options awq = {0};
  awq.struct_size = sizeof awq, awq.k = K, awq.n = N, awq.group = GROUP, awq.scales = grouped.scales;
  awq.qweight = codes, awq.qweight_len = K * N / 2, awq.qzeros = codes, awq.qzeros_len = GROUPS * N / 2;
  EACH_FAILURE(qgemm_pack_awq(&awq, &w), &w, sizeof w, qgemm_weights_free(w));

  qgemm_stage *stage, *bytes_stage, *float_stage;
  qgemm_requantize_options bytes = {0};
  uint8_t table[256] = {0};
  bytes.struct_size = sizeof bytes, bytes.scale.columns = columns, bytes.scale.columns_len = N, bytes.dynamic = 1;
  bytes.table = table, bytes.table_type = QGEMM_I8;
  EACH_FAILURE(qgemm_requantize(&bytes, &stage), &stage, sizeof stage, qgemm_stage_free(stage));
  bytes.dynamic = 0;
  OK(qgemm_requantize(&bytes, &bytes_stage));
  qgemm_multiplier multipliers[2] = {{1 << 30, 0}, {1 << 30, 0}};
  bytes.scaling = QGEMM_FIXED_RUY, bytes.multipliers = multipliers, bytes.multipliers_len = 2;
  EACH_FAILURE(qgemm_requantize(&bytes, &stage), &stage, sizeof stage, qgemm_stage_free(stage));
  qgemm_dequantize_options floats = {0};
  floats.struct_size = sizeof floats, floats.scale.columns = columns, floats.scale.columns_len = N, floats.dynamic = 1;
  floats.bias = columns, floats.bias_len = N, floats.activation = QGEMM_SILU;
  EACH_FAILURE(qgemm_dequantize(&floats, &stage), &stage, sizeof stage, qgemm_stage_free(stage));
  OK(qgemm_dequantize(&floats, &float_stage));

  // Products: packed or not, of each kind; one by one, then all in a batch. `y` has room for any output.
  qgemm_product p[5];
  const qgemm_quant_params none = {0};
  qgemm_quant_params params[M] = {none};
  for (int i = 0; i < 5; i++) {
    memset(&p[i], 0, sizeof *p);
    p[i].struct_size = sizeof *p, p[i].threads.most = 1;
    p[i].a = i < 2 ? a : float_a, p[i].c = (qgemm_matrix_mut){y, M, N, N, 1, i < 2 ? QGEMM_I32 : QGEMM_F32};
    if (i > 1) p[i].stage = float_stage;
    if (i == 4) p[i].weights = groups;
    else if (i % 2) p[i].weights = warm;
    else p[i].b = b;
  }
  p[0].a_zero.one = 3, p[0].b_zero.one = 2;
  p[1].c.type = QGEMM_I8, p[1].stage = bytes_stage;
  for (int i = 0; i < 5; i++) EACH_FAILURE(qgemm_run(&p[i]), y, sizeof y, (void)0);
  p[2].params = params, p[2].params_len = M;
  EACH_FAILURE(qgemm_run(&p[2]), params, sizeof params, CHECK(params[0].zero_point == 0));
  p[2].params = NULL, p[2].params_len = 0;
  float all[5][M * N];
  for (int i = 0; i < 5; i++) p[i].c.data = all[i];
  qgemm_threads one = {1, NULL, NULL};
  EACH_FAILURE(qgemm_run_batch(p, 5, &one), all, sizeof all, (void)0);

  qgemm_conv2d conv = {sizeof conv, 1, 8, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1};
  uint32_t indices[64 * 9];
  size_t shape[3];
  EACH_FAILURE(qgemm_conv2d_indices(&conv, indices, 64 * 9, shape), indices, sizeof indices, CHECK(shape[1] == 8));
  int8_t q[K * N];
  float scales[N];
  qgemm_matrix_mut to = {q, K, N, N, 1, QGEMM_I8};
  EACH_FAILURE(qgemm_quantize_columns(&float_b, &to, scales, N), q, sizeof q, (void)0);
  const qgemm_scales scale = {NULL, 0, columns, N, 0};
  int32_t bias[N];
  for (int j = 0; j < N; j++) columns[j] += 1;
  EACH_FAILURE(qgemm_quantize_bias(real, 1, &scale, bias, N), bias, sizeof bias, (void)0);
  const qgemm_quant_params by = {0.5f, 1};
  EACH_FAILURE(qgemm_activation_table(QGEMM_GELU, QGEMM_U8, by, by, table), table, sizeof table, (void)0);
  EACH_FAILURE(qgemm_multiplier_of(0.3, multipliers), multipliers, sizeof multipliers, (void)0);
  uint32_t numbers[M] = {0};
  float sum[K];
  qgemm_matrix_mut to_sum = {sum, 1, K, K, 1, QGEMM_F32};
  EACH_FAILURE(qgemm_scatter_add(&float_a, numbers, M, real, &to_sum), sum, sizeof sum, (void)0);
  qgemm_weights_description about;
  EACH_FAILURE(qgemm_weights_info(warm, &about), &about, sizeof about, CHECK(about.k == K));

  // A refusal that has a text of its own.
  options.kernel = "z80";
  for (left = 0; left >= 0;) {
    const long count = left;
    failed = 0;
    qgemm_status status = qgemm_pack(&b, &options, &w);
    left = failed ? count + 1 : -1;
    CHECK(status == QGEMM_KERNEL || (status == QGEMM_MEMORY && failed));
  }
  qgemm_stage_free(bytes_stage), qgemm_stage_free(float_stage);
  qgemm_weights_free(warm), qgemm_weights_free(groups);
  in_place();
  CHECK(refused_calls > 100);
  printf("%ld calls without memory: refused, and nothing written\n", refused_calls);
  return 0;
}
