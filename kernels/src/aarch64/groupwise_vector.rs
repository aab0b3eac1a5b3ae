//! The vectors of the group-wise kernels, 4 columns each. How products are made and summed is another type's.

use crate::groupwise::layout::CodeBits;
use crate::groupwise::vector::{GroupVector, NextStep, add_products_by_row};
use core::arch::aarch64::*;
use core::arch::asm;
use core::marker::PhantomData;

/// The products of codes and A, with sums of them.
///
/// # Safety
/// All functions use registers only, but for the bytes of A that they are given, and no instructions but those of the
/// kernel's instruction set; they compute what they say.
pub unsafe trait Products {
    /// See [`GroupVector::Partial`].
    type Partial: Copy;
    /// See [`GroupVector::RUN_4`].
    const RUN_4: usize;
    /// Whether codes of 8 bits are taken as i8, which are 128 less, with zero points that are too.
    const SIGNED_CODES: bool;

    /// See [`GroupVector::begin`].
    ///
    /// # Safety
    /// The CPU has NEON; so it is for all functions here.
    unsafe fn begin(acc: int32x4_t) -> Self::Partial;
    /// See [`GroupVector::begin_beside`].
    ///
    /// # Safety
    /// See [`begin`](Self::begin).
    unsafe fn begin_beside() -> Self::Partial;
    /// See [`GroupVector::join`].
    ///
    /// # Safety
    /// See [`begin`](Self::begin).
    unsafe fn join(x: Self::Partial, y: Self::Partial) -> Self::Partial;
    /// See [`GroupVector::finish_4`] and [`GroupVector::finish_8`].
    ///
    /// # Safety
    /// See [`begin`](Self::begin).
    unsafe fn finish(bits: CodeBits, acc: int32x4_t, partial: Self::Partial) -> int32x4_t;
    /// See [`GroupVector::dot_4`] and [`GroupVector::dot_8`]. Codes of 8 bits are i8 if [`SIGNED_CODES`](Self::SIGNED_CODES).
    ///
    /// # Safety
    /// The CPU has the instructions; 4 bytes lie at `a`.
    unsafe fn dot(bits: CodeBits, partial: Self::Partial, codes: uint8x16_t, a: *const u8) -> Self::Partial;

    /// See [`GroupVector::add_products`].
    ///
    /// # Safety
    /// The CPU has the instructions, and the promise of [`GroupVector::add_products`].
    #[inline(always)]
    unsafe fn add_products<const H: usize, const V: usize, const EIGHT: bool>(
        next: &mut NextStep,
        count: usize,
        acc: &mut [[int32x4_t; V]; H],
    ) where
        Self: Sized,
    {
        // SAFETY: the caller's promise.
        unsafe { add_products_by_row::<Vector<Self>, H, V, EIGHT>(next, count, acc) }
    }
}

/// Vectors of 128 bits with the products of P.
pub struct Vector<P>(PhantomData<P>);

/// The bits that make an u8 the i8 that is 128 less.
#[inline]
#[target_feature(enable = "neon")]
fn less_128(bytes: uint8x16_t) -> uint8x16_t {
    veorq_u8(bytes, vdupq_n_u8(0x80))
}

/// Four unaligned bytes as a number.
///
/// # Safety
/// They lie at `from`.
#[inline(always)]
pub unsafe fn four_bytes(from: *const u8) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { from.cast::<u32>().read_unaligned() }
}

// SAFETY: NEON, and what P uses; memory is read and written where the trait says.
unsafe impl<P: Products> GroupVector for Vector<P> {
    type Int = int32x4_t;
    type Real = float32x4_t;
    type Partial = P::Partial;
    const LANES: usize = 4;
    const RUN_4: usize = P::RUN_4;
    const RUN_8: usize = usize::MAX;
    const WORDS: bool = false;
    const NIBBLES_APART: bool = false;

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat(value: i32) -> int32x4_t {
        vdupq_n_s32(value)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load(from: *const i32) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s32_u8(vld1q_u8(from.cast())) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store(x: int32x4_t, to: *mut i32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_u8(to.cast(), vreinterpretq_u8_s32(x)) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn multiply_add(acc: int32x4_t, x: int32x4_t, y: int32x4_t) -> int32x4_t {
        vmlaq_s32(acc, x, y)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn start(start: i32, zeros: int32x4_t) -> int32x4_t {
        // The sum of A whose halves a start holds, negated: its product with a zero point fits 32 bits.
        let minus_sum = i32::from(start as i16) + 128 * (start >> 16);
        vmulq_n_s32(zeros, minus_sum)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bytes(from: *const u8) -> int32x4_t {
        // SAFETY: the caller's promise.
        let bytes = vreinterpret_u8_u32(vset_lane_u32::<0>(unsafe { four_bytes(from) }, vdup_n_u32(0)));
        vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_zeros_8(from: *const u8) -> int32x4_t {
        // SAFETY: the caller's promise.
        let zeros = unsafe { Self::load_bytes(from) };
        if P::SIGNED_CODES { vsubq_s32(zeros, vdupq_n_s32(128)) } else { zeros }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn nibble(x: int32x4_t, high: bool) -> int32x4_t {
        if high { vshrq_n_s32::<4>(x) } else { vandq_s32(x, vdupq_n_s32(15)) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_codes(from: *const u8) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_s32_u8(vld1q_u8(from)) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn nibbles(codes: int32x4_t) -> (int32x4_t, int32x4_t) {
        let codes = vreinterpretq_u8_s32(codes);
        let low = vandq_u8(codes, vdupq_n_u8(15));
        (vreinterpretq_s32_u8(low), vreinterpretq_s32_u8(vshrq_n_u8::<4>(codes)))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin(acc: int32x4_t) -> P::Partial {
        // SAFETY: the caller's promise.
        unsafe { P::begin(acc) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn begin_beside() -> P::Partial {
        // SAFETY: the caller's promise.
        unsafe { P::begin_beside() }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn join(x: P::Partial, y: P::Partial) -> P::Partial {
        // SAFETY: the caller's promise.
        unsafe { P::join(x, y) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish_4(acc: int32x4_t, partial: P::Partial) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { P::finish(CodeBits::Four, acc, partial) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn finish_8(acc: int32x4_t, partial: P::Partial) -> int32x4_t {
        // SAFETY: the caller's promise.
        unsafe { P::finish(CodeBits::Eight, acc, partial) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot_4(partial: P::Partial, codes: int32x4_t, a: *const u8) -> P::Partial {
        // SAFETY: the caller's promise.
        unsafe { P::dot(CodeBits::Four, partial, vreinterpretq_u8_s32(codes), a) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn dot_8(partial: P::Partial, codes: int32x4_t, a: *const u8) -> P::Partial {
        let codes = vreinterpretq_u8_s32(codes);
        let codes = if P::SIGNED_CODES { less_128(codes) } else { codes };
        // SAFETY: the caller's promise.
        unsafe { P::dot(CodeBits::Eight, partial, codes, a) }
    }

    #[inline(always)]
    unsafe fn add_products<const H: usize, const V: usize, const EIGHT: bool>(
        next: &mut NextStep,
        count: usize,
        acc: &mut [[int32x4_t; V]; H],
    ) {
        // SAFETY: the caller's promise.
        unsafe { P::add_products::<H, V, EIGHT>(next, count, acc) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn zero() -> float32x4_t {
        vdupq_n_f32(0.0)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn splat_real(value: f32) -> float32x4_t {
        vdupq_n_f32(value)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_real(from: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(from.cast())) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_f16(from: *const u16) -> float32x4_t {
        let reals: float32x4_t;
        // SAFETY: the caller's promise; `fcvtl` is of NEON and uses registers only.
        unsafe {
            asm!("fcvtl {0:v}.4s, {1:v}.4h", out(vreg) reals, in(vreg) vld1_u8(from.cast()),
                 options(pure, nomem, nostack, preserves_flags));
        }
        reals
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn load_bf16(from: *const u16) -> float32x4_t {
        // SAFETY: the caller's promise.
        let bits = unsafe { vreinterpret_u16_u8(vld1_u8(from.cast())) };
        vreinterpretq_f32_u32(vshll_n_u16::<16>(bits))
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn store_real(x: float32x4_t, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { vst1q_u8(to.cast(), vreinterpretq_u8_f32(x)) }
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn to_real(x: int32x4_t) -> float32x4_t {
        vcvtq_f32_s32(x)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn multiply(x: float32x4_t, y: float32x4_t) -> float32x4_t {
        vmulq_f32(x, y)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn add(x: float32x4_t, y: float32x4_t) -> float32x4_t {
        vaddq_f32(x, y)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn fused(x: float32x4_t, y: float32x4_t, z: float32x4_t) -> float32x4_t {
        vfmaq_f32(z, x, y)
    }

    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn clamp(x: float32x4_t, lo: float32x4_t, hi: float32x4_t) -> float32x4_t {
        // No `fmin` and `fmax`, which order zeros by their signs.
        let clamped = vbslq_f32(vcgtq_f32(x, hi), hi, x);
        let clamped = vbslq_f32(vcltq_f32(x, lo), lo, clamped);
        vbslq_f32(vceqq_f32(x, x), clamped, vreinterpretq_f32_u32(vdupq_n_u32(0x7fc0_0000)))
    }
}
