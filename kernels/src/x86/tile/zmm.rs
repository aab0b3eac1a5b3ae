//! The tiles of the 512-bit kernels. Their files give the dot product; everything else is here.
//!
//! A k-group is 4 bytes of a row of A (4 bytes or 2 words, KR of them) and 16 times 4 bytes of the
//! panel per vector:
//!
//! ```text
//!   panel, one k-group:  j0 (KR values) j1 .. j15 | j16 .. | ..       NR/16 zmm
//!   A, row i:            the 4 bytes of the group, in all lanes       vpbroadcastd
//! ```
//!
//! Registers, of 32: 24 accumulators (12 at NR = 16), NR/16 of B, 1 of A, 1 product where the
//! instruction does not add it itself. The accumulators start from the row and column terms. Where the last panel has
//! fewer columns that are stored, vectors without any are left out, and of a last one with 8 or fewer only the lower half
//! is multiplied and stored: Zen 4 does two halves in the time of a whole, other CPUs should do a half in no more than a
//! whole. That gained 10 to 30 % at N = 24 and up to 40 % at N = 8 (Zen 4, 2026-11-27).

use crate::contract::args::{Args, Out};
use crate::x86::k_group::{Elements, partial_group};
use crate::x86::tile::zmm_epilogue::{finish, half, store_sums};
use core::arch::x86_64::*;

/// An instruction set with a pair of stored types.
pub trait Tiles {
    /// What is multiplied.
    const ELEMENTS: Elements;

    /// Adds to each 32-bit lane of `acc` the products of the lane's groups.
    ///
    /// # Safety
    /// The caller has the instructions, and is where this is inlined.
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i;

    /// The same of 8 lanes.
    ///
    /// # Safety
    /// As [`dot`](Self::dot).
    unsafe fn dot_8(acc: __m256i, a: __m256i, b: __m256i) -> __m256i;

    /// Calls [`tile`] in a function that has the instructions.
    ///
    /// # Safety
    /// As for [`tile`], and the CPU has the instructions.
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize>(t: &Args<'_>);
}

/// So few rows are multiplied by two panels at once: two streams come faster from memory than one, and end half as
/// often. With one call for several panels that took 1x768x3072 from 80 to 90 GMAC/s (with 8-bit outputs from 72 to 84),
/// and 1x4096x11008 from 54 to 57 (Zen 4, 2026-11-26).
pub const ABREAST: usize = 3;

/// Tiles of up to 6 rows of panels 64 wide.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
pub unsafe fn micro_6x64<T: Tiles>(t: &Args<'_>) {
    /// # Safety
    /// As above, with H rows.
    #[inline]
    unsafe fn width<T: Tiles, const H: usize>(t: &Args<'_>) {
        // SAFETY: as above; the tile has as many vectors as hold the columns.
        unsafe {
            match t.cols.div_ceil(16) {
                1 => T::tile::<H, 1, 4>(t),
                2 => T::tile::<H, 2, 4>(t),
                3 => T::tile::<H, 3, 4>(t),
                _ => T::tile::<H, 4, 4>(t),
            }
        }
    }
    /// # Safety
    /// As above, with H rows, at most [`ABREAST`].
    #[inline]
    unsafe fn few<T: Tiles, const H: usize>(t: &Args<'_>) {
        // SAFETY: as above; two panels come with columns for all of their vectors.
        unsafe {
            match t.cols > 64 {
                true => T::tile::<H, 8, 4>(t),
                false => width::<T, H>(t),
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        match t.rows {
            1 => few::<T, 1>(t),
            2 => few::<T, 2>(t),
            3 => few::<T, 3>(t),
            4 => width::<T, 4>(t),
            5 => width::<T, 5>(t),
            _ => width::<T, 6>(t),
        }
    }
}

/// Tiles of up to 12 rows of panels 32 wide.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
pub unsafe fn micro_12x32<T: Tiles>(t: &Args<'_>) {
    // SAFETY: the caller's promise; the tile has as many vectors as hold the columns; two panels come with at most
    // ABREAST rows and columns for all of their vectors.
    unsafe {
        match (t.cols.div_ceil(16), t.rows) {
            (1, _) => height::<T, 1, 2>(t),
            (2, _) => height::<T, 2, 2>(t),
            (_, 1) => T::tile::<1, 4, 2>(t),
            (_, 2) => T::tile::<2, 4, 2>(t),
            _ => T::tile::<3, 4, 2>(t),
        }
    }
}

/// Tiles of up to 12 rows of panels 16 wide.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
pub unsafe fn micro_12x16<T: Tiles>(t: &Args<'_>) {
    // SAFETY: the caller's promise.
    unsafe { height::<T, 1, 1>(t) }
}

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with V = ceil(cols / 16).
#[inline]
unsafe fn height<T: Tiles, const V: usize, const PANEL: usize>(t: &Args<'_>) {
    // SAFETY: the caller's promise.
    unsafe {
        match t.rows {
            1 => T::tile::<1, V, PANEL>(t),
            2 => T::tile::<2, V, PANEL>(t),
            3 => T::tile::<3, V, PANEL>(t),
            4 => T::tile::<4, V, PANEL>(t),
            5 => T::tile::<5, V, PANEL>(t),
            6 => T::tile::<6, V, PANEL>(t),
            7 => T::tile::<7, V, PANEL>(t),
            8 => T::tile::<8, V, PANEL>(t),
            9 => T::tile::<9, V, PANEL>(t),
            10 => T::tile::<10, V, PANEL>(t),
            11 => T::tile::<11, V, PANEL>(t),
            _ => T::tile::<12, V, PANEL>(t),
        }
    }
}

/// From so many k-groups on, tiles of few rows and one panel read both halves of it side by side, for the same
/// reason (34 GB/s against 25 on Zen 4, 80 against 77 from its third-level cache).
const TWO_STREAMS: usize = 64;

/// From so many k-groups on, a tile of sums or f32 asks for its part of C before it multiplies, and has it when it
/// stores: 2 to 4 % where C lies beyond the second-level cache, on Zen 4. Shorter tiles gain nothing.
const PREFETCH: usize = 128;

/// H rows and V vectors of columns of a panel that is PANEL vectors wide, or of two; `flips` is what is XORed to A.
///
/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn), with H rows and V = ceil(cols / 16); the caller has the instructions of T,
/// AVX-512 F, BW and VL among them, and is where this is inlined.
#[inline(always)]
pub unsafe fn tile<T: Tiles, const H: usize, const V: usize, const PANEL: usize>(
    t: &Args<'_>,
    flips: __m512i,
) {
    // SAFETY: throughout, the CPU has the instructions. `row` and A have H rows, `col` NR values; the panel
    // has all its k-groups, the last one padded; of A no more is read than the bytes of its rows.
    unsafe {
        let mut acc = start::<H, V>(t, 0);
        let bytes = t.k * T::ELEMENTS.size;
        let (groups, left) = (bytes / 4, bytes % 4);
        let mut first = 0;
        if H <= 3 && V <= PANEL && groups >= TWO_STREAMS {
            let middle = groups / 2;
            let mut other = [[_mm512_setzero_si512(); V]; H];
            for g in 0..middle {
                step::<T, H, V, PANEL, false>(t, g, flips, &mut acc);
                step::<T, H, V, PANEL, false>(t, middle + g, flips, &mut other);
            }
            for i in 0..H {
                for v in 0..V {
                    acc[i][v] = _mm512_add_epi32(acc[i][v], other[i][v]);
                }
            }
            first = 2 * middle;
        }
        let sums = match t.out {
            Out::Sums { c, accumulate } => Some((c, accumulate)),
            _ => None,
        };
        let words = match t.out {
            Out::Sums { c, .. } => Some(c),
            Out::Floats { c, .. } => Some(c.cast()),
            _ => None,
        };
        if let (Some(c), true) = (words, groups >= PREFETCH) {
            for i in 0..H {
                for v in 0..V {
                    _mm_prefetch::<_MM_HINT_T0>(c.wrapping_add(i * t.ldc + 16 * v).cast());
                }
            }
        }
        let rows_at_last = match (sums, t.outer) {
            (Some(sums), []) if t.slow_stores && first == 0 && groups >= if V == 2 { 1 } else { 8 } => {
                Some(sums)
            }
            _ => None,
        };
        match (V <= PANEL && half::<V>(t.cols), rows_at_last) {
            (true, Some(sums)) if V.is_multiple_of(2) => {
                return row_by_row::<T, H, V, PANEL, true>(t, (groups, left), flips, acc, sums);
            }
            (false, Some(sums)) => {
                return row_by_row::<T, H, V, PANEL, false>(t, (groups, left), flips, acc, sums);
            }
            (true, _) => {
                for g in first..groups {
                    step::<T, H, V, PANEL, true>(t, g, flips, &mut acc);
                }
            }
            (false, None) => {
                for g in first..groups {
                    step::<T, H, V, PANEL, false>(t, g, flips, &mut acc);
                }
            }
        }
        if left > 0 {
            each_row::<H>(
                #[inline(always)]
                |i| rest::<T, V, PANEL>(t, i, (groups, left), flips, &mut acc[i]),
            );
        }
        finish(t, acc);
    }
}

/// Sums, of which the last few groups go row by row: while a row is stored, which takes Zen 4 two cycles a vector, the
/// products of the next keep the multipliers busy. Each row loads the panel's vectors again, so with few of them one
/// group is best. That gained 10 % there at K = N = 64 and 7 % at K = N = 32, and lost 7 % on Zen 5. Where the output is
/// 8 bits or f32 it lost 3 %, and 1 to 10 % where the last of an odd number of vectors is half of one.
///
/// # Safety
/// As for [`tile`]; there are `groups` k-groups, at least 4, or 1 where V <= 2, and `left` bytes more.
#[inline(always)]
unsafe fn row_by_row<T: Tiles, const H: usize, const V: usize, const PANEL: usize, const HALF: bool>(
    t: &Args<'_>,
    (groups, left): (usize, usize),
    flips: __m512i,
    mut acc: [[__m512i; V]; H],
    (c, accumulate): (*mut i32, bool),
) {
    // SAFETY: as in `tile`.
    unsafe {
        let last = if V > 2 { 4 } else { 1 };
        let together = groups - last;
        for g in 0..together {
            step::<T, H, V, PANEL, HALF>(t, g, flips, &mut acc);
        }
        each_row::<H>(
            #[inline(always)]
            |i| {
                for g in 0..last {
                    let a = group_of(t, together + g, i, flips);
                    for v in 0..V {
                        acc[i][v] = T::dot(acc[i][v], a, load::<T, PANEL>(t, together + g, v));
                    }
                }
                if left > 0 {
                    rest::<T, V, PANEL>(t, i, (groups, left), flips, &mut acc[i]);
                }
                store_sums::<V, HALF>(t, c.add(i * t.ldc), accumulate, acc[i]);
            },
        );
    }
}

/// What is added to the products of rows i..i + H.
///
/// # Safety
/// As for [`tile`]; there are such rows.
#[inline(always)]
pub unsafe fn start<const H: usize, const V: usize>(t: &Args<'_>, i: usize) -> [[__m512i; V]; H] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut acc = [[_mm512_setzero_si512(); V]; H];
        for v in 0..V {
            let col = _mm512_loadu_si512(t.col.add(16 * v).cast());
            for h in 0..H {
                acc[h][v] = _mm512_add_epi32(col, _mm512_set1_epi32(*t.row.add(i + h)));
            }
        }
        acc
    }
}

/// Adds the products of the `left` bytes of row `i` that follow its whole k-groups.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn rest<T: Tiles, const V: usize, const PANEL: usize>(
    t: &Args<'_>,
    i: usize,
    (groups, left): (usize, usize),
    flips: __m512i,
    acc: &mut [__m512i; V],
) {
    // SAFETY: as in `tile`.
    unsafe {
        let flips = _mm512_cvtsi512_si32(flips) as u32 >> (8 * (4 - left));
        let bytes = partial_group(t.a.add(i * t.lda + 4 * groups), left, groups > 0);
        let a = _mm512_set1_epi32(bytes ^ flips as i32);
        for v in 0..V {
            acc[v] = T::dot(acc[v], a, load::<T, PANEL>(t, groups, v));
        }
    }
}

/// Adds the products of k-group `g`, which must exist; with HALF, of the last vector only those of its first 8 columns.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
unsafe fn step<T: Tiles, const H: usize, const V: usize, const PANEL: usize, const HALF: bool>(
    t: &Args<'_>,
    g: usize,
    flips: __m512i,
    acc: &mut [[__m512i; V]; H],
) {
    // SAFETY: as in `tile`.
    unsafe {
        if V > PANEL {
            // One vector of B at a time: all of them and the accumulators would be too many registers.
            let mut a = [_mm512_setzero_si512(); H];
            for i in 0..H {
                a[i] = group_of(t, g, i, flips);
            }
            for v in 0..V {
                let b = load::<T, PANEL>(t, g, v);
                for i in 0..H {
                    acc[i][v] = T::dot(acc[i][v], a[i], b);
                }
            }
            return;
        }
        let mut b = [_mm512_setzero_si512(); V];
        for v in 0..V {
            b[v] = load::<T, PANEL>(t, g, v);
        }
        for i in 0..H {
            let a = group_of(t, g, i, flips);
            for v in 0..V {
                acc[i][v] = match HALF && v == V - 1 {
                    true => dot_8::<T>(acc[i][v], a, b[v]),
                    false => T::dot(acc[i][v], a, b[v]),
                };
            }
        }
    }
}

/// K-group `g` of row `i`, in all lanes.
///
/// # Safety
/// As for [`tile`]; there is such a group.
#[inline(always)]
pub unsafe fn group_of(t: &Args<'_>, g: usize, i: usize, flips: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let a = _mm512_set1_epi32(t.a.add(i * t.lda + 4 * g).cast::<i32>().read_unaligned());
        _mm512_xor_si512(a, flips)
    }
}

/// Vector `v` of k-group `g`, in the second panel from v = PANEL on.
///
/// # Safety
/// As for [`tile`]; there is such a group.
#[inline(always)]
unsafe fn load<T: Tiles, const PANEL: usize>(t: &Args<'_>, g: usize, v: usize) -> __m512i {
    let panel = if v < PANEL { 0 } else { (t.k * T::ELEMENTS.size).div_ceil(4) };
    let at = ((panel + g) * PANEL + v % PANEL) * 64;
    // SAFETY: the caller's promise; of bytes the panel has half as many.
    unsafe {
        match T::ELEMENTS.widen {
            true => _mm512_cvtepi8_epi16(_mm256_loadu_si256(t.b.add(at / 2).cast())),
            false => _mm512_loadu_si512(t.b.add(at).cast()),
        }
    }
}

/// [`Tiles::dot`] of the first 8 lanes.
///
/// # Safety
/// As for [`Tiles::dot_8`].
#[inline(always)]
pub unsafe fn dot_8<T: Tiles>(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        let low = |x| _mm512_castsi512_si256(x);
        _mm512_zextsi256_si512(T::dot_8(low(acc), low(a), low(b)))
    }
}

/// Calls `f` with 0..H, for H up to 12. In a loop, which the compiler may leave one, the accumulators would be
/// memory, here and in the loop over k.
#[inline(always)]
pub fn each_row<const H: usize>(mut f: impl FnMut(usize)) {
    f(0);
    if H > 1 {
        f(1);
    }
    if H > 2 {
        f(2);
    }
    if H > 3 {
        f(3);
    }
    if H > 4 {
        f(4);
    }
    if H > 5 {
        f(5);
    }
    if H > 6 {
        f(6);
    }
    if H > 7 {
        f(7);
    }
    if H > 8 {
        f(8);
    }
    if H > 9 {
        f(9);
    }
    if H > 10 {
        f(10);
    }
    if H > 11 {
        f(11);
    }
}
