//! Quantizes rows of f32 to 8 bits on CPUs with AVX-512. `contract::row_params` has the arithmetic.

use crate::block::BlockMut;
use crate::contract::row_params::{RowExtremes, RowParams};
use crate::detect::{Isa, detected};
use crate::layout::extent;

/// Rows of f32. A value of this type proves that the CPU has the instructions to quantize them.
#[derive(Clone, Copy)]
pub struct F32Rows<'a> {
    data: &'a [f32],
    stride: usize,
    k: usize,
}

/// The place for the results.
pub struct QuantizedRows<'a> {
    /// The bit patterns of the results: rows that are slices.
    pub bits: BlockMut<'a, u8>,
    /// Whether results are u8, of 0 to 255. Else they are i8, of -127 to 127.
    pub unsigned: bool,
}

impl<'a> F32Rows<'a> {
    /// Rows of `k` numbers, `stride` numbers from one row to the next. `None` if this CPU lacks AVX-512 F, BW or VL.
    pub fn new(data: &'a [f32], stride: usize, k: usize) -> Option<Self> {
        detected(Isa::Avx512Bw).then_some(Self { data, stride, k })
    }

    /// Quantizes the first rows, as many as `out` has. `params_of_row(row, extremes)` returns a row's scale and zero
    /// point; it is called once per row, in order. If it returns `None`, the result is `Err(row)`, and rows before that
    /// one may be written or not.
    ///
    /// Extremes are looked for only if `want_extremes`, else they are given as 0. In them the bits of NaN lie beyond
    /// the bits of infinities.
    ///
    /// Results are saturated correctly if the numbers exceed the range by the rounding of the scale or of the zero
    /// point only. Numbers that exceed it by more, or are not finite, get any result.
    ///
    /// # Panics
    /// If there are fewer rows of numbers, or if rows of `out` are no slices or have another length.
    #[inline]
    pub fn quantize(
        &self,
        want_extremes: bool,
        params_of_row: impl FnMut(usize, RowExtremes) -> Option<RowParams>,
        out: QuantizedRows<'_>,
    ) -> Result<(), usize> {
        let QuantizedRows { mut bits, unsigned } = out;
        let rows = bits.rows();
        let need = extent(rows, self.k, self.stride, 1);
        assert!(need.is_some_and(|need| need <= self.data.len()), "no such rows");
        assert!(bits.cols() == self.k && bits.rows_are_slices(), "no room for results");
        #[cfg(target_arch = "x86_64")]
        {
            use crate::x86::operands::quantize_rows::{QuantizeJob, quantize};
            let job = QuantizeJob {
                rows,
                k: self.k,
                x: self.data.as_ptr(),
                x_stride: self.stride,
                out_stride: bits.row_stride(),
                out: bits.as_mut_ptr(),
                want_extremes,
            };
            // SAFETY:
            // - AVX-512 F and BW: `new` makes a value of this type only where they are detected.
            // - `x` is valid for `rows` rows of `k` values, as asserted; its slice is borrowed for the call.
            // - `out` is that of a block of `rows` rows of `k` values, which are slices, as asserted; the block has
            //   borrowed them exclusively.
            unsafe {
                if unsigned {
                    quantize::<true>(&job, params_of_row)
                } else {
                    quantize::<false>(&job, params_of_row)
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            _ = (want_extremes, params_of_row, bits.as_mut_ptr(), unsigned);
            unreachable!("`new` returns `None` on this target")
        }
    }
}
