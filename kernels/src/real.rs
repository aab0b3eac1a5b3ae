//! Rows of real numbers: what bounds them, and their rounding to 8 bits without a division each, on CPUs that have the
//! instructions for it (AVX-512).
//!
//! The result is `round_half_even(x / scale) + zero`, between -128 and 255. With the reciprocal r of the scale,
//! `t = x·r + zero + 768.5`, computed by one instruction that rounds once, lies between 512 and 1024. There f32 has
//! steps of 2^-14: the bits of t are a number in fixed point, in which the 8 bits above the lowest 14 are
//! `floor(x·r + zero + 0.5)`.
//!
//! That is the result, unless a half lies between x·r and the quotient as f32 has it, or is the quotient. Those two
//! differ by two roundings of at most 2^-24 of 255, less than half a step; and t is rounded by half a step at most.
//! So the lowest 14 bits of t are 0 then. Where some are, which is one number of 16,384 if they are random, those
//! about it are divided.

use crate::Isa;
use crate::block::extent;
use crate::detect::detected;

/// 1.5·2^9, and a half: see above.
#[cfg(target_arch = "x86_64")]
pub(crate) const FIXED: f32 = 768.5;
/// Of t in fixed point.
#[cfg(target_arch = "x86_64")]
pub(crate) const FRACTION_BITS: u32 = 14;

/// Rows of numbers, and the witness that this CPU can work on them.
#[derive(Clone, Copy)]
pub struct F32Rows<'a> {
    data: &'a [f32],
    stride: usize,
    k: usize,
}

/// The greatest of 0 and some numbers' bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowExtremes {
    /// As signed integers: the highest number, if one is above 0.
    pub highest: i32,
    /// As unsigned ones: the lowest number, if one has a sign.
    pub lowest: u32,
}

/// The map from numbers to results.
#[derive(Clone, Copy)]
pub struct RowParams {
    /// The width of a step: positive, and at most a 127th of the greatest number.
    pub scale: f32,
    /// What 0 becomes.
    pub zero: i32,
}

/// Where results go.
pub struct QuantizedRows<'a> {
    /// Rows of results.
    pub bits: &'a mut [u8],
    /// From one of them to the next.
    pub stride: usize,
    /// Results are 0 to 255, else -127 to 127.
    pub unsigned: bool,
}

impl<'a> F32Rows<'a> {
    /// Rows of `k` numbers, `stride` from one to the next, if this CPU has the instructions.
    pub fn new(data: &'a [f32], stride: usize, k: usize) -> Option<Self> {
        detected(Isa::Avx512Bw).then_some(Self { data, stride, k })
    }

    /// Quantizes so many rows, `steps` telling how, given the number of a row and its extremes. If it does not, the
    /// number of that row is the error, and what becomes of the rows before is not told. Where not `bound`, extremes
    /// are not looked for, and given as 0. The bits of NaNs lie beyond those of infinities.
    ///
    /// Results beyond the range are right only where it is the rounding of the scale or the zero point that made them
    /// so; numbers that are not finite have any result.
    ///
    /// # Panics
    /// If there are no such rows, or no room for results.
    #[inline]
    pub fn quantize(
        &self,
        rows: usize,
        bound: bool,
        steps: impl FnMut(usize, RowExtremes) -> Option<RowParams>,
        out: QuantizedRows<'_>,
    ) -> Result<(), usize> {
        assert!(
            extent(rows, self.k, self.stride, 1).is_some_and(|need| need <= self.data.len()),
            "no such rows"
        );
        assert!(
            extent(rows, self.k, out.stride, 1).is_some_and(|need| need <= out.bits.len()),
            "no room for results"
        );
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the CPU has the instructions, of which `self` is the witness; the rows are there, and room for
        // results, as was asserted.
        unsafe {
            let x = (self.data.as_ptr(), self.stride);
            let bits = (out.bits.as_mut_ptr(), out.stride);
            match out.unsigned {
                false => crate::x86::real::quantize::<false>(x, self.k, rows, bound, steps, bits),
                true => crate::x86::real::quantize::<true>(x, self.k, rows, bound, steps, bits),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            _ = (bound, steps);
            unreachable!("there is no witness")
        }
    }
}
