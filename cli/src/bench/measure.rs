//! The measurement of a variant: its result is checked once, and its calls are timed.

use crate::bench::expected::{Expected, requantized, row_params};
use crate::bench::operands::Operands;
use crate::bench::timing::{Times, times};
use crate::bench::variants::{FAR_ZERO, Layout, Variant, Work};
use crate::memory::zeros;
use crate::shape::Shape;
use anyhow::Result;
use qgemm::ElementType::{I8, U8};
use qgemm::{
    Dequantize, Dispatch, DynamicGemm, Error, Gather, Gemm, Int8Element, Lhs, MatMut, MatRef, Multiplier,
    Operand, PackedB, Requantize, Rounding, Threads,
};

/// A variant on some operands and kernels.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub variant: &'a Variant,
    pub operands: &'a Operands,
    pub expected: &'a Expected,
    pub dispatch: &'a Dispatch,
    pub threads: Threads<'a>,
}

pub struct Measured {
    /// The full name of the kernel that multiplies B.
    pub kernel: &'static str,
    pub times: Times,
    /// The largest difference of an output from the exact value.
    pub error: f64,
}

/// The time and the error of a call, as in [`Measured`].
struct Timed {
    times: Times,
    error: f64,
}

/// A as the layout of a variant has it.
struct LaidOut<'a, T> {
    layout: Layout,
    /// Row by row.
    a: &'a [T],
    /// In another order; empty where that is not needed.
    reordered: Vec<T>,
    /// Rows that are picked of it.
    indices: Vec<u32>,
    shape: (usize, usize),
}

impl<'a, T: Copy> LaidOut<'a, T> {
    fn new(layout: Layout, a: &'a [T], shape: (usize, usize)) -> Self {
        let (rows, cols) = shape;
        let (mut reordered, mut indices) = (Vec::new(), Vec::new());
        match layout {
            Layout::Rows | Layout::CColumns => (),
            Layout::AColumns => reordered = transposed(a, rows, cols),
            Layout::PickedRows => {
                reordered = a.chunks_exact(cols).rev().flatten().copied().collect();
                indices = (0..rows as u32).rev().collect();
            }
        }
        Self { layout, a, reordered, indices, shape }
    }

    fn matrix(&self) -> Result<MatRef<'_, T>, Error> {
        let (rows, cols) = self.shape;
        match self.layout {
            Layout::AColumns => MatRef::col_major(&self.reordered, rows, cols),
            _ => MatRef::row_major(self.a, rows, cols),
        }
    }
}

impl<T: Int8Element> LaidOut<'_, T> {
    fn lhs(&self) -> Result<Lhs<'_>, Error>
    where
        for<'m> Operand<'m>: From<MatRef<'m, T>>,
    {
        let (rows, cols) = self.shape;
        match self.layout {
            Layout::PickedRows => {
                let source = MatRef::row_major(&self.reordered, rows, cols)?;
                Ok(Gather::new(source, &self.indices, 1)?.into())
            }
            _ => Ok(self.matrix()?.into()),
        }
    }
}

/// The transpose of a row-major matrix.
fn transposed<T: Copy>(x: &[T], rows: usize, cols: usize) -> Vec<T> {
    (0..cols).flat_map(|j| (0..rows).map(move |i| x[i * cols + j])).collect()
}

impl Job<'_> {
    /// C as the layout has it.
    fn c<'c, T>(&self, c: &'c mut [T]) -> Result<MatMut<'c, T>, Error> {
        let Shape { m, n, .. } = self.operands.shape;
        match self.variant.layout {
            Layout::CColumns => MatMut::col_major(c, m, n),
            _ => MatMut::row_major(c, m, n),
        }
    }

    /// The elements of that C row by row.
    fn c_by_rows<T: Copy>(&self, c: Vec<T>) -> Vec<T> {
        let Shape { m, n, .. } = self.operands.shape;
        if self.variant.layout == Layout::CColumns { transposed(&c, n, m) } else { c }
    }

    /// With `quick` the call is made once.
    pub fn measure(&self, quick: bool) -> Result<Measured> {
        let Self { variant, operands, dispatch, .. } = *self;
        let packed = PackedB::pack_with(dispatch, operands.b()?, variant.a)?;
        let timed = match (variant.work, variant.a) {
            (Work::Groupwise(_), _) => unreachable!("group-wise weights are measured apart"),
            (Work::Pack, _) => self.pack(&packed, quick)?,
            (Work::Dynamic, _) => self.dynamic(&packed, quick)?,
            (Work::Sums | Work::SumsOfUnpackedB | Work::SumsWithBZero, U8) => {
                self.sums(&operands.a_u8, &packed, quick)?
            }
            (Work::Sums | Work::SumsOfUnpackedB | Work::SumsWithBZero, I8) => {
                self.sums(&operands.a_i8, &packed, quick)?
            }
            (Work::Requantize | Work::RequantizeFixedPoint | Work::RequantizeFarZero, U8) => {
                self.requantized(&operands.a_u8, &packed, quick)?
            }
            (Work::Requantize | Work::RequantizeFixedPoint | Work::RequantizeFarZero, I8) => {
                self.requantized(&operands.a_i8, &packed, quick)?
            }
        };
        Ok(Measured { kernel: packed.kernel().name, times: timed.times, error: timed.error })
    }

    fn sums<T: Int8Element>(&self, a: &[T], packed: &PackedB, quick: bool) -> Result<Timed> {
        let Shape { m, k, n } = self.operands.shape;
        let mut c: Vec<i32> = zeros("--shapes", self.operands.shape, m.saturating_mul(n))?;
        let a = LaidOut::new(self.variant.layout, a, (m, k));
        let a = a.lhs()?;
        let product = if self.variant.work == Work::SumsOfUnpackedB {
            Gemm::new(a, self.operands.b()?).dispatch(self.dispatch)
        } else {
            Gemm::new(a, packed).b_zero(self.variant.b_zero())
        };
        let product = product.threads(self.threads);
        let times = times(quick, || product.run_i32(self.c(&mut c)?))?;
        let c = self.c_by_rows(c);
        let error = self.expected.error(&c, n, |_, _, sum| f64::from(sum as i32));
        Ok(Timed { times, error })
    }

    fn requantized<T>(&self, a: &[T], packed: &PackedB, quick: bool) -> Result<Timed>
    where
        T: Int8Element + Default + Into<f64>,
    {
        let Shape { m, k, n } = self.operands.shape;
        let mut c: Vec<T> = zeros("--shapes", self.operands.shape, m.saturating_mul(n))?;
        let (work, zero) = (self.variant.work, self.variant.output_zero());
        // With the far zero point, elements of A less it are about -FAR_ZERO where they deviate by 74 otherwise. Sums
        // are larger by that ratio.
        let shrink = if work == Work::RequantizeFarZero { 74.0 / FAR_ZERO as f32 } else { 1.0 };
        let scales: Vec<f32> = self.operands.scales.iter().map(|scale| scale * shrink).collect();
        let multipliers =
            scales.iter().map(|&scale| Multiplier::from_real(scale.into())).collect::<Result<Vec<_>, _>>()?;
        let is_fixed_point = work == Work::RequantizeFixedPoint;
        let output = if is_fixed_point {
            Requantize::fixed_point(&multipliers, Rounding::Gemmlowp, zero)?
        } else {
            Requantize::new(&scales, zero)?
        };
        let a = LaidOut::new(self.variant.layout, a, (m, k));
        let product = Gemm::new(a.lhs()?, packed).a_zero(self.variant.a_zero());
        let product = product.threads(self.threads);
        let times = times(quick, || product.run_requantized(self.c(&mut c)?, output))?;
        let c = self.c_by_rows(c);
        let (lo, hi) = T::TYPE.range();
        let error = self.expected.error(&c, n, |_, j, sum| {
            if !is_fixed_point {
                return requantized(sum, scales[j], self.variant);
            }
            let rounded = multipliers[j].apply(sum as i32, Rounding::Gemmlowp);
            (rounded + i64::from(zero)).clamp(lo.into(), hi.into()) as f64
        });
        Ok(Timed { times, error })
    }

    fn pack(&self, packed: &PackedB, quick: bool) -> Result<Timed> {
        let Shape { k, n, .. } = self.operands.shape;
        let b = self.operands.b()?;
        let times = times(quick, || PackedB::pack_with(self.dispatch, b, U8).map(drop))?;
        let mut error = 0.0f64;
        for i in [0, k / 3, k / 2, k - 1] {
            for j in 0..n {
                let got = packed.get(i, j).map_or(f64::INFINITY, f64::from);
                error = error.max((got - f64::from(self.operands.b[i * n + j])).abs());
            }
        }
        Ok(Timed { times, error })
    }

    fn dynamic(&self, packed: &PackedB, quick: bool) -> Result<Timed> {
        let Self { variant, operands, expected, .. } = *self;
        let Shape { m, k, n } = operands.shape;
        let mut c: Vec<f32> = zeros("--shapes", operands.shape, m.saturating_mul(n))?;
        let a = LaidOut::new(variant.layout, &operands.a_f32, (m, k));
        let product = DynamicGemm::new(a.matrix()?, packed).threads(self.threads);
        let product = if variant.a == U8 { product.asymmetric() } else { product };
        let output = Dequantize::dynamic(&operands.scales)?;
        let times = times(quick, || product.run_f32(MatMut::row_major(&mut c, m, n)?, output))?;
        let row_scale = |i: usize| row_params(variant, &operands.a_f32[i * k..][..k]).0;
        let row_scales: Vec<f32> = (0..m).map(row_scale).collect();
        let error =
            expected.error(&c, n, |i, j, sum| f64::from(sum as f32 * (row_scales[i] * operands.scales[j])));
        Ok(Timed { times, error })
    }
}
