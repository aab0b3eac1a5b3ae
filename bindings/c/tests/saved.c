// Weights as bytes: saved, described, loaded, mapped in place, in files; and bytes that are refused.
#include "test.h"

enum { M = 3 };

// Products with the same A are the same, and so are the descriptions.
static void same_products(const qgemm_weights *got, const qgemm_weights *want) {
  qgemm_weights_description about, other;
  OK(qgemm_weights_info(want, &about));
  OK(qgemm_weights_info(got, &other));
  CHECK(about.k == other.k && about.n == other.n && about.bits == other.bits && about.group == other.group);
  CHECK(about.type == other.type && !strcmp(qgemm_kernel_name(got), qgemm_kernel_name(want)));
  float *a = random_floats(M * about.k, 2), *c[2];
  qgemm_dequantize_options options = {0};
  options.struct_size = sizeof options, options.dynamic = 1, options.scale.one = 0.5f;
  qgemm_stage *stage;
  OK(qgemm_dequantize(&options, &stage));
  for (int i = 0; i < 2; i++) {
    c[i] = memory(M * about.n * sizeof(float));
    qgemm_product p = {0};
    p.struct_size = sizeof p, p.a = (qgemm_matrix){a, M, about.k, (ptrdiff_t)about.k, 1, QGEMM_F32};
    p.weights = i ? got : want, p.stage = stage;
    p.c = (qgemm_matrix_mut){c[i], M, about.n, (ptrdiff_t)about.n, 1, QGEMM_F32};
    OK(qgemm_run(&p));
  }
  CHECK(!memcmp(c[0], c[1], M * about.n * sizeof(float)));
  qgemm_stage_free(stage);
  free(a), free(c[0]), free(c[1]);
}

// Bytes at a multiple of 64, which end where the memory does.
typedef struct {
  void *memory;
  uint8_t *at;
  size_t len;
  int released;
} Saved;

static void release(void *context) {
  Saved *saved = context;
  saved->released++;
  // Nothing reads them any more.
  memset(saved->at, 0x5a, saved->len);
}

static Saved saved_of(const qgemm_weights *weights) {
  Saved s = {0};
  OK(qgemm_saved_size(weights, &s.len));
  s.memory = memory(s.len + 64);
  s.at = (uint8_t *)(((uintptr_t)s.memory + 63) & ~(uintptr_t)63);
  OK(qgemm_save(weights, s.at, s.len));
  return s;
}

static void file_of(const qgemm_weights *weights, const Saved *s) {
  char path[] = "saved-XXXXXX.qgemm";
  // A name that no other process has.
  snprintf(path, sizeof path, "saved-%06u.qgemm", (unsigned)((uintptr_t)s->memory >> 4) % 1000000);
  OK(qgemm_save_file(weights, path));
  qgemm_weights *mapped, *again;
  OK(qgemm_map_file(path, NULL, &mapped));
  // Replaced while it is mapped.
  OK(qgemm_save_file(weights, path));
  OK(qgemm_map_file(path, NULL, &again));
  CHECK(remove(path) == 0);
  same_products(mapped, weights), same_products(again, weights);
  qgemm_weights_free(mapped), qgemm_weights_free(again);
  REFUSED(qgemm_map_file(path, NULL, &mapped), QGEMM_FILE, "path: ");
  REFUSED(qgemm_save_file(weights, "no/such/folder/w.qgemm"), QGEMM_FILE, "path: ");
  REFUSED(qgemm_save_file(weights, "."), QGEMM_FILE, "path: ");
  REFUSED(qgemm_save_file(weights, NULL), QGEMM_NULL, "path");
  REFUSED(qgemm_map_file("\xff", NULL, &mapped), QGEMM_SHAPE, "path: is no UTF-8");
}

// Both ways of reading, and all that can be wrong with bytes.
static void round_trip(qgemm_weights *weights) {
  Saved s = saved_of(weights);
  qgemm_weights *w = NULL;
  OK(qgemm_load(s.at, s.len, NULL, &w));
  same_products(w, weights);
  Saved again = saved_of(w);
  CHECK(again.len == s.len && !memcmp(again.at, s.at, s.len));
  qgemm_weights_free(w), free(again.memory);

  OK(qgemm_map(s.at, s.len, NULL, release, &s, &w));
  same_products(w, weights);
  CHECK(s.released == 0);
  qgemm_weights_free(w);
  CHECK(s.released == 1);
  OK(qgemm_save(weights, s.at, s.len));
  // Bytes that lie anywhere.
  memmove(s.at - (s.at - (uint8_t *)s.memory) + 1, s.at, s.len);
  OK(qgemm_map((uint8_t *)s.memory + 1, s.len, NULL, NULL, NULL, &w));
  same_products(w, weights);
  qgemm_weights_free(w);
  file_of(weights, &s);

  // Refused, and not released.
  s.released = 0, w = NULL;
  OK(qgemm_save(weights, s.at, s.len));
  qgemm_saved_description about;
  const size_t cuts[] = {0, 7, 191, s.len - 1};
  for (int i = 0; i < 4; i++) {
    REFUSED(qgemm_load(s.at, cuts[i], NULL, &w), QGEMM_SAVED, "saved: ");
    REFUSED(qgemm_map(s.at, cuts[i], NULL, release, &s, &w), QGEMM_SAVED, "saved: ");
    REFUSED(qgemm_saved_info(s.at, cuts[i], &about), QGEMM_SAVED, "saved: ");
  }
  for (size_t at = 0; at < s.len; at += at < 192 ? 1 : 1 + s.len / 50) {
    s.at[at] ^= 1;
    REFUSED(qgemm_map(s.at, s.len, NULL, release, &s, &w), QGEMM_SAVED, "saved: ");
    REFUSED(qgemm_load(s.at, s.len, NULL, &w), QGEMM_SAVED, "saved: ");
    s.at[at] ^= 1;
  }
  REFUSED(qgemm_map(NULL, s.len, NULL, release, &s, &w), QGEMM_NULL, "saved");
  REFUSED(qgemm_map(s.at, s.len, NULL, release, &s, NULL), QGEMM_NULL, "weights");
  REFUSED(qgemm_load(NULL, 1, NULL, &w), QGEMM_NULL, "saved");
  REFUSED(qgemm_load(s.at, SIZE_MAX, NULL, &w), QGEMM_TOO_LARGE, "saved");
  REFUSED(qgemm_saved_info(s.at, s.len, NULL), QGEMM_NULL, "description");
  qgemm_load_options options = {0};
  REFUSED(qgemm_load(s.at, s.len, &options, &w), QGEMM_SHAPE, "struct_size");
  options.struct_size = sizeof options, options.other_layout = 2;
  REFUSED(qgemm_load(s.at, s.len, &options, &w), QGEMM_TYPE, "other_layout: 2");
  options.other_layout = QGEMM_REFUSE, options.kernel = "z80";
  REFUSED(qgemm_map(s.at, s.len, &options, release, &s, &w), QGEMM_KERNEL, "z80");
  CHECK(s.released == 0 && w == NULL);
  uint8_t *short_one = memory(s.len);
  memset(short_one, 7, s.len);
  REFUSED(qgemm_save(weights, short_one, s.len - 1), QGEMM_SHAPE, "to: has ");
  CHECK(short_one[0] == 7);
  REFUSED(qgemm_save(weights, NULL, s.len), QGEMM_NULL, "to");
  REFUSED(qgemm_save(NULL, short_one, s.len), QGEMM_NULL, "weights");
  REFUSED(qgemm_saved_size(weights, NULL), QGEMM_NULL, "size");
  free(short_one), free(s.memory);
}

static void columns(size_t k, size_t n, qgemm_type type) {
  qgemm_matrix b = random_matrix(k, n, type, 0, 0);
  qgemm_pack_options options = {sizeof options, QGEMM_I8, NULL};
  qgemm_weights *weights, *w = NULL;
  OK(qgemm_pack(&b, &options, &weights));
  round_trip(weights);

  Saved s = saved_of(weights);
  qgemm_saved_description about;
  OK(qgemm_saved_info(s.at, s.len, &about));
  CHECK(about.kind == QGEMM_SAVED_COLUMNS && about.k == k && about.n == n && about.type == type && about.bits == 8);
  CHECK(about.activations == QGEMM_I8 && about.group == 0 && about.scales == 0 && !about.minimums && !about.zeros);
  CHECK(!strcmp(about.kernel, qgemm_kernel_name(weights)));
  // For another kernel: packed again, or refused.
  qgemm_load_options other = {sizeof other, QGEMM_REPACK, "scalar"};
  options.kernel = "scalar";
  if (strncmp(about.kernel, "scalar", 6)) {
    qgemm_weights *scalar;
    OK(qgemm_pack(&b, &options, &scalar));
    OK(qgemm_map(s.at, s.len, &other, release, &s, &w));
    same_products(w, scalar);
    qgemm_weights_free(w), qgemm_weights_free(scalar);
    CHECK(s.released == 1);
    s.released = 0, w = NULL;
    OK(qgemm_save(weights, s.at, s.len));
    other.other_layout = QGEMM_REFUSE;
    REFUSED(qgemm_map(s.at, s.len, &other, release, &s, &w), QGEMM_SAVED, "saved: was packed for the kernel");
    REFUSED(qgemm_load(s.at, s.len, &other, &w), QGEMM_SAVED, "saved: was packed for the kernel");
    CHECK(s.released == 0 && w == NULL);
  }
  free(s.memory), free((void *)b.data), qgemm_weights_free(weights);
}

static void groupwise(uint32_t bits, int zeros, int minimums) {
  enum { K = 72, N = 21, GROUP = 32, GROUPS = 3 };
  uint8_t *codes = random_bytes(K * N);
  for (int i = 0; i < K * N; i++) codes[i] &= bits == 4 ? 15 : 255;
  float *scales = random_floats(GROUPS * N, 1);
  qgemm_groupwise_options options = {0};
  options.struct_size = sizeof options, options.bits = bits, options.group = GROUP;
  options.codes = (qgemm_matrix){codes, K, N, N, 1, QGEMM_U8};
  options.scales = (qgemm_matrix){scales, GROUPS, N, N, 1, QGEMM_F32};
  if (zeros) options.zeros = (qgemm_matrix){codes, GROUPS, N, N, 1, QGEMM_U8};
  if (minimums) options.minimums = options.scales;
  qgemm_weights *weights, *w;
  OK(qgemm_pack_groupwise(&options, &weights));
  round_trip(weights);
  Saved s = saved_of(weights);
  qgemm_saved_description about;
  OK(qgemm_saved_info(s.at, s.len, &about));
  CHECK(about.kind == QGEMM_SAVED_GROUPWISE && about.k == K && about.n == N && about.type == QGEMM_U8);
  CHECK(about.bits == bits && about.group == GROUP && about.scales == QGEMM_F32 && about.kernel[0] == 0);
  CHECK(about.minimums == (minimums ? QGEMM_F32 : 0) && about.zeros == (uint32_t)zeros && about.activations == 0);
  qgemm_load_options named = {sizeof named, QGEMM_REFUSE, "scalar"};
  OK(qgemm_map(s.at, s.len, &named, NULL, NULL, &w));
  CHECK(!strncmp(qgemm_kernel_name(w), "scalar", 6));
  qgemm_weights_free(w), qgemm_weights_free(weights);
  free(s.memory), free(codes), free(scales);
}

void saved(void) {
  columns(40, 100, QGEMM_I8), columns(7, 3, QGEMM_U8), columns(0, 5, QGEMM_I8), columns(5, 0, QGEMM_U8);
  for (int turn = 0; turn < 4; turn++) groupwise(turn & 1 ? 4 : 8, turn & 1, turn >> 1 & 1);
}
