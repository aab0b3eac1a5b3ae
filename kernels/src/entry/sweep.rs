//! A few rows of A times a B that is not packed, where packing it would take several times as long as the product:
//! B is swept as it comes, by rows with sums kept in memory meanwhile, or by columns.

use crate::block::extent;
use crate::contract::ready::Ready;
use crate::contract::sweep_operands::{MAX_SWEEP_ROWS, SWEEP_WIDTH, StridedRows, SweepOperands, SweepSums};
use crate::detect::Isa;

impl Ready {
    /// Whether there is such a way with this kernel's instructions.
    pub fn sweeps(&self) -> bool {
        self.isa == Isa::Avx512Vnni
    }

    /// SweepSums of products of `rows` rows of A with all of B. SweepSums beyond the columns have any value.
    ///
    /// # Panics
    /// If the kernel does not sweep, or a slice is shorter than the shape needs.
    pub fn sweep(&self, rows: usize, factors: &SweepOperands<'_>, sums: SweepSums<'_>) {
        let SweepOperands { a, b, k, cols, b_by_columns, .. } = *factors;
        assert!(self.sweeps() && (1..=MAX_SWEEP_ROWS).contains(&rows), "not for this kernel");
        let enough = |rows, cols, from: StridedRows<'_>| {
            extent(rows, cols, from.stride, 1).is_some_and(|need| need <= from.bits.len())
        };
        assert!(enough(rows, k, a), "A is too short");
        let (rows_of_b, values) = if b_by_columns { (cols, k) } else { (k, cols) };
        assert!(enough(rows_of_b, values, b), "B is too short");
        let fits = sums.stride.is_multiple_of(SWEEP_WIDTH) && sums.stride >= cols;
        let need = rows.checked_mul(sums.stride);
        assert!(fits && need.is_some_and(|need| need <= sums.products.len()), "no room for sums");
        assert!(
            sums.of_b.as_ref().is_none_or(|sums_of_b| sums_of_b.len() >= sums.stride),
            "no room for sums"
        );
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the kernel is AVX-512 VNNI's, and the witness shows the CPU to have it; the rest was asserted.
        unsafe {
            crate::x86::operands::sweep_rows::sweep(rows, factors, sums);
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("no kernel sweeps");
    }
}
