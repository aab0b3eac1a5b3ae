//! A checked product with its output, to be run later, as a part or in a batch.

use crate::call::gemm::{Gemm, bytes_destination, f32_destination, shape};
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
use crate::product::operands::Rhs;
use crate::product::{Arguments, Product};
use qgemm_kernels::{Kernel, Ready};
use std::ops::Range;

/// A checked product with its output: [`run`](Self::run) alone, or in a batch with [`run_batch`](crate::run_batch). It
/// may run any number of times; the values of its operands are read when it runs.
pub struct Task<'a, 'c> {
    /// It fits the destination: every constructor checks that.
    gemm: Gemm<'a>,
    destination: Destination<'c, 'a>,
    /// The part of the output that `destination` holds.
    extent: Extent,
}

impl std::fmt::Debug for Task<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("gemm", &self.gemm).finish_non_exhaustive()
    }
}

impl<'a, 'c> Task<'a, 'c> {
    /// [`Gemm::run_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        Ok(Self::new(gemm, Destination::I32 { c: c.block, accumulate: false }))
    }

    /// [`Gemm::accumulate_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn accumulate_i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        Ok(Self::new(gemm, Destination::I32 { c: c.block, accumulate: true }))
    }

    /// [`Gemm::run_requantized`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn requantized<T: Int8Element>(
        gemm: Gemm<'a>,
        c: MatMut<'c, T>,
        output: &Requantize<'a>,
    ) -> Result<Self, Error> {
        let destination = bytes_destination(&gemm.product(shape(&c))?, c, output)?;
        Ok(Self::new(gemm, destination))
    }

    /// [`Gemm::run_f32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn f32(gemm: Gemm<'a>, c: MatMut<'c, f32>, output: &Dequantize<'a>) -> Result<Self, Error> {
        let destination = f32_destination(&gemm.product(shape(&c))?, c, output)?;
        Ok(Self::new(gemm, destination))
    }

    fn new(gemm: Gemm<'a>, destination: Destination<'c, 'a>) -> Self {
        let Product { m, n, .. } = Product::checked_before(&gemm.arguments);
        Self { gemm, destination, extent: Extent { rows: 0..m, columns: 0..n } }
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
            gemm: self.gemm,
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
            gemm: self.gemm,
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
        Ok(self.kernel()?.nr)
    }

    /// Cuts the output into at most `parts` tasks of about the same work, as the library cuts it for its own threads:
    /// for an engine that runs each on a thread of its own, with [`Gemm::threads`] set to 1.
    ///
    /// # Errors
    /// If B is not packed, [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong.
    pub fn into_parts(self, parts: usize) -> Result<Vec<Self>, Error> {
        let (kernel, mut tasks) = (self.kernel()?, Vec::new());
        self.cut_into(parts, &kernel, &mut tasks)?;
        Ok(tasks)
    }

    fn cut_into(self, parts: usize, kernel: &Kernel, tasks: &mut Vec<Self>) -> Result<(), Error> {
        let Extent { rows, columns } = &self.extent;
        let row_work = columns.len().saturating_mul(self.product().k);
        let rows_to_cut = match self.gemm.arguments.b {
            Rhs::Packed(_) => rows.len(),
            // Every part packs the columns that it computes.
            Rhs::Unpacked(_) => 1,
        };
        let blocks = BlocksToCut { rows: rows_to_cut, panels: columns.len().div_ceil(kernel.nr), row_work };
        let cut = if parts > 1 { blocks.cut(kernel.mr, parts) } else { None };
        let (first, second) = match cut {
            None => {
                tasks.push(self);
                return Ok(());
            }
            Some((Axis::Rows, at)) => self.split_rows(at)?,
            Some((Axis::Columns, panels)) => self.split_columns(panels)?,
        };
        first.cut_into(parts / 2, kernel, tasks)?;
        second.cut_into(parts - parts / 2, kernel, tasks)
    }

    /// The kernel that decides where the output may be cut.
    fn kernel(&self) -> Result<Ready, Error> {
        let Arguments { b, dispatch, .. } = &self.gemm.arguments;
        match (b, dispatch) {
            (Rhs::Packed(b), _) => Ok(b.columns.kernel()),
            (Rhs::Unpacked(b), Some(dispatch)) => Ok(dispatch.choose(b.rows(), b.cols())),
            (Rhs::Unpacked(b), None) => Ok(Dispatch::auto()?.choose(b.rows(), b.cols())),
        }
    }

    /// Runs this product alone.
    ///
    /// # Errors
    /// [`Error::Memory`] if there is not enough for scratch memory or to pack B; if B is not packed, [`Error::Kernel`] or
    /// [`Error::Variable`] if the environment is wrong. The output is then left as it was.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_on(self.gemm.threads)
    }

    fn product(&self) -> Product<'_> {
        Product::checked_before(&self.gemm.arguments)
    }

    pub(super) fn run_on(&mut self, threads: Threads<'_>) -> Result<(), Error> {
        let product = Product::checked_before(&self.gemm.arguments);
        engine::run::run(&product, self.extent.clone(), &mut self.destination, threads)
    }

    /// Reserves the memory that this thread needs to run it alone.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub(super) fn reserve(&self) -> Result<(), Error> {
        engine::run::reserve(&self.product(), &self.destination)
    }

    /// The estimated work in multiply-adds; packing B counts as 16 rows of A.
    pub(super) fn work(&self) -> usize {
        const PACKING: usize = 16;
        let (m, n, k) = (self.extent.rows.len(), self.extent.columns.len(), self.product().k);
        let packing = if let Rhs::Unpacked(_) = self.gemm.arguments.b { PACKING } else { 0 };
        m.saturating_add(packing).saturating_mul(n).saturating_mul(k.max(1))
    }
}
