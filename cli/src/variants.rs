//! The kinds of work that are measured: how each is called, and how its result is checked.

use crate::input::{check_memory, zeros};
use crate::shapes::Shape;
use crate::timing::best_time;
use anyhow::Result;
use qgemm::ElementType::{self, I8, U8};
use qgemm::{
    Dequantize, Dispatch, DynamicGemm, Error, Gemm, Int8Element, MatMut, MatRef, Multiplier, PackedB,
    Requantize, Rounding,
};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// 8-bit operands, B packed, to i32.
    Sums,
    /// The same with B as it comes: packing is timed.
    SumsOfPlainB,
    /// The same as `Sums` with a zero point of B, which takes sums of A's rows.
    RowSums,
    /// To 8 bits, with a scale per column and zero points of A and of the output.
    Bytes,
    /// The same in integers: a multiplier per column, gemmlowp's rounding.
    FixedBytes,
    /// The same as `Bytes` with a zero point of A such that exact sums leave 32 bits.
    FarBytes,
    /// The packing of B alone.
    Pack,
    /// f32 in, each row quantized by the call (symmetrically to i8, or with a zero point to u8), f32 out, with
    /// a scale per column.
    Floats,
}

#[derive(Debug)]
pub struct Variant {
    pub name: &'static str,
    pub work: Work,
    /// The type of A.
    pub a: ElementType,
    /// Whether it is measured unless others are asked for.
    pub default: bool,
}

pub const VARIANTS: [Variant; 15] = [
    Variant { name: "u8s8s32", work: Work::Sums, a: U8, default: true },
    Variant { name: "s8s8s32", work: Work::Sums, a: I8, default: true },
    Variant { name: "u8s8u8_zp", work: Work::Bytes, a: U8, default: true },
    Variant { name: "s8s8s8_zp", work: Work::Bytes, a: I8, default: true },
    Variant { name: "u8s8s32_dynb", work: Work::SumsOfPlainB, a: U8, default: false },
    Variant { name: "s8s8s32_dynb", work: Work::SumsOfPlainB, a: I8, default: false },
    Variant { name: "u8s8s32_bzp", work: Work::RowSums, a: U8, default: false },
    Variant { name: "s8s8s32_bzp", work: Work::RowSums, a: I8, default: false },
    Variant { name: "u8s8u8_fixed", work: Work::FixedBytes, a: U8, default: false },
    Variant { name: "s8s8s8_fixed", work: Work::FixedBytes, a: I8, default: false },
    Variant { name: "u8s8u8_far", work: Work::FarBytes, a: U8, default: false },
    Variant { name: "s8s8s8_far", work: Work::FarBytes, a: I8, default: false },
    Variant { name: "pack", work: Work::Pack, a: U8, default: false },
    Variant { name: "f32_dynamic", work: Work::Floats, a: I8, default: false },
    Variant { name: "f32_dynamic_zp", work: Work::Floats, a: U8, default: false },
];

/// The matrices of a shape.
pub struct Operands {
    shape: Shape,
    /// As u8; read as i8 they are full range too. The first row (half of it, if it is the only one) is
    /// the extreme of each type.
    unsigned: Vec<u8>,
    signed: Vec<i8>,
    /// Full range; columns 0 and 1 are the extremes.
    b: Vec<i8>,
    /// Of A as floats; empty unless needed.
    floats: Vec<f32>,
    /// One per column, such that outputs spread over 8 bits.
    scales: Vec<f32>,
}

impl Operands {
    /// Refuses a shape that memory will not hold.
    pub fn check(shape: Shape, with_floats: bool) -> Result<()> {
        let Shape { m, k, n } = shape;
        let [a, b, c] = [(m, k), (k, n), (m, n)].map(|(rows, cols)| rows as f64 * cols as f64);
        // Both types of A, floats and what they become; B and, of two bytes at most, B packed, of which
        // a thread may keep another; C.
        let floats = if with_floats { 5.0 * a } else { 0.0 };
        check_memory("--shapes", shape, 2.0 * a + floats + 5.0 * b + 4.0 * c)
    }

    pub fn new(shape: Shape, with_floats: bool) -> Result<Self> {
        let Shape { m, k, n } = shape;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut unsigned: Vec<u8> = zeros("--shapes", shape, m.saturating_mul(k))?;
        let mut b: Vec<i8> = zeros("--shapes", shape, k.saturating_mul(n))?;
        let mut signed: Vec<i8> = zeros("--shapes", shape, m.saturating_mul(k))?;
        rng.fill_bytes(&mut unsigned);
        signed.iter_mut().zip(&unsigned).for_each(|(s, u)| *s = *u as i8);
        let extreme = if m > 1 { k } else { k / 2 };
        unsigned[..extreme].fill(255);
        signed[..extreme].fill(-128);
        b.iter_mut().for_each(|b| *b = rng.random());
        for row in b.chunks_exact_mut(n) {
            row[0] = 127;
            if n > 1 {
                row[1] = -128;
            }
        }
        let mut floats: Vec<f32> =
            zeros("--shapes", shape, if with_floats { m.saturating_mul(k) } else { 0 })?;
        floats.iter_mut().for_each(|x| *x = rng.random_range(-3.0..5.0));
        // Sums of k products of full-range values have a deviation of about 74·74·sqrt(k).
        let scale = 35.0 / (74.0 * 74.0 * (k as f32).sqrt());
        let scales = (0..n).map(|j| scale * (0.5 + (j % 16) as f32 / 32.0)).collect();
        Ok(Self { shape, unsigned, signed, b, floats, scales })
    }

    fn b(&self) -> Result<MatRef<'_, i8>, Error> {
        MatRef::row_major(&self.b, self.shape.k, self.shape.n)
    }
}

/// A measurement.
pub struct Measured {
    /// The full name of the kernel that was used.
    pub kernel: &'static str,
    pub seconds: f64,
    /// The largest difference from the definition.
    pub error: f64,
}

/// Zero points of A and of an 8-bit output.
fn zero_points(a: ElementType) -> (i32, i32) {
    match a {
        U8 => (131, 128),
        I8 => (7, -3),
    }
}

/// The zero point of A where sums are to leave 32 bits.
const FAR: i32 = 1 << 20;

/// The zero point of B where it has one.
const B_ZERO: i32 = 5;

/// Exact sums of some rows.
pub struct Expected {
    rows: Vec<usize>,
    sums: Vec<Vec<i64>>,
}

impl Variant {
    /// What the result has to be, before the output stage, whatever the kernel.
    pub fn expected(&self, operands: &Operands) -> Expected {
        let zero = match self.work {
            Work::Bytes | Work::FixedBytes => zero_points(self.a).0,
            Work::FarBytes => FAR,
            _ => 0,
        };
        let b_zero = if self.work == Work::RowSums { B_ZERO.into() } else { 0 };
        let k = operands.shape.k;
        fn less<T: Int8Element>(row: &[T], zero: i32) -> Vec<i64> {
            row.iter().map(|a| i64::from(a.to_i32() - zero)).collect()
        }
        match (self.work, self.a) {
            (Work::Pack, _) => Expected { rows: Vec::new(), sums: Vec::new() },
            (Work::Floats, _) => {
                expected(operands, b_zero, |i| self.quantized(&operands.floats[i * k..][..k]))
            }
            (_, U8) => expected(operands, b_zero, |i| less(&operands.unsigned[i * k..][..k], zero)),
            (_, I8) => expected(operands, b_zero, |i| less(&operands.signed[i * k..][..k], zero)),
        }
    }

    /// What a row of floats becomes, less its zero point.
    fn quantized(&self, row: &[f32]) -> Vec<i64> {
        let (scale, zero) = self.parameters(row);
        let (lo, hi) = if self.a == I8 { (-127, 127) } else { (0, 255) };
        let steps = row.iter().map(|x| (x / scale).round_ties_even() as i64 + zero);
        steps.map(|q| q.clamp(lo, hi) - zero).collect()
    }

    /// Scale and zero point of a row of floats, as their definition has them.
    fn parameters(&self, row: &[f32]) -> (f32, i64) {
        let (lo, hi) = row.iter().fold((0.0f32, 0.0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
        let scale = if self.a == I8 { hi.max(-lo) / 127.0 } else { (hi - lo) / 255.0 };
        let scale = if scale == 0.0 { 1.0 } else { scale };
        (scale, if self.a == I8 { 0 } else { (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i64 })
    }

    /// Checks the result once and takes the time.
    pub fn measure(
        &self,
        operands: &Operands,
        expected: &Expected,
        dispatch: &Dispatch,
        quick: bool,
    ) -> Result<Measured> {
        let packed = PackedB::pack_with(dispatch, operands.b()?, self.a)?;
        let (seconds, error) = match (self.work, self.a) {
            (Work::Pack, _) => time_pack(operands, &packed, dispatch, quick)?,
            (Work::Floats, _) => time_floats(self, operands, expected, &packed, quick)?,
            (Work::Bytes | Work::FixedBytes | Work::FarBytes, U8) => {
                time_bytes(operands, &operands.unsigned, expected, &packed, quick, self.work)?
            }
            (Work::Bytes | Work::FixedBytes | Work::FarBytes, I8) => {
                time_bytes(operands, &operands.signed, expected, &packed, quick, self.work)?
            }
            (Work::Sums, U8) => time_sums(operands, &operands.unsigned, expected, Gemm::new, &packed, quick)?,
            (Work::Sums, I8) => time_sums(operands, &operands.signed, expected, Gemm::new, &packed, quick)?,
            (Work::RowSums, U8) => {
                let product = |a, b| Gemm::new(a, b).b_zero(B_ZERO);
                time_sums(operands, &operands.unsigned, expected, product, &packed, quick)?
            }
            (Work::RowSums, I8) => {
                let product = |a, b| Gemm::new(a, b).b_zero(B_ZERO);
                time_sums(operands, &operands.signed, expected, product, &packed, quick)?
            }
            (Work::SumsOfPlainB, U8) => {
                let b = operands.b()?;
                time_sums(
                    operands,
                    &operands.unsigned,
                    expected,
                    |a, _| Gemm::new(a, b).dispatch(dispatch),
                    &packed,
                    quick,
                )?
            }
            (Work::SumsOfPlainB, I8) => {
                let b = operands.b()?;
                time_sums(
                    operands,
                    &operands.signed,
                    expected,
                    |a, _| Gemm::new(a, b).dispatch(dispatch),
                    &packed,
                    quick,
                )?
            }
        };
        let name = packed.kernel().name;
        Ok(Measured { kernel: name, seconds, error })
    }
}

/// A few rows, or all if that is little work.
fn expected(operands: &Operands, b_zero: i64, row: impl Fn(usize) -> Vec<i64>) -> Expected {
    let Shape { m, n, .. } = operands.shape;
    let mut rows = vec![0, m - 1, m / 2, m / 3];
    if m <= 128 && operands.shape.macs() < 2e8 {
        rows = (0..m).collect();
    }
    let sums = rows.iter().map(|i| {
        let mut sums = vec![0i64; n];
        for (a, b) in row(*i).into_iter().zip(operands.b.chunks_exact(n)) {
            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum += a * (i64::from(*b) - b_zero));
        }
        sums
    });
    Expected { sums: sums.collect(), rows }
}

impl Expected {
    /// The largest difference between `c` and `value(sum, column)`.
    fn error<T: Copy + Into<f64>>(&self, c: &[T], n: usize, value: impl Fn(i64, usize) -> f64) -> f64 {
        let mut worst = 0.0f64;
        for (i, sums) in self.rows.iter().zip(&self.sums) {
            for (j, (got, &sum)) in c[i * n..][..n].iter().zip(sums).enumerate() {
                let error = ((*got).into() - value(sum, j)).abs();
                worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
        worst
    }
}

fn time_sums<'a, T: Int8Element>(
    operands: &Operands,
    a: &'a [T],
    expected: &Expected,
    product: impl FnOnce(MatRef<'a, T>, &'a PackedB) -> Gemm<'a>,
    packed: &'a PackedB,
    quick: bool,
) -> Result<(f64, f64)> {
    let Shape { m, k, n } = operands.shape;
    let mut c: Vec<i32> = zeros("--shapes", operands.shape, m.saturating_mul(n))?;
    let product = product(MatRef::row_major(a, m, k)?, packed);
    let seconds = best_time(quick, || product.run_i32(MatMut::row_major(&mut c, m, n)?))?;
    Ok((seconds, expected.error(&c, n, |sum, _| f64::from(sum as i32))))
}

fn time_bytes<T: Int8Element + Default + Into<f64>>(
    operands: &Operands,
    a: &[T],
    expected: &Expected,
    packed: &PackedB,
    quick: bool,
    work: Work,
) -> Result<(f64, f64)> {
    let Shape { m, k, n } = operands.shape;
    let mut c: Vec<T> = zeros("--shapes", operands.shape, m.saturating_mul(n))?;
    let fixed = work == Work::FixedBytes;
    let (near, zero) = zero_points(T::TYPE);
    // Sums are larger by as much; outputs spread as those of the others do.
    let (a_zero, less) = if work == Work::FarBytes { (FAR, 74.0 / FAR as f32) } else { (near, 1.0) };
    let scales: Vec<f32> = operands.scales.iter().map(|scale| scale * less).collect();
    let product = Gemm::new(MatRef::row_major(a, m, k)?, packed).a_zero(a_zero);
    let multipliers =
        scales.iter().map(|&scale| Multiplier::from_real(scale.into())).collect::<Result<Vec<_>, _>>()?;
    let output = match fixed {
        true => Requantize::fixed_point(&multipliers, Rounding::Gemmlowp, zero)?,
        false => Requantize::new(&scales, zero)?,
    };
    let seconds = best_time(quick, || product.run_requantized(MatMut::row_major(&mut c, m, n)?, &output))?;
    let (lo, hi) = T::TYPE.range();
    let value = |sum: i64, j: usize| {
        let rounded = match fixed {
            true => multipliers[j].apply(sum as i32, Rounding::Gemmlowp),
            false => (sum as f32 * scales[j]).round_ties_even() as i64,
        };
        (rounded + i64::from(zero)).clamp(lo.into(), hi.into()) as f64
    };
    Ok((seconds, expected.error(&c, n, value)))
}

fn time_pack(operands: &Operands, packed: &PackedB, dispatch: &Dispatch, quick: bool) -> Result<(f64, f64)> {
    let Shape { k, n, .. } = operands.shape;
    let b = operands.b()?;
    let seconds = best_time(quick, || PackedB::pack_with(dispatch, b, U8).map(drop))?;
    let mut worst = 0.0f64;
    for i in [0, k / 3, k / 2, k - 1] {
        for j in 0..n {
            let got = packed.get(i, j).map_or(f64::INFINITY, f64::from);
            worst = worst.max((got - f64::from(operands.b[i * n + j])).abs());
        }
    }
    Ok((seconds, worst))
}

fn time_floats(
    variant: &Variant,
    operands: &Operands,
    expected: &Expected,
    packed: &PackedB,
    quick: bool,
) -> Result<(f64, f64)> {
    let Shape { m, k, n } = operands.shape;
    let mut c: Vec<f32> = zeros("--shapes", operands.shape, m.saturating_mul(n))?;
    let product = DynamicGemm::new(MatRef::row_major(&operands.floats, m, k)?, packed);
    let product = if variant.a == U8 { product.asymmetric() } else { product };
    let output = Dequantize::new(&operands.scales)?;
    let seconds = best_time(quick, || product.run_f32(MatMut::row_major(&mut c, m, n)?, &output))?;
    let mut worst = 0.0f64;
    for (&i, sums) in expected.rows.iter().zip(&expected.sums) {
        let row_scale = variant.parameters(&operands.floats[i * k..][..k]).0;
        for ((got, sum), scale) in c[i * n..][..n].iter().zip(sums).zip(&operands.scales) {
            let error = f64::from((got - *sum as f32 * (row_scale * scale)).abs());
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    Ok((seconds, worst))
}
