//! Few columns: vectors hold consecutive values of k, of a row of A and of a column of B, and the lanes of a sum are added
//! up at the end.
//!
//! ```text
//!   panel, one k-group:  column 0 (KR values of k) | column 1 | .. | last column     a vector each
//!   A, row i:            KR values of k                                              a vector
//!   acc[i][j] +=         for each lane, the products of its values of both
//! ```
//!
//! The tiles of `zmm` and `ymm` spend a whole vector on a few columns, and broadcast four bytes of A for it. Here a panel
//! takes a byte per weight and A is read a vector at a time: 1024x4096x1 at 81 GB/s instead of 9 (Zen 4, 2026-11-29).
//! Registers: up to 4 x 4 sums of 512 bits, four of A and one of B. Of 256 bits, up to 9 sums; of rows that have more, two
//! go at a time.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Suits, Tile, byte_type};
use crate::contract::with_const::with_const;
use crate::detect::Isa;
use crate::elements::Stored;
use crate::x86::tile::dot::{Dot, add_terms};
use crate::x86::tile::epilogue::finish;
use crate::x86::tile::vector::Vector;
use core::arch::x86_64::*;
use core::marker::PhantomData;

/// The columns of a panel.
const NR: usize = 8;

/// Half a vector of 512 bits takes as long as 8 columns here, and adding up lanes as long as a few k-groups. Where bytes
/// must be widened, the other tiles read copies of A, and lose at any K (Zen 4, 2026-11-29).
const fn suits<D: Dot>() -> Suits {
    Suits { most_columns: 7, k_per_column: if widens::<D>() { 0 } else { 32 } }
}

/// The columns that are summed at a time.
const PART: usize = 4;

/// The most rows of a tile.
const MR: usize = 4;

/// An instruction with the code of such tiles, for A of u8 or i8, as A_SIGNED says, in place.
///
/// # Safety
/// Both keep to the contract of [`Args`] for panels that are as wide as their columns.
pub unsafe trait AlongKTiles: Dot {
    /// [`sums_of_part`], compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`sums_of_part`]; the CPU has the instructions of [`Instruction::ISA`].
    unsafe fn part<const H: usize, const V: usize, const A_SIGNED: bool>(
        t: &Args<'_>,
        first: usize,
    ) -> [__m128i; H];

    /// [`tile`], compiled for the instruction set.
    ///
    /// # Safety
    /// The contract of [`tile`]; the CPU has the instructions of [`Instruction::ISA`].
    unsafe fn along_k<const H: usize, const A_SIGNED: bool>(t: &Args<'_>);
}

/// The tile of an instruction, for A of u8 or i8.
pub struct AlongK<D, const A_SIGNED: bool>(PhantomData<D>);

impl<D: Dot, const A_SIGNED: bool> Instruction for AlongK<D, A_SIGNED> {
    const ISA: Isa = D::ISA;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = D::B;
    const KR: usize = D::KR * D::Vector::LANES;
    const A_SHIFT: i32 = D::A_SHIFT;
}

// SAFETY: `AlongKTiles` keeps to the contract, given the number of rows.
unsafe impl<D: AlongKTiles, const A_SIGNED: bool> Tile for AlongK<D, A_SIGNED> {
    type Instruction = Self;
    const MR: usize = MR;
    const NR: usize = NR;
    const PANEL_STEP: usize = 1;
    const LANES: usize = D::Vector::LANES;
    const SUITS: Suits = suits::<D>();
    const FUSED: bool = true;

    unsafe fn tile(t: &Args<'_>) {
        const { assert!(NR == 2 * PART && NR <= D::Vector::LANES) };
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise: there are 1..=MR rows.
        unsafe { with_const!(H in [1, 2, 3, 4] = t.rows, at most MR => D::along_k::<H, A_SIGNED>(t)) }
    }
}

/// A tile of H rows.
///
/// # Safety
/// The contract of [`Args`] for H rows and 1..=NR columns, with panels that are as wide as these; and of [`Dot`].
#[inline(always)]
pub unsafe fn tile<D: AlongKTiles, const H: usize, const A_SIGNED: bool>(t: &Args<'_>) {
    // SAFETY: the caller's promise: 1..=PART columns are left of a part.
    unsafe {
        let first = part::<D, H, A_SIGNED>(t, 0);
        let second = if t.cols > PART { part::<D, H, A_SIGNED>(t, PART) } else { [_mm_setzero_si128(); H] };
        let mut acc = [[D::Vector::zero(); 1]; H];
        for i in 0..H {
            acc[i][0] = D::Vector::from_fours(first[i], second[i]);
        }
        finish(t, add_terms(t, acc));
    }
}

/// The sums of the columns from `first` on, as many as a part has or as are left.
///
/// # Safety
/// The contract of [`tile`]; there is a column `first`.
#[inline(always)]
unsafe fn part<D: AlongKTiles, const H: usize, const A_SIGNED: bool>(
    t: &Args<'_>,
    first: usize,
) -> [__m128i; H] {
    // SAFETY: the caller's promise: one column at least.
    unsafe {
        with_const!(V in [1, 2, 3, 4] = (t.cols - first).min(PART), at most PART =>
            D::part::<H, V, A_SIGNED>(t, first))
    }
}

/// The sums of products of H rows and V columns from `first` on: a lane per column.
///
/// # Safety
/// The contract of [`Args`] for H rows, of which columns `first..first + V` exist, with panels that are as wide as the
/// columns; and of [`Dot`].
#[inline(always)]
pub unsafe fn sums_of_part<D: Dot, const H: usize, const V: usize, const A_SIGNED: bool>(
    t: &Args<'_>,
    first: usize,
    flips: D::Vector,
) -> [__m128i; H] {
    const { assert!(V <= PART && H <= MR) };
    // SAFETY: the caller's promise, for some of the rows.
    unsafe {
        if D::Vector::LANES == 16 || H * V <= 9 {
            return sums_of_rows::<D, H, V, A_SIGNED>(t, 0, first, flips);
        }
        let mut sums = [_mm_setzero_si128(); H];
        sums[..2].copy_from_slice(&sums_of_rows::<D, 2, V, A_SIGNED>(t, 0, first, flips));
        if H == 3 {
            sums[2..].copy_from_slice(&sums_of_rows::<D, 1, V, A_SIGNED>(t, 2, first, flips));
        } else {
            sums[2..].copy_from_slice(&sums_of_rows::<D, 2, V, A_SIGNED>(t, 2, first, flips));
        }
        sums
    }
}

/// [`sums_of_part`], of the H rows from row `top` on.
///
/// # Safety
/// The contract of [`sums_of_part`], for rows `top..top + H`.
#[inline(always)]
unsafe fn sums_of_rows<D: Dot, const H: usize, const V: usize, const A_SIGNED: bool>(
    t: &Args<'_>,
    top: usize,
    first: usize,
    flips: D::Vector,
) -> [__m128i; H] {
    // SAFETY: the caller's promise: rows have `whole` k-groups and `left` values more, which the panel pads.
    unsafe {
        let kr = D::KR * D::Vector::LANES;
        let (whole, left) = (t.k / kr, t.k % kr);
        let a = t.a.add(top * t.lda);
        let mut acc = [[D::Vector::zero(); V]; H];
        let mut g = 0;
        if H * V < 4 {
            // Few sums: those of four k-groups side by side, to hide the latency of the instruction.
            let mut sums = [acc; 4];
            while g + 4 <= whole {
                for s in 0..4 {
                    step::<D, H, V, A_SIGNED>((t, a), first, g + s, flips, &mut sums[s]);
                }
                g += 4;
            }
            for i in 0..H {
                for v in 0..V {
                    let [w, x, y, z] = [sums[0][i][v], sums[1][i][v], sums[2][i][v], sums[3][i][v]];
                    acc[i][v] = w.add(x).add(y.add(z));
                }
            }
        }
        while g < whole {
            step::<D, H, V, A_SIGNED>((t, a), first, g, flips, &mut acc);
            g += 1;
        }
        if left > 0 {
            for i in 0..H {
                let a = last_group::<D, A_SIGNED>(a.add(i * t.lda + whole * kr), left, whole > 0, flips);
                for v in 0..V {
                    acc[i][v] = D::dot(acc[i][v], a, b_group::<D>(t, whole, first + v));
                }
            }
        }
        // One or two columns: those of several rows at a time.
        let each = if V == 1 {
            1
        } else if V == 2 {
            2
        } else {
            PART
        };
        let mut sums = [_mm_setzero_si128(); H];
        for i in (0..H).step_by(PART / each) {
            let mut of = [D::Vector::zero(); PART];
            for l in 0..PART {
                let (row, column) = (i + l / each, l % each);
                if row < H && column < V {
                    of[l] = acc[row][column];
                }
            }
            let x = D::Vector::sums_of_lanes(of);
            for (l, sums) in sums[i..].iter_mut().take(PART / each).enumerate() {
                *sums = match l * each {
                    0 => x,
                    1 => _mm_srli_si128::<4>(x),
                    2 => _mm_srli_si128::<8>(x),
                    _ => _mm_srli_si128::<12>(x),
                };
            }
        }
        sums
    }
}

/// Adds the products of k-group `g` of H rows, which begin at `rows`, and V columns from `first` on.
///
/// # Safety
/// The contract of [`sums_of_part`]; there is a whole k-group `g`.
#[inline(always)]
unsafe fn step<D: Dot, const H: usize, const V: usize, const A_SIGNED: bool>(
    (t, rows): (&Args<'_>, *const u8),
    first: usize,
    g: usize,
    flips: D::Vector,
    acc: &mut [[D::Vector; V]; H],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut a = [flips; H];
        for i in 0..H {
            a[i] = whole_group::<D, A_SIGNED>(rows.add(i * t.lda + g * D::KR * D::Vector::LANES), flips);
        }
        for v in 0..V {
            let b = b_group::<D>(t, g, first + v);
            for i in 0..H {
                acc[i][v] = D::dot(acc[i][v], a[i], b);
            }
        }
    }
}

/// Whether values become i16 as they are read.
const fn widens<D: Dot>() -> bool {
    matches!(D::A, Stored::I16)
}

/// A k-group of A at `from`, XORed with `flips` or widened.
///
/// # Safety
/// The k-group is there; and the contract of [`Vector`].
#[inline(always)]
unsafe fn whole_group<D: Dot, const A_SIGNED: bool>(from: *const u8, flips: D::Vector) -> D::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        match (widens::<D>(), A_SIGNED) {
            (false, _) => D::Vector::load(from.cast()).xor(flips),
            (true, true) => D::Vector::load_i8_as_i16(from),
            (true, false) => D::Vector::load_u8_as_i16(from),
        }
    }
}

/// [`whole_group`] of the `left` values that remain of a row, completed with zeros. `follows`: a whole k-group lies
/// before them.
///
/// # Safety
/// The values, and the k-group before them if there is one, are there; and the contract of [`Vector`].
#[inline(always)]
unsafe fn last_group<D: Dot, const A_SIGNED: bool>(
    from: *const u8,
    left: usize,
    follows: bool,
    flips: D::Vector,
) -> D::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        match (widens::<D>(), A_SIGNED) {
            (false, _) => D::Vector::load_part(from, left, follows, flips),
            (true, true) => D::Vector::load_part_i8_as_i16(from, left, follows),
            (true, false) => D::Vector::load_part_u8_as_i16(from, left, follows),
        }
    }
}

/// K-group `g` of column `j` of a panel that is `cols` columns wide.
///
/// # Safety
/// There is such a k-group, padded or not; and the contract of [`Vector`].
#[inline(always)]
unsafe fn b_group<D: Dot>(t: &Args<'_>, g: usize, j: usize) -> D::Vector {
    // SAFETY: the caller's promise.
    unsafe {
        let from = t.b.add((g * t.cols + j) * D::KR * D::Vector::LANES * D::B.size());
        if widens::<D>() { D::Vector::load_i8_as_i16(from) } else { D::Vector::load(from.cast()) }
    }
}
