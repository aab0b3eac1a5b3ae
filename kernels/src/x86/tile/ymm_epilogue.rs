//! From the accumulators of a 256-bit tile to its output, in registers: see `finish` for what is computed.
//!
//! Two vectors of 32 bits become 16 bytes. The two instructions that narrow them work within 128-bit lanes,
//! so the bytes end up in groups of four, which one permutation puts in order.

use crate::contract::args::{Args, Out};
use crate::contract::stage::{F64Terms, TileDequantize, TileFixedPoint, TileRequantize};
use core::arch::x86_64::*;

/// Adds the terms to the sums of a tile of H rows and V vectors, and stores it.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with H rows and V = ceil(cols / 8); the caller has AVX2,
/// and is where this is inlined.
#[inline(always)]
pub unsafe fn finish<const H: usize, const V: usize>(t: &Args<'_>, mut acc: [[__m256i; V]; H]) {
    // SAFETY: throughout, the CPU has the instructions. Terms and scales have NR values per column and
    // `top` + H per row; the masks keep loads and stores to the `cols` elements of a row of the output.
    unsafe {
        for v in 0..V {
            let col = _mm256_loadu_si256(t.col.add(8 * v).cast());
            for i in 0..H {
                let term = _mm256_add_epi32(col, _mm256_set1_epi32(*t.row.add(i)));
                acc[i][v] = _mm256_add_epi32(acc[i][v], term);
            }
        }
        for outer in t.outer {
            for v in 0..V {
                let col = _mm256_loadu_si256(outer.col.as_ptr().add(t.left + 8 * v).cast());
                for i in 0..H {
                    let row = _mm256_set1_epi32(*outer.row.get_unchecked(t.top + i));
                    acc[i][v] = _mm256_sub_epi32(acc[i][v], _mm256_mullo_epi32(row, col));
                }
            }
        }
        match t.out {
            Out::Sums { c, accumulate } => {
                let mask = mask(t.cols - 8 * (V - 1));
                let whole = t.cols == 8 * V;
                for i in 0..H {
                    for v in 0..V {
                        let c = c.add(i * t.ldc).wrapping_add(8 * v);
                        // A masked store takes some CPUs twenty cycles.
                        if whole || v + 1 < V {
                            if accumulate {
                                acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_loadu_si256(c.cast()));
                            }
                            _mm256_storeu_si256(c.cast(), acc[i][v]);
                        } else {
                            if accumulate {
                                acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_maskload_epi32(c, mask));
                            }
                            _mm256_maskstore_epi32(c, mask, acc[i][v]);
                        }
                    }
                }
            }
            Out::Bytes {
                c,
                stage: stage @ TileRequantize { row_scale: None, real: None, residual: None, .. },
            } => {
                bytes(t, acc, c, stage);
            }
            Out::Bytes { c, stage } => {
                // By way of memory, so that the accumulators' address is not taken.
                let sums = acc;
                more_bytes::<V>(t, sums.as_ptr().cast(), c, stage);
            }
            Out::FixedBytes { c, stage } => {
                // By way of memory, so that the accumulators' address is not taken.
                let sums = acc;
                match stage.away {
                    false => fixed::<V, false>(t, sums.as_ptr().cast(), c, stage),
                    true => fixed::<V, true>(t, sums.as_ptr().cast(), c, stage),
                }
            }
            Out::Floats { c, stage: stage @ TileDequantize { real: Some(real), .. } } => {
                let sums = acc;
                more_floats::<V>(t, sums.as_ptr().cast(), c, stage, real);
            }
            Out::Floats { c, stage: stage @ TileDequantize { row_scale: None, .. } } => {
                floats(t, acc, c, stage, |_, scale| scale);
            }
            Out::Floats { c, stage: stage @ TileDequantize { row_scale: Some(rows), .. } } => {
                floats(t, acc, c, stage, |i, scale| {
                    _mm256_mul_ps(_mm256_set1_ps(*rows.get_unchecked(t.top + i)), scale)
                });
            }
        }
    }
}

/// The first `lanes` lanes.
///
/// # Safety
/// The caller has AVX2, and is where this is inlined.
#[inline(always)]
unsafe fn mask(lanes: usize) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        let each = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), each)
    }
}

/// 8-bit values made with nothing but the columns' scales.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
unsafe fn bytes<const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[__m256i; V]; H],
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let narrow = Narrow::new(stage.zero_point, stage.range);
        // Conversion turns what is beyond i32 into i32::MIN: right below, wrong above.
        let most = _mm256_set1_ps((1 << 30) as f32);
        let far = !stage.at_most_half;
        for i in 0..H {
            let mut y = [_mm256_setzero_si256(); 2];
            for v in 0..V {
                let scale = _mm256_loadu_ps(stage.scale.as_ptr().add(t.left + 8 * v));
                let mut x = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[i][v]), scale);
                if far {
                    x = _mm256_min_ps(x, most);
                }
                y[v] = _mm256_cvtps_epi32(x);
            }
            narrow.store::<V>(y, c.add(i * t.ldc), t.cols);
        }
    }
}

/// From two vectors of rounded values to a row of bytes.
struct Narrow {
    zero: __m256i,
    lo: __m128i,
    hi: __m128i,
    /// Whether the range is of u8, and whether it is not all of the type.
    unsigned: bool,
    limited: bool,
}

impl Narrow {
    /// # Safety
    /// The CPU has AVX2, and this is inlined into code that is compiled for it.
    #[inline(always)]
    unsafe fn new(zero_point: i32, range: (i32, i32)) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                zero: _mm256_set1_epi16(zero_point as i16),
                lo: _mm_set1_epi8(range.0 as i8),
                hi: _mm_set1_epi8(range.1 as u8 as i8),
                unsigned: range.1 > 127,
                limited: !matches!(range, (-128, 127) | (0, 255)),
            }
        }
    }

    /// # Safety
    /// As [`new`](Self::new); `c` is valid for `cols` bytes, which V vectors hold.
    #[inline(always)]
    unsafe fn store<const V: usize>(&self, y: [__m256i; 2], c: *mut u8, cols: usize) {
        // SAFETY: the caller's promise; rows that are not whole go through a buffer.
        unsafe {
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
            let words = _mm256_adds_epi16(_mm256_packs_epi32(y[0], y[1]), self.zero);
            let bytes = match self.unsigned {
                true => _mm256_packus_epi16(words, words),
                false => _mm256_packs_epi16(words, words),
            };
            let mut y = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
            if self.limited {
                y = match self.unsigned {
                    true => _mm_min_epu8(_mm_max_epu8(y, self.lo), self.hi),
                    false => _mm_min_epi8(_mm_max_epi8(y, self.lo), self.hi),
                };
            }
            match (V, cols) {
                (2, 16) => _mm_storeu_si128(c.cast(), y),
                (1, 8) => _mm_storel_epi64(c.cast(), y),
                (_, cols) => {
                    let mut row = [0; 16];
                    _mm_storeu_si128(row.as_mut_ptr().cast(), y);
                    for (j, byte) in row.iter().enumerate().take(cols) {
                        *c.add(j) = *byte;
                    }
                }
            }
        }
    }
}

/// The fixed-point stage of a tile whose sums are rows of V vectors. A function of its own, not inlined: it
/// would make every tile's code longer by half.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn fixed<const V: usize, const AWAY: bool>(
    t: &Args<'_>,
    sums: *const __m256i,
    c: *mut u8,
    stage: &TileFixedPoint<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let narrow = Narrow::new(stage.zero_point, stage.range);
        let none = _mm256_setzero_si256();
        for i in 0..t.rows {
            let mut y = [none; 2];
            for v in 0..V {
                let load = |values: &[i32]| _mm256_loadu_si256(values.as_ptr().add(t.left + 8 * v).cast());
                let (m, nudge) = (load(stage.m), load(stage.nudge));
                // Even lanes as they are, odd ones moved down: a product takes two lanes.
                let odd = |x| _mm256_srli_epi64::<32>(x);
                let sum = sums.add(i * V + v).read_unaligned();
                let (mut even, mut other) = (_mm256_mul_epi32(sum, m), _mm256_mul_epi32(odd(sum), odd(m)));
                if AWAY {
                    even = _mm256_add_epi64(even, _mm256_cmpgt_epi64(none, even));
                    other = _mm256_add_epi64(other, _mm256_cmpgt_epi64(none, other));
                }
                let low_half = _mm256_blend_epi32::<0xaa>(nudge, none);
                let even = _mm256_srli_epi64::<31>(_mm256_add_epi64(even, low_half));
                let other = _mm256_slli_epi64::<1>(_mm256_add_epi64(other, odd(nudge)));
                let high = _mm256_blend_epi32::<0xaa>(even, other);
                let less = _mm256_and_si256(_mm256_srai_epi32::<31>(high), load(stage.negative));
                let low = _mm256_sub_epi32(high, less);
                let one = load(stage.one);
                y[v] =
                    _mm256_srav_epi32(_mm256_add_epi32(_mm256_srav_epi32(low, load(stage.before)), one), one);
            }
            narrow.store::<V>(y, c.add(i * t.ldc), t.cols);
        }
    }
}

/// `scale(i, columns)` is the scale of row i and 8 columns.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
unsafe fn floats<const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[__m256i; V]; H],
    c: *mut f32,
    stage: &TileDequantize<'_>,
    scale: impl Fn(usize, __m256) -> __m256,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let mask = mask(t.cols - 8 * (V - 1));
        let whole = t.cols == 8 * V;
        let (lo, hi) = (_mm256_set1_ps(stage.range.0), _mm256_set1_ps(stage.range.1));
        let bias = stage.bias_from(t.left);
        for v in 0..V {
            let columns = _mm256_loadu_ps(stage.scale.as_ptr().add(t.left + 8 * v));
            let bias = _mm256_loadu_ps(bias.add(8 * v));
            for i in 0..H {
                let x = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[i][v]), scale(i, columns));
                let x = _mm256_add_ps(x, bias);
                // Of a bound and NaN these return the second.
                let x = _mm256_min_ps(hi, _mm256_max_ps(lo, x));
                let c = c.add(i * t.ldc).wrapping_add(8 * v);
                if whole || v + 1 < V {
                    _mm256_storeu_ps(c, x);
                } else {
                    _mm256_maskstore_ps(c, mask, x);
                }
            }
        }
    }
}

/// [`bytes`] with rows' scales, terms in f64 and a residual. A function of its own, as [`fixed`] is.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows of V vectors.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn more_bytes<const V: usize>(
    t: &Args<'_>,
    sums: *const __m256i,
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: as in `finish`; the residual has `top` + H rows of `cols` bytes.
    unsafe {
        let narrow = Narrow::new(stage.zero_point, stage.range);
        let most = _mm256_set1_ps((1 << 30) as f32);
        for i in 0..t.rows {
            let row = _mm256_set1_ps(stage.row_scale.map_or(1.0, |rows| *rows.get_unchecked(t.top + i)));
            let mut residual = _mm_setzero_si128();
            if let Some(r) = stage.residual {
                let from = r.bits.as_ptr().add((t.top + i) * r.stride + t.left);
                residual = match (V, t.cols) {
                    (2, 16) => _mm_loadu_si128(from.cast()),
                    (1, 8) => _mm_loadl_epi64(from.cast()),
                    (_, cols) => {
                        let mut bytes = [0u8; 16];
                        for (j, byte) in bytes.iter_mut().enumerate().take(cols) {
                            *byte = *from.add(j);
                        }
                        _mm_loadu_si128(bytes.as_ptr().cast())
                    }
                };
                residual = _mm_xor_si128(residual, _mm_set1_epi8(r.less().0 as i8));
            }
            let mut y = [_mm256_setzero_si256(); 2];
            for v in 0..V {
                let sum = sums.add(i * V + v).read_unaligned();
                let x = match &stage.real {
                    Some(real) => with_real(sum, real, t.top + i, t.left + 8 * v),
                    None => _mm256_cvtepi32_ps(sum),
                };
                let scale = _mm256_mul_ps(row, _mm256_loadu_ps(stage.scale.as_ptr().add(t.left + 8 * v)));
                let mut x = _mm256_mul_ps(x, scale);
                if let Some(r) = stage.residual {
                    let bytes = if v == 0 { residual } else { _mm_unpackhi_epi64(residual, residual) };
                    let values = _mm256_sub_epi32(_mm256_cvtepu8_epi32(bytes), _mm256_set1_epi32(r.less().1));
                    x = _mm256_add_ps(x, _mm256_mul_ps(_mm256_cvtepi32_ps(values), _mm256_set1_ps(r.scale)));
                }
                y[v] = _mm256_cvtps_epi32(_mm256_min_ps(x, most));
            }
            narrow.store::<V>(y, c.add(i * t.ldc), t.cols);
        }
    }
}

/// [`floats`] with terms in f64. A function of its own, as [`fixed`] is.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows of V vectors.
#[inline(never)]
#[target_feature(enable = "avx2")]
unsafe fn more_floats<const V: usize>(
    t: &Args<'_>,
    sums: *const __m256i,
    c: *mut f32,
    stage: &TileDequantize<'_>,
    real: &F64Terms<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let mask = mask(t.cols - 8 * (V - 1));
        let whole = t.cols == 8 * V;
        let (lo, hi) = (_mm256_set1_ps(stage.range.0), _mm256_set1_ps(stage.range.1));
        let bias = stage.bias_from(t.left);
        for i in 0..t.rows {
            let row = _mm256_set1_ps(stage.row_scale.map_or(1.0, |rows| *rows.get_unchecked(t.top + i)));
            for v in 0..V {
                let x = with_real(sums.add(i * V + v).read_unaligned(), real, t.top + i, t.left + 8 * v);
                let scale = _mm256_mul_ps(row, _mm256_loadu_ps(stage.scale.as_ptr().add(t.left + 8 * v)));
                let bias = _mm256_loadu_ps(bias.add(8 * v));
                let x = _mm256_add_ps(_mm256_mul_ps(x, scale), bias);
                // Of a bound and NaN these return the second.
                let x = _mm256_min_ps(hi, _mm256_max_ps(lo, x));
                let c = c.add(i * t.ldc).wrapping_add(8 * v);
                if whole || v + 1 < V {
                    _mm256_storeu_ps(c, x);
                } else {
                    _mm256_maskstore_ps(c, mask, x);
                }
            }
        }
    }
}

/// Eight sums of row `i`, from column `j` on, with their terms, rounded to f32.
///
/// # Safety
/// The terms have such a row and columns.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn with_real(sum: __m256i, real: &F64Terms<'_>, i: usize, j: usize) -> __m256 {
    // SAFETY: the caller's promise.
    unsafe {
        let add = |part: __m128i, j: usize| {
            let x = _mm256_add_pd(_mm256_cvtepi32_pd(part), _mm256_loadu_pd(real.col.as_ptr().add(j)));
            _mm256_cvtpd_ps(match real.row {
                Some(row) => _mm256_add_pd(x, _mm256_set1_pd(*row.get_unchecked(i))),
                None => x,
            })
        };
        let low = add(_mm256_castsi256_si128(sum), j);
        let high = add(_mm256_extracti128_si256::<1>(sum), j + 4);
        _mm256_set_m128(high, low)
    }
}
