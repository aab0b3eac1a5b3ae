//! Cases computed by their definition: by the reference loops, and what these share with the call by loops here.

use crate::arguments::values::Values;
use crate::files::matrices::{Elements8, Matrix8};
use crate::verify::buffer::{Buffer, Written};
use crate::verify::case::{Activations, Case, Dynamic, Output, OwnedFloats, OwnedLhs, Per, Product, Weights};
use crate::verify::described::Described;
use crate::verify::destination::Layout;
use crate::verify::operands::{GatheredFloats, GatheredRows, MatrixF32, Picks};
use crate::verify::stage::QuantizedStage;
use qgemm::{
    Dequantize, Error, GroupwiseB, Int8Element, MatMut, QuantParams, Requantize, Rhs, ZeroPoint, reference,
};

/// Computes a case by plain loops, over operands that are not packed and zero points of i32.
pub fn by_definition(case: &Case) -> Result<Vec<Written>, Error> {
    case.products().iter().map(product_by_definition).collect()
}

fn product_by_definition(product: &Product) -> Result<Written, Error> {
    let mut written = Written::before(product);
    match &product.a {
        Activations::Static(given) => {
            let a_zero = given.a_zero.widened();
            let gathered;
            let a = match &given.a {
                OwnedLhs::Matrix(a) => a,
                OwnedLhs::Gathered(rows) => {
                    gathered = gathered_matrix(rows, &a_zero)?;
                    &gathered
                }
            };
            let a = (a.operand()?.into(), a_zero.borrow().into());
            with_weights(&product.b, |b| match b {
                PlainB::Columns(b) => store(product, &Described::Gemm(given.describe(a, b)), &mut written.c),
                PlainB::Groups(b) => {
                    let gemm = given.describe_groupwise(a, b);
                    store(product, &Described::Groupwise(gemm), &mut written.c)
                }
            })?;
        }
        Activations::Dynamic(given) => {
            let put_together;
            let a = match &given.a {
                OwnedFloats::Matrix(a) => a.view()?.into(),
                // One scale comes from all of the source, which the gathered rows may not hold.
                OwnedFloats::Gathered(rows) if given.per == Per::Tensor => rows.gather()?.into(),
                OwnedFloats::Gathered(rows) => {
                    put_together = gathered_floats(rows)?;
                    put_together.view()?.into()
                }
            };
            with_weights(&product.b, |b| match b {
                PlainB::Columns(b) => {
                    store(product, &Described::Dynamic(given.describe(a, b)), &mut written.c)
                }
                PlainB::Groups(b) => {
                    let gemm = given.describe_groupwise(a, b);
                    store(product, &Described::Groupwise(gemm), &mut written.c)
                }
            })?;
            if !product.c.is_empty() {
                find_params(given, &mut written.params)?;
            }
        }
    }
    Ok(written)
}

/// Weights as the reference loops read them.
enum PlainB<'a> {
    Columns((Rhs<'a>, ZeroPoint<'a>)),
    Groups(&'a GroupwiseB),
}

fn with_weights<R>(b: &Weights, f: impl FnOnce(PlainB<'_>) -> Result<R, Error>) -> Result<R, Error> {
    match b {
        Weights::Columns(columns) => {
            let zero = columns.zero.widened();
            f(PlainB::Columns((columns.b.operand()?.into(), zero.borrow().into())))
        }
        Weights::Groups(groups) => f(PlainB::Groups(&groups.pack_checked()?)),
    }
}

/// Stores C in its buffer.
fn store(product: &Product, described: &Described<'_>, buffer: &mut Buffer) -> Result<(), Error> {
    let (c, of_a) = (&product.c, product.scale_of_a());
    match (&product.output, described, buffer) {
        (Output::I32 { accumulate: true }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
            reference::accumulate_i32(gemm, c.view_mut(buffer)?)
        }
        (Output::I32 { accumulate: false }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
            reference::run_i32(gemm, c.view_mut(buffer)?)
        }
        (Output::I8(stage), _, Buffer::I8(buffer)) => store_quantized(product, described, stage, buffer),
        (Output::U8(stage), _, Buffer::U8(buffer)) => store_quantized(product, described, stage, buffer),
        (Output::F32(stage), _, Buffer::F32(buffer)) => {
            let before = buffer.clone();
            let stage = stage.spelled_out(of_a, c.view(&before)?)?;
            described.reference_f32(c.view_mut(buffer)?, &stage)
        }
        _ => unreachable!("the buffer has the type of the output, and sums are of static products"),
    }
}

fn store_quantized<T: Int8Element>(
    product: &Product,
    described: &Described<'_>,
    stage: &QuantizedStage<T>,
    buffer: &mut [T],
) -> Result<(), Error> {
    let before = buffer.to_vec();
    let stage = stage.spelled_out(product.scale_of_a(), product.c.view(&before)?)?;
    described.reference_requantized(product.c.view_mut(buffer)?, &stage)
}

impl Described<'_> {
    fn reference_requantized<T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        stage: &Requantize<'_>,
    ) -> Result<(), Error> {
        match self {
            Described::Gemm(gemm) => reference::run_requantized(gemm, c, stage),
            Described::Dynamic(gemm) => reference::run_dynamic_requantized(gemm, c, stage),
            Described::Groupwise(_) => unreachable!("group-wise weights make f32"),
        }
    }

    fn reference_f32(&self, c: MatMut<'_, f32>, stage: &Dequantize<'_>) -> Result<(), Error> {
        match self {
            Described::Gemm(gemm) => reference::run_f32(gemm, c, stage),
            Described::Dynamic(gemm) => reference::run_dynamic_f32(gemm, c, stage),
            Described::Groupwise(gemm) => reference::run_groupwise_f32(gemm, c, stage),
        }
    }
}

/// The row-major matrix that gathered rows stand for.
fn gathered_matrix(rows: &GatheredRows, a_zero: &Values<i32>) -> Result<Matrix8, Error> {
    let GatheredRows { source, picks: Picks { indices, taps }, padding } = rows;
    let operand = source.operand()?;
    let mut bits = Vec::new();
    for (i, &index) in indices.iter().enumerate() {
        let zero = match a_zero {
            Values::PerTensor(zero) => *zero,
            Values::PerAxis(zeros) => zeros[i / taps],
        };
        let padding = padding.unwrap_or(zero);
        // `Gather::PADDING` is beyond the rows of every source.
        bits.extend((0..source.cols).map(|j| operand.get(index as usize, j).unwrap_or(padding) as u8));
    }
    let (rows, cols) = (indices.len() / taps, taps * source.cols);
    let data = Elements8::from_bits(operand.element_type(), bits);
    Ok(Matrix8 { rows, cols, strides: (cols, 1), data })
}

/// The row-major matrix that gathered rows of floats stand for.
fn gathered_floats(rows: &GatheredFloats) -> Result<MatrixF32, Error> {
    let GatheredFloats { source, picks: Picks { indices, taps } } = rows;
    let (view, source_cols) = (source.view()?, source.cols);
    // `GatherF32::PADDING` is beyond the rows of every source, and stands for zeros.
    let row =
        |&index: &u32| (0..source_cols).map(move |j| view.get(index as usize, j).copied().unwrap_or(0.0));
    let data: Vec<f32> = indices.iter().flat_map(row).collect();
    let (rows, cols) = (indices.len() / taps, taps * source_cols);
    Ok(MatrixF32 { rows, cols, layout: Layout { row_stride: cols, col_stride: 1, len: data.len() }, data })
}

/// Writes the parameters of a dynamic A: one for all of it, or of its source; or those of each row. Nothing is written if
/// `params` is empty.
fn find_params(given: &Dynamic, params: &mut [QuantParams]) -> Result<(), Error> {
    let put_together;
    let a = match &given.a {
        OwnedFloats::Matrix(a) => a.view()?,
        OwnedFloats::Gathered(rows) if given.per == Per::Tensor => rows.source.view()?,
        OwnedFloats::Gathered(rows) => {
            put_together = gathered_floats(rows)?;
            put_together.view()?
        }
    };
    let row = |i| (0..a.cols()).map(move |j| a.get(i, j).copied().unwrap_or(f32::NAN));
    if given.per == Per::Tensor {
        params.fill(params_of((0..a.rows()).flat_map(row), given.asymmetric));
    } else {
        params.iter_mut().enumerate().for_each(|(i, params)| *params = params_of(row(i), given.asymmetric));
    }
    Ok(())
}

/// The scale and the zero point of some values.
fn params_of(values: impl Iterator<Item = f32>, asymmetric: bool) -> QuantParams {
    let (lo, hi) = values.fold((0f32, 0f32), |(lo, hi), x| (lo.min(x), hi.max(x)));
    let scale = if asymmetric { (hi - lo) / 255.0 } else { hi.max(-lo) / 127.0 };
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let zero_point = if asymmetric { (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i32 } else { 0 };
    QuantParams { scale, zero_point }
}
