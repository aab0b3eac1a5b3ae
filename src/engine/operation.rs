//! The state that all blocks of a product share.

use crate::element::ElementType;
use crate::engine::plan::{ElementSizes, Plan};
use crate::product::accumulator::{self, Accumulator};
use crate::product::{Product, ZeroPoint};
use crate::weights::packed_columns::{PackedColumns, Panel};
use qgemm_kernels::{Convert, Stored, Variant};

/// A product with packed columns, prepared for the loop nest.
pub(crate) struct Operation<'a> {
    pub(crate) product: &'a Product<'a>,
    pub(crate) b: &'a PackedColumns,
    /// The most rows of a tile.
    pub(crate) mr: usize,
    /// The columns of a panel.
    pub(crate) nr: usize,
    /// The pairs of types that the panels' kernels multiply: one, or two if some panels are proven to allow another
    /// kernel. Each pair has its own way to read A.
    pub(crate) pairs: &'a [StoredPair],
    pub(crate) plan: Plan,
    pub(crate) accumulator: Accumulator,
    pub(crate) k: usize,
}

/// The types of A and of B that a panel's kernel multiplies, and what a product needs for panels of these types.
#[derive(Clone, Copy)]
pub(crate) struct StoredPair {
    pub(crate) a: Stored,
    pub(crate) b: Stored,
    /// The conversion from the bytes of A to the values that the kernel reads.
    pub(crate) convert: Convert,
    /// The amounts that storing (and the kernel) adds to the values of A and of B.
    pub(crate) shift: (i64, i64),
    /// Whether the zero point of B's stored values is not 0, so that the sums of A's rows are needed.
    pub(crate) row_sums: bool,
    /// The variant for panels widened to i16 beforehand. Set if M is at least [`MIN_ROWS_TO_WIDEN`] and the kernel has
    /// one.
    pub(crate) widened: Option<&'static Variant>,
}

/// From this M on it is faster to widen a panel once than in every tile.
const MIN_ROWS_TO_WIDEN: usize = 32;

impl StoredPair {
    /// The pair that `variant` multiplies.
    pub(crate) fn new(product: &Product<'_>, b: &PackedColumns, variant: &Variant) -> Self {
        let signed = product.a.element_type() == ElementType::I8;
        let (convert, a_shift) = variant.convert_a(signed);
        let shift = (i64::from(a_shift), i64::from(b.shift(variant.b)));
        let no_b_zero =
            matches!(product.b_zero, ZeroPoint::PerTensor(zero) if i64::from(zero) + shift.1 == 0);
        let widened = if product.m < MIN_ROWS_TO_WIDEN { None } else { b.kernel().widened(variant) };
        Self { a: variant.a, b: variant.b, convert, shift, row_sums: !no_b_zero, widened }
    }

    /// Whether the kernel of a panel multiplies this pair.
    pub(crate) fn serves(&self, panel: &Panel) -> bool {
        (panel.variant.a, panel.variant.b) == (self.a, self.b)
    }
}

impl<'a> Operation<'a> {
    /// Chooses blocks and, unless an i32 output makes that needless, the accumulator.
    pub(crate) fn new(
        product: &'a Product<'a>,
        b: &'a PackedColumns,
        pairs: &'a [StoredPair],
        i32_output: bool,
    ) -> Self {
        let (kernel, k) = (b.kernel(), product.k);
        let mut sizes = ElementSizes { a: 1, b: 1 };
        for pair in pairs {
            let b_stored = pair.widened.map_or(pair.b, |variant| variant.b);
            sizes.a = sizes.a.max(pair.a.size());
            sizes.b = sizes.b.max(b_stored.size());
        }
        let plan = Plan::new(product.m, k, &kernel, sizes, b.caches());
        let accumulator = if i32_output {
            Accumulator::I32
        } else {
            accumulator::choose(product, b, pairs.iter().map(|pair| pair.shift))
        };
        Self { product, b, mr: kernel.mr, nr: kernel.nr, pairs, plan, accumulator, k }
    }
}
