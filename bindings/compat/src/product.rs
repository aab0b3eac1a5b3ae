//! The product that all functions compute, in row-major order:
//!
//! ```text
//! C = alpha · (left - left_zero) · (right - right_zero) + beta · C + offsets
//! ```
//!
//! With alpha 1 and beta 0 or 1 it is exact modulo 2^32, and C holds the sums from the beginning. Else, as oneDNN and MKL have
//! it: sums are multiplied in f64, rounded half away from zero, saturated to i32, and only then are offsets added, modulo
//! 2^32. Sums are exact before they are multiplied, where the others round after each block of K.

use crate::memory::{Input, Output, reserve};
use qgemm::{Dequantize, ElementType, Error, Gemm, Int8Element, Lhs, MatMut, Operand, PackedB, Rhs, Threads};

/// A factor: a matrix as it lies, or packed.
#[allow(
    clippy::large_enum_variant,
    reason = "there are two of them in a call, and a box is another allocation"
)]
pub(crate) enum Factor<T> {
    Plain(Input<T>),
    /// The right factor, or the transposed left one: it is K×N for the kernels.
    Packed(PackedB),
}

/// What is added to each element of C.
pub(crate) enum Offsets {
    All(i32),
    /// One for each row.
    Rows(Vec<i32>),
    /// One for each column.
    Columns(Vec<i32>),
}

impl Offsets {
    /// Adds the offsets of row `i` to it.
    fn add_to_row(&self, i: usize, row: &mut [i32]) {
        let one = match self {
            Offsets::All(0) => return,
            Offsets::All(one) => *one,
            Offsets::Rows(each) => each[i],
            Offsets::Columns(each) => {
                row.iter_mut().zip(each).for_each(|(c, offset)| *c = c.wrapping_add(*offset));
                return;
            }
        };
        row.iter_mut().for_each(|c| *c = c.wrapping_add(one));
    }
}

/// A product whose sizes were checked.
pub(crate) struct Product<L, R> {
    pub(crate) left: Factor<L>,
    pub(crate) left_zero: i32,
    pub(crate) right: Factor<R>,
    pub(crate) right_zero: i32,
    pub(crate) k: usize,
    pub(crate) alpha: f32,
    pub(crate) beta: f32,
    pub(crate) offsets: Offsets,
    pub(crate) c: Output,
    pub(crate) threads: Threads<'static>,
}

impl<L: Int8Element, R: Int8Element> Product<L, R> {
    /// Computes it. If it is refused, C is as it was.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::Address`], [`Error::TooLarge`], [`Error::Kernel`] or [`Error::Variable`].
    ///
    /// # Safety
    /// Unless they are refused, matrices are there while the call runs, nobody else writes to them, and nobody else reads C.
    pub(crate) unsafe fn run(self) -> Result<(), Error> {
        let (mut left_copy, mut right_copy, c) = (Vec::new(), Vec::new(), self.c);
        if c.is_empty() {
            return Ok(());
        }
        let (shape, bound) = (c.shape, self.bound());
        let (gemm, transposed) = match (&self.left, &self.right) {
            (Factor::Packed(left), Factor::Plain(right)) => {
                // SAFETY: the caller promises the matrix, and C lies elsewhere or it is copied.
                let right = unsafe { right.transpose().view(&c, &mut right_copy) }?;
                (gemm(right, self.right_zero, left, self.left_zero), true)
            }
            (left, right) => {
                let left = match left {
                    // SAFETY: as above.
                    Factor::Plain(left) => unsafe { left.view(&c, &mut left_copy) }?,
                    Factor::Packed(left) => unpacked(left, &mut left_copy)?,
                };
                match right {
                    Factor::Packed(right) => (gemm(left, self.left_zero, right, self.right_zero), false),
                    Factor::Plain(right) => {
                        // SAFETY: as above.
                        let right = unsafe { right.view(&c, &mut right_copy) }?;
                        (gemm(left, self.left_zero, right, self.right_zero), false)
                    }
                }
            }
        };
        let sums = Sums { gemm: gemm.threads(self.threads), transposed, shape, bound };
        match (self.alpha, self.beta) {
            // SAFETY: the caller promises C, which no view of a factor meets.
            (1.0, 0.0) => unsafe { sums.run(&c, false, self.offsets) },
            // SAFETY: likewise.
            (1.0, 1.0) => unsafe { sums.run(&c, true, self.offsets) },
            // SAFETY: likewise.
            (alpha, beta) => unsafe { sums.run_scaled(&c, Scaled { alpha, beta, offsets: self.offsets }) },
        }
    }

    /// The greatest magnitude that a sum could have.
    fn bound(&self) -> u128 {
        let magnitude = |element: ElementType, zero: i32| {
            let (least, greatest) = element.range();
            u128::from((least - zero).unsigned_abs().max((greatest - zero).unsigned_abs()))
        };
        self.k as u128 * magnitude(L::TYPE, self.left_zero) * magnitude(R::TYPE, self.right_zero)
    }
}

fn gemm<'a>(a: impl Into<Lhs<'a>>, a_zero: i32, b: impl Into<Rhs<'a>>, b_zero: i32) -> Gemm<'a> {
    Gemm::new(a, b).a_zero(a_zero).b_zero(b_zero)
}

/// The left factor of two that are both packed: the kernels read but one of them so.
fn unpacked<'a, T: Int8Element>(packed: &PackedB, values: &'a mut Vec<T>) -> Result<Operand<'a>, Error> {
    let (rows, cols) = (packed.n(), packed.k());
    reserve(values, rows.saturating_mul(cols))?;
    for i in 0..rows {
        // A value in the type's range has the bits of its lowest byte.
        values.extend((0..cols).filter_map(|k| packed.get(k, i)).map(|value| T::from_bits(value as u8)));
    }
    Ok(qgemm::MatRef::row_major(values, rows, cols)?.into())
}

/// The sums of a product, before alpha, beta and what is added.
struct Sums<'a> {
    gemm: Gemm<'a>,
    /// Whether `gemm` makes the transpose of C.
    transposed: bool,
    /// The rows and columns of C.
    shape: (usize, usize),
    bound: u128,
}

impl Sums<'_> {
    fn oriented<'c, T>(&self, c: MatMut<'c, T>) -> MatMut<'c, T> {
        if self.transposed { c.transpose() } else { c }
    }

    /// Stores the sums and offsets in C, or adds them to it.
    ///
    /// # Safety
    /// That of [`Output::view`].
    unsafe fn run(&self, c: &Output, accumulate: bool, offsets: Offsets) -> Result<(), Error> {
        // SAFETY: the caller's promise. It is used up before rows are looked at.
        let view = self.oriented(unsafe { c.view() }?);
        // A bias is what each column of the kernels' product has; offsets along its rows are added later.
        let along_columns = match &offsets {
            Offsets::All(_) => true,
            Offsets::Columns(_) => !self.transposed,
            Offsets::Rows(_) => self.transposed,
        };
        let mut all = Vec::new();
        let bias = match &offsets {
            Offsets::All(0) => None,
            Offsets::All(one) => {
                reserve(&mut all, view.cols())?;
                all.resize(view.cols(), *one);
                Some(&all)
            }
            Offsets::Columns(each) | Offsets::Rows(each) => along_columns.then_some(each),
        };
        let gemm = bias.map_or(self.gemm, |bias| self.gemm.bias(bias));
        match accumulate {
            true => gemm.accumulate_i32(view)?,
            false => gemm.run_i32(view)?,
        }
        for i in if along_columns { 0..0 } else { 0..self.shape.0 } {
            // SAFETY: `view` was made, so that C was not refused, and is used no more.
            offsets.add_to_row(i, unsafe { c.row(i) });
        }
        Ok(())
    }

    /// Stores `alpha · sums + beta · C + offsets` in C.
    ///
    /// # Safety
    /// That of [`Output::view`].
    unsafe fn run_scaled(&self, c: &Output, scaled: Scaled) -> Result<(), Error> {
        let (rows, cols) = self.shape;
        // SAFETY: the caller's promise. It is used up before rows are looked at.
        let view = self.oriented(unsafe { c.view() }?);
        let need = rows.checked_mul(cols).ok_or(Error::Memory { purpose: "sums", bytes: usize::MAX })?;
        // f32 tells sums that differ by a multiple of 2^32 apart, and the sum modulo 2^32 tells the rest.
        let wide = self.bound > i32::MAX as u128;
        if self.bound >= 1 << 54 {
            return Err(Error::TooLarge { argument: "k", shape: (rows, cols), strides: (1, 1) });
        }
        let mut rounded = Vec::new();
        if wide {
            zeros(&mut rounded, need)?;
            let rounded = self.oriented(MatMut::row_major(&mut rounded, rows, cols)?);
            self.gemm.run_f32(rounded, Dequantize::new(1.0)?)?;
        }
        let mut sums = Vec::new();
        if scaled.beta == 0.0 {
            self.gemm.run_i32(view)?;
        } else {
            zeros(&mut sums, need)?;
            self.gemm.run_i32(self.oriented(MatMut::row_major(&mut sums, rows, cols)?))?;
        }
        for i in 0..rows {
            let part = i * cols..(i + 1) * cols;
            // SAFETY: `view` was made, so that C was not refused, and is used no more.
            let row = unsafe { c.row(i) };
            let rounded = wide.then(|| &rounded[part.clone()]);
            match sums.get(part) {
                Some(sums) if !sums.is_empty() => scaled.finish(row, sums, rounded),
                _ => scaled.finish_in_place(row, rounded),
            }
            scaled.offsets.add_to_row(i, row);
        }
        Ok(())
    }
}

/// `len` zeros.
fn zeros<T: Copy + Default>(values: &mut Vec<T>, len: usize) -> Result<(), Error> {
    reserve(values, len)?;
    values.resize(len, T::default());
    Ok(())
}

/// The number that is `low` modulo 2^32, and `rounded` in f32. It is less than 2^54 in magnitude, so that f32 is off by at
/// most 2^29.
fn nearest(low: i32, rounded: f32) -> i64 {
    let rounded = rounded as i64;
    rounded + i64::from(low.wrapping_sub(rounded as i32))
}

struct Scaled {
    alpha: f32,
    beta: f32,
    offsets: Offsets,
}

impl Scaled {
    /// `alpha · sum + beta · c` for a row of C; `rounded` has the sums in f32 where they may not fit 32 bits.
    fn finish(&self, row: &mut [i32], sums: &[i32], rounded: Option<&[f32]>) {
        let (alpha, beta) = (f64::from(self.alpha), f64::from(self.beta));
        let store = |c: &mut i32, sum: f64| *c = half_away(alpha * sum + beta * f64::from(*c));
        let row = row.iter_mut().zip(sums);
        match rounded {
            None => row.for_each(|(c, sum)| store(c, f64::from(*sum))),
            Some(rounded) => {
                row.zip(rounded).for_each(|((c, sum), near)| store(c, nearest(*sum, *near) as f64))
            }
        }
    }

    /// `alpha · sum` for a row of C that holds the sums.
    fn finish_in_place(&self, row: &mut [i32], rounded: Option<&[f32]>) {
        let alpha = f64::from(self.alpha);
        match rounded {
            None => row.iter_mut().for_each(|c| *c = half_away(alpha * f64::from(*c))),
            Some(rounded) => row
                .iter_mut()
                .zip(rounded)
                .for_each(|(c, near)| *c = half_away(alpha * nearest(*c, *near) as f64)),
        }
    }
}

/// Rounds half away from zero, as the others do: by an addition, and NaN is the least i32.
fn half_away(value: f64) -> i32 {
    let rounded = (value + 0.5f64.copysign(value)) as i32;
    if value.is_nan() { i32::MIN } else { rounded }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_rounded_away_from_zero() {
        let values = [0.5, -0.5, 1.49, -1.5, 2.5, 3e9, -3e9, f64::NAN, f64::INFINITY];
        assert_eq!(values.map(half_away), [1, -1, 1, -2, 3, i32::MAX, i32::MIN, i32::MIN, i32::MAX]);
    }

    #[test]
    fn sums_are_found_from_both_roundings() {
        for sum in [0, 1, -1, i64::from(i32::MAX), 1 << 31, -(1 << 31) - 1, 9_702_800_001, -(1 << 53) + 12345]
        {
            assert_eq!(nearest(sum as i32, sum as f32), sum);
        }
    }
}
