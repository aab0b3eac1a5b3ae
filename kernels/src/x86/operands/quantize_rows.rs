//! Quantizes rows of f32 with AVX-512. `contract::row_params` has the arithmetic.
//!
//! While a row is quantized, which keeps the arithmetic units busy, the extremes of the row after the next one are
//! looked for, which waits for memory.

use crate::contract::row_params::{FRACTION_BITS, OFFSET, RowExtremes, RowParams};
use core::arch::x86_64::*;

/// The distance from the row that is quantized to the one whose extremes are looked for: with two, the scale of a row
/// is there before it is needed.
const ROWS_AHEAD: usize = 2;

/// Rows to quantize, and the place for the results.
pub struct QuantizeJob {
    /// The number of rows.
    pub rows: usize,
    /// The numbers of a row.
    pub k: usize,
    /// The first row's first number.
    pub x: *const f32,
    /// Numbers from one row to the next.
    pub x_stride: usize,
    /// The first row's first result.
    pub out: *mut u8,
    /// Bytes from one row of results to the next.
    pub out_stride: usize,
    /// Whether the extremes of rows are looked for; else they are given as 0.
    pub want_extremes: bool,
}

/// Quantizes rows to u8 (`UNSIGNED`) or i8. `params_of_row(row, extremes)` returns the scale and zero point of a row,
/// or `None` to end with `Err(row)`.
///
/// # Safety
/// - The CPU has AVX-512 F and BW.
/// - `job.x` is valid for reading `rows` rows of `k` numbers, `x_stride` apart.
/// - `job.out` is valid for writing `rows` rows of `k` bytes, `out_stride` apart.
#[target_feature(enable = "avx512f,avx512bw")]
pub unsafe fn quantize<const UNSIGNED: bool>(
    job: &QuantizeJob,
    mut params_of_row: impl FnMut(usize, RowExtremes) -> Option<RowParams>,
) -> Result<(), usize> {
    let QuantizeJob { rows, k, want_extremes, .. } = *job;
    // Strides of empty rows may be anything, hence the wrapping multiplications.
    let row = |i: usize| job.x.wrapping_add(i.wrapping_mul(job.x_stride));
    let out = |i: usize| job.out.wrapping_add(i.wrapping_mul(job.out_stride));
    // The parameters of row i are at i % ROWS_AHEAD.
    let mut params = [RowParams { scale: 1.0, zero: 0 }; ROWS_AHEAD];
    for i in 0..rows.min(ROWS_AHEAD) {
        // SAFETY: i < rows, so the row is there.
        let extremes = if want_extremes { unsafe { extremes(row(i), k) } } else { RowExtremes::default() };
        params[i] = params_of_row(i, extremes).ok_or(i)?;
    }
    for i in 0..rows {
        let ahead = i + ROWS_AHEAD;
        let params_i = params[i % ROWS_AHEAD];
        // SAFETY: i < rows, and the row ahead is passed only if it exists.
        let extremes = unsafe {
            if want_extremes && ahead < rows {
                quantize_row::<UNSIGNED, true>(k, row(i), params_i, out(i), row(ahead))
            } else {
                quantize_row::<UNSIGNED, false>(k, row(i), params_i, out(i), row(i))
            }
        };
        if ahead < rows {
            params[i % ROWS_AHEAD] = params_of_row(ahead, extremes).ok_or(ahead)?;
        }
    }
    Ok(())
}

/// [`RowExtremes`] of the numbers in each of 16 lanes.
#[derive(Clone, Copy)]
struct LaneExtremes {
    highest: __m512i,
    lowest: __m512i,
}

impl LaneExtremes {
    /// The extremes of no numbers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn empty() -> Self {
        Self { highest: _mm512_setzero_si512(), lowest: _mm512_setzero_si512() }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn with(self, x: __m512) -> Self {
        let bits = _mm512_castps_si512(x);
        Self { highest: _mm512_max_epi32(self.highest, bits), lowest: _mm512_max_epu32(self.lowest, bits) }
    }

    /// The extremes of all lanes.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn join(self) -> RowExtremes {
        RowExtremes {
            highest: _mm512_reduce_max_epi32(self.highest),
            lowest: _mm512_reduce_max_epu32(self.lowest),
        }
    }
}

/// Finds the extremes of a row.
///
/// # Safety
/// - The CPU has AVX-512 F.
/// - `row` is valid for reading `k` numbers.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn extremes(row: *const f32, k: usize) -> RowExtremes {
    let mut lanes = LaneExtremes::empty();
    let whole = k & !15;
    // SAFETY: at + 16 <= k in the loop; after it the mask keeps the load to the k - whole numbers that are left.
    unsafe {
        for at in (0..whole).step_by(16) {
            lanes = lanes.with(_mm512_loadu_ps(row.add(at)));
        }
        lanes.with(_mm512_maskz_loadu_ps((1 << (k - whole)) - 1, row.wrapping_add(whole))).join()
    }
}

/// Quantizes a row, and if `AHEAD` returns the extremes of the row `ahead`.
///
/// # Safety
/// - The CPU has AVX-512 F and BW.
/// - `row` and `ahead` are valid for reading `k` numbers.
/// - `out` is valid for writing `k` bytes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn quantize_row<const UNSIGNED: bool, const AHEAD: bool>(
    k: usize,
    row: *const f32,
    params: RowParams,
    out: *mut u8,
    ahead: *const f32,
) -> RowExtremes {
    let mut lanes = LaneExtremes::empty();
    let (reciprocal, add) = (_mm512_set1_ps(1.0 / params.scale), _mm512_set1_ps(OFFSET + params.zero as f32));
    // A subnormal scale has fewer bits, so that the error bound does not hold: every number is divided.
    let doubt = if params.scale < f32::MIN_POSITIVE { !0 } else { 0 };
    let fraction = _mm512_set1_epi32((1 << FRACTION_BITS) - 1);
    let fixed = |x: __m512| {
        let t = _mm512_fmadd_ps(x, reciprocal, add);
        _mm512_castps_si512(if UNSIGNED { _mm512_min_ps(t, _mm512_set1_ps(OFFSET + 255.0)) } else { t })
    };
    let whole = k & !63;
    for at in (0..whole).step_by(64) {
        // SAFETY: at + 64 <= k, and 64 values from `at` on are accessed.
        unsafe {
            let (row, out, ahead) = (row.add(at), out.add(at), ahead.add(at));
            let mut near = doubt;
            for v in 0..4 {
                let t = fixed(_mm512_loadu_ps(row.add(16 * v)));
                near |= _mm512_testn_epi32_mask(t, fraction);
                let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<FRACTION_BITS>(t));
                _mm_storeu_si128(out.add(16 * v).cast(), bytes);
                if AHEAD {
                    lanes = lanes.with(_mm512_loadu_ps(ahead.add(16 * v)));
                }
            }
            if near != 0 {
                divide::<UNSIGNED>(row, 64, params, out);
            }
        }
    }
    for at in (whole..k).step_by(16) {
        // SAFETY: the mask keeps loads and the store to the k - at values that are left.
        unsafe {
            let (row, out, ahead) = (row.add(at), out.add(at), ahead.add(at));
            let mask = first_lanes(k - at);
            let t = fixed(_mm512_maskz_loadu_ps(mask, row));
            let bytes = _mm512_cvtepi32_epi8(_mm512_srli_epi32::<FRACTION_BITS>(t));
            _mm512_mask_storeu_epi8(out.cast(), mask.into(), _mm512_castsi128_si512(bytes));
            if AHEAD {
                lanes = lanes.with(_mm512_maskz_loadu_ps(mask, ahead));
            }
            if doubt | _mm512_testn_epi32_mask(t, fraction) != 0 {
                divide::<UNSIGNED>(row, (k - at).min(16), params, out);
            }
        }
    }
    if AHEAD { lanes.join() } else { RowExtremes::default() }
}

/// The mask of the first `left` lanes, or of all 16.
#[inline(always)]
fn first_lanes(left: usize) -> __mmask16 {
    !0 >> (16 - left.min(16))
}

/// Quantizes `k` numbers by dividing.
///
/// # Safety
/// - The CPU has AVX-512 F and BW.
/// - `x` is valid for reading `k` numbers, and `out` for writing `k` bytes.
#[cold]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn divide<const UNSIGNED: bool>(x: *const f32, k: usize, params: RowParams, out: *mut u8) {
    let (lo, hi) = if UNSIGNED { (0, 255) } else { (-127, 127) };
    for at in (0..k).step_by(16) {
        // SAFETY: the mask keeps the load and the store to the k - at values that are left.
        unsafe {
            let mask = first_lanes(k - at);
            let x = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x.add(at)), _mm512_set1_ps(params.scale));
            let q = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(params.zero));
            let q = _mm512_min_epi32(_mm512_max_epi32(q, _mm512_set1_epi32(lo)), _mm512_set1_epi32(hi));
            let bytes = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(q));
            _mm512_mask_storeu_epi8(out.add(at).cast(), mask.into(), bytes);
        }
    }
}
