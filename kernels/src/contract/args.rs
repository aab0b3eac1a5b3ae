//! The arguments of a micro-kernel.

use crate::contract::limits::LEAST_TALL;
use crate::contract::stage::{OuterProduct, Output, TileDequantize, TileFixedPoint, TileRequantize};

/// What a micro-kernel is called with. All pointers are valid for what `Ready::run` checked.
#[derive(Clone, Copy)]
// No kernel of another target is fused.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(crate) struct Args<'a> {
    pub(crate) k: usize,
    /// `rows` rows of `k` elements, `lda` bytes apart.
    pub(crate) a: *const u8,
    pub(crate) lda: usize,
    /// A panel, or two one after the other.
    pub(crate) b: *const u8,
    /// 1..=MR, or more as [`Takes`] says.
    pub(crate) rows: usize,
    /// 1..=NR; of two panels 2·NR - 15..=2·NR.
    pub(crate) cols: usize,
    /// NR values per panel.
    pub(crate) col: *const i32,
    /// `rows` values.
    pub(crate) row: *const i32,
    /// Of this tile's rows on; for fused kernels only, others get none.
    pub(crate) outer: &'a [OuterProduct<'a>],
    /// The first of this tile's rows and columns in `outer` and in what the output is made with.
    pub(crate) top: usize,
    pub(crate) left: usize,
    pub(crate) out: Out<'a>,
    /// Elements from one row of the output to the next.
    pub(crate) ldc: usize,
    /// See [`Features::slow_stores`].
    pub(crate) slow_stores: bool,
}

/// `rows` rows of `cols` elements. Kernels that are not fused get sums only.
#[derive(Clone, Copy)]
pub(crate) enum Out<'a> {
    /// To store, or to add to what is there.
    Sums { c: *mut i32, accumulate: bool },
    /// The bit patterns of 8-bit values.
    Bytes { c: *mut u8, stage: &'a TileRequantize<'a> },
    /// The same, made in integers.
    FixedBytes { c: *mut u8, stage: &'a TileFixedPoint<'a> },
    /// f32 values.
    Floats { c: *mut f32, stage: &'a TileDequantize<'a> },
}

/// # Safety
/// The CPU has the kernel's instructions, and the arguments are as documented at [`Args`].
pub(crate) type MicroFn = unsafe fn(&Args<'_>);

impl<'o> Output<'o, '_> {
    /// For kernels; and the elements from one row to the next.
    pub(crate) fn as_out(&mut self) -> (Out<'_>, usize) {
        match self {
            Output::Sums { c, accumulate } => {
                (Out::Sums { c: c.as_mut_ptr(), accumulate: *accumulate }, c.row_stride())
            }
            Output::Bytes { c, stage } => (Out::Bytes { c: c.as_mut_ptr(), stage }, c.row_stride()),
            Output::FixedBytes { c, stage } => (Out::FixedBytes { c: c.as_mut_ptr(), stage }, c.row_stride()),
            Output::Floats { c, stage } => (Out::Floats { c: c.as_mut_ptr(), stage }, c.row_stride()),
        }
    }
}

impl Out<'_> {
    /// The same, `offset` elements on.
    pub(crate) fn at(self, offset: usize) -> Self {
        match self {
            Out::Sums { c, accumulate } => Out::Sums { c: c.wrapping_add(offset), accumulate },
            Out::Bytes { c, stage } => Out::Bytes { c: c.wrapping_add(offset), stage },
            Out::FixedBytes { c, stage } => Out::FixedBytes { c: c.wrapping_add(offset), stage },
            Out::Floats { c, stage } => Out::Floats { c: c.wrapping_add(offset), stage },
        }
    }

    /// From how many rows on it is faster to make it in a tall product than in tiles, which have less to do before the
    /// first product and more after the last (Zen 4, 2026-11-27). `None` where tall products do not make it.
    pub(crate) fn least_tall(&self) -> Option<usize> {
        match self {
            Out::Sums { accumulate: false, .. } => Some(LEAST_TALL),
            Out::Bytes {
                stage: TileRequantize { real: None, residual: None, row_scale: None, .. }, ..
            } => Some(48),
            _ => None,
        }
    }
}

impl Args<'_> {
    /// The output of a kernel that is not fused, and whether to add to what is there.
    pub(crate) fn sums(&self) -> (*mut i32, bool) {
        match self.out {
            Out::Sums { c, accumulate } => (c, accumulate),
            _ => unreachable!("`Ready::run` gives such a kernel nothing else"),
        }
    }
}
