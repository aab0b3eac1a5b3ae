//! Rows of real numbers by AVX-512: see `real` for what is computed.
//!
//! While a row is quantized, which keeps the arithmetic busy, the one after the next is bounded, which waits for
//! memory.

use crate::contract::row_params::{FIXED, FRACTION_BITS, RowExtremes, RowParams};
use core::arch::x86_64::*;

/// Rows that are bounded before they are quantized: with two, the scale of a row need not be waited for.
const AHEAD: usize = 2;

/// See [`F32Rows::quantize`](crate::real::F32Rows::quantize).
///
/// # Safety
/// The CPU has AVX-512 F and BW. `x` is valid for so many rows of `k` numbers, and `out` for rows of as many results;
/// the rows of either are as far apart as the number with them tells.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn quantize<const UNSIGNED: bool>(
    (x, stride): (*const f32, usize),
    k: usize,
    rows: usize,
    bound: bool,
    mut steps: impl FnMut(usize, RowExtremes) -> Option<RowParams>,
    (out, out_stride): (*mut u8, usize),
) -> Result<(), usize> {
    // Of rows without numbers the distance may be any.
    let row = |i: usize| x.wrapping_add(i.wrapping_mul(stride));
    let mut ready = [RowParams { scale: 1.0, zero: 0 }; AHEAD];
    for i in 0..rows.min(AHEAD) {
        // SAFETY: the caller's promise.
        let extremes = if bound { unsafe { extremes(row(i), k) } } else { RowExtremes::default() };
        ready[i] = steps(i, extremes).ok_or(i)?;
    }
    for i in 0..rows {
        let (later, steps_of_row, out) =
            (i + AHEAD, ready[i % AHEAD], out.wrapping_add(i.wrapping_mul(out_stride)));
        // SAFETY: the caller's promise.
        let extremes = unsafe {
            match bound && later < rows {
                true => each::<UNSIGNED, true>(k, row(i), steps_of_row, out, row(later)),
                false => each::<UNSIGNED, false>(k, row(i), steps_of_row, out, row(i)),
            }
        };
        if later < rows {
            ready[i % AHEAD] = steps(later, extremes).ok_or(later)?;
        }
    }
    Ok(())
}

/// [`RowExtremes`] in 16 parts.
#[derive(Clone, Copy)]
struct Parts {
    highest: __m512i,
    lowest: __m512i,
}

impl Parts {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none() -> Self {
        Self { highest: _mm512_setzero_si512(), lowest: _mm512_setzero_si512() }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn with(self, x: __m512) -> Self {
        let bits = _mm512_castps_si512(x);
        Self { highest: _mm512_max_epi32(self.highest, bits), lowest: _mm512_max_epu32(self.lowest, bits) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn join(self) -> RowExtremes {
        RowExtremes {
            highest: _mm512_reduce_max_epi32(self.highest),
            lowest: _mm512_reduce_max_epu32(self.lowest),
        }
    }
}

/// # Safety
/// The CPU has AVX-512 F. `row` is valid for `k` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn extremes(row: *const f32, k: usize) -> RowExtremes {
    let mut parts = Parts::none();
    let whole = k & !15;
    // SAFETY: the caller's promise; the mask keeps to the numbers that are left.
    unsafe {
        for at in (0..whole).step_by(16) {
            parts = parts.with(_mm512_loadu_ps(row.add(at)));
        }
        parts.with(_mm512_maskz_loadu_ps((1 << (k - whole)) - 1, row.wrapping_add(whole))).join()
    }
}

/// Quantizes a row, and if `LATER` bounds another.
///
/// # Safety
/// The CPU has AVX-512 F and BW. `row`, `out` and `later` are valid for `k` values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn each<const UNSIGNED: bool, const LATER: bool>(
    k: usize,
    row: *const f32,
    steps: RowParams,
    out: *mut u8,
    later: *const f32,
) -> RowExtremes {
    let mut parts = Parts::none();
    let (reciprocal, add) = (_mm512_set1_ps(1.0 / steps.scale), _mm512_set1_ps(FIXED + steps.zero as f32));
    // Of a smaller one neither it nor the reciprocal is as exact as its type.
    let doubt = if steps.scale < f32::MIN_POSITIVE { !0 } else { 0 };
    let fraction = _mm512_set1_epi32((1 << FRACTION_BITS) - 1);
    let fixed = |x: __m512| {
        let t = _mm512_fmadd_ps(x, reciprocal, add);
        _mm512_castps_si512(if UNSIGNED { _mm512_min_ps(t, _mm512_set1_ps(FIXED + 255.0)) } else { t })
    };
    let whole = k & !63;
    for at in (0..whole).step_by(64) {
        // SAFETY: at + 64 <= k: the caller's promise.
        unsafe {
            let (row, out, later) = (row.add(at), out.add(at), later.add(at));
            let mut near = doubt;
            for v in 0..4 {
                let t = fixed(_mm512_loadu_ps(row.add(16 * v)));
                near |= _mm512_testn_epi32_mask(t, fraction);
                let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<FRACTION_BITS>(t));
                _mm_storeu_si128(out.add(16 * v).cast(), bytes);
                if LATER {
                    parts = parts.with(_mm512_loadu_ps(later.add(16 * v)));
                }
            }
            if near != 0 {
                divide::<UNSIGNED>(row, 64, steps, out);
            }
        }
    }
    for at in (whole..k).step_by(16) {
        // SAFETY: the mask keeps to the values that are left.
        unsafe {
            let (row, out, later) = (row.add(at), out.add(at), later.add(at));
            let mask = tail(k - at);
            let t = fixed(_mm512_maskz_loadu_ps(mask, row));
            let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<FRACTION_BITS>(t));
            _mm512_mask_storeu_epi8(out.cast(), mask.into(), _mm512_castsi128_si512(bytes));
            if LATER {
                parts = parts.with(_mm512_maskz_loadu_ps(mask, later));
            }
            if doubt | _mm512_testn_epi32_mask(t, fraction) != 0 {
                divide::<UNSIGNED>(row, (k - at).min(16), steps, out);
            }
        }
    }
    if LATER { parts.join() } else { RowExtremes::default() }
}

/// The lanes of a vector that hold the first of `left` numbers.
#[inline(always)]
fn tail(left: usize) -> __mmask16 {
    !0 >> (16 - left.min(16))
}

/// Quantizes `k` numbers by dividing.
///
/// # Safety
/// The CPU has AVX-512 F and BW. `x` and `out` are valid for `k` values.
#[cold]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn divide<const UNSIGNED: bool>(x: *const f32, k: usize, steps: RowParams, out: *mut u8) {
    let (lo, hi) = if UNSIGNED { (0, 255) } else { (-127, 127) };
    for at in (0..k).step_by(16) {
        // SAFETY: the mask keeps to the values that are left.
        unsafe {
            let mask = tail(k - at);
            let x = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x.add(at)), _mm512_set1_ps(steps.scale));
            let q = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(steps.zero));
            let q = _mm512_min_epi32(_mm512_max_epi32(q, _mm512_set1_epi32(lo)), _mm512_set1_epi32(hi));
            let bytes = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(q));
            _mm512_mask_storeu_epi8(out.add(at).cast(), mask.into(), bytes);
        }
    }
}
