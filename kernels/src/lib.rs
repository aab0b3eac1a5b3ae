//! The micro-kernels of qgemm, and all of its `unsafe`.
//!
//! A micro-kernel multiplies a few rows of A by one packed panel of B (or two, where the rows are fewest):
//!
//! ```text
//!                  cols <= NR
//!               +--------------+
//!               |   panel of B |  K (packed in groups of KR, see `pack`)
//!               +--------------+
//!      K
//!  +--------+   +--------------+
//!  |   A    |   |      C       |  rows, MR at a time
//!  +--------+   +--------------+
//!
//!  sum[i][j] = Σ_k (A[i][k] + a_shift)·B[k][j] + col[j] + row[i] - Σ_o outer[o].row[i]·outer[o].col[j]   modulo 2^32
//! ```
//!
//! and stores the sums, or 8-bit or f32 values made from them (see `finish`).
//!
//! [`TABLE`] lists them as data. A kernel runs only through a [`Ready`], which cannot be had without
//! [`Features`] that show the CPU to have its instructions. No allocation; `std` (a default feature)
//! serves to detect the CPU, nothing else.
#![no_std]

#[cfg(feature = "std")]
extern crate std;

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod block;
mod detect;
mod finish;
mod pack;
mod pages;
pub mod peak;
mod portable;
mod proven;
mod real;
mod rows;
mod scalar;
pub mod selftest;
mod stats;
mod sweep;
mod table;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use block::{BlockMut, LayoutError, extent};
use core::fmt;
pub use detect::{Caches, Features, Isa};
pub use finish::{
    F64Terms, MAX_ZERO_POINT, NO_BIAS, Output, TileDequantize, TileFixedPoint, TileRequantize, TileResidual,
};
pub use pack::{
    Convert, Line, MAX_PACK_ROWS, PANELS_SIDE_BY_SIDE, PackJob, Source, pack_panel, pack_panels,
    packs_side_by_side, panel_index, panel_value,
};
pub use pages::prefer_huge;
pub use proven::provable_i16_groups;
pub use real::{F32Rows, QuantizedRows, RowExtremes, RowParams};
pub use rows::{add_row_sums, flip_signs, widen};
pub use stats::ColumnStats;
pub use sweep::{MAX_SWEEP_ROWS, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums};
pub use table::look_up;

/// The types that a kernel multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// Both, widened to 16 bits.
    I16,
}

impl Stored {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            Stored::U8 | Stored::I8 => 1,
            Stored::I16 => 2,
        }
    }
}

/// A pair of types that a kernel multiplies, and the function that does.
pub struct Variant {
    /// What A is read as.
    pub a: Stored,
    /// What the panels hold.
    pub b: Stored,
    /// What the kernel adds to the values of A before it multiplies them: 128, if it inverts the sign bits
    /// of i8 as it reads them, else 0.
    pub a_shift: i32,
    micro: MicroFn,
}

impl Variant {
    /// How A, of i8 (`signed`) or u8, becomes what the kernel reads; and what that and the kernel add to its values
    /// before they are multiplied.
    #[inline]
    pub fn convert_a(&self, signed: bool) -> (pack::Convert, i32) {
        let convert = pack::Convert::new(signed, self.a);
        (convert, convert.shift(signed) + self.a_shift)
    }
}

/// A row of the table.
pub struct Kernel {
    /// Instruction set, MRxNR, KR after the `c`, steps (if any) after the `s`: `avx512vnni-6x64c4`.
    pub name: &'static str,
    /// The instructions it needs.
    pub isa: Isa,
    /// The most rows of a tile.
    pub mr: usize,
    /// The columns of a panel; a power of two.
    pub nr: usize,
    /// The values of k that lie side by side in a panel; a power of two.
    pub kr: usize,
    /// 0 for a kernel that is exact for every B. Else how many k-groups it sums in 16 bits, which is exact
    /// only for panels that [`proven::provable_i16_groups`] finds to allow as many.
    pub i16_groups: usize,
    /// Whether it makes 8-bit and f32 outputs itself, from registers. The others store sums only.
    pub fused: bool,
    /// What its functions take besides tiles.
    takes: Takes,
    /// The types it multiplies. An 8-bit kernel has a variant for each sign of A; of a 16-bit one the first serves all
    /// inputs, and there may be another for panels that are [`widened`](Self::widened).
    pub variants: &'static [Variant],
}

/// What the functions of a kernel take besides tiles of at most MR x NR.
#[derive(Clone, Copy)]
struct Takes {
    /// So few rows, of two panels at once, the second one full but for 15 columns at most.
    abreast: usize,
    /// With at most so many values of k, tall products: any number of rows beyond MR that [`TALL`] divides, for
    /// the outputs that have an [`Out::least_tall`]. Each row of A is read to the end of its last k-group.
    tall: usize,
}

/// Tall products have a multiple of so many rows.
const TALL: usize = 4;
/// No output has a lower [`Out::least_tall`].
const LEAST_TALL: usize = 24;

impl Takes {
    const TILES: Self = Self { abreast: 0, tall: 0 };
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The widest panel of any kernel.
pub const MAX_NR: usize = 64;
/// The most steps of any kernel.
pub const MAX_I16_GROUPS: usize = 8;
/// The highest tile of any kernel.
pub const MAX_MR: usize = 12;

/// Terms of columns to which nothing is added. As wide as two panels, the most of a call, and the same for all: as many
/// as there are columns would have to come from memory.
static NO_COL: [i32; 2 * MAX_NR] = [0; 2 * MAX_NR];

/// Every kernel of this target, the narrowest instruction set first.
pub static TABLE: &[&Kernel] = &[
    &scalar::KERNEL,
    &portable::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx2::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_proven::STEPS[0],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_proven::STEPS[1],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_proven::STEPS[2],
    #[cfg(target_arch = "x86_64")]
    &x86::avx2_proven::STEPS[3],
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx_vnni_int8::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_bw::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K12X16,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K12X32,
    #[cfg(target_arch = "x86_64")]
    &x86::avx512_vnni::K6X64,
    #[cfg(target_arch = "aarch64")]
    &aarch64::neon::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::dotprod::KERNEL,
    #[cfg(target_arch = "aarch64")]
    &aarch64::i8mm::DOT,
    #[cfg(target_arch = "aarch64")]
    &aarch64::i8mm::MATRIX,
];

/// A kernel that this CPU can run: the witness without which none runs.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    kernel: &'static Kernel,
    slow_stores: bool,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.kernel, other.kernel)
    }
}

/// What a micro-kernel is called with. All pointers are valid for what `Ready::run` checked.
#[derive(Clone, Copy)]
// No kernel of another target is fused.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Args<'a> {
    k: usize,
    /// `rows` rows of `k` elements, `lda` bytes apart.
    a: *const u8,
    lda: usize,
    /// A panel, or two one after the other.
    b: *const u8,
    /// 1..=MR, or more as [`Takes`] says.
    rows: usize,
    /// 1..=NR; of two panels 2·NR - 15..=2·NR.
    cols: usize,
    /// NR values per panel.
    col: *const i32,
    /// `rows` values.
    row: *const i32,
    /// Of this tile's rows on; for fused kernels only, others get none.
    outer: &'a [OuterProduct<'a>],
    /// The first of this tile's rows and columns in `outer` and in what the output is made with.
    top: usize,
    left: usize,
    out: Out<'a>,
    /// Elements from one row of the output to the next.
    ldc: usize,
    /// See [`Features::slow_stores`].
    slow_stores: bool,
}

/// `rows` rows of `cols` elements. Kernels that are not fused get sums only.
#[derive(Clone, Copy)]
enum Out<'a> {
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
type MicroFn = unsafe fn(&Args<'_>);

/// Products of a value per row and a value per column, which are taken off the sums.
#[derive(Clone, Copy)]
pub struct OuterProduct<'a> {
    /// A value per row.
    pub row: &'a [i32],
    /// NR values per panel.
    pub col: &'a [i32],
}

/// A product of rows and panels: see the head of this crate.
pub struct PanelProduct<'a> {
    /// The common dimension.
    pub k: usize,
    /// Rows of `k` elements of the variant's type A; no byte past the last row's end is read.
    pub a: &'a [u8],
    /// Bytes from one row of A to the next.
    pub lda: usize,
    /// Panels, one after the other, as `pack` makes them.
    pub panels: &'a [u8],
    /// NR values per panel, added to every row, if anything is.
    pub col: Option<&'a [i32]>,
    /// A value per row, added to all its columns.
    pub row: &'a [i32],
    /// What is taken off.
    pub outer: &'a [OuterProduct<'a>],
}

/// The rows of the next tile, of those that are `left`. The last two tiles are of even height: those of 8 rows
/// at MR = 6 are 4 + 4, not 6 + 2.
#[inline]
pub fn tile_height(left: usize, mr: usize) -> usize {
    if left >= 2 * mr || left == mr {
        mr
    } else if left > mr {
        left.div_ceil(2)
    } else {
        left
    }
}

impl Kernel {
    /// The witness, if `features` include the kernel's.
    pub fn ready(&'static self, features: &Features) -> Option<Ready> {
        features.has(self.isa).then_some(Ready { kernel: self, slow_stores: features.slow_stores() })
    }

    /// Of a variant whose panels hold i8 that it widens to i16 as it reads them, the one that reads panels of the same
    /// layout widened ahead: faster where that serves many rows.
    pub fn widened(&self, variant: &Variant) -> Option<&'static Variant> {
        let both = (variant.a, variant.b) == (Stored::I16, Stored::I8);
        self.variants.iter().find(|other| both && (other.a, other.b) == (Stored::I16, Stored::I16))
    }

    /// Bytes of a panel of `k` rows whose elements are `stored`; `None` where that overflows.
    #[inline]
    pub fn panel_bytes(&self, k: usize, stored: Stored) -> Option<usize> {
        self.padded(k)?.checked_mul(self.nr * stored.size())
    }

    /// `k`, rounded up to whole k-groups; `None` where that overflows.
    #[inline]
    pub fn padded(&self, k: usize) -> Option<usize> {
        // KR is a power of two, and this is called too often for a division.
        Some(k.checked_add(self.kr - 1)? & !(self.kr - 1))
    }
}

impl core::ops::Deref for Ready {
    type Target = Kernel;
    #[inline]
    fn deref(&self) -> &Kernel {
        self.kernel
    }
}

impl Ready {
    /// The row of the table.
    pub fn table_row(&self) -> &'static Kernel {
        self.kernel
    }

    /// The same, for a CPU whose stores are so. Results do not depend on it.
    pub fn with_slow_stores(self, slow_stores: bool) -> Self {
        Self { slow_stores, ..self }
    }

    /// How many of the rows, the first ones, are a tall product: a multiple of [`TALL`] beyond MR, or 0.
    #[inline(never)]
    fn tall_rows(
        &self,
        variant: &Variant,
        p: &PanelProduct<'_>,
        rows: usize,
        lda: usize,
        out: &Out<'_>,
    ) -> usize {
        if p.k > self.takes.tall || p.k == 0 || out.least_tall().is_none_or(|least| rows < least) {
            return 0;
        }
        // KR is a power of two.
        let whole = p.k & (self.kr - 1) == 0;
        if whole {
            rows / TALL * TALL
        } else if lda >= self.kr * variant.a.size() {
            // The last row's last k-group is not all there; that of others is, as the next row ends so much later.
            (rows - 1) / TALL * TALL
        } else {
            0
        }
    }

    /// Multiplies the rows of A by as many panels as `output` has columns for. It has as many rows as A, which are
    /// slices.
    ///
    /// # Panics
    /// If a slice is shorter than the shape needs, or a kernel that is not fused is to make other outputs than sums.
    pub fn run(&self, variant: &Variant, p: &PanelProduct<'_>, mut output: Output<'_, '_>) {
        let (rows, cols) = output.shape();
        if rows == 0 || cols == 0 {
            return;
        }
        let own = self.kernel.variants.iter().any(|v| core::ptr::eq(v, variant));
        assert!(own, "a variant of another kernel");
        // NR is a power of two, and this is called too often for a division.
        let padded =
            cols.checked_add(self.nr - 1).expect("columns beyond the address space") & !(self.nr - 1);
        let panels = padded >> self.nr.trailing_zeros();
        assert!(output.fits(rows, padded), "an output of another shape");
        assert!(self.fused || matches!(output, Output::Sums { .. }), "the kernel is not fused");
        let row_bytes = p.k.checked_mul(variant.a.size());
        // Of rows without elements nothing is read, wherever they are.
        let lda = if p.k == 0 { 0 } else { p.lda };
        let need_a = (rows - 1).checked_mul(lda).zip(row_bytes).and_then(|(x, y)| x.checked_add(y));
        assert!(need_a.is_some_and(|need| need <= p.a.len()), "A is too short");
        let panel_bytes = self.panel_bytes(p.k, variant.b).expect("a panel beyond the address space");
        let need_b = panel_bytes.checked_mul(panels);
        assert!(need_b.is_some_and(|need| need <= p.panels.len()), "the panels are too short");
        let col_fits = p.col.is_none_or(|col| col.len() >= padded);
        assert!(col_fits && p.row.len() >= rows, "the terms are too short");
        let long = |outer: &OuterProduct<'_>| outer.row.len() >= rows && outer.col.len() >= padded;
        assert!(p.outer.iter().all(long), "the outer terms are too short");

        let (out, ldc) = output.as_out();
        let tall = if rows < LEAST_TALL { 0 } else { self.tall_rows(variant, p, rows, lda, &out) };
        let (mut j, mut panel) = (0, 0);
        while j < cols {
            let two = rows <= self.takes.abreast && cols - j > 2 * self.nr - 16;
            let width = if two { 2 * self.nr } else { self.nr }.min(cols - j);
            let mut i = 0;
            while i < rows {
                let h = if i < tall { tall } else { tile_height(rows - i, self.mr) };
                // SAFETY: the witness shows the CPU to have the instructions. The asserts above show A to hold `rows`
                // rows of k elements, the panels to be whole, all terms and scales to be long enough (`NO_COL` is for
                // the one or two panels of this call); the output is a block of rows x cols elements whose rows are
                // contiguous, borrowed exclusively. i + h <= rows, so rows i..i+h of each lie within them; j is a
                // multiple of NR and j + width <= cols, so do columns j..j+width, and their panels. Two panels, and
                // more rows than MR, are asked only of kernels that take them, as they say; then row h - 1 has whole
                // k-groups, or row h ends at least a k-group after it.
                unsafe {
                    (variant.micro)(&Args {
                        k: p.k,
                        a: p.a.as_ptr().add(i * lda),
                        lda,
                        b: p.panels.as_ptr().add(panel * panel_bytes),
                        rows: h,
                        cols: width,
                        col: p.col.map_or(NO_COL.as_ptr(), |col| col.as_ptr().add(j)),
                        row: p.row.as_ptr().add(i),
                        outer: if self.fused { p.outer } else { &[] },
                        top: i,
                        left: j,
                        out: out.at(i * ldc + j),
                        ldc,
                        slow_stores: self.slow_stores,
                    });
                }
                i += h;
            }
            j += width;
            panel += if two { 2 } else { 1 };
        }
        if let (false, Output::Sums { c, .. }) = (self.fused, output) {
            finish::take_off(p.outer, c);
        }
    }
}
