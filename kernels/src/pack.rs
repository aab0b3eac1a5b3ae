//! The panel layout.
//!
//! A panel holds NR columns of B (fewer are padded with zeros), in groups of KR values of k:
//!
//! ```text
//!   NR = 3, KR = 2, K = 3                    panel, left to right, row by row
//!
//!        j0 j1 j2
//!   k0   a  d  g                              a b  d e  g h     k-group 0
//!   k1   b  e  h                              c 0  f 0  i 0     k-group 1, padded with 0
//!   k2   c  f  i
//! ```
//!
//! Element (k, j) lies at `(k / KR · NR + j) · KR + k % KR`. The value of the padding does not matter
//! to kernels (A counts as 0 there), only that there is some.

use crate::{Kernel, Stored};
use bytemuck::{cast_slice, cast_slice_mut};
use multiversion::multiversion;

/// The bytes that `align(64)` panels are made of.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Where element (k, j) of a panel lies, in elements.
pub fn index(kernel: &Kernel, k: usize, j: usize) -> usize {
    (k / kernel.kr * kernel.nr + j) * kernel.kr + k % kernel.kr
}

/// How the bytes of a source become stored elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convert {
    /// As they are.
    Copy,
    /// Sign bit inverted: between u8 and i8, a shift of the value by 128.
    Flip,
    /// i8 to i16.
    Extend,
    /// u8 to i16.
    ZeroExtend,
}

impl Convert {
    /// From a source of i8 (`signed`) or u8 to `stored`.
    pub fn new(signed: bool, stored: Stored) -> Self {
        match (signed, stored) {
            (true, Stored::I8) | (false, Stored::U8) => Convert::Copy,
            (true, Stored::U8) | (false, Stored::I8) => Convert::Flip,
            (true, Stored::I16) => Convert::Extend,
            (false, Stored::I16) => Convert::ZeroExtend,
        }
    }

    /// What to add to a value of the source to get the stored value.
    pub fn shift(self, signed: bool) -> i32 {
        match (self, signed) {
            (Convert::Flip, true) => 128,
            (Convert::Flip, false) => -128,
            _ => 0,
        }
    }
}

/// A matrix to pack: element (k, j) is `bits[k * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The bit patterns, from the panel's first element on.
    pub bits: &'a [u8],
    /// Elements from one k to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub col_stride: usize,
}

/// Packs a panel: `k_len` rows and `cols` columns of `source`; the rest of the panel becomes 0.
///
/// # Panics
/// If `panel` is not exactly `kernel.panel_bytes(k_len, stored)` long, `cols` exceeds NR, the source
/// is too short, or (for 16-bit elements) the panel is not aligned to 2 bytes.
pub fn pack_panel(
    kernel: &Kernel,
    stored: Stored,
    convert: Convert,
    (k_len, cols): (usize, usize),
    source: Source<'_>,
    panel: &mut [u8],
) {
    assert_eq!(Some(panel.len()), kernel.panel_bytes(k_len, stored));
    assert!(cols <= kernel.nr);
    let group = kernel.nr * kernel.kr;
    let flip = if convert == Convert::Flip { 0x80 } else { 0 };
    match (stored, kernel.kr) {
        (Stored::I16, 1) => pack_16::<1>(source, convert, (k_len, cols), group, cast_slice_mut(panel)),
        (Stored::I16, 2) => pack_16::<2>(source, convert, (k_len, cols), group, cast_slice_mut(panel)),
        (Stored::U8 | Stored::I8, 4) => pack_8::<4>(source, flip, (k_len, cols), group, panel),
        (Stored::U8 | Stored::I8, 8) => pack_8::<8>(source, flip, (k_len, cols), group, panel),
        _ => unreachable!("no kernel has this layout"),
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_8<const KR: usize>(
    source: Source<'_>,
    flip: u8,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [u8],
) {
    pack_groups::<u8, KR>(source, |byte| byte ^ flip, (k_len, cols), group, panel);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_16<const KR: usize>(
    source: Source<'_>,
    convert: Convert,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [i16],
) {
    match convert {
        Convert::Extend => {
            pack_groups::<i16, KR>(source, |byte| i16::from(byte as i8), (k_len, cols), group, panel);
        }
        _ => pack_groups::<i16, KR>(source, i16::from, (k_len, cols), group, panel),
    }
}

/// One k-group after the other. Whole groups are interleaved from KR rows, or copied from columns,
/// whichever of the two is contiguous; what is left goes element by element.
#[inline(always)]
fn pack_groups<T: Copy + Default, const KR: usize>(
    source: Source<'_>,
    convert: impl Fn(u8) -> T,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [T],
) {
    let Source { bits, row_stride, col_stride } = source;
    for (g, out) in panel.chunks_exact_mut(group).enumerate() {
        let whole = (g + 1) * KR <= k_len;
        let (cells, padding) = out.split_at_mut(cols * KR);
        padding.fill(T::default());
        let cells = cells.chunks_exact_mut(KR);
        if whole && col_stride == 1 {
            let rows: [&[u8]; KR] = core::array::from_fn(|r| &bits[(g * KR + r) * row_stride..][..cols]);
            for (j, cell) in cells.enumerate() {
                for r in 0..KR {
                    cell[r] = convert(rows[r][j]);
                }
            }
        } else if whole && row_stride == 1 {
            for (j, cell) in cells.enumerate() {
                let column = &bits[j * col_stride + g * KR..][..KR];
                for r in 0..KR {
                    cell[r] = convert(column[r]);
                }
            }
        } else {
            for (j, cell) in cells.enumerate() {
                for (r, cell) in cell.iter_mut().enumerate() {
                    let k = g * KR + r;
                    let inside = k < k_len;
                    *cell =
                        if inside { convert(bits[k * row_stride + j * col_stride]) } else { T::default() };
                }
            }
        }
    }
}

/// The stored value of element (k, j) of a panel.
pub fn panel_value(kernel: &Kernel, stored: Stored, panel: &[u8], k: usize, j: usize) -> i16 {
    let at = index(kernel, k, j);
    match stored {
        Stored::I16 => cast_slice::<u8, i16>(panel)[at],
        Stored::U8 => i16::from(panel[at]),
        Stored::I8 => i16::from(panel[at] as i8),
    }
}
