//! A checked product with its output, to be run later, as a part or in a batch.

use crate::call::dynamic::DynamicGemm;
use crate::call::gemm::{Gemm, all_of, bytes_destination, f32_destination, shape};
use crate::call::groupwise::GroupwiseGemm;
use crate::dispatch::select::Dispatch;
use crate::element::Int8Element;
use crate::engine;
use crate::engine::packed::BlocksToCut;
use crate::engine::threads::Threads;
use crate::error::Error;
use crate::matrix::split::check_cut;
use crate::matrix::view::MatMut;
use crate::output::dequantize::Dequantize;
use crate::output::destination::{Axis, Destination};
use crate::output::region::Extent;
use crate::output::requantize::Requantize;
use crate::product::Product;
use crate::product::operands::Rhs;
use qgemm_kernels::PANEL;
use std::ops::Range;

/// A checked product with its output: [`run`](Self::run) alone, or in a batch with [`run_batch`](crate::run_batch). It
/// may run any number of times; the values of its operands are read when it runs.
pub struct Task<'a, 'c> {
    /// It fits the destination: every constructor checks that.
    product: Described<'a>,
    destination: Destination<'c, 'a>,
    /// The part of the output that `destination` holds.
    extent: Extent,
}

/// A product as a builder describes it.
#[derive(Clone, Copy, Debug)]
enum Described<'a> {
    Gemm(Gemm<'a>),
    Dynamic(DynamicGemm<'a>),
    Groupwise(GroupwiseGemm<'a>),
}

impl<'a> Described<'a> {
    /// Whether each part packs the columns of B that it computes.
    fn packs_b(&self) -> bool {
        match self {
            Described::Gemm(gemm) => matches!(gemm.arguments.b, Rhs::Unpacked(_)),
            Described::Dynamic(gemm) => matches!(gemm.b, Rhs::Unpacked(_)),
            Described::Groupwise(_) => false,
        }
    }

    /// The rows of a tile and the columns of a panel, which decide where the output may be cut.
    fn tile(&self) -> Result<(usize, usize), Error> {
        let (b, dispatch) = match self {
            Described::Gemm(gemm) => (gemm.arguments.b, gemm.arguments.dispatch),
            Described::Dynamic(gemm) => (gemm.b, gemm.dispatch),
            Described::Groupwise(gemm) => return Ok((gemm.product.b.kernel.mr, PANEL)),
        };
        let kernel = match (b, dispatch) {
            (Rhs::Packed(b), _) => b.columns.kernel(),
            (Rhs::Unpacked(b), Some(dispatch)) => dispatch.choose(b.rows(), b.cols()),
            (Rhs::Unpacked(b), None) => Dispatch::auto()?.choose(b.rows(), b.cols()),
        };
        Ok((kernel.mr, kernel.nr))
    }

    /// Rows of B.
    fn k(&self) -> usize {
        match self {
            Described::Gemm(gemm) => gemm.arguments.b.shape().0,
            Described::Dynamic(gemm) => gemm.b.shape().0,
            Described::Groupwise(gemm) => gemm.product.b.k(),
        }
    }

    fn threads(&self) -> Threads<'a> {
        match self {
            Described::Gemm(gemm) => gemm.threads,
            Described::Dynamic(gemm) => gemm.threads,
            Described::Groupwise(gemm) => gemm.threads,
        }
    }
}

impl std::fmt::Debug for Task<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("product", &self.product).finish_non_exhaustive()
    }
}

impl<'a, 'c> Task<'a, 'c> {
    /// [`Gemm::run_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        let all = all_of(&c);
        Ok(Self::new(Described::Gemm(gemm), all, Destination::I32 { c: c.block, accumulate: false }))
    }

    /// [`Gemm::accumulate_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn accumulate_i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        let all = all_of(&c);
        Ok(Self::new(Described::Gemm(gemm), all, Destination::I32 { c: c.block, accumulate: true }))
    }

    /// [`Gemm::run_requantized`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn requantized<T: Int8Element>(
        gemm: Gemm<'a>,
        c: MatMut<'c, T>,
        output: impl Into<Requantize<'a>>,
    ) -> Result<Self, Error> {
        let all = all_of(&c);
        let destination = bytes_destination(&gemm.product(shape(&c))?, c, &output.into())?;
        Ok(Self::new(Described::Gemm(gemm), all, destination))
    }

    /// [`Gemm::run_f32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn f32(gemm: Gemm<'a>, c: MatMut<'c, f32>, output: impl Into<Dequantize<'a>>) -> Result<Self, Error> {
        let all = all_of(&c);
        let destination = f32_destination(&gemm.product(shape(&c))?, c, &output.into())?;
        Ok(Self::new(Described::Gemm(gemm), all, destination))
    }

    /// [`DynamicGemm::run_f32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing and those that depend on the values of A.
    pub fn dynamic_f32(
        gemm: DynamicGemm<'a>,
        c: MatMut<'c, f32>,
        output: impl Into<Dequantize<'a>>,
    ) -> Result<Self, Error> {
        let all = all_of(&c);
        let destination = gemm.f32_destination(c, &output.into())?;
        Ok(Self::new(Described::Dynamic(gemm), all, destination))
    }

    /// [`DynamicGemm::run_requantized`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing and those that depend on the values of A.
    pub fn dynamic_requantized<T: Int8Element>(
        gemm: DynamicGemm<'a>,
        c: MatMut<'c, T>,
        output: impl Into<Requantize<'a>>,
    ) -> Result<Self, Error> {
        let all = all_of(&c);
        let destination = gemm.bytes_destination(c, &output.into())?;
        Ok(Self::new(Described::Dynamic(gemm), all, destination))
    }

    /// [`GroupwiseGemm::run_f32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those that depend on the values of A.
    pub fn groupwise_f32(
        gemm: GroupwiseGemm<'a>,
        c: MatMut<'c, f32>,
        output: impl Into<Dequantize<'a>>,
    ) -> Result<Self, Error> {
        let (all, dequant) = (all_of(&c), output.into());
        gemm.check(shape(&c), &dequant)?;
        Ok(Self::new(Described::Groupwise(gemm), all, Destination::F32 { c: c.block, dequant }))
    }

    fn new(product: Described<'a>, extent: Extent, destination: Destination<'c, 'a>) -> Self {
        Self { product, destination, extent }
    }

    /// Cuts the output between rows: the first task computes those before row `at`, the second the others. Each needs
    /// what the whole product needs (scales of all rows and columns), writes only its part, and may run on any thread.
    ///
    /// # Errors
    /// [`Error::Range`] if there are less than `at` rows.
    pub fn split_rows(self, at: usize) -> Result<(Self, Self), Error> {
        let Range { start, end } = self.extent.rows;
        check_cut("at", at, end - start)?;
        let (top, bottom) = self.destination.split(Axis::Rows, at);
        let part = |rows, destination| Self {
            product: self.product,
            destination,
            extent: Extent { rows, columns: self.extent.columns.clone() },
        };
        Ok((part(start..start + at, top), part(start + at..end, bottom)))
    }

    /// [`split_rows`](Self::split_rows) between columns, `panels` times [`panel_columns`](Self::panel_columns) of them
    /// before the cut.
    ///
    /// # Errors
    /// [`Error::Range`] if there are less panels. If B is not packed, [`Error::Kernel`] or [`Error::Variable`] if the
    /// environment is wrong.
    pub fn split_columns(self, panels: usize) -> Result<(Self, Self), Error> {
        let nr = self.panel_columns()?;
        let Range { start, end } = self.extent.columns;
        check_cut("panels", panels, (end - start).div_ceil(nr))?;
        let at = (panels * nr).min(end - start);
        let (left, right) = self.destination.split(Axis::Columns, at);
        let part = |columns, destination| Self {
            product: self.product,
            destination,
            extent: Extent { rows: self.extent.rows.clone(), columns },
        };
        Ok((part(start..start + at, left), part(start + at..end, right)))
    }

    /// The columns that the kernel computes together: [`split_columns`](Self::split_columns) cuts between such panels.
    ///
    /// # Errors
    /// If B is not packed, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
    pub fn panel_columns(&self) -> Result<usize, Error> {
        Ok(self.product.tile()?.1)
    }

    /// Cuts the output into at most `parts` tasks of about the same work, as the library cuts it for its own threads:
    /// for an engine that runs each on a thread of its own, with [`Gemm::threads`] set to 1.
    ///
    /// # Errors
    /// If B is not packed, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
    pub fn into_parts(self, parts: usize) -> Result<Vec<Self>, Error> {
        let (tile, mut tasks) = (self.product.tile()?, Vec::new());
        let Extent { rows, columns } = &self.extent;
        let most =
            if rows.is_empty() || columns.is_empty() { 1 } else { rows.len().saturating_mul(columns.len()) };
        self.cut_into(parts.min(most), tile, &mut tasks)?;
        Ok(tasks)
    }

    fn cut_into(self, parts: usize, tile: (usize, usize), tasks: &mut Vec<Self>) -> Result<(), Error> {
        let Extent { rows, columns } = &self.extent;
        let ((mr, nr), row_work) = (tile, columns.len().saturating_mul(self.product.k()));
        let rows_to_cut = if self.product.packs_b() { 1 } else { rows.len() };
        let blocks = BlocksToCut { rows: rows_to_cut, panels: columns.len().div_ceil(nr), row_work };
        let cut = if parts > 1 { blocks.cut(mr, parts) } else { None };
        let (first, second) = match cut {
            None => {
                tasks.push(self);
                return Ok(());
            }
            Some((Axis::Rows, at)) => self.split_rows(at)?,
            Some((Axis::Columns, panels)) => self.split_columns(panels)?,
        };
        first.cut_into(parts / 2, tile, tasks)?;
        second.cut_into(parts - parts / 2, tile, tasks)
    }

    /// Runs this product alone.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough for scratch memory or to pack B; if B is not packed, [`Error::Kernel`] or
    /// [`Error::Variable`] if the environment is wrong; those of [`DynamicGemm::run_f32`] that depend on the values of A, of
    /// the rows of this part alone unless they have one scale. The output is then left as it was.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_on(self.product.threads())
    }

    pub(super) fn run_on(&mut self, threads: Threads<'_>) -> Result<(), Error> {
        let (extent, destination) = (self.extent.clone(), &mut self.destination);
        match &self.product {
            Described::Gemm(gemm) => {
                let product = Product::checked_before(&gemm.arguments);
                engine::run::run(&product, extent, destination, threads)
            }
            Described::Dynamic(gemm) => gemm.run(destination, extent, threads, None),
            Described::Groupwise(gemm) => gemm.run(destination, extent, threads),
        }
    }

    /// Reserves the memory that this thread needs to run it alone.
    ///
    /// # Errors
    /// Those of [`run`](Self::run), but those that depend on the values of A.
    pub(super) fn reserve(&self) -> Result<(), Error> {
        match &self.product {
            Described::Gemm(gemm) => {
                let product = Product::checked_before(&gemm.arguments);
                engine::run::reserve(&product, self.extent.rows.clone(), &self.destination)
            }
            Described::Dynamic(gemm) => gemm.reserve(self.extent.rows.len(), &self.destination),
            Described::Groupwise(gemm) => {
                engine::groupwise::run::reserve(&gemm.product, self.extent.rows.len())
            }
        }
    }

    /// The estimated work in multiply-adds; packing B counts as 16 rows of A, quantizing a value of A as 32 columns of B.
    pub(super) fn work(&self) -> usize {
        const PACKING: usize = 16;
        const QUANTIZING: usize = 32;
        let (m, n, k) = (self.extent.rows.len(), self.extent.columns.len(), self.product.k());
        let packing = if self.product.packs_b() { PACKING } else { 0 };
        let quantizing = if let Described::Gemm(_) = self.product { 0 } else { QUANTIZING };
        let products = m.saturating_add(packing).saturating_mul(n);
        products.saturating_add(m.saturating_mul(quantizing)).saturating_mul(k.max(1))
    }
}
