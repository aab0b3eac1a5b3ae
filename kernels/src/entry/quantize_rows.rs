//! Quantizes rows of f32 to 8 bits, on CPUs that have AVX-512; `row_params` says how.

use crate::block::extent;
use crate::contract::row_params::{RowExtremes, RowParams};
use crate::detect::{Isa, detected};

/// Rows of numbers, and the witness that this CPU can work on them.
#[derive(Clone, Copy)]
pub struct F32Rows<'a> {
    data: &'a [f32],
    stride: usize,
    k: usize,
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
                false => crate::x86::operands::quantize_rows::quantize::<false>(
                    x, self.k, rows, bound, steps, bits,
                ),
                true => {
                    crate::x86::operands::quantize_rows::quantize::<true>(x, self.k, rows, bound, steps, bits)
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            _ = (bound, steps);
            unreachable!("there is no witness")
        }
    }
}
