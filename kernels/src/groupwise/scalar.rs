//! The specification of group-wise products in plain loops, exact for groups of any length.

use crate::detect::Isa;
use crate::groupwise::args::{GroupArgs, GroupOutput, ScaleBits, ScalePtr};
use crate::groupwise::fma::{f32_of_bf16, f32_of_f16, fma};
use crate::groupwise::kernel::GroupKernel;
use crate::groupwise::layout::{CodeBits, PANEL};

pub static KERNEL: GroupKernel = GroupKernel {
    name: "scalar-g1x1",
    isa: Isa::Scalar,
    needs_fma: false,
    mr: 1,
    words: false,
    signed_codes: false,
    any_group: true,
    run,
};

/// # Safety
/// The contract of [`GroupArgs`].
unsafe fn run(t: &GroupArgs) {
    t.debug_assert_contract();
    for i in 0..t.rows {
        for j in 0..t.cols {
            // SAFETY: the caller's promise.
            unsafe { element(t, i, j) };
        }
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; there is such a row and column.
unsafe fn element(t: &GroupArgs, i: usize, j: usize) {
    // SAFETY: the caller's promise; every index is below the number of rows, columns, groups or steps.
    unsafe {
        let mut a = t.a.add(i * t.a_stride).cast::<i8>();
        let mut codes = t.codes.add(4 * j);
        let mut acc = 0f32;
        for g in 0..t.groups {
            // A start that stands for several zero points is exact for the groups of vector kernels only.
            let zero = zero(t, g, j);
            let mut sum = if zero.is_none() { i64::from(*t.starts.add(i * t.groups + g)) } else { 0 };
            let zero = i64::from(zero.unwrap_or(0));
            for _ in 0..t.steps(g) {
                for k in 0..t.bits.step() {
                    let byte = *codes.add(k % 4);
                    let code = match (t.bits, k / 4) {
                        (CodeBits::Eight, _) => byte,
                        (CodeBits::Four, 0) => byte & 15,
                        (CodeBits::Four, _) => byte >> 4,
                    };
                    sum += i64::from(*a.add(k)) * (i64::from(code) - zero);
                }
                a = a.add(t.bits.step());
                codes = codes.add(4 * t.cols);
            }
            if let GroupOutput::Sums(sums) = t.output {
                *sums.add(g * PANEL + j) = sum as i32;
                continue;
            }
            if !t.d.is_null() {
                sum += i64::from(*t.minus_a_zeros.add(i)) * i64::from(*t.d.add(g * PANEL + j));
            }
            let factor = |values| {
                let value = load(values, g * t.cols + j);
                if t.a_scales.is_null() { value } else { *t.a_scales.add(i * t.groups + g) * value }
            };
            acc = fma(sum as f32, factor(t.scales), acc);
            if !t.minimums.ptr.is_null() {
                acc = fma(*t.a_sums.add(i * t.groups + g), factor(t.minimums), acc);
            }
        }
        if let GroupOutput::Rows { c, stride } = t.output {
            *c.add(i * stride + j) = finish(t, i, j, acc);
        }
    }
}

/// The zero point of a group and column, unless all are one.
///
/// # Safety
/// The contract of [`GroupArgs`]; there is such a group and column.
unsafe fn zero(t: &GroupArgs, g: usize, j: usize) -> Option<u8> {
    if t.zeros.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let byte = |at: usize| unsafe { *t.zeros.add(g * t.zeros_row + at) };
    Some(match t.bits {
        CodeBits::Eight => byte(j),
        CodeBits::Four if j < PANEL / 2 => byte(j) & 15,
        CodeBits::Four => byte(j - PANEL / 2) >> 4,
    })
}

/// # Safety
/// There are more than `at` values.
unsafe fn load(values: ScalePtr, at: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe {
        match values.bits {
            ScaleBits::F32 => values.ptr.cast::<f32>().add(at).read_unaligned(),
            ScaleBits::F16 => f32_of_f16(values.ptr.cast::<u16>().add(at).read_unaligned()),
            ScaleBits::Bf16 => f32_of_bf16(values.ptr.cast::<u16>().add(at).read_unaligned()),
        }
    }
}

/// # Safety
/// The contract of [`GroupArgs`]; there is such a row and column.
unsafe fn finish(t: &GroupArgs, i: usize, j: usize, acc: f32) -> f32 {
    let mut y = acc;
    // SAFETY: the caller's promise.
    unsafe {
        if !t.row_scales.is_null() {
            y *= *t.row_scales.add(i);
        }
        if !t.bias.is_null() {
            y += *t.bias.add(j);
        }
    }
    clamp(y, t.lo, t.hi)
}

/// `lo` where y < lo, else `hi` where y > hi, else y; one NaN for all.
#[inline(always)]
pub fn clamp(y: f32, lo: f32, hi: f32) -> f32 {
    if y.is_nan() {
        return f32::from_bits(0x7fc0_0000);
    }
    if y < lo {
        lo
    } else if y > hi {
        hi
    } else {
        y
    }
}
