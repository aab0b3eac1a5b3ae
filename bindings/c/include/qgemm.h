// qgemm: exact, fast quantized matrix multiplication.
//
// Weights are packed once (qgemm_pack, qgemm_pack_groupwise), an output stage is made once (qgemm_requantize,
// qgemm_dequantize), and products are described by a qgemm_product and run by qgemm_run or qgemm_run_batch. Results are the
// same on every CPU and for every number of threads.
//
// Rules that hold for all functions:
//
// - A call returns QGEMM_OK or the reason that it was refused. qgemm_last_error has the text, for each thread its own.
//   Outputs of a call that was refused are as they were, unless its comment says otherwise.
// - Null, misaligned, overlapping or wrongly sized arguments are refused, and so are sizes that overflow. What no function
//   can check is what the caller promises: that memory of the given size is there, and that handles are alive.
// - Sizes and strides are in elements, not bytes. An array of length 0 may have any address.
// - Structs that begin with `struct_size` are set to zeros first: zeros are the defaults, also of fields that later versions
//   add behind the others. All other structs stay as they are.
// - Functions may be called on any threads at the same time, also with the same handles; only a handle that is freed, and
//   outputs, belong to one call.


#ifndef QGEMM_H
#define QGEMM_H

/* Made by cbindgen from the sources: see tests/header.rs. */

#include <stddef.h>
#include <stdint.h>

// How qgemm_pack_float quantizes the weights of a group: by the greatest magnitude.
#define QGEMM_GROUPS_SYMMETRIC 0

// By the range, widened to hold 0, with a zero point.
#define QGEMM_GROUPS_ASYMMETRIC 1

// Blocks of 18 bytes with 32 values: an f16 scale, codes of 4 bits.
#define QGEMM_GGUF_Q4_0 2

// Blocks of 20 bytes with 32 values: an f16 scale and minimum, codes of 4 bits.
#define QGEMM_GGUF_Q4_1 3

// Blocks of 34 bytes with 32 values: an f16 scale, 32 bytes.
#define QGEMM_GGUF_Q8_0 8

// Weights that were saved for another kernel than the one that would be chosen here: they are packed again, in memory of
// their own.
#define QGEMM_REPACK 0

// They are refused, by QGEMM_SAVED.
#define QGEMM_REFUSE 1

// Weights with scales per column, or none: of qgemm_pack.
#define QGEMM_SAVED_COLUMNS 1

// Group-wise weights.
#define QGEMM_SAVED_GROUPWISE 2

// The index of a row outside the source.
#define QGEMM_PADDING 4294967295

// An output stage, for any number of products on any threads at the same time. Made by qgemm_requantize or
// qgemm_dequantize, which copy all that they are given, and freed by qgemm_stage_free.
typedef struct qgemm_stage qgemm_stage;

// Weights that were packed once, for any number of products on any threads at the same time. Made by qgemm_pack,
// qgemm_pack_groupwise, qgemm_load and their like, and freed by qgemm_weights_free.
typedef struct qgemm_weights qgemm_weights;

// The result of a call: QGEMM_OK, or the reason that it was refused. See qgemm_last_error.
typedef int32_t qgemm_status;

// The type of elements: one of QGEMM_I8 and those below it. 0 is none of them.
typedef uint32_t qgemm_type;

// A matrix that is read. Element (i, j) lies `i * row_stride + j * col_stride` elements (not bytes) after `data`. Strides
// are 0 or more; a row-major matrix has `row_stride = cols, col_stride = 1`, its transpose has both pairs exchanged.
//
// All memory from the first to the last element, also between elements, is there and filled, and nobody writes to it
// while a call runs. Without elements `data` may be anything. All zeros are no matrix.
typedef struct qgemm_matrix {
  // The address of element (0, 0).
  const void *data;
  size_t rows;
  size_t cols;
  ptrdiff_t row_stride;
  ptrdiff_t col_stride;
  qgemm_type type;
} qgemm_matrix;

// How qgemm_pack packs. All zeros but `struct_size` are the default.
typedef struct qgemm_pack_options {
  // sizeof(qgemm_pack_options)
  size_t struct_size;
  // The type of the activations that will be multiplied, QGEMM_U8 (also 0) or QGEMM_I8. The other type gives the same
  // results, on some CPUs a little slower. f32 activations are quantized to i8, asymmetric ones to u8.
  qgemm_type activations;
  // The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
  const char *kernel;
} qgemm_pack_options;

// What qgemm_weights_info tells.
typedef struct qgemm_weights_description {
  // K, the rows.
  size_t k;
  // N, the columns.
  size_t n;
  // The memory that they take, in bytes.
  size_t bytes;
  // Bits of a code: 8, or 4 for group-wise weights of 4 bits.
  uint32_t bits;
  // The type of the values or codes: QGEMM_I8 or QGEMM_U8.
  qgemm_type type;
  // The rows of a group; 0 for 8-bit weights that are not group-wise.
  size_t group;
} qgemm_weights_description;

// Group-wise weights:
//
//     B[k,n] = scale[g,n] * (code[k,n] - zero[g,n])  (+ minimum[g,n])      where g = k / group
//
// A matrix with `type` 0 (all zeros) is left out. Weights that are stored as [N, K], with scales as [N, groups], are
// passed as transposes.
typedef struct qgemm_groupwise_options {
  // sizeof(qgemm_groupwise_options)
  size_t struct_size;
  // Bits of a code: 4 or 8.
  uint32_t bits;
  // 1: `zero` is the zero point of all. 0: that is 0 for codes of QGEMM_I8, and for QGEMM_U8 the middle, 8 or 128.
  uint32_t has_zero;
  // The zero point of all, if `has_zero` is 1 and there are no `zeros`.
  int32_t zero;
  // Rows of a group: a multiple of 8, such as 32 or 128, or at least K for one group.
  size_t group;
  // K×N, a code in each byte: of 4 bits 0 to 15 in QGEMM_U8 or -8 to 7 in QGEMM_I8.
  struct qgemm_matrix codes;
  // groups×N, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
  struct qgemm_matrix scales;
  // groups×N zero points of the codes' type; or left out.
  struct qgemm_matrix zeros;
  // groups×N numbers that are added, QGEMM_F32, QGEMM_F16 or QGEMM_BF16; or left out.
  struct qgemm_matrix minimums;
  // The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
  const char *kernel;
} qgemm_groupwise_options;

// Attributes and tensors of ONNX Runtime's operator `com.microsoft.MatMulNBits`. blocks = ceil(k / block_size).
typedef struct qgemm_onnx_options {
  // sizeof(qgemm_onnx_options)
  size_t struct_size;
  // The attribute `bits`: 4 or 8.
  uint32_t bits;
  // The attributes `K`, `N` and `block_size`.
  size_t k;
  size_t n;
  size_t block_size;
  // `B`: [n, blocks, block_size * bits / 8] bytes.
  const uint8_t *b;
  size_t b_len;
  // `scales`, n×blocks, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
  struct qgemm_matrix scales;
  // `zero_points` of type uint8: [n, ceil(blocks * bits / 8)] bytes; or NULL. Without zero points they are 8 or 128.
  const uint8_t *zero_points;
  size_t zero_points_len;
  // `zero_points` in the type of the scales, n×blocks; or left out.
  struct qgemm_matrix real_zero_points;
} qgemm_onnx_options;

// The tensors of a layer that GPTQ quantized. Those of int32 are given as bytes, little-endian, as files hold them.
typedef struct qgemm_gptq_options {
  // sizeof(qgemm_gptq_options)
  size_t struct_size;
  // Bits of a code: 4 or 8.
  uint32_t bits;
  // 1: zero points are stored less one, as in checkpoint format `gptq`. 0: as they are, as in `gptq_v2`.
  uint32_t zeros_less_one;
  // The input and the output features.
  size_t k;
  size_t n;
  // `group_size`; at least K for one group.
  size_t group;
  // `qweight`: [k * bits / 32, n] numbers of int32.
  const uint8_t *qweight;
  // In bytes.
  size_t qweight_len;
  // `qzeros`: [groups, n * bits / 32] numbers of int32.
  const uint8_t *qzeros;
  // In bytes.
  size_t qzeros_len;
  // groups×n, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
  struct qgemm_matrix scales;
  // The group of each row, which has to be that of consecutive rows (no act-order); or NULL.
  const int32_t *g_idx;
  size_t g_idx_len;
} qgemm_gptq_options;

// The tensors of a layer that AWQ quantized to 4 bits (version `gemm`). Those of int32 are given as bytes, little-endian.
typedef struct qgemm_awq_options {
  // sizeof(qgemm_awq_options)
  size_t struct_size;
  // The input and the output features.
  size_t k;
  size_t n;
  // `group_size`; at least K for one group.
  size_t group;
  // `qweight`: [k, n / 8] numbers of int32.
  const uint8_t *qweight;
  // In bytes.
  size_t qweight_len;
  // `qzeros`: [groups, n / 8] numbers of int32.
  const uint8_t *qzeros;
  // In bytes.
  size_t qzeros_len;
  // groups×n, QGEMM_F32, QGEMM_F16 or QGEMM_BF16.
  struct qgemm_matrix scales;
} qgemm_awq_options;

// How saved weights are read. All zeros but `struct_size` are the default.
typedef struct qgemm_load_options {
  // sizeof(qgemm_load_options)
  size_t struct_size;
  // QGEMM_REPACK or QGEMM_REFUSE. Group-wise weights have the same layout for all kernels.
  uint32_t other_layout;
  // The kernel or instruction set, such as "avx2"; NULL for the best of this CPU.
  const char *kernel;
} qgemm_load_options;

// Tells the caller that memory of his own is not needed any more.
typedef void (*qgemm_release)(void *context);

// What qgemm_saved_info tells.
typedef struct qgemm_saved_description {
  // QGEMM_SAVED_COLUMNS or QGEMM_SAVED_GROUPWISE.
  uint32_t kind;
  // Bits of a code: 8, or 4 for group-wise weights of 4 bits.
  uint32_t bits;
  // K, the rows.
  size_t k;
  // N, the columns.
  size_t n;
  // The rows of a group; 0 for QGEMM_SAVED_COLUMNS.
  size_t group;
  // The type of the values or codes: QGEMM_I8 or QGEMM_U8.
  qgemm_type type;
  // The type of the activations that they were packed for; 0 for QGEMM_SAVED_GROUPWISE.
  qgemm_type activations;
  // The type of the scales of groups; 0 for QGEMM_SAVED_COLUMNS.
  qgemm_type scales;
  // The type of the minimums of groups; 0 if there are none.
  qgemm_type minimums;
  // 1 if there is a zero point for each scale; else 0.
  uint32_t zeros;
  // The kernel whose layout they have, which ends with a zero byte; empty for QGEMM_SAVED_GROUPWISE.
  char kernel[64];
} qgemm_saved_description;

// A function that is applied to outputs.
typedef uint32_t qgemm_activation;

// The affine map of quantized values: real = scale * (q - zero_point).
typedef struct qgemm_quant_params {
  // Finite and greater than 0.
  float scale;
  int32_t zero_point;
} qgemm_quant_params;

// A matrix that is written. Its elements lie as those of a qgemm_matrix, and no two coincide.
//
// All elements are in one piece of memory, which nobody else uses while a call runs. They need not be set before, unless
// a call adds to them. Memory between elements is neither read nor written.
typedef struct qgemm_matrix_mut {
  // The address of element (0, 0).
  void *data;
  size_t rows;
  size_t cols;
  ptrdiff_t row_stride;
  ptrdiff_t col_stride;
  qgemm_type type;
} qgemm_matrix_mut;

// Float scales: `one` for all, or one per row, per column, or both (whose product, rounded to f32, is the scale). An array
// that is NULL is left out; `one` is used if both are.
typedef struct qgemm_scales {
  // M of them, or NULL.
  const float *rows;
  size_t rows_len;
  // N of them, or NULL.
  const float *columns;
  size_t columns_len;
  // The scale of all, if both arrays are NULL.
  float one;
} qgemm_scales;

// A convolution of images, whose pixels (batch, height, width in this order) are the rows of a source, each a row of
// channels.
typedef struct qgemm_conv2d {
  // sizeof(qgemm_conv2d)
  size_t struct_size;
  size_t batch;
  size_t height;
  size_t width;
  size_t kernel_height;
  size_t kernel_width;
  // At least 1.
  size_t stride_height;
  size_t stride_width;
  // At least 1.
  size_t dilation_height;
  size_t dilation_width;
  // Pixels around each image.
  size_t padding_top;
  size_t padding_left;
  size_t padding_bottom;
  size_t padding_right;
} qgemm_conv2d;

// How sums are scaled to 8 bits.
typedef uint32_t qgemm_scaling;

// A real factor `m * 2^(shift - 31)`: m is 0 or from 2^30 to 2^31 - 1, shift from -31 to 30. See qgemm_multiplier_of.
typedef struct qgemm_multiplier {
  int32_t m;
  int32_t shift;
} qgemm_multiplier;

// A limit of outputs.
typedef uint32_t qgemm_clamp;

// An 8-bit output: what qgemm_requantize makes a stage of. All zeros but `struct_size`, and a scale, are the default.
typedef struct qgemm_requantize_options {
  // sizeof(qgemm_requantize_options)
  size_t struct_size;
  // Which of the next three is used.
  qgemm_scaling scaling;
  // 1: A is f32, and the call finds its scales, which are multiplied with `scale` first. 0: `scale` holds that of A.
  uint32_t dynamic;
  // scale_a * scale_b / scale_out (`dynamic`: scale_b / scale_out), in f32.
  struct qgemm_scales scale;
  // One for all, or N of them.
  const struct qgemm_multiplier *multipliers;
  size_t multipliers_len;
  // One for all, or N of them.
  const double *factors;
  size_t factors_len;
  // The zero point of the output: at most 2^21 either way.
  int32_t zero_point;
  qgemm_clamp clamp;
  // Of QGEMM_CLAMP_TO, in quantized units.
  int32_t lo;
  int32_t hi;
  // Of QGEMM_CLAMP_RELU6: the scale of the output.
  float output_scale;
  // 1: what C holds before the call is added before rounding, with the next two. Only with QGEMM_SCALE_F32.
  uint32_t residual_in_place;
  // scale_residual / scale_out
  float residual_scale;
  int32_t residual_zero_point;
  // The type of `table` and of the output, QGEMM_I8 or QGEMM_U8, if there is a table.
  qgemm_type table_type;
  // 256 bytes, or NULL: the value that replaces each clamped value, by its bits (as uint8_t). See qgemm_activation_table.
  const uint8_t *table;
} qgemm_requantize_options;

// An f32 output: what qgemm_dequantize makes a stage of:
//
//     x = f32(acc + bias of the product) * scale
//     y = activation(clamp(x + bias + residual, lo, hi))
//
// All zeros but `struct_size`, and a scale, are the default.
typedef struct qgemm_dequantize_options {
  // sizeof(qgemm_dequantize_options)
  size_t struct_size;
  // scale_a * scale_b (`dynamic`: scale_b alone). For group-wise weights the scale of A if it is 8-bit, else 1 (`dynamic`).
  struct qgemm_scales scale;
  // 1: A is f32, and the call finds its scales, which are multiplied with `scale` first.
  uint32_t dynamic;
  qgemm_clamp clamp;
  // Of QGEMM_CLAMP_TO; may be infinite.
  float lo;
  float hi;
  // The function that is applied last; 0 for none.
  qgemm_activation activation;
  // 1: what C holds before the call is added.
  uint32_t residual_in_place;
  // N values that are added after scaling, or NULL.
  const float *bias;
  size_t bias_len;
} qgemm_dequantize_options;

// Rows of a source, picked by index, as A: row i of A is made of `taps` rows of `a` side by side, those that
// `indices[i * taps]` and its followers name. So M is len / taps, and K is taps times the columns of `a`.
typedef struct qgemm_gather {
  // Rows of `a`, or QGEMM_PADDING.
  const uint32_t *indices;
  // How many there are: a multiple of `taps`.
  size_t len;
  // At least 1.
  size_t taps;
  // 1: QGEMM_PADDING stands for rows of the next value. 0: for rows of the zero point of A, which add nothing; of 0.0 for
  // an f32 A.
  uint32_t has_padding;
  int32_t padding;
} qgemm_gather;

// Zero points: one for a matrix, or one for each row of A or column of B. All zeros mean the zero point 0.
typedef struct qgemm_zero_points {
  // One for each row or column, of `type`; NULL for one for all.
  const void *each;
  // How many `each` holds.
  size_t len;
  // The type of `each`: QGEMM_I32, QGEMM_I8 or QGEMM_U8.
  qgemm_type type;
  // The one for all, if `each` is NULL. Any number.
  int32_t one;
} qgemm_zero_points;

// A matrix of C's shape that is added before rounding. It may not overlap C: see `residual_in_place` of the stage.
typedef struct qgemm_residual {
  // QGEMM_I8 or QGEMM_U8; QGEMM_F32 for an f32 output.
  struct qgemm_matrix matrix;
  // scale_residual / scale_out, for an 8-bit output.
  float scale;
  // For an 8-bit output.
  int32_t zero_point;
} qgemm_residual;

// How f32 activations are quantized.
typedef uint32_t qgemm_activations;

// Runs one part of a call: `run(job, part)`, with the `job` that came with it. It may be called on any thread.
typedef void (*qgemm_run_part)(void *job, size_t part);

// A parallel loop of the caller's: calls `run(job, part)` once for each part from 0 to `parts` - 1, in any order, on any
// threads, and returns when all of these calls have returned; none may be made later. A part that was not run is run
// afterwards by the thread that made the call. `context` is that of qgemm_threads.
typedef void (*qgemm_parallel_for)(void *context, size_t parts, qgemm_run_part run, void *job);

// The threads that may do the work of a call. Results do not depend on them. All zeros are the default: the calling
// thread, and helpers that the library starts, one for each core (RAYON_NUM_THREADS limits them).
typedef struct qgemm_threads {
  // The most threads, the calling one among them; 1 for that alone, 0 for the default. With `parallel_for`: the number of
  // parts that it can run at the same time, at least 1.
  size_t most;
  // The caller's own threads do the work, in place of the library's. NULL without them. It is called on the calling
  // thread, and must not throw.
  qgemm_parallel_for parallel_for;
  // Passed to `parallel_for`.
  void *context;
} qgemm_threads;

// A product, C = A * B with zero points, bias and an output stage:
//
//     acc[m,n] = sum over k of (A[m,k] - a_zero[m]) * (B[k,n] - b_zero[n]) + bias[n]           exact
//
// A is M×K, B is K×N, C is M×N; each of M, N, K may be 0. Set all to zeros first, then `struct_size`, `a`, `weights` (or
// `b`), `c` and what else is needed.
//
// C of QGEMM_I32 gets acc modulo 2^32, and needs no stage. C of QGEMM_I8 or QGEMM_U8 needs a stage of qgemm_requantize, C
// of QGEMM_F32 one of qgemm_dequantize.
//
// An A of QGEMM_F32 is quantized by the call, and the stage is `dynamic`; with group-wise weights and none it is scaled by
// nothing else. Group-wise weights make C of QGEMM_F32 only, and have their own zero points.
typedef struct qgemm_product {
  // sizeof(qgemm_product)
  size_t struct_size;
  // A: QGEMM_I8, QGEMM_U8 or QGEMM_F32; or the source of `gather`.
  struct qgemm_matrix a;
  // NULL unless rows of A are picked by index.
  const struct qgemm_gather *gather;
  // B, packed.
  const struct qgemm_weights *weights;
  // B, QGEMM_I8 or QGEMM_U8, if `weights` is NULL. The call packs it.
  struct qgemm_matrix b;
  // One, or M of them. Of an 8-bit A only; with group-wise weights values of its type.
  struct qgemm_zero_points a_zero;
  // One, or N of them.
  struct qgemm_zero_points b_zero;
  // N values in the scale of the sums, or NULL. For an 8-bit A and weights that are not group-wise.
  const int32_t *bias;
  size_t bias_len;
  // From the sums to C; NULL for C of QGEMM_I32.
  const struct qgemm_stage *stage;
  // NULL unless a matrix is added.
  const struct qgemm_residual *residual;
  // C, which overlaps no input.
  struct qgemm_matrix_mut c;
  // 1: acc is added to what C holds, modulo 2^32. For C of QGEMM_I32 only.
  uint32_t accumulate;
  // How an A of QGEMM_F32 is quantized.
  qgemm_activations activations;
  // Where the scales and zero points of an f32 A go: M of them, or 1 for QGEMM_PER_TENSOR and its like. NULL if they are
  // not needed. Not for group-wise weights, and not in a batch. Left as they are if C is empty.
  struct qgemm_quant_params *params;
  size_t params_len;
  // The threads that may do the work. Not used in a batch, which has its own.
  struct qgemm_threads threads;
} qgemm_product;

// The call did what it was asked to.
#define QGEMM_OK 0

// A pointer is null that must not be.
#define QGEMM_NULL 1

// A pointer is not aligned for the values that it points to.
#define QGEMM_MISALIGNED 2

// A size, a shape or a number of values does not fit the others; a stride is negative.
#define QGEMM_SHAPE 3

// A size overflows the address space.
#define QGEMM_TOO_LARGE 4

// An output overlaps an input or another output, or two of its elements coincide.
#define QGEMM_OVERLAP 5

// A type or another choice is unknown, or not allowed here.
#define QGEMM_TYPE 6

// A number is out of its range, or no number: a scale, a zero point, a clamp, an index, a code.
#define QGEMM_RANGE 7

// A value of A, or of another matrix that is quantized, is infinite or NaN.
#define QGEMM_NOT_FINITE 8

// Options do not go together, or one is missing.
#define QGEMM_OPTIONS 9

// There is not enough memory.
#define QGEMM_MEMORY 10

// A kernel does not exist or this CPU lacks it, or an environment variable of the library is wrong.
#define QGEMM_KERNEL 11

// Bytes are no saved weights, or none that can be used here: cut off, changed, of another kind or for another kernel.
#define QGEMM_SAVED 13

// A file cannot be opened, read, mapped or written.
#define QGEMM_FILE 14

// The library failed. It is a mistake in the library, and outputs of the call may be written in part.
#define QGEMM_INTERNAL 12

// int8_t
#define QGEMM_I8 1

// uint8_t
#define QGEMM_U8 2

// int32_t
#define QGEMM_I32 3

// float
#define QGEMM_F32 4

// IEEE half precision, in two bytes
#define QGEMM_F16 5

// bfloat16, in two bytes
#define QGEMM_BF16 6

// None.
#define QGEMM_IDENTITY 0

// x/2 * (1 + erf(x / sqrt(2)))
#define QGEMM_GELU 1

// Its approximation by tanh.
#define QGEMM_GELU_TANH 2

// x / (1 + exp(-x)), also called swish.
#define QGEMM_SILU 3

// 1 / (1 + exp(-x))
#define QGEMM_SIGMOID 4

// tanh(x)
#define QGEMM_TANH 5

// x * min(max(x + 3, 0), 6) / 6
#define QGEMM_HARD_SWISH 6

// By `scale`, in f32: clamp(round_half_even(f32(acc) * scale) + zero_point). As ONNX Runtime computes.
#define QGEMM_SCALE_F32 0

// By `multipliers`, in integers, rounded as gemmlowp and TFLite's kernels do.
#define QGEMM_FIXED_GEMMLOWP 1

// By `multipliers`, rounded as ruy does.
#define QGEMM_FIXED_RUY 2

// By `multipliers`, rounded once, half up.
#define QGEMM_FIXED_SINGLE 3

// By `multipliers`, rounded once, half away from zero.
#define QGEMM_FIXED_REFERENCE 4

// By `factors`, in f64, rounded half away from zero, as TFLite's reference kernels do.
#define QGEMM_SCALE_F64 5

// The range of the output type; none for f32.
#define QGEMM_CLAMP_NONE 0

// From `lo` to `hi`.
#define QGEMM_CLAMP_TO 1

// Real numbers from 0 on: from the zero point on, in 8 bits.
#define QGEMM_CLAMP_RELU 2

// Real numbers from 0 to 6; in 8 bits `output_scale` says how far 6 is from the zero point.
#define QGEMM_CLAMP_RELU6 3

// The default: QGEMM_PER_ROW; for group-wise weights to i8 with a scale for each row and group.
#define QGEMM_ACTIVATIONS_DEFAULT 0

// To i8, with a scale for each row.
#define QGEMM_PER_ROW 1

// To u8, with a scale and a zero point for each row.
#define QGEMM_PER_ROW_ASYMMETRIC 2

// To i8, with a scale for all of A. Not for group-wise weights.
#define QGEMM_PER_TENSOR 3

// To u8, with a scale and a zero point for all of A (ONNX DynamicQuantizeLinear). Not for group-wise weights.
#define QGEMM_PER_TENSOR_ASYMMETRIC 4

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The reason of this thread's last call that did not return QGEMM_OK, in English: the name of the argument, what it was
// and what it has to be. Empty if there was none. Calls that succeed leave it as it is.
//
// The text, of at most 1023 bytes of UTF-8, lies in memory of the calling thread, and stays until a later call on this
// thread fails or the thread ends.
const char *qgemm_last_error(void);

// Packs B, the weights of a product: K×N, QGEMM_I8 or QGEMM_U8, of any strides. A weight that is stored as [N, K] is
// passed as its transpose: rows = K, cols = N, row_stride = 1, col_stride = K.
//
// `options` may be NULL. `*weights` is written if the call succeeds. `b` is not needed afterwards.
//
// Errors: QGEMM_NULL, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_MEMORY; QGEMM_KERNEL if `options->kernel`, or
// QGEMM_ISA, QGEMM_CACHES or QGEMM_AMX_OVERHEAD in the environment, is wrong.
//
// The caller promises:
// Each pointer is null or to what its type says, and the matrix is as qgemm_matrix says.
qgemm_status qgemm_pack(const struct qgemm_matrix *b,
                        const struct qgemm_pack_options *options,
                        struct qgemm_weights **weights);

// Frees weights. NULL is allowed. Of weights that qgemm_map made, `release` is called then.
//
// The caller promises:
// `weights` is NULL, or was made by this library, was not freed before, and is used by no call any more.
void qgemm_weights_free(struct qgemm_weights *weights);

// Shape, type and size of weights.
//
// The caller promises:
// `weights` is NULL or a handle that was not freed, `description` is NULL or the address of such a struct.
qgemm_status qgemm_weights_info(const struct qgemm_weights *weights, struct qgemm_weights_description *description);

// The name of the kernel that multiplies by these weights, such as "avx512vnni-6x64c4": the instruction set comes first.
// NULL for NULL. The text lives as long as the weights.
//
// The caller promises:
// `weights` is NULL or a handle that was not freed.
const char *qgemm_kernel_name(const struct qgemm_weights *weights);

// Packs group-wise weights. `*weights` is written if the call succeeds. The matrices are not needed afterwards.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_MEMORY, QGEMM_KERNEL; QGEMM_RANGE
// for a code or zero point that is not of so many bits; QGEMM_NOT_FINITE for scales or minimums that are not finite.
//
// The caller promises:
// Each pointer is null or to what its type says, and matrices are as qgemm_matrix says.
qgemm_status qgemm_pack_groupwise(const struct qgemm_groupwise_options *options,
                                  struct qgemm_weights **weights);

// Quantizes float weights (K×N, QGEMM_F32) to codes of 4 or 8 bits by rounding to nearest, with an f32 scale for each
// column and group of rows, and packs them. `scheme` is QGEMM_GROUPS_SYMMETRIC or QGEMM_GROUPS_ASYMMETRIC.
//
// Errors: those of qgemm_pack_groupwise; QGEMM_NOT_FINITE if a weight is not finite, or a scale would not be.
//
// The caller promises:
// Each pointer is null or to what its type says, and the matrix is as qgemm_matrix says.
qgemm_status qgemm_pack_float(const struct qgemm_matrix *b,
                              uint32_t bits,
                              size_t group,
                              uint32_t scheme,
                              struct qgemm_weights **weights);

// Packs a tensor of a GGUF file: `n` rows of `k` values, which are the columns of B. `type` is QGEMM_GGUF_Q4_0, _Q4_1 or
// _Q8_0 (the file's own numbers); `blocks` holds `len` bytes.
//
// Errors: QGEMM_NULL, QGEMM_SHAPE if `k` is no multiple of 32 or `len` is not what the sizes need, QGEMM_TYPE,
// QGEMM_NOT_FINITE, QGEMM_MEMORY, QGEMM_KERNEL.
//
// The caller promises:
// `blocks` points to `len` bytes, which nobody changes during the call; `weights` is NULL or the address of a pointer.
qgemm_status qgemm_pack_gguf(uint32_t type,
                             size_t n,
                             size_t k,
                             const uint8_t *blocks,
                             size_t len,
                             struct qgemm_weights **weights);

// Packs the weights of a `MatMulNBits`. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
//
// Errors: those of qgemm_pack_groupwise; QGEMM_OPTIONS if there are zero points of both kinds; QGEMM_RANGE for real ones that
// are no codes.
//
// The caller promises:
// Each pointer is null or to what its type says, arrays hold as many bytes as their lengths say, and matrices are as
// qgemm_matrix says.
qgemm_status qgemm_pack_onnx(const struct qgemm_onnx_options *options,
                             struct qgemm_weights **weights);

// Packs a layer that GPTQ quantized. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
//
// Errors: those of qgemm_pack_groupwise; QGEMM_RANGE for act-order, and for a zero point that is no code.
//
// The caller promises:
// Each pointer is null or to what its type says, arrays hold as much as their lengths say, and the matrix is as qgemm_matrix
// says.
qgemm_status qgemm_pack_gptq(const struct qgemm_gptq_options *options,
                             struct qgemm_weights **weights);

// Packs a layer that AWQ quantized. `*weights` is written if the call succeeds. The tensors are not needed afterwards.
//
// Errors: those of qgemm_pack_groupwise.
//
// The caller promises:
// Each pointer is null or to what its type says, arrays hold as many bytes as their lengths say, and the matrix is as
// qgemm_matrix says.
qgemm_status qgemm_pack_awq(const struct qgemm_awq_options *options, struct qgemm_weights **weights);

// The number of bytes that qgemm_save writes for weights.
//
// The caller promises:
// `weights` is NULL or a handle that was not freed, `size` is NULL or the address of a size_t.
qgemm_status qgemm_saved_size(const struct qgemm_weights *weights, size_t *size);

// Writes weights of either kind to `to`, which holds `len` bytes: as many as qgemm_saved_size says. Any CPU reads them, by
// qgemm_load or qgemm_map. The form is that of the Rust library and of the command `qgemm pack`.
//
// Errors: QGEMM_NULL, QGEMM_SHAPE if `len` is another number, QGEMM_MEMORY.
//
// The caller promises:
// `weights` is NULL or a handle that was not freed; `to` is the address of `len` bytes which nobody else uses.
qgemm_status qgemm_save(const struct qgemm_weights *weights,
                        uint8_t *to,
                        size_t len);

// Writes weights to a file, which is replaced if it exists: whole, or not at all. `path` is UTF-8. Processes that have mapped
// the file that is replaced keep it.
//
// Errors: QGEMM_NULL; QGEMM_SHAPE if `path` is no UTF-8; QGEMM_FILE, QGEMM_MEMORY.
//
// The caller promises:
// `weights` is NULL or a handle that was not freed; `path` is NULL or a text that ends with a zero byte.
qgemm_status qgemm_save_file(const struct qgemm_weights *weights,
                             const char *path);

// Reads weights of either kind that were saved, `len` bytes at `saved`, which are copied. `options` may be NULL. `*weights` is
// written if the call succeeds.
//
// Errors: QGEMM_NULL; QGEMM_SAVED if they are no such bytes, cut off or changed, or for another kernel and
// `other_layout` refuses that; QGEMM_NOT_FINITE, QGEMM_TYPE, QGEMM_KERNEL, QGEMM_MEMORY.
//
// The caller promises:
// `saved` is the address of `len` bytes, which nobody changes during the call. Other pointers are null or to what their
// types say.
qgemm_status qgemm_load(const uint8_t *saved,
                        size_t len,
                        const struct qgemm_load_options *options,
                        struct qgemm_weights **weights);

// qgemm_load without a copy: what the kernel reads as it was saved stays at `saved`, which begins at a multiple of 64 bytes
// (else it is copied). The bytes stay there, and nobody changes them, until the weights are freed.
//
// `release(context)` is called once, by qgemm_weights_free, when nothing needs the bytes any more; also if the weights were
// packed again. It is not called if this call is refused. NULL for no such call.
//
// Errors: those of qgemm_load.
//
// The caller promises:
// `saved` is the address of `len` bytes, which are there and as they are until the weights are freed. `release` may be called
// on any thread, and does not throw. Other pointers are null or to what their types say.
qgemm_status qgemm_map(const uint8_t *saved,
                       size_t len,
                       const struct qgemm_load_options *options,
                       qgemm_release release,
                       void *context,
                       struct qgemm_weights **weights);

// qgemm_map of a file, which all processes that map it share in memory. `path` is UTF-8.
//
// Errors: those of qgemm_load; QGEMM_SHAPE if `path` is no UTF-8; QGEMM_FILE.
//
// The caller promises:
// Until the weights are freed nobody changes or truncates the file; it may be replaced by another (qgemm_save_file) or
// removed. Each pointer is null or to what its type says; `path` is a text that ends with a zero byte.
qgemm_status qgemm_map_file(const char *path, const struct qgemm_load_options *options, struct qgemm_weights **weights);

// What saved weights are, by their header. The checksum is compared; values are not looked at.
//
// Errors: QGEMM_NULL; QGEMM_SAVED if they are no such bytes, cut off, or changed.
//
// The caller promises:
// `saved` is the address of `len` bytes, which nobody changes during the call; `description` is NULL or the address of such
// a struct.
qgemm_status qgemm_saved_info(const uint8_t *saved,
                              size_t len,
                              struct qgemm_saved_description *description);

// The table of an activation between two quantizations, for the `table` of an 8-bit stage: for each of 256 bit patterns of
// `type` (QGEMM_I8 or QGEMM_U8) that of quantize(activation(dequantize(value))), into 256 bytes.
//
// Errors: QGEMM_NULL, QGEMM_TYPE; QGEMM_RANGE if a scale is not finite and positive.
//
// The caller promises:
// `table` is NULL or the address of 256 bytes.
qgemm_status qgemm_activation_table(qgemm_activation activation,
                                    qgemm_type type,
                                    struct qgemm_quant_params input,
                                    struct qgemm_quant_params output,
                                    uint8_t *table);

// Quantizes float weights, K×N of QGEMM_F32, to QGEMM_I8 from -127 to 127 with a scale for each column: scales[n] is the
// greatest magnitude of column n over 127. `out` is K×N and `scales` holds `len` = N.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_OVERLAP, QGEMM_NOT_FINITE.
//
// The caller promises:
// Matrices are as qgemm_matrix and qgemm_matrix_mut say, and `scales` is the address of `len` floats.
qgemm_status qgemm_quantize_columns(const struct qgemm_matrix *x,
                                    const struct qgemm_matrix_mut *out,
                                    float *scales,
                                    size_t len);

// Quantizes a bias to the scale of the sums: out[n] = round_half_even(bias[n] / (a_scale * b_scale[n])). Of `b_scale`, `one`
// or `columns` (`len` of them) is used. `bias` and `out` hold `len` values.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_OVERLAP, QGEMM_OPTIONS if there are scales of rows; QGEMM_RANGE
// if a scale is not finite and positive or a value does not fit int32_t.
//
// The caller promises:
// The arrays are there, and `b_scale` is NULL or the address of such a struct.
qgemm_status qgemm_quantize_bias(const float *bias,
                                 float a_scale,
                                 const struct qgemm_scales *b_scale,
                                 int32_t *out,
                                 size_t len);

// Adds each row of `rows` to a row of `c`: for i from 0 on, c[indices[i], j] += weights[i] * rows[i, j]. Both are of QGEMM_F32
// or, without weights, both of QGEMM_I32 (modulo 2^32). `indices` holds `len` row numbers of `c`, as many as `rows` has rows;
// they may repeat. `weights` holds as many, or is NULL.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_OVERLAP; QGEMM_RANGE if an index is no
// row of `c`, which is then as it was; QGEMM_OPTIONS for weights with QGEMM_I32.
//
// The caller promises:
// Matrices are as qgemm_matrix and qgemm_matrix_mut say, elements of `c` are set, and the arrays are there.
qgemm_status qgemm_scatter_add(const struct qgemm_matrix *rows,
                               const uint32_t *indices,
                               size_t len,
                               const float *weights,
                               const struct qgemm_matrix_mut *c);

// The indices of a convolution, for a qgemm_gather with kernel_height * kernel_width taps: for each output pixel and tap a row
// of the source, or QGEMM_PADDING. B has kernel_height * kernel_width * channels rows, in this order, and a column for each
// output channel; row i of C is output pixel i.
//
// `output` gets the number of images, their height and their width. With `indices` NULL and `len` 0 that is all; otherwise
// `len` is the product of these three and of the taps.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_OVERLAP; QGEMM_RANGE if a size is 0 or too large; QGEMM_MEMORY.
//
// The caller promises:
// Each pointer is null or to what its type says, `output` to three of them, `indices` to `len`.
qgemm_status qgemm_conv2d_indices(const struct qgemm_conv2d *conv,
                                  uint32_t *indices,
                                  size_t len,
                                  size_t *output);

// Makes a stage with 8-bit outputs, QGEMM_I8 or QGEMM_U8. `*stage` is written if the call succeeds.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE; QGEMM_TYPE for an unknown choice; QGEMM_RANGE for a scale or factor
// that is negative, infinite or NaN, for a multiplier or zero point out of its range, and for lo > hi; QGEMM_OPTIONS if a
// residual comes with multipliers or factors; QGEMM_MEMORY. Numbers of scales are compared with M and N by the product.
//
// The caller promises:
// Each pointer is null or to what its type says.
qgemm_status qgemm_requantize(const struct qgemm_requantize_options *options,
                              struct qgemm_stage **stage);

// Makes a stage with f32 outputs. `*stage` is written if the call succeeds.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE; QGEMM_TYPE for an unknown choice; QGEMM_RANGE for a scale that is
// negative, infinite or NaN, and for a limit that is NaN or lo > hi; QGEMM_MEMORY. Numbers of scales and bias values are
// compared with M and N by the product.
//
// The caller promises:
// Each pointer is null or to what its type says.
qgemm_status qgemm_dequantize(const struct qgemm_dequantize_options *options,
                              struct qgemm_stage **stage);

// Frees a stage. NULL is allowed.
//
// The caller promises:
// `stage` is NULL, or was made by this library, was not freed before, and is used by no call any more.
void qgemm_stage_free(struct qgemm_stage *stage);

// The multiplier that is nearest to a real factor of 0 or more, half away from zero: TFLite's QuantizeMultiplier.
//
// Errors: QGEMM_NULL; QGEMM_RANGE if the factor is negative, infinite or NaN.
//
// The caller promises:
// `multiplier` is NULL or the address of memory for one.
qgemm_status qgemm_multiplier_of(double real, struct qgemm_multiplier *multiplier);

// Runs a product. If it is refused, C is as it was.
//
// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_TOO_LARGE, QGEMM_TYPE; QGEMM_SHAPE if sizes do not fit each other, or a number
// of scales, zero points or bias values does not fit M or N; QGEMM_OVERLAP if C overlaps an input or `params`, or two of its
// elements coincide; QGEMM_RANGE for a number out of its range; QGEMM_OPTIONS for arguments that do not go together;
// QGEMM_NOT_FINITE for an f32 A with an infinity or NaN; QGEMM_MEMORY; QGEMM_KERNEL. Call qgemm_last_error for the argument.
//
// The caller promises:
// Each pointer is null or to what its type says, and matrices are as qgemm_matrix and qgemm_matrix_mut say. Threads may run
// products at the same time that share weights, stages and inputs.
qgemm_status qgemm_run(const struct qgemm_product *product);

// Runs `count` independent products, of any shapes, types and stages: whole products on each thread if there are many, parts
// of them if there are few. `threads` may be NULL for the default.
//
// `products` is an array of them; all have the same `struct_size`, which is that of the array's elements. The elements of
// all outputs are distinct: outputs lie one after the other, or side by side in the rows (or columns) of one matrix. Others
// that interleave are refused.
//
// Errors: those of qgemm_run, with the number of the product in qgemm_last_error (but for QGEMM_MEMORY and QGEMM_KERNEL,
// which may be nobody's). No output is written then, except that of errors that depend on the values of an f32 A other
// outputs may be.
//
// The caller promises:
// That of qgemm_run, for each product.
qgemm_status qgemm_run_batch(const struct qgemm_product *products,
                             size_t count,
                             const struct qgemm_threads *threads);

// Frees the memory that the calling thread, and the library's helpers, keep for later calls.
void qgemm_release_thread_memory(void);

// The version of the library, such as "0.1.0". The text lives as long as the program.
const char *qgemm_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* QGEMM_H */
