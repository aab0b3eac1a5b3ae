//! Products of a few rows of A with a B that is not packed: packing would take several times as long as the product.
//! The sweep reads B once as it lies. If B comes by rows the sums are kept in memory meanwhile, if by columns in
//! registers.

use crate::contract::ready::Ready;
use crate::contract::sweep_operands::{MAX_SWEEP_ROWS, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums};
use crate::layout::extent;

impl Ready {
    /// Whether there are sweeps with this kernel's instructions.
    pub fn sweeps(&self) -> bool {
        self.isa.includes_avx512_vnni()
    }

    /// Multiplies `rows` rows of A with all of B. In each row of sums, those beyond the columns of B get any value.
    ///
    /// # Panics
    /// If the kernel does not sweep, `rows` is not 1 to [`MAX_SWEEP_ROWS`], the stride of the sums is not as
    /// documented, or a slice is shorter than the shape needs.
    pub fn sweep(&self, rows: usize, operands: &SweepOperands<'_>, sums: SweepSums<'_>) {
        let SweepOperands { a, b, k, cols, b_by_columns, .. } = *operands;
        assert!(self.sweeps() && (1..=MAX_SWEEP_ROWS).contains(&rows), "not for this kernel");
        let holds = |from: StridedRows<'_>, rows: usize, values: usize| {
            extent(rows, values, from.stride, 1).is_some_and(|need| need <= from.bits.len())
        };
        assert!(holds(a, rows, k), "A is too short");
        let (rows_of_b, values) = if b_by_columns { (cols, k) } else { (k, cols) };
        assert!(holds(b, rows_of_b, values), "B is too short");
        let stride_fits = sums.stride.is_multiple_of(SWEEP_WIDTH) && sums.stride >= cols;
        let need = rows.checked_mul(sums.stride);
        assert!(stride_fits && need.is_some_and(|need| need <= sums.products.len()), "no room for sums");
        let of_b_fits = sums.of_b.as_ref().is_none_or(|of_b| of_b.len() >= sums.stride);
        assert!(of_b_fits, "no room for sums");
        #[cfg(target_arch = "x86_64")]
        // SAFETY:
        // - AVX-512 F, BW and VNNI: the witness is one of an instruction set that includes them, which `sweeps` asks for.
        // - The rows and the lengths of A, B and the sums: asserted above.
        unsafe {
            crate::x86::operands::sweep_rows::sweep(rows, operands, sums);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no kernel sweeps");
    }
}
