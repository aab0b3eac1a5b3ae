// A GEMM of gemmlowp with one of its output pipelines, for Python's ctypes.
//
// Compiled twice: as plain C++, in which gemmlowp's ShiftLeft saturates, and with SSE4.1, in which it wraps around.
#include <cstdint>
#include <tuple>

#include <gemmlowp/public/gemmlowp.h>
#include <gemmlowp/public/output_stages.h>

namespace {

using gemmlowp::MapOrder;
using Row = gemmlowp::VectorMap<const std::int32_t, gemmlowp::VectorShape::Row>;

struct Product {
  int m, n, k;
  const std::uint8_t *a, *b;  // row-major
  std::int32_t a_zero, b_zero;
  const std::int32_t* bias;               // n
  const std::int32_t *multiplier, *exponent;  // 1 or n
  std::int32_t per_column, y_zero, lo, hi;
};

template <typename Y, typename Stage, typename Cast>
void run(const Product& p, Y* y, const Stage& stage, const Cast& cast) {
  const gemmlowp::OutputStageBiasAddition<Row> bias{Row(p.bias, p.n)};
  const auto pipeline = std::make_tuple(bias, stage, gemmlowp::OutputStageClamp{p.lo, p.hi}, cast);
  const gemmlowp::MatrixMap<const std::uint8_t, MapOrder::RowMajor> a(p.a, p.m, p.k);
  const gemmlowp::MatrixMap<const std::uint8_t, MapOrder::RowMajor> b(p.b, p.k, p.n);
  gemmlowp::MatrixMap<Y, MapOrder::RowMajor> result(y, p.m, p.n);
  gemmlowp::GemmContext context;
  context.set_max_num_threads(1);
  gemmlowp::GemmWithOutputPipeline<std::uint8_t, Y, gemmlowp::L8R8WithLhsNonzeroBitDepthParams>(
      &context, a, b, &result, -p.a_zero, -p.b_zero, pipeline);
}

// Chooses the output stage: per column; per tensor with a right shift; per tensor with a left shift. Returns false if
// gemmlowp has none: with SSE4.1 it has neither multipliers per column nor a cast to i8.
template <typename Y, typename Cast>
bool with_stage(const Product& p, Y* y, const Cast& cast) {
  if (p.per_column) {
#ifdef GEMMLOWP_SSE4
    return false;
#else
    gemmlowp::OutputStageScaleInt32ByFixedPointAndExponentPC<gemmlowp::VectorShape::Row> stage;
    stage.result_fixedpoint_multiplier = Row(p.multiplier, p.n);
    stage.result_exponent = Row(p.exponent, p.n);
    stage.result_offset_after_shift = p.y_zero;
    run(p, y, stage, cast);
#endif
  } else if (*p.exponent <= 0) {
    gemmlowp::OutputStageQuantizeDownInt32ByFixedPoint stage;
    stage.result_fixedpoint_multiplier = *p.multiplier;
    stage.result_shift = -*p.exponent;
    stage.result_offset_after_shift = p.y_zero;
    run(p, y, stage, cast);
  } else {
    gemmlowp::OutputStageScaleInt32ByFixedPointAndExponent stage;
    stage.result_fixedpoint_multiplier = *p.multiplier;
    stage.result_exponent = *p.exponent;
    stage.result_offset_after_shift = p.y_zero;
    run(p, y, stage, cast);
  }
  return true;
}

}  // namespace

extern "C" {

bool gemm_u8(const Product* p, std::uint8_t* y) {
  return with_stage(*p, y, gemmlowp::OutputStageSaturatingCastToUint8());
}

bool gemm_i8(const Product* p, std::int8_t* y) {
#ifdef GEMMLOWP_SSE4
  return false;
#else
  return with_stage(*p, y, gemmlowp::OutputStageSaturatingCastToInt8());
#endif
}

bool has_sse4() {
#ifdef GEMMLOWP_SSE4
  return true;
#else
  return false;
#endif
}
}
