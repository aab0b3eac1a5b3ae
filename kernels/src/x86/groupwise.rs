//! The vectors of the group-wise kernels, over the width of `tile::vector`.
//!
//! `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to an i32 without saturation; codes are the
//! unsigned operand. Without it, codes of 4 bits go through `vpmaddubsw`: two products are at most 2·15·128 = 3840, so
//! that 8 k-groups of them fit 16 bits for all values. Codes of 8 bits are split into even and odd bytes, which are words that
//! `vpmaddwd` multiplies by words of A.

use crate::groupwise::vector::GroupVector;
use crate::x86::tile::vector::Vector;
use core::marker::PhantomData;

/// The operations that group-wise products need beside those of tiles.
///
/// # Safety
/// The contract of [`Vector`]; the CPU has FMA and F16C too, and VNNI for [`dpbusd`](Self::dpbusd).
pub unsafe trait GroupWidth: Vector {
    /// A byte for each lane.
    unsafe fn load_u8(from: *const u8) -> Self;
    /// A half-precision number for each lane.
    unsafe fn load_f16(from: *const u16) -> Self::Floats;
    /// A bfloat16 for each lane.
    unsafe fn load_bf16(from: *const u16) -> Self::Floats;
    /// The low nibble of every byte, and the high one.
    unsafe fn nibbles(self) -> (Self, Self);
    /// The even bytes and the odd ones, as words.
    unsafe fn even_and_odd_bytes(self) -> (Self, Self);
    /// Lanes below 256 as pairs of words: the value, and 128 times it.
    unsafe fn pairs_with_128(self) -> Self;
    /// Sums of words.
    unsafe fn add_words(self, other: Self) -> Self;
    /// The products of words, added in pairs to lanes.
    unsafe fn multiply_words(self, other: Self) -> Self;
    /// The products of unsigned and signed bytes, added in pairs to words.
    unsafe fn multiply_bytes(unsigned: Self, signed: Self) -> Self;
    /// Adds the products of four unsigned and four signed bytes of each lane.
    unsafe fn dpbusd(self, unsigned: Self, signed: Self) -> Self;
    /// A 1 in each word.
    unsafe fn word_ones() -> Self;
    /// `x·y + z`, rounded once.
    unsafe fn fused(x: Self::Floats, y: Self::Floats, z: Self::Floats) -> Self::Floats;
    /// `x`, or `nan` where `of` is NaN.
    unsafe fn where_nan(of: Self::Floats, nan: Self::Floats, x: Self::Floats) -> Self::Floats;
}

/// Vectors of a width, which multiply by `vpdpbusd` if `VNNI`.
pub struct Group<X, const VNNI: bool>(PhantomData<X>);

// SAFETY: the contract of `GroupWidth`; memory is read and written where the trait says.
unsafe impl<X: GroupWidth, const VNNI: bool> GroupVector for Group<X, VNNI> {
    type Int = X;
    type Real = X::Floats;
    type Partial = X;
    const LANES: usize = X::LANES;
    const RUN_4: usize = if VNNI { usize::MAX - 1 } else { 8 };
    const RUN_8: usize = usize::MAX;
    const WORDS: bool = !VNNI;
    const NIBBLES_APART: bool = X::LANES == 8;

    #[inline(always)]
    unsafe fn splat(value: i32) -> X {
        // SAFETY: registers only.
        unsafe { X::splat(value) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> X {
        // SAFETY: the caller's promise.
        unsafe { X::load(from) }
    }

    #[inline(always)]
    unsafe fn store(x: X, to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { x.store(to) }
    }

    #[inline(always)]
    unsafe fn multiply_add(acc: X, x: X, y: X) -> X {
        // SAFETY: registers only.
        unsafe { acc.add(x.mul(y)) }
    }

    #[inline(always)]
    unsafe fn start(start: i32, zeros: X) -> X {
        // SAFETY: registers only. A zero point is below 256, so that 128 times it fits the high half.
        unsafe { X::splat(start).multiply_words(zeros.pairs_with_128()) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> X {
        // SAFETY: the caller's promise.
        unsafe { X::load_u8(from) }
    }

    #[inline(always)]
    unsafe fn nibble(x: X, high: bool) -> X {
        // SAFETY: registers only.
        unsafe {
            let (low, other) = x.nibbles();
            if high { other } else { low }
        }
    }

    #[inline(always)]
    unsafe fn load_codes(from: *const u8) -> X {
        // SAFETY: the caller's promise.
        unsafe { X::load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn nibbles(codes: X) -> (X, X) {
        // SAFETY: registers only.
        unsafe { codes.nibbles() }
    }

    #[inline(always)]
    unsafe fn begin(acc: X) -> X {
        // SAFETY: registers only.
        unsafe { if VNNI { acc } else { X::zero() } }
    }

    #[inline(always)]
    unsafe fn begin_beside() -> X {
        // SAFETY: registers only.
        unsafe { X::zero() }
    }

    #[inline(always)]
    unsafe fn join(x: X, y: X) -> X {
        // SAFETY: registers only. The halves of a run of `vpmaddubsw` fit 16 bits together.
        unsafe { if VNNI { x.add(y) } else { x.add_words(y) } }
    }

    #[inline(always)]
    unsafe fn finish_4(acc: X, partial: X) -> X {
        // SAFETY: registers only.
        unsafe { if VNNI { partial } else { acc.add(partial.multiply_words(X::word_ones())) } }
    }

    #[inline(always)]
    unsafe fn finish_8(acc: X, partial: X) -> X {
        // SAFETY: registers only.
        unsafe { if VNNI { partial } else { acc.add(partial) } }
    }

    #[inline(always)]
    unsafe fn dot_4(partial: X, codes: X, a: *const u8) -> X {
        // SAFETY: the caller's promise.
        unsafe {
            let a = X::splat(a.cast::<i32>().read_unaligned());
            if VNNI { partial.dpbusd(codes, a) } else { partial.add_words(X::multiply_bytes(codes, a)) }
        }
    }

    #[inline(always)]
    unsafe fn dot_8(partial: X, codes: X, a: *const u8) -> X {
        // SAFETY: the caller's promise.
        unsafe {
            if VNNI {
                return Self::dot_4(partial, codes, a);
            }
            let ((even, odd), a) = (codes.even_and_odd_bytes(), a.cast::<i32>());
            let sum = even.multiply_words(X::splat(a.read_unaligned()));
            let sum = sum.add(odd.multiply_words(X::splat(a.add(1).read_unaligned())));
            partial.add(sum)
        }
    }

    #[inline(always)]
    unsafe fn zero() -> X::Floats {
        // SAFETY: registers only.
        unsafe { X::zero().bits_as_floats() }
    }

    #[inline(always)]
    unsafe fn splat_real(value: f32) -> X::Floats {
        // SAFETY: registers only.
        unsafe { X::splat_float(value) }
    }

    #[inline(always)]
    unsafe fn load_real(from: *const f32) -> X::Floats {
        // SAFETY: the caller's promise.
        unsafe { X::load_floats(from) }
    }

    #[inline(always)]
    unsafe fn load_f16(from: *const u16) -> X::Floats {
        // SAFETY: the caller's promise.
        unsafe { X::load_f16(from) }
    }

    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> X::Floats {
        // SAFETY: the caller's promise.
        unsafe { X::load_bf16(from) }
    }

    #[inline(always)]
    unsafe fn store_real(x: X::Floats, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { X::store_floats(x, to) }
    }

    #[inline(always)]
    unsafe fn to_real(x: X) -> X::Floats {
        // SAFETY: registers only.
        unsafe { x.to_floats() }
    }

    #[inline(always)]
    unsafe fn multiply(x: X::Floats, y: X::Floats) -> X::Floats {
        // SAFETY: registers only.
        unsafe { X::mul_floats(x, y) }
    }

    #[inline(always)]
    unsafe fn add(x: X::Floats, y: X::Floats) -> X::Floats {
        // SAFETY: registers only.
        unsafe { X::add_floats(x, y) }
    }

    #[inline(always)]
    unsafe fn fused(x: X::Floats, y: X::Floats, z: X::Floats) -> X::Floats {
        // SAFETY: registers only.
        unsafe { X::fused(x, y, z) }
    }

    #[inline(always)]
    unsafe fn clamp(x: X::Floats, lo: X::Floats, hi: X::Floats) -> X::Floats {
        // SAFETY: registers only.
        unsafe {
            let clamped = X::at_most(X::at_least(x, lo), hi);
            X::where_nan(x, X::splat(0x7fc0_0000).bits_as_floats(), clamped)
        }
    }
}
