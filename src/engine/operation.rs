//! The state that all blocks of a product share.

use crate::element::ElementType;
use crate::engine::plan::{Blocks, ElementSizes, Needs, Plan};
use crate::product::Product;
use crate::product::accumulator::{self, Accumulator};
use crate::product::zero_point::ZeroPoint;
use crate::weights::packed_columns::{PackedColumns, Panel};
use qgemm_kernels::{Caches, Convert, Kernel, Stored, Variant};

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
    sizes: ElementSizes,
    pub(crate) accumulator: Accumulator,
    pub(crate) k: usize,
    /// Whether A is larger than the second-level cache: it comes from beyond, as far as is known.
    pub(crate) a_exceeds_l2: bool,
    /// Whether B is larger than the second-level cache.
    pub(crate) b_exceeds_l2: bool,
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
    #[inline]
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
    #[inline]
    pub(crate) fn new(
        product: &'a Product<'a>,
        b: &'a PackedColumns,
        pairs: &'a [StoredPair],
        i32_output: bool,
    ) -> Self {
        let (kernel, k) = (b.kernel(), product.k);
        let sizes = element_sizes(pairs);
        let plan = Plan::new(product.m, k, &kernel, sizes, b.caches());
        let accumulator = if i32_output {
            Accumulator::I32
        } else {
            accumulator::choose(product, b, pairs.iter().map(|pair| pair.shift))
        };
        let exceeds_l2 = |vectors: usize| vectors.saturating_mul(k) > b.caches().l2;
        let (a_exceeds_l2, b_exceeds_l2) = (exceeds_l2(product.m), exceeds_l2(b.n()));
        Self {
            product,
            b,
            mr: kernel.mr,
            nr: kernel.nr,
            pairs,
            plan,
            sizes,
            accumulator,
            k,
            a_exceeds_l2,
            b_exceeds_l2,
        }
    }

    /// The multiply-adds of a row.
    pub(crate) fn row_work(&self) -> usize {
        self.b.n().saturating_mul(self.k)
    }

    /// The scratch memory that its blocks take at most.
    #[inline]
    pub(crate) fn needs(&self) -> Needs {
        let in_place = self.product.a.in_place().is_some();
        let blocks = Blocks {
            m: self.product.m,
            k: self.k,
            panels: self.b.panels().len(),
            copies_a: !in_place || self.pairs.iter().any(|pair| pair.convert != Convert::Copy),
            widens: self.pairs.iter().any(|pair| pair.widened.is_some()),
            i64_sums: self.accumulator == Accumulator::I64,
        };
        Needs::new(&self.plan, &self.b.kernel(), self.sizes, blocks)
    }
}

/// The sizes of the elements that kernels read.
#[inline]
fn element_sizes(pairs: &[StoredPair]) -> ElementSizes {
    let mut sizes = ElementSizes { a: 1, b: 1 };
    for pair in pairs {
        let b_stored = pair.widened.map_or(pair.b, |variant| variant.b);
        sizes.a = sizes.a.max(pair.a.size());
        sizes.b = sizes.b.max(b_stored.size());
    }
    sizes
}

/// The blocks of a product with packed columns, if it is not one call of a kernel.
pub(crate) fn plan_of(product: &Product<'_>, b: &PackedColumns) -> Plan {
    let pairs: Vec<_> = b.panels().iter().map(|panel| StoredPair::new(product, b, panel.variant)).collect();
    Plan::new(product.m, product.k, &b.kernel(), element_sizes(&pairs), b.caches())
}

/// The scratch memory that a product takes at most, whatever the kernels of its panels and its accumulator: a bound for
/// panels that are not packed yet.
pub(crate) fn needs_at_most(product: &Product<'_>, kernel: &Kernel, caches: Caches) -> Needs {
    let (m, k) = (product.m, product.k);
    let signed = product.a.element_type() == ElementType::I8;
    let in_place = product.a.in_place().is_some();
    let converts = kernel.variants.iter().any(|variant| variant.convert_a(signed).0 != Convert::Copy);
    let widens = m >= MIN_ROWS_TO_WIDEN && kernel.variants.iter().any(|v| kernel.widened(v).is_some());
    let widest = |size: fn(&Variant) -> usize| kernel.variants.iter().map(size).max().unwrap_or(1);
    let mut needs = Needs::default();
    for a in 1..=widest(|variant| variant.a.size()) {
        for b in 1..=widest(|variant| variant.b.size()) {
            let sizes = ElementSizes { a, b };
            let plan = Plan::new(m, k, kernel, sizes, caches);
            let panels = product.n.div_ceil(kernel.nr);
            for i64_sums in [false, true] {
                let blocks = Blocks { m, k, panels, copies_a: !in_place || converts, widens, i64_sums };
                needs = needs.max(Needs::new(&plan, kernel, sizes, blocks));
            }
        }
    }
    needs
}
