//! The output stage in plain loops, compiled for several instruction sets: for kernels that store sums only, for stages
//! that no kernel has, and for sums wider than 32 bits.

use crate::element::ElementType;
use crate::engine::epilogue::column_stage::{ColumnStage, F64Columns, FixedPointColumns, RequantColumns};
use crate::engine::epilogue::in_kernel::apply_function;
use crate::engine::epilogue::sum::Sum;
use crate::engine::plan::PerColumn;
use crate::engine::wide_terms::F64ColumnTerms;
use crate::output::dequantize::FloatResidual;
use crate::output::destination::Destination;
use crate::output::region::Region;
use crate::output::requant::{Residual, ResidualMatrix};
use crate::rounding::{ROUND_F32, ROUND_F64};
use multiversion::multiversion;
use qgemm_kernels::{BlockMut, Convert, MAX_NR, NO_BIAS, SIGN_SHIFT, Stored};
use std::ops::Range;

/// Stores exact sums, in rows of `ld`, to a region of `destination`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store(
    sums: &[i32],
    ld: usize,
    stage: &ColumnStage<'_>,
    destination: &mut Destination<'_, '_>,
    region: &Region,
) {
    store_sums(sums, ld, |_| |_, sum| sum, stage, destination, region);
}

/// [`store`] from 64-bit sums.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_i64(
    sums: &[i64],
    ld: usize,
    stage: &ColumnStage<'_>,
    destination: &mut Destination<'_, '_>,
    region: &Region,
) {
    store_sums(sums, ld, |_| |_, sum| sum, stage, destination, region);
}

/// [`store`] from sums of stored products, to which the terms are added here; row `top` of the terms is the region's
/// first row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(crate) fn store_with_terms(
    sums: &[i32],
    ld: usize,
    (terms, top): (&F64ColumnTerms<'_>, usize),
    stage: &ColumnStage<'_>,
    destination: &mut Destination<'_, '_>,
    region: &Region,
) {
    store_sums(sums, ld, |i| terms.exact_sums_of_row(top + i), stage, destination, region);
}

/// `correct(i)` returns the function from a column j and the raw sum `sums[i][j]` to the exact sum.
#[inline(always)]
fn store_sums<T: Copy, S: Sum, E: Fn(usize, T) -> S>(
    sums: &[T],
    ld: usize,
    correct: impl Fn(usize) -> E,
    stage: &ColumnStage<'_>,
    destination: &mut Destination<'_, '_>,
    region: &Region,
) {
    match (&mut *destination, stage) {
        (Destination::I32 { c, .. }, ColumnStage::I32 { accumulate }) => {
            let mut c = region.of(c);
            for i in 0..c.rows() {
                let exact = correct(i);
                for j in 0..c.cols() {
                    let c = c.get_mut(i, j).expect("the region has this shape");
                    let start = if *accumulate { *c } else { 0 };
                    *c = start.wrapping_add(exact(j, sums[i * ld + j]).to_i32());
                }
            }
        }
        (Destination::Bytes { c, requant }, ColumnStage::Requant(stage)) => {
            let (row_scale, mut c) = (requant.row_scale(region), region.of(c));
            let scale = per_column(stage.scale);
            match &requant.residual {
                None => store_rows(sums, ld, &mut c, correct, |i, _| RequantRow {
                    scale: (factor(row_scale, i), scale),
                    residual: (),
                    stage,
                }),
                Some(residual) => store_rows(sums, ld, &mut c, correct, |i, c| RequantRow {
                    scale: (factor(row_scale, i), scale),
                    residual: residual_row(residual, region.rows.start + i, region.columns.clone(), (i, c)),
                    stage,
                }),
            }
        }
        (Destination::Bytes { c, .. }, ColumnStage::FixedPoint(stage)) => {
            let mut c = region.of(c);
            match (stage.any_left, stage.away) {
                (false, false) => {
                    store_rows(sums, ld, &mut c, correct, |_, _| FixedPointRow::<false, false>(stage));
                }
                (false, true) => {
                    store_rows(sums, ld, &mut c, correct, |_, _| FixedPointRow::<false, true>(stage));
                }
                (true, false) => {
                    store_rows(sums, ld, &mut c, correct, |_, _| FixedPointRow::<true, false>(stage));
                }
                (true, true) => {
                    store_rows(sums, ld, &mut c, correct, |_, _| FixedPointRow::<true, true>(stage));
                }
            }
        }
        (Destination::Bytes { c, .. }, ColumnStage::F64(stage)) => {
            store_rows(sums, ld, &mut region.of(c), correct, |_, _| F64Row(stage));
        }
        (Destination::F32 { c, dequant }, ColumnStage::Dequant { scale, bias, clamp }) => {
            let row_scale = dequant.scale.rows(region.rows.clone());
            let (scale, bias) = (per_column(scale), per_column(bias.unwrap_or(&NO_BIAS)));
            let mut c = region.of(c);
            match &dequant.residual {
                None => store_rows(sums, ld, &mut c, correct, |i, _| DequantRow {
                    scale: (factor(row_scale, i), scale),
                    bias,
                    residual: (),
                    clamp: *clamp,
                }),
                Some(residual) => store_rows(sums, ld, &mut c, correct, |i, c| DequantRow {
                    scale: (factor(row_scale, i), scale),
                    bias,
                    residual: float_residual_row(
                        residual,
                        region.rows.start + i,
                        region.columns.clone(),
                        (i, c),
                    ),
                    clamp: *clamp,
                }),
            }
        }
        _ => unreachable!("a stage is made from its destination"),
    }
    apply_function(destination, region);
}

/// The first values as an array, whose length the compiler knows.
#[inline(always)]
fn per_column(values: &[f32]) -> &PerColumn<f32> {
    values.first_chunk().expect("a stage is padded to MAX_NR")
}

/// The scale of a row; 1 if rows have none.
#[inline(always)]
fn factor(rows: Option<&[f32]>, i: usize) -> f32 {
    rows.map_or(1.0, |rows| rows[i])
}

/// The output stage of one row.
trait Finish {
    /// The type of the output.
    type Value: Copy + Default;
    /// The output for the exact sum of column `j`.
    fn value(&self, j: usize, sum: impl Sum) -> Self::Value;
}

/// A residual of one row: none, or a number to add per column.
trait RowResidual {
    fn add(&self, j: usize, x: f32) -> f32;
}

impl RowResidual for () {
    #[inline(always)]
    fn add(&self, _: usize, x: f32) -> f32 {
        x
    }
}

impl RowResidual for PerColumn<f32> {
    #[inline(always)]
    fn add(&self, j: usize, x: f32) -> f32 {
        x + self[j]
    }
}

/// Float scales to 8 bits. `scale` is that of the row, and those of the columns.
struct RequantRow<'a, R> {
    scale: (f32, &'a PerColumn<f32>),
    residual: R,
    stage: &'a RequantColumns<'a>,
}

impl<R: RowResidual> Finish for RequantRow<'_, R> {
    type Value = u8;
    /// Clamping comes first, so that |x| <= 2^21 + 255 when it is rounded.
    #[inline(always)]
    fn value(&self, j: usize, sum: impl Sum) -> u8 {
        let RequantColumns { lo, hi, zero_point, .. } = *self.stage;
        let x = self.residual.add(j, sum.to_f32() * (self.scale.0 * self.scale.1[j]));
        let x = if x < lo { lo } else { x };
        let x = if x > hi { hi } else { x };
        let rounded = ((x + ROUND_F32).to_bits() as i32).wrapping_sub(ROUND_F32.to_bits() as i32);
        rounded.wrapping_add(zero_point) as u8
    }
}

/// The numbers that a residual adds to some columns of row `i`. The row of the output is row `c.0` of the block `c.1`.
#[inline(always)]
fn residual_row(
    residual: &Residual<'_>,
    i: usize,
    columns: Range<usize>,
    c: (usize, &mut BlockMut<'_, u8>),
) -> PerColumn<f32> {
    let mut added = [0.0; MAX_NR];
    let Residual { matrix, scale, zero_point } = *residual;
    let element = matrix.element_type();
    // As u8, of which the loop is vectorized: an i8 is its bits with the sign inverted, less the shift.
    let signed = element == ElementType::I8;
    let flip = Convert::new(signed, Stored::U8).mask();
    let less = if signed { SIGN_SHIFT } else { 0 };
    let add_row = |added: &mut [f32], row: &[u8]| {
        for (added, byte) in added.iter_mut().zip(row) {
            *added = (i32::from(byte ^ flip) - less - zero_point) as f32 * scale;
        }
    };
    let (row, c) = c;
    match matrix {
        ResidualMatrix::Operand(matrix) => match matrix.bits.row(i) {
            Some(row) => add_row(&mut added, &row[columns]),
            None => {
                for (j, added) in columns.zip(&mut added) {
                    *added = residual.real(matrix.get(i, j).expect("the shapes were checked"));
                }
            }
        },
        ResidualMatrix::Output(_) => match c.row_mut(row) {
            Some(row) => add_row(&mut added, row),
            None => {
                for (j, added) in (0..c.cols()).zip(&mut added) {
                    let bits = *c.get_mut(row, j).expect("the block has this shape");
                    *added = residual.real(element.value(bits));
                }
            }
        },
    }
    added
}

/// [`residual_row`] of an f32 output.
#[inline(always)]
fn float_residual_row(
    residual: &FloatResidual<'_>,
    i: usize,
    columns: Range<usize>,
    c: (usize, &mut BlockMut<'_, f32>),
) -> PerColumn<f32> {
    let mut added = [0.0; MAX_NR];
    let len = columns.len();
    let (row, c) = c;
    match residual {
        FloatResidual::Matrix(matrix) => match matrix.row(i) {
            Some(row) => added[..len].copy_from_slice(&row[columns]),
            None => matrix.copy_row(i, columns.start, &mut added[..len]),
        },
        FloatResidual::Output => match c.row_mut(row) {
            Some(row) => added[..len].copy_from_slice(row),
            None => {
                for (j, added) in added[..len].iter_mut().enumerate() {
                    *added = *c.get_mut(row, j).expect("the block has this shape");
                }
            }
        },
    }
    added
}

/// Multipliers to 8 bits; LEFT if some sums are shifted left, AWAY if ties round away from zero.
struct FixedPointRow<'a, const LEFT: bool, const AWAY: bool>(&'a FixedPointColumns);

impl<const LEFT: bool, const AWAY: bool> Finish for FixedPointRow<'_, LEFT, AWAY> {
    type Value = u8;
    /// [`FixedPointColumns`] has the definition. No step overflows: `high` is at least 1 - 2^31, or -2^31 where nothing
    /// is subtracted from it, and at most 2^31 - 2.
    #[inline(always)]
    fn value(&self, j: usize, sum: impl Sum) -> u8 {
        let p = self.0;
        let mut x = sum.saturate();
        if LEFT {
            let shifted = i64::from(x).wrapping_shl(p.left[j] as u32);
            x = shifted.clamp(i32::MIN.into(), i32::MAX.into()) as i32;
        }
        let product = i64::from(x) * i64::from(p.m[j]);
        let product = if AWAY { product + (product >> 63) } else { product };
        let high = ((product + i64::from(p.nudge[j])) >> 31) as i32;
        let low = high.wrapping_sub((high >> 31) & p.negative[j]);
        let one = p.one[j];
        let y = low.wrapping_shr(p.before[j] as u32).wrapping_add(one).wrapping_shr(one as u32);
        y.clamp(p.lo, p.hi).wrapping_add(p.zero_point) as u8
    }
}

/// f64 factors to 8 bits.
struct F64Row<'a>(&'a F64Columns);

impl Finish for F64Row<'_> {
    type Value = u8;
    /// Rounds half to even first; if that went towards zero by a half, one further.
    #[inline(always)]
    fn value(&self, j: usize, sum: impl Sum) -> u8 {
        let p = self.0;
        let x = sum.to_f64() * p.factor[j];
        let x = if x < p.lo { p.lo } else { x };
        let x = if x > p.hi { p.hi } else { x };
        let even = (x + ROUND_F64) - ROUND_F64;
        let away = even + if x - even == 0.5f64.copysign(x) { 1.0f64.copysign(x) } else { 0.0 };
        ((away + ROUND_F64).to_bits() as u8).wrapping_add(p.zero_point as u8)
    }
}

/// Float scales to f32. `scale` is that of the row, and those of the columns.
struct DequantRow<'a, R> {
    scale: (f32, &'a PerColumn<f32>),
    bias: &'a PerColumn<f32>,
    residual: R,
    clamp: (f32, f32),
}

impl<R: RowResidual> Finish for DequantRow<'_, R> {
    type Value = f32;
    /// Comparisons with NaN are false, so NaN stays.
    #[inline(always)]
    fn value(&self, j: usize, sum: impl Sum) -> f32 {
        let (lo, hi) = self.clamp;
        let y = sum.to_f32() * (self.scale.0 * self.scale.1[j]) + self.bias[j];
        let y = self.residual.add(j, y);
        let y = if y < lo { lo } else { y };
        if y > hi { hi } else { y }
    }
}

/// Columns are computed in whole groups of so many; panels are a multiple of this wide.
const LANES: usize = 8;

/// `c[i][j] = finish(i, c).value(j, correct(i)(j, sums[i][j]))`
#[inline(always)]
fn store_rows<T: Copy, S: Sum, E: Fn(usize, T) -> S, F: Finish>(
    sums: &[T],
    ld: usize,
    c: &mut BlockMut<'_, F::Value>,
    correct: impl Fn(usize) -> E,
    finish: impl Fn(usize, &mut BlockMut<'_, F::Value>) -> F,
) {
    let cols = c.cols();
    let padded = cols.next_multiple_of(LANES);
    for i in 0..c.rows() {
        let sums = &sums[i * ld..][..padded];
        let (finish, exact) = (finish(i, c), correct(i));
        let value = |j, sum| finish.value(j, exact(j, sum));
        match c.row_mut(i) {
            Some(row) if cols == padded => apply(sums, row, &value),
            row => {
                let mut values = [F::Value::default(); MAX_NR];
                apply(sums, &mut values[..padded], &value);
                match row {
                    Some(row) => row.copy_from_slice(&values[..cols]),
                    None => {
                        for (j, &value) in values[..cols].iter().enumerate() {
                            *c.get_mut(i, j).expect("the block has this shape") = value;
                        }
                    }
                }
            }
        }
    }
}

/// `out[j] = f(j, sums[j])`: 16 at a time, then 8.
#[inline(always)]
fn apply<T: Copy, O>(sums: &[T], out: &mut [O], f: &impl Fn(usize, T) -> O) {
    let len = sums.len().min(MAX_NR);
    let wide = len / 16 * 16;
    for start in (0..wide).step_by(16) {
        let (sums, out) = (&sums[start..start + 16], &mut out[start..start + 16]);
        for l in 0..16 {
            out[l] = f(start + l, sums[l]);
        }
    }
    if wide < len {
        let (sums, out) = (&sums[wide..len], &mut out[wide..len]);
        for l in 0..sums.len() {
            out[l] = f(wide + l, sums[l]);
        }
    }
}
