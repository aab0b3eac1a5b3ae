//! AMX-INT8: `tdpbusd` and `tdpbssd`, 16 x 16 sums of 64 products each, tile 32x64, KR = 4 (`tile::tmm` has the
//! registers and the loop).
//!
//! The panel is that of `avx512vnni-6x64c4`, with i8 elements, so that B in `i8` needs no row sums of A: those would
//! take 32 / N of the products' time. A is read in place in both types, by an instruction for each.
//!
//! Few products are multiplied by `vpdpbusd` instead, whose code reads the same panel: where tiles gain less than
//! what a call of theirs loses ([`tiles_are_faster`]). By Intel's manual that is 204 cycles to configure the tiles and
//! 13 to release them, the latency of the first load, 45, and of the last product, 52: some 320. No CPU with AMX was at
//! hand to measure it: [`Ready::with_amx_overhead`](crate::Ready::with_amx_overhead) takes another number.

use crate::amx::tiles_are_faster;
use crate::contract::args::{Args, Extensions};
use crate::contract::kernel::{Instruction, Kernel, Tile, Variant, byte_type};
use crate::detect::Isa;
use crate::elements::{BYTES_PER_I32_SUM, Stored};
use crate::x86::avx512_vnni::Bytes;
use crate::x86::operands::row_sums::add_avx512;
use crate::x86::tile::b_stationary::BStationary;
use crate::x86::tile::dot::Dot;
use crate::x86::tile::tile_registers::MAX_ROWS;
use crate::x86::tile::tmm;
use crate::x86::tile::zmm::{self, Tile6x64, ZmmTiles};
use core::arch::x86_64::*;

pub static KERNEL: Kernel =
    Kernel::new("amxint8-32x64c4", &[Variant::of::<Tile32x64<false>>(), Variant::of::<Tile32x64<true>>()]);

/// The kernel's code with u8 on both sides, for the self-test on Bochs, which multiplies bytes with signs as if they
/// had none. It is right only there, and only while tiles do it all.
pub static WITHOUT_SIGNS: Kernel = Kernel::new(
    "amxint8-32x64c4-without-signs",
    &[Variant::of::<Tile32x64<false>>().without_signs(), Variant::of::<Tile32x64<true>>().without_signs()],
);

/// `tdpbusd`, or `tdpbssd` for A with signs.
struct Products<const A_SIGNED: bool>;

impl<const A_SIGNED: bool> Instruction for Products<A_SIGNED> {
    const ISA: Isa = Isa::AmxInt8;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = Stored::I8;
    const KR: usize = 4;
}

/// The tile of 32 rows and two times 32 columns; few products are left to the vectors' tiles.
struct Tile32x64<const A_SIGNED: bool>;

/// The code for few products of u8.
type VectorTile = BStationary<Tile6x64<Bytes<false>>>;

// SAFETY: `by_tiles`, `by_vectors_of_i8` and the vectors' tile keep to the contract.
unsafe impl<const A_SIGNED: bool> Tile for Tile32x64<A_SIGNED> {
    type Instruction = Products<A_SIGNED>;
    const MR: usize = MAX_ROWS;
    const NR: usize = tmm::PANEL;
    const PANEL_STEP: usize = 16;
    const FUSED: bool = true;
    const EXTENSIONS: Extensions = VectorTile::EXTENSIONS;

    unsafe fn tile(t: &Args<'_>) {
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
        // SAFETY: the caller's promise.
        unsafe { Self::micro(&mut { *t }) }
    }

    unsafe fn micro(t: &mut Args<'_>) {
        const { assert!(VectorTile::NR == Self::NR && VectorTile::PANEL_STEP == Self::PANEL_STEP) };
        // SAFETY: the caller's promise; the instruction set includes AVX-512 VNNI.
        unsafe {
            if tiles_are_faster(t.rows, t.k, t.amx_overhead) {
                by_tiles::<A_SIGNED>(t);
            } else if A_SIGNED {
                by_vectors_of_i8(t);
            } else {
                VectorTile::micro(t);
            }
        }
    }
}

/// All rows and columns by tile registers.
///
/// # Safety
/// The contract of [`Tile::micro`].
unsafe fn by_tiles<const A_SIGNED: bool>(t: &Args<'_>) {
    for j in (0..t.cols).step_by(tmm::PANEL) {
        // SAFETY: the caller's promise: these are the columns of a panel, the second of two if j > 0, of the terms
        // and of the output.
        unsafe {
            let (b, cols) = (t.b.add(t.k.next_multiple_of(4) * j), (t.cols - j).min(tmm::PANEL));
            tmm::rows_times_panel::<A_SIGNED>(&mut t.columns(j, cols, b));
        }
    }
}

/// Rows whose sums are known at a time.
const ROWS_AT_ONCE: usize = 48;

/// Rows of i8 by `vpdpbusd`, which takes one operand without signs: the panel's values are raised by 128, and 128
/// times the sum of a row of A is subtracted from its term.
///
/// # Safety
/// The contract of [`Tile::micro`].
#[inline(never)]
unsafe fn by_vectors_of_i8(t: &mut Args<'_>) {
    let mut left = t.rows;
    while left > 0 {
        let rows = left.min(ROWS_AT_ONCE);
        let (mut sums, mut terms) = ([0; ROWS_AT_ONCE], [0; ROWS_AT_ONCE]);
        // SAFETY: the caller's promise, for the rows that there are; the terms of rows are there for `rows` rows.
        unsafe {
            for from in (0..t.k).step_by(BYTES_PER_I32_SUM) {
                let k = (t.k - from).min(BYTES_PER_I32_SUM);
                add_avx512::<true>(t.a.add(from), t.lda, k, &mut sums[..rows]);
            }
            for (i, term) in terms[..rows].iter_mut().enumerate() {
                *term = (*t.row.add(i)).wrapping_sub(128i32.wrapping_mul(sums[i] as i32));
            }
            Tile6x64::<RaisedPanel>::micro(&mut Args { rows, row: terms.as_ptr(), ..*t });
        }
        t.move_down(rows);
        left -= rows;
    }
}

/// `vpdpbusd` of a panel of i8, raised by 128, times i8.
struct RaisedPanel;

impl Instruction for RaisedPanel {
    const ISA: Isa = Isa::Avx512Vnni;
    const A: Stored = Stored::I8;
    const B: Stored = Stored::I8;
    const KR: usize = 4;
}

// SAFETY: AVX-512 VNNI, registers only.
unsafe impl Dot for RaisedPanel {
    type Vector = __m512i;

    #[inline(always)]
    unsafe fn dot(acc: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_dpbusd_epi32(acc, _mm512_xor_si512(b, _mm512_set1_epi8(i8::MIN)), a) }
    }
}

// SAFETY: `zmm` keeps to the contract.
unsafe impl ZmmTiles for RaisedPanel {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile<const H: usize, const V: usize, const PANEL: usize, const MORE: bool>(t: &Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tile::<Self, H, V, PANEL, MORE>(t, _mm512_setzero_si512()) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tiles<const H: usize, const V: usize>(t: &mut Args<'_>) {
        // SAFETY: the caller's promise.
        unsafe { zmm::tiles::<Self, H, V>(t, _mm512_setzero_si512()) }
    }
}
