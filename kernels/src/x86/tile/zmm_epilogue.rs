//! From the accumulators of a 512-bit tile to its output, in registers: see `finish` for what is computed.
//!
//! Four vectors of 32 bits become one of 64 bytes; the two instructions that narrow them work within 128-bit
//! lanes, so the bytes end up in groups of four, which one permutation puts in order:
//!
//! ```text
//!   sums 0..16 | 16..32 | 32..48 | 48..64      convert, scale, convert back     4 zmm
//!   packssdw                                   to 16 bits, + zero point         2 zmm
//!   packsswb or packuswb, vpermd               to 8 bits, in order              1 zmm, one store
//! ```
//!
//! Of tiles that are one vector or two wide, four rows or two go that way together.

use crate::contract::args::{Args, Out};
use crate::contract::stage::{F64Terms, TileDequantize, TileFixedPoint, TileRequantize};
use crate::x86::tile::zmm::each_row;
use core::arch::x86_64::*;

/// Stores a tile of H rows and V vectors.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with H rows and V = ceil(cols / 16); the caller has
/// AVX-512 F, BW and VL, and is where this is inlined.
#[inline(always)]
pub unsafe fn finish<const H: usize, const V: usize>(t: &Args<'_>, acc: [[__m512i; V]; H]) {
    // SAFETY: throughout, the CPU has the instructions. Terms and scales have NR values per column and
    // `top` + H per row; the masks keep loads and stores to the `cols` elements of a row of the output.
    unsafe {
        let acc = take_off(t, t.top, acc);
        match t.out {
            Out::Sums { c, accumulate } => match half::<V>(t.cols) {
                true => each_row::<H>(
                    #[inline(always)]
                    |i| store_sums::<V, true>(t, c.add(i * t.ldc), accumulate, acc[i]),
                ),
                false => each_row::<H>(
                    #[inline(always)]
                    |i| store_sums::<V, false>(t, c.add(i * t.ldc), accumulate, acc[i]),
                ),
            },
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
                let mut sums = acc;
                match stage.away {
                    false => fixed::<V, false>(t, sums.as_mut_ptr().cast(), c, stage),
                    true => fixed::<V, true>(t, sums.as_mut_ptr().cast(), c, stage),
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
                    _mm512_mul_ps(_mm512_set1_ps(*rows.get_unchecked(t.top + i)), scale)
                });
            }
        }
    }
}

/// The sums of H rows, from row `top` of the outer terms on, less those.
///
/// # Safety
/// As [`finish`], for these rows.
#[inline(always)]
pub unsafe fn take_off<const H: usize, const V: usize>(
    t: &Args<'_>,
    top: usize,
    mut acc: [[__m512i; V]; H],
) -> [[__m512i; V]; H] {
    // SAFETY: as in `finish`.
    unsafe {
        for outer in t.outer {
            for v in 0..V {
                let col = _mm512_loadu_si512(outer.col.as_ptr().add(t.left + 16 * v).cast());
                each_row::<H>(
                    #[inline(always)]
                    |i| {
                        let row = _mm512_set1_epi32(*outer.row.get_unchecked(top + i));
                        acc[i][v] = _mm512_sub_epi32(acc[i][v], _mm512_mullo_epi32(row, col));
                    },
                );
            }
        }
    }
    acc
}

/// Stores the sums of a row at `c`; HALF says that its last vector has 8 columns at most.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
pub unsafe fn store_sums<const V: usize, const HALF: bool>(
    t: &Args<'_>,
    c: *mut i32,
    accumulate: bool,
    sums: [__m512i; V],
) {
    // SAFETY: the masks keep loads and stores to the `cols` elements of the row.
    unsafe {
        for v in 0..V {
            let c = c.wrapping_add(16 * v);
            let mask = mask::<V>(t.cols, v);
            let mut sum = sums[v];
            if accumulate {
                sum = _mm512_add_epi32(sum, _mm512_maskz_loadu_epi32(mask, c));
            }
            if HALF && v == V - 1 {
                _mm256_mask_storeu_epi32(c, mask as u8, _mm512_castsi512_si256(sum));
            } else {
                _mm512_mask_storeu_epi32(c, mask, sum);
            }
        }
    }
}

/// Whether the last of V vectors has 8 columns at most.
#[inline(always)]
pub fn half<const V: usize>(cols: usize) -> bool {
    cols + 8 <= 16 * V
}

/// The lanes of vector `v` that hold stored columns: all but for the last one.
#[inline(always)]
fn mask<const V: usize>(cols: usize, v: usize) -> __mmask16 {
    if v == V - 1 { !0 >> (16 * V - cols) } else { !0 }
}

/// 8-bit values made with nothing but the columns' scales.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
pub unsafe fn bytes<const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[__m512i; V]; H],
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let narrow = Narrow::new(stage.zero_point, stage.range, t.cols);
        // Conversion turns what is beyond i32 into i32::MIN: right below, wrong above.
        let most = _mm512_set1_ps((1 << 30) as f32);
        let far = !stage.at_most_half;
        // Of narrow tiles several rows become bytes together.
        let together = if V < 4 { 4 / V } else { 1 };
        let mut y = [[_mm512_setzero_si512(); V]; 4];
        each_row::<H>(
            #[inline(always)]
            |i| {
                for v in 0..V {
                    let scale = _mm512_loadu_ps(stage.scale.as_ptr().add(t.left + 16 * v));
                    let mut x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][v]), scale);
                    if far {
                        x = _mm512_min_ps(x, most);
                    }
                    y[i % together][v] = _mm512_cvtps_epi32(x);
                }
                let row = c.add((i - i % together) * t.ldc);
                match (V, i % together + 1) {
                    (1 | 2, rows) if rows == together || i == H - 1 => narrow.store_rows(y, rows, row, t.ldc),
                    (1 | 2, _) => (),
                    _ => narrow.store::<V>(y[0], row),
                }
            },
        );
    }
}

/// From four vectors of rounded values to a row of bytes.
struct Narrow {
    zero: __m512i,
    lo: __m512i,
    hi: __m512i,
    /// Whether the range is of u8, and whether it is not all of the type.
    unsigned: bool,
    limited: bool,
    order: __m512i,
    /// The columns that are stored, 64 at a time.
    masks: [u64; 2],
}

impl Narrow {
    /// # Safety
    /// The CPU has AVX-512 F and BW, and this is inlined into code that is compiled for it.
    #[inline(always)]
    unsafe fn new(zero_point: i32, range: (i32, i32), cols: usize) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            Self {
                zero: _mm512_set1_epi16(zero_point as i16),
                lo: _mm512_set1_epi8(range.0 as i8),
                hi: _mm512_set1_epi8(range.1 as u8 as i8),
                unsigned: range.1 > 127,
                limited: !matches!(range, (-128, 127) | (0, 255)),
                order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
                masks: [!0 >> (64 - cols.min(64)), if cols > 64 { !0 >> (128 - cols) } else { 0 }],
            }
        }
    }

    /// # Safety
    /// As [`new`](Self::new); `c` is valid for as many bytes as there are columns, which V vectors hold.
    #[inline(always)]
    unsafe fn store<const V: usize>(&self, y: [__m512i; V], c: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe {
            let none = _mm512_setzero_si512();
            let of = |v: usize| if v < V { y[v] } else { none };
            self.store_64([of(0), of(1), of(2), of(3)], c, 0);
            if V > 4 {
                self.store_64([of(4), of(5), of(6), of(7)], c, 64);
            }
        }
    }

    /// `rows` rows of one vector (up to 4) or two (up to 2), `ldc` bytes apart.
    ///
    /// # Safety
    /// As [`store`](Self::store), for each row.
    #[inline(always)]
    unsafe fn store_rows<const V: usize>(&self, y: [[__m512i; V]; 4], rows: usize, c: *mut u8, ldc: usize) {
        // SAFETY: the caller's promise; the masks keep to the columns.
        unsafe {
            let bytes = match V {
                1 => self.narrow([y[0][0], y[1][0], y[2][0], y[3][0]]),
                _ => self.narrow([y[0][0], y[0][V - 1], y[1][0], y[1][V - 1]]),
            };
            let whole = self.masks[0] == (1 << (16 * V)) - 1;
            let part = |row: usize| match (V, row) {
                (_, 0) => bytes,
                (1, 1) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<1>(bytes)),
                (1, 2) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<2>(bytes)),
                (1, _) => _mm512_zextsi128_si512(_mm512_extracti32x4_epi32::<3>(bytes)),
                _ => _mm512_zextsi256_si512(_mm512_extracti64x4_epi64::<1>(bytes)),
            };
            for row in 0..rows {
                let (c, bytes) = (c.add(row * ldc), part(row));
                let (low, mask) = (_mm512_castsi512_si256(bytes), self.masks[0] as u32);
                match (whole, V) {
                    (true, 1) => _mm_storeu_si128(c.cast(), _mm512_castsi512_si128(bytes)),
                    (true, _) => _mm256_storeu_si256(c.cast(), low),
                    (_, 1) => _mm_mask_storeu_epi8(c.cast(), mask as u16, _mm512_castsi512_si128(bytes)),
                    _ => _mm256_mask_storeu_epi8(c.cast(), mask, low),
                }
            }
        }
    }

    /// Columns from `j` on, 64 at most.
    ///
    /// # Safety
    /// As [`store`](Self::store).
    #[inline(always)]
    unsafe fn store_64(&self, y: [__m512i; 4], c: *mut u8, j: usize) {
        // SAFETY: the caller's promise; the mask keeps to the columns.
        unsafe { _mm512_mask_storeu_epi8(c.add(j).cast(), self.masks[j / 64], self.narrow(y)) }
    }

    /// # Safety
    /// As [`new`](Self::new).
    #[inline(always)]
    unsafe fn narrow(&self, y: [__m512i; 4]) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe {
            let low = _mm512_adds_epi16(_mm512_packs_epi32(y[0], y[1]), self.zero);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(y[2], y[3]), self.zero);
            let mut y = match self.unsigned {
                true => _mm512_packus_epi16(low, high),
                false => _mm512_packs_epi16(low, high),
            };
            if self.limited {
                y = match self.unsigned {
                    true => _mm512_min_epu8(_mm512_max_epu8(y, self.lo), self.hi),
                    false => _mm512_min_epi8(_mm512_max_epi8(y, self.lo), self.hi),
                };
            }
            _mm512_permutexvar_epi32(self.order, y)
        }
    }
}

/// The fixed-point stage of a tile whose sums are rows of V vectors, which it replaces. A function of its own,
/// not inlined: it would make every tile's code longer by half.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn fixed<const V: usize, const AWAY: bool>(
    t: &Args<'_>,
    sums: *mut __m512i,
    c: *mut u8,
    stage: &TileFixedPoint<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        // Down the columns, whose multipliers then stay in registers.
        for v in 0..V {
            let load = |values: &[i32]| _mm512_loadu_si512(values.as_ptr().add(t.left + 16 * v).cast());
            // Even lanes as they are, odd ones moved down: a product takes two lanes.
            let odd = |x| _mm512_srli_epi64::<32>(x);
            let (m, nudge, negative) = (load(stage.m), load(stage.nudge), load(stage.negative));
            let (m_odd, nudge_odd) = (odd(m), odd(nudge));
            let nudge_even = _mm512_maskz_mov_epi32(0x5555, nudge);
            let (before, one) = (load(stage.before), load(stage.one));
            for i in 0..t.rows {
                let sum = sums.add(i * V + v);
                let x = sum.read_unaligned();
                let (mut even, mut other) = (_mm512_mul_epi32(x, m), _mm512_mul_epi32(odd(x), m_odd));
                if AWAY {
                    even = _mm512_add_epi64(even, _mm512_srai_epi64::<63>(even));
                    other = _mm512_add_epi64(other, _mm512_srai_epi64::<63>(other));
                }
                let even = _mm512_srli_epi64::<31>(_mm512_add_epi64(even, nudge_even));
                let other = _mm512_slli_epi64::<1>(_mm512_add_epi64(other, nudge_odd));
                let high = _mm512_mask_mov_epi32(even, 0xaaaa, other);
                let below = _mm512_cmplt_epi32_mask(high, _mm512_setzero_si512());
                let low = _mm512_srav_epi32(_mm512_mask_sub_epi32(high, below, high, negative), before);
                sum.write_unaligned(_mm512_srav_epi32(_mm512_add_epi32(low, one), one));
            }
        }
        let narrow = Narrow::new(stage.zero_point, stage.range, t.cols);
        for i in 0..t.rows {
            let mut y = [_mm512_setzero_si512(); V];
            for v in 0..V {
                y[v] = sums.add(i * V + v).read_unaligned();
            }
            narrow.store::<V>(y, c.add(i * t.ldc));
        }
    }
}

/// `scale(i, columns)` is the scale of row i and 16 columns.
///
/// # Safety
/// As [`finish`].
#[inline(always)]
unsafe fn floats<const H: usize, const V: usize>(
    t: &Args<'_>,
    acc: [[__m512i; V]; H],
    c: *mut f32,
    stage: &TileDequantize<'_>,
    scale: impl Fn(usize, __m512) -> __m512,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let (lo, hi) = (_mm512_set1_ps(stage.range.0), _mm512_set1_ps(stage.range.1));
        let bias = stage.bias_from(t.left);
        let limited = stage.range != (f32::NEG_INFINITY, f32::INFINITY);
        for v in 0..V {
            let columns = _mm512_loadu_ps(stage.scale.as_ptr().add(t.left + 16 * v));
            let bias = _mm512_loadu_ps(bias.add(16 * v));
            let mask = mask::<V>(t.cols, v);
            each_row::<H>(
                #[inline(always)]
                |i| {
                    let x = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][v]), scale(i, columns));
                    let mut x = _mm512_add_ps(x, bias);
                    if limited {
                        // Of a bound and NaN these return the second.
                        x = _mm512_min_ps(hi, _mm512_max_ps(lo, x));
                    }
                    _mm512_mask_storeu_ps(c.add(i * t.ldc).wrapping_add(16 * v), mask, x);
                },
            );
        }
    }
}

/// [`bytes`] with rows' scales, terms in f64 and a residual. A function of its own, as [`fixed`] is.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows of V vectors.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn more_bytes<const V: usize>(
    t: &Args<'_>,
    sums: *const __m512i,
    c: *mut u8,
    stage: &TileRequantize<'_>,
) {
    // SAFETY: as in `finish`; the residual has `top` + H rows of `cols` bytes.
    unsafe {
        let narrow = Narrow::new(stage.zero_point, stage.range, t.cols);
        let most = _mm512_set1_ps((1 << 30) as f32);
        for i in 0..t.rows {
            let row_scale = stage.row_scale.map(|rows| _mm512_set1_ps(*rows.get_unchecked(t.top + i)));
            let mut residual = [0u8; 128];
            if let Some(r) = stage.residual {
                let from = r.bits.as_ptr().add((t.top + i) * r.stride + t.left);
                for j in (0..16 * V).step_by(64) {
                    let bytes = _mm512_maskz_loadu_epi8(narrow.masks[j / 64], from.add(j).cast());
                    let bytes = _mm512_xor_si512(bytes, _mm512_set1_epi8(r.less().0 as i8));
                    _mm512_storeu_si512(residual.as_mut_ptr().add(j).cast(), bytes);
                }
            }
            let mut y = [_mm512_setzero_si512(); V];
            for v in 0..V {
                let sum = sums.add(i * V + v).read_unaligned();
                let x = match &stage.real {
                    Some(real) => with_real(sum, real, t.top + i, t.left + 16 * v),
                    None => _mm512_cvtepi32_ps(sum),
                };
                let mut scale = _mm512_loadu_ps(stage.scale.as_ptr().add(t.left + 16 * v));
                if let Some(row) = row_scale {
                    scale = _mm512_mul_ps(row, scale);
                }
                let mut x = _mm512_mul_ps(x, scale);
                if let Some(r) = stage.residual {
                    let values = _mm512_cvtepu8_epi32(_mm_loadu_si128(residual.as_ptr().add(16 * v).cast()));
                    let values = _mm512_sub_epi32(values, _mm512_set1_epi32(r.less().1));
                    x = _mm512_add_ps(x, _mm512_mul_ps(_mm512_cvtepi32_ps(values), _mm512_set1_ps(r.scale)));
                }
                y[v] = _mm512_cvtps_epi32(_mm512_min_ps(x, most));
            }
            narrow.store::<V>(y, c.add(i * t.ldc));
        }
    }
}

/// [`floats`] with terms in f64. A function of its own, as [`fixed`] is.
///
/// # Safety
/// As [`finish`]; `sums` is valid for `t.rows` rows of V vectors.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn more_floats<const V: usize>(
    t: &Args<'_>,
    sums: *const __m512i,
    c: *mut f32,
    stage: &TileDequantize<'_>,
    real: &F64Terms<'_>,
) {
    // SAFETY: as in `finish`.
    unsafe {
        let (lo, hi) = (_mm512_set1_ps(stage.range.0), _mm512_set1_ps(stage.range.1));
        let bias = stage.bias_from(t.left);
        for i in 0..t.rows {
            let row_scale = stage.row_scale.map(|rows| _mm512_set1_ps(*rows.get_unchecked(t.top + i)));
            for v in 0..V {
                let x = with_real(sums.add(i * V + v).read_unaligned(), real, t.top + i, t.left + 16 * v);
                let mut scale = _mm512_loadu_ps(stage.scale.as_ptr().add(t.left + 16 * v));
                if let Some(row) = row_scale {
                    scale = _mm512_mul_ps(row, scale);
                }
                let bias = _mm512_loadu_ps(bias.add(16 * v));
                let x = _mm512_add_ps(_mm512_mul_ps(x, scale), bias);
                // Of a bound and NaN these return the second.
                let x = _mm512_min_ps(hi, _mm512_max_ps(lo, x));
                let c = c.add(i * t.ldc).wrapping_add(16 * v);
                _mm512_mask_storeu_ps(c, mask::<V>(t.cols, v), x);
            }
        }
    }
}

/// Sixteen sums of row `i`, from column `j` on, with their terms, rounded to f32.
///
/// # Safety
/// The terms have such a row and columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn with_real(sum: __m512i, real: &F64Terms<'_>, i: usize, j: usize) -> __m512 {
    // SAFETY: the caller's promise.
    unsafe {
        let add = |part: __m256i, j: usize| {
            let x = _mm512_add_pd(_mm512_cvtepi32_pd(part), _mm512_loadu_pd(real.col.as_ptr().add(j)));
            _mm256_castps_pd(_mm512_cvtpd_ps(match real.row {
                Some(row) => _mm512_add_pd(x, _mm512_set1_pd(*row.get_unchecked(i))),
                None => x,
            }))
        };
        let low = add(_mm512_castsi512_si256(sum), j);
        let high = add(_mm512_extracti64x4_epi64::<1>(sum), j + 8);
        _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(low), high))
    }
}
