//! The arguments of a group-wise kernel: rows of A times one panel.
//!
//! ```text
//!   s[i][g][j] = Σ_{k in g} A[i][k]·code[k][j] - zero[g][j]·Σ_{k in g} A[i][k] - a_zero[i]·d[g][j]        in i32, exact
//!   t[i][g][j] = scale[g][j], times a_scale[i][g] if there are such
//!   acc        = 0;  for g ascending: acc = fma(f32(s), t, acc)
//!                    and, if there are minimums: acc = fma(a_sum[i][g], u, acc), u from minimums as t from scales
//!   C[i][j]    = acc times row_scale[i] if there are such, then plus bias[j], then clamped; NaN is 0x7fc00000
//! ```
//!
//! where `d[g][j] = Σ_{k in g} (code[k][j] - zero[g][j])`, which is `s` of a row of ones without a zero point. Kernels make it
//! when they are told to store sums.
//!
//! Zero points come in as the start of the sum. If all are one, a start is `-zero·Σ A`, or `(128 - zero)·Σ A` where a kernel
//! takes codes less 128 (see [`GroupKernel`](crate::groupwise::kernel::GroupKernel)). Else the kernel has a 16-bit
//! multiply-add subtract them: a start is the pair (low half -l, high half -h) where Σ A = 128·h + l and 0 <= l < 128, which
//! multiplies the pair (zero, 128·zero).

use crate::groupwise::layout::{CodeBits, PANEL};

/// The type of scales and minimums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScaleBits {
    /// f32.
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16.
    Bf16,
}

/// Values of a type that [`ScaleBits`] names.
#[derive(Clone, Copy)]
pub struct ScalePtr {
    pub bits: ScaleBits,
    pub ptr: *const u8,
}

/// The destination.
#[derive(Clone, Copy)]
pub enum GroupOutput {
    /// Rows of C, `stride` values apart.
    Rows { c: *mut f32, stride: usize },
    /// The sums `s` of the one row, [`PANEL`] of them for each group.
    Sums(*mut i32),
}

/// The arguments. Null stands for arrays that there are none of.
///
/// The code that runs them relies on this:
/// - `cols` is in 1..=[`PANEL`], `rows` is at least 1, and 1 for [`GroupOutput::Sums`];
/// - `a` has `rows` rows, `a_stride` bytes apart, of whole steps of 8 values of k, which are i8, or for 8-bit codes and kernels
///   of words i16 in the order k0 k2 k1 k3 of each four; values past the last k are 0;
/// - `starts`, `a_scales` and `a_sums` have `groups` values per row, one row after the other; `row_scales` and
///   `minus_a_zeros` one per row; `d` has [`PANEL`] per group;
/// - `codes`, `scales`, `minimums` and `zeros` are those of a panel of `cols` columns (see `layout`), and may be read as if
///   its last row of columns had [`PANEL`];
/// - `bias` has `cols` values; the destination is valid for rows of `cols` values, or for the sums of the groups.
#[derive(Clone, Copy)]
pub struct GroupArgs {
    pub rows: usize,
    pub cols: usize,
    pub bits: CodeBits,
    pub groups: usize,
    /// Steps of each group but the last.
    pub group_steps: usize,
    /// Steps of the last group.
    pub last_steps: usize,
    pub a: *const u8,
    pub a_stride: usize,
    pub starts: *const i32,
    pub a_scales: *const f32,
    pub a_sums: *const f32,
    pub row_scales: *const f32,
    pub minus_a_zeros: *const i32,
    pub d: *const i32,
    pub codes: *const u8,
    pub scales: ScalePtr,
    pub minimums: ScalePtr,
    pub zeros: *const u8,
    /// Bytes from the zero points of one group to those of the next.
    pub zeros_row: usize,
    pub bias: *const f32,
    pub lo: f32,
    pub hi: f32,
    pub output: GroupOutput,
}

impl GroupArgs {
    /// The steps of group `g`.
    #[inline(always)]
    pub fn steps(&self, g: usize) -> usize {
        if g + 1 == self.groups { self.last_steps } else { self.group_steps }
    }

    /// The arguments of `rows` rows from row `first` on.
    ///
    /// # Safety
    /// There are so many.
    #[inline(always)]
    pub unsafe fn rows_from(&self, first: usize, rows: usize) -> Self {
        debug_assert!(first + rows <= self.rows);
        let at = first * self.groups;
        let output = match self.output {
            GroupOutput::Rows { c, stride } => {
                GroupOutput::Rows { c: c.wrapping_add(first * stride), stride }
            }
            sums => sums,
        };
        Self {
            rows,
            a: self.a.wrapping_add(first * self.a_stride),
            starts: self.starts.wrapping_add(at),
            a_scales: moved(self.a_scales, at),
            a_sums: moved(self.a_sums, at),
            row_scales: moved(self.row_scales, first),
            minus_a_zeros: moved(self.minus_a_zeros, first),
            output,
            ..*self
        }
    }

    /// Whether the contract could hold.
    pub fn debug_assert_contract(&self) {
        debug_assert!((1..=PANEL).contains(&self.cols) && self.rows > 0);
        debug_assert!(!self.starts.is_null() || self.groups == 0);
        debug_assert_eq!(self.minus_a_zeros.is_null(), self.d.is_null());
    }
}

/// A pointer into an array, unless there is none.
#[inline(always)]
fn moved<T>(pointer: *const T, by: usize) -> *const T {
    if pointer.is_null() { pointer } else { pointer.wrapping_add(by) }
}

/// The start of a sum of A's codes for zero points that differ.
#[inline(always)]
pub fn start_for_each(sum: i32) -> i32 {
    let (high, low) = (sum >> 7, sum & 127);
    (-low & 0xffff) | (-high) << 16
}

/// The sum that a start of [`start_for_each`] gives with a zero point: what vector kernels compute by a 16-bit multiply-add.
#[inline(always)]
pub fn start_times(start: i32, zero: u8) -> i32 {
    let (low, high) = (start as i16, start >> 16);
    i32::from(low) * i32::from(zero) + high * (128 * i32::from(zero))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groupwise::layout::MAX_VECTOR_GROUP;

    /// The halves of a start fit 16 bits for every sum that a group of a vector kernel can have, so do 128 zero points.
    #[test]
    fn starts_are_exact_for_all_sums_of_vector_kernels() {
        let most = 128 * MAX_VECTOR_GROUP as i32;
        for sum in (-most..=most).step_by(61).chain([-most, -most + 1, most - 1, most, -1, 0, 1, 127, 128]) {
            for zero in [0, 1, 7, 8, 15, 127, 128, 255] {
                assert_eq!(start_times(start_for_each(sum), zero), -sum * i32::from(zero), "{sum} {zero}");
            }
        }
        // The high half of a start fits 16 bits, as do 128 · 255 of zero points.
        const { assert!(MAX_VECTOR_GROUP <= i16::MAX as usize) };
        // The sums themselves fit, with any zero points: |a - za| <= 255, |code - zero| <= 255.
        const { assert!(255 * 255 * MAX_VECTOR_GROUP <= i32::MAX as usize) };
    }
}
