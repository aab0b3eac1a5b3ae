//! A row of the kernel table, made from the constants of the tile types that do its work.
//!
//! [`Ready::run`](crate::contract::ready::Ready) checks slices against MR, NR, KR and the stored types of a row, and
//! then calls code that reads and writes by its own MR, NR, KR and types. Both are the same constants: a [`Variant`]
//! can only be made from a [`Tile`], and a [`Kernel`] only from variants whose tiles agree.

use crate::contract::args::{Args, Extensions, MicroFn};
use crate::contract::limits::{MAX_I16_GROUPS, MAX_MR, MAX_NR};
use crate::detect::Isa;
use crate::elements::{Convert, Stored};
use core::fmt;

/// The multiply-add that a tile repeats: its instruction set and the types of its operands.
pub(crate) trait Instruction {
    /// The instruction set that the code is compiled for.
    const ISA: Isa;
    /// The type that A is read as.
    const A: Stored;
    /// The type that panels hold.
    const B: Stored;
    /// Values of k that lie side by side in a panel: a power of two.
    const KR: usize;
    /// Added to each value of A before it is multiplied: 128 if the code inverts the sign bits of i8, else 0.
    const A_SHIFT: i32 = 0;
    /// k-groups whose products are summed in 16 bits before they are widened: see [`Kernel::i16_groups`].
    const I16_GROUPS: usize = 0;
}

/// The code of a micro-kernel, with the numbers that it and its callers agree on.
///
/// # Safety
/// All functions keep to the contract of [`Args`] for these constants: they access no memory but what is listed there,
/// and use no instructions but those of [`Instruction::ISA`].
pub(crate) unsafe trait Tile {
    type Instruction: Instruction;
    /// The most rows of a tile.
    const MR: usize;
    /// The columns of a panel: a power of two.
    const NR: usize;
    /// The last panel of a matrix is as wide as its columns need, in multiples of this power of two.
    const PANEL_STEP: usize = Self::NR;
    /// Values per column, such as terms and scales, are read so many at a time: a power of two.
    const LANES: usize = Self::PANEL_STEP;
    /// The matrices that it is chosen for.
    const SUITS: Suits = Suits::ANY;
    /// Whether it makes 8-bit and f32 outputs from the sums in registers; else it stores sums only, and takes no outer
    /// products.
    const FUSED: bool = false;
    /// The calls that it takes beside tiles.
    const EXTENSIONS: Extensions = Extensions::NONE;

    /// A tile: at most MR rows.
    ///
    /// # Safety
    /// The CPU has the instructions, and the arguments keep the contract of [`Args`] for a tile.
    unsafe fn tile(t: &Args<'_>);

    /// Tiles of MR rows, one below the other. Afterwards `t` is the rows below.
    ///
    /// # Safety
    /// The CPU has the instructions, and the arguments keep the contract of [`Args`]; `rows` is a multiple of MR.
    unsafe fn whole_tiles(t: &mut Args<'_>) {
        let tiles = t.rows / Self::MR;
        t.rows = Self::MR;
        for _ in 0..tiles {
            // SAFETY: the caller's promise: there are as many tiles.
            unsafe { Self::tile(t) };
            t.move_down(Self::MR);
        }
    }

    /// Any number of rows: the micro-kernel.
    ///
    /// # Safety
    /// The CPU has the instructions, and the arguments keep the contract of [`Args`].
    #[inline(always)]
    unsafe fn micro(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { if t.rows <= Self::MR { Self::tile(t) } else { several_tiles::<Self>(t) } }
    }
}

/// More rows than one tile has. Not inlined: a single tile would save its registers.
///
/// # Safety
/// The contract of [`Tile::micro`].
#[inline(never)]
pub(crate) unsafe fn several_tiles<T: Tile + ?Sized>(t: &mut Args<'_>) {
    let mut left = t.rows;
    // SAFETY: the caller's promise: the heights add up to `rows`, and `tile_height` is 1..=MR.
    unsafe {
        let whole = rows_of_whole_tiles(left, T::MR);
        if whole > 0 {
            t.rows = whole;
            T::whole_tiles(t);
            left -= whole;
        }
        while left > 0 {
            t.rows = tile_height(left, T::MR);
            left -= t.rows;
            T::tile(t);
            t.move_down(t.rows);
        }
    }
}

/// The stored type of 8 bits with or without a sign.
pub(crate) const fn byte_type(signed: bool) -> Stored {
    if signed { Stored::I8 } else { Stored::U8 }
}

/// A pair of types that a kernel multiplies, and the function that does it.
pub struct Variant {
    /// The type that A is read as.
    pub a: Stored,
    /// The type that panels hold.
    pub b: Stored,
    /// Added by the kernel to each value of A before it is multiplied: 128 if it inverts the sign bits of i8 as it
    /// reads them, else 0.
    pub a_shift: i32,
    micro: MicroFn,
    shape: Shape,
}

/// The matrices that a kernel is chosen for: B of so many columns and values of k.
#[derive(Clone, Copy)]
pub struct Suits {
    /// The most columns.
    pub most_columns: usize,
    /// The least number of values of k, as a multiple of one more than the columns.
    pub k_per_column: usize,
}

impl Suits {
    /// Any matrix.
    pub(crate) const ANY: Self = Self { most_columns: usize::MAX, k_per_column: 0 };

    /// Whether B of `k` rows and `n` columns is one of them.
    pub fn holds(&self, k: usize, n: usize) -> bool {
        n <= self.most_columns && k >= self.k_per_column.saturating_mul(n.saturating_add(1))
    }

    const fn is(&self, other: &Self) -> bool {
        self.most_columns == other.most_columns && self.k_per_column == other.k_per_column
    }
}

/// The constants in which all variants of a kernel agree.
#[derive(Clone, Copy)]
struct Shape {
    isa: Isa,
    mr: usize,
    nr: usize,
    panel_step: usize,
    lanes: usize,
    suits: Suits,
    kr: usize,
    i16_groups: usize,
    fused: bool,
    extensions: Extensions,
}

impl Shape {
    /// # Panics
    /// If [`Ready::run`](crate::contract::ready::Ready) could not rely on one of the numbers.
    const fn check(&self) {
        assert!(1 <= self.mr && self.mr <= MAX_MR);
        // Columns are rounded up to panels by masks and shifts.
        assert!(self.nr.is_power_of_two() && self.nr <= MAX_NR);
        assert!(self.panel_step.is_power_of_two() && self.panel_step <= self.nr);
        assert!(self.lanes.is_power_of_two() && self.panel_step <= self.lanes && self.lanes <= MAX_NR);
        // k is rounded up to k-groups by masks.
        assert!(self.kr.is_power_of_two());
        // Runs of k-groups in a K block are whole: block sizes are multiples of `MAX_I16_GROUPS` groups.
        assert!(
            self.i16_groups == 0 || (self.i16_groups.is_power_of_two() && self.i16_groups <= MAX_I16_GROUPS)
        );
        let Extensions { two_panels_up_to_rows, b_stationary_up_to_k } = self.extensions;
        // More than 2·NR - 16 columns are more than NR, so that there is a second panel, and that is as wide as the first;
        // and 2·NR column terms are at most the 2·MAX_NR of `NO_COL` and `NO_BIAS`.
        assert!(two_panels_up_to_rows == 0 || (self.panel_step >= 16 && two_panels_up_to_rows <= self.mr));
        // The sums of both are stored, or made into outputs, by the code itself.
        assert!(b_stationary_up_to_k == 0 || self.fused);
    }

    const fn is(&self, other: &Self) -> bool {
        let (e, f) = (self.extensions, other.extensions);
        self.isa as usize == other.isa as usize
            && self.mr == other.mr
            && self.nr == other.nr
            && self.panel_step == other.panel_step
            && self.lanes == other.lanes
            && self.suits.is(&other.suits)
            && self.kr == other.kr
            && self.i16_groups == other.i16_groups
            && self.fused == other.fused
            && e.two_panels_up_to_rows == f.two_panels_up_to_rows
            && e.b_stationary_up_to_k == f.b_stationary_up_to_k
    }
}

impl Variant {
    /// The variant that a tile is the code of.
    pub(crate) const fn of<T: Tile>() -> Self {
        const {
            // A panel may hold i8 beside i16 values of A, which the code widens; else both are of one width.
            let (a, b) = (<T::Instruction as Instruction>::A, <T::Instruction as Instruction>::B);
            assert!(a.size() == b.size() || matches!((a, b), (Stored::I16, Stored::I8)));
        }
        let shape = Shape {
            isa: T::Instruction::ISA,
            mr: T::MR,
            nr: T::NR,
            panel_step: T::PANEL_STEP,
            lanes: T::LANES,
            suits: T::SUITS,
            kr: T::Instruction::KR,
            i16_groups: T::Instruction::I16_GROUPS,
            fused: T::FUSED,
            extensions: T::EXTENSIONS,
        };
        shape.check();
        Self {
            a: T::Instruction::A,
            b: T::Instruction::B,
            a_shift: T::Instruction::A_SHIFT,
            micro: T::micro,
            shape,
        }
    }

    /// The code: a tile of the kernel that this is a variant of.
    #[inline]
    pub(crate) fn micro(&self) -> MicroFn {
        self.micro
    }

    /// A variant with other code, to see the self-test find what is wrong with it.
    ///
    /// # Safety
    /// `micro` keeps to the contract of [`Tile`] for the constants of this variant, apart from `fused`, and the
    /// results.
    #[cfg(test)]
    pub(crate) unsafe fn with_code(&self, micro: MicroFn, fused: bool) -> Self {
        Self { micro, shape: Shape { fused, ..self.shape }, ..*self }
    }

    /// A variant of the same code, whose operands are u8.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn without_signs(self) -> Self {
        assert!(self.a.size() == 1 && self.b.size() == 1);
        Self { a: Stored::U8, b: Stored::U8, ..self }
    }

    /// How A, of i8 (`signed`) or u8, becomes what the kernel reads; and the sum of what that conversion and the kernel
    /// add to each of its values before it is multiplied.
    #[inline]
    pub fn convert_a(&self, signed: bool) -> (Convert, i32) {
        let convert = Convert::new(signed, self.a);
        (convert, convert.shift(signed) + self.a_shift)
    }
}

/// A row of the table.
pub struct Kernel {
    /// Instruction set, MRxNR, KR after the `c`, [`i16_groups`](Self::i16_groups) (if any) after the `s`:
    /// `avx512vnni-6x64c4`.
    pub name: &'static str,
    /// The instructions that it needs.
    pub isa: Isa,
    /// The most rows of a tile.
    pub mr: usize,
    /// The columns of a panel; a power of two.
    pub nr: usize,
    /// The last panel of a matrix is as wide as its columns need, in multiples of this power of two.
    pub panel_step: usize,
    /// Values per column, such as terms and scales, are read so many at a time; a power of two.
    pub lanes: usize,
    /// The matrices that it is chosen for, of those that one panel holds.
    pub suits: Suits,
    /// The values of k that lie side by side in a panel; a power of two.
    pub kr: usize,
    /// 0 for a kernel that is exact for every B. Else the number of k-groups that it sums in 16 bits, which is exact
    /// only for panels that [`provable_i16_groups`](crate::provable_i16_groups) finds to allow as many.
    pub i16_groups: usize,
    /// Whether it makes 8-bit and f32 outputs itself, from registers. The others store sums only.
    pub fused: bool,
    /// The types it multiplies. An 8-bit kernel has a variant for each sign of A, unless it sums in 16 bits: then it
    /// takes u8 alone, and i8 is flipped beforehand. Of a 16-bit kernel the first serves all inputs, and there may be
    /// another for panels that are [`widened`](Self::widened).
    pub variants: &'static [Variant],
    extensions: Extensions,
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel {
    /// The row of these variants, one at least, whose tiles must agree in everything but the types.
    pub(crate) const fn new(name: &'static str, variants: &'static [Variant]) -> Self {
        let shape = variants[0].shape;
        let mut i = 1;
        while i < variants.len() {
            assert!(shape.is(&variants[i].shape), "variants of different tiles");
            i += 1;
        }
        let Shape { isa, mr, nr, panel_step, lanes, suits, kr, i16_groups, fused, extensions } = shape;
        Self { name, isa, mr, nr, panel_step, lanes, suits, kr, i16_groups, fused, variants, extensions }
    }

    /// The larger calls that its variants support.
    #[inline]
    pub(crate) fn extensions(&self) -> Extensions {
        self.extensions
    }

    /// The variant that reads panels of the same layout widened to i16 ahead, if `variant` reads i8 and widens it as it
    /// goes: faster where a panel serves many rows.
    pub fn widened(&self, variant: &Variant) -> Option<&'static Variant> {
        let both = (variant.a, variant.b) == (Stored::I16, Stored::I8);
        self.variants.iter().find(|other| both && (other.a, other.b) == (Stored::I16, Stored::I16))
    }

    /// Whether a variant reads panels whose elements are `stored`.
    pub(crate) fn reads_panels_of(&self, stored: Stored) -> bool {
        self.variants.iter().any(|variant| variant.b == stored)
    }

    /// Bytes of the panels of `k` rows and `columns` columns whose elements are `stored`; `None` where that overflows.
    #[inline]
    pub fn panel_bytes(&self, k: usize, columns: usize, stored: Stored) -> Option<usize> {
        let row = self.padded_columns(columns)?.checked_mul(stored.size())?;
        self.padded(k)?.checked_mul(row)
    }

    /// The columns that panels of `columns` columns have room for: of all panels, since NR is a multiple of the step in
    /// which the last one grows. `None` where that overflows.
    #[inline]
    pub fn padded_columns(&self, columns: usize) -> Option<usize> {
        Some(columns.checked_add(self.panel_step - 1)? & !(self.panel_step - 1))
    }

    /// The values per column that a product of `columns` columns takes: vectors from the first column of each panel on.
    /// `None` where that overflows.
    #[inline]
    pub fn padded_values(&self, columns: usize) -> Option<usize> {
        let last_panel = columns.saturating_sub(1) & !(self.nr - 1);
        let of_last = (columns - last_panel + self.lanes - 1) & !(self.lanes - 1);
        last_panel.checked_add(of_last)
    }

    /// `k`, rounded up to whole k-groups; `None` where that overflows.
    #[inline]
    pub fn padded(&self, k: usize) -> Option<usize> {
        // KR is a power of two, and this is called too often for a division.
        Some(k.checked_add(self.kr - 1)? & !(self.kr - 1))
    }
}

/// The rows of the tiles of MR rows that [`tile_height`] begins with.
#[inline]
fn rows_of_whole_tiles(rows: usize, mr: usize) -> usize {
    let whole = rows / mr;
    if whole * mr == rows { rows } else { whole.saturating_sub(1) * mr }
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

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;

    /// With each of these rows, `Ready::run` could accept operands that are too short for the code.
    #[test]
    fn a_row_that_cannot_be_relied_on_is_refused() {
        let two_panels = Extensions { two_panels_up_to_rows: 3, ..Extensions::NONE };
        let b_stationary = Extensions { b_stationary_up_to_k: 40, ..Extensions::NONE };
        let right = Shape {
            isa: Isa::Scalar,
            mr: 4,
            nr: 16,
            panel_step: 16,
            lanes: 16,
            suits: Suits::ANY,
            kr: 4,
            i16_groups: 0,
            fused: true,
            extensions: Extensions { b_stationary_up_to_k: 40, ..two_panels },
        };
        right.check();
        let wrong = [
            ("no rows", Shape { mr: 0, ..right }),
            ("too many rows", Shape { mr: MAX_MR + 1, ..right }),
            ("columns that are no power of two", Shape { nr: 48, ..right }),
            ("too many columns", Shape { nr: 2 * MAX_NR, ..right }),
            ("k-groups that are no power of two", Shape { kr: 3, ..right }),
            ("a run of k-groups that does not divide the longest", Shape { i16_groups: 3, ..right }),
            ("too long a run of k-groups", Shape { i16_groups: 2 * MAX_I16_GROUPS, ..right }),
            ("steps of panels that are no power of two", Shape { nr: 64, panel_step: 48, ..right }),
            ("steps of panels wider than a panel", Shape { panel_step: 32, ..right }),
            ("values of columns in no power of two", Shape { lanes: 48, ..right }),
            ("values of fewer columns than a step has", Shape { lanes: 8, ..right }),
            ("values of too many columns", Shape { lanes: 2 * MAX_NR, ..right }),
            ("no steps of panels", Shape { panel_step: 0, ..right }),
            ("two panels of two widths", Shape { panel_step: 8, extensions: two_panels, ..right }),
            ("two panels of more rows than a tile", Shape { mr: 2, extensions: two_panels, ..right }),
            ("stationary panels, but sums only", Shape { fused: false, extensions: b_stationary, ..right }),
        ];
        for (what, shape) in wrong {
            assert!(std::panic::catch_unwind(|| shape.check()).is_err(), "{what}");
            assert!(!shape.is(&right), "{what}");
        }
        assert!(right.is(&right.clone()));
    }
}
