//! Products with packed columns of B: chooses between one kernel call and the loop nest, and shares the loop nest's work
//! among threads.

use crate::engine::buffers;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::loops;
use crate::engine::operation::{Operation, StoredPair};
use crate::engine::plan::Needs;
use crate::engine::small::Small;
use crate::engine::threads::{GRAIN, Share};
use crate::error::Error;
use crate::output::destination::{Axis, Destination};
use crate::product::Product;
use crate::weights::packed_columns::PackedColumns;
use std::ops::Range;

/// Computes the columns of a product that `b` holds, on threads as `share` says. The product is not empty.
///
/// # Errors
/// [`Error::Memory`] if there is not enough scratch memory. Nothing was written then.
pub(crate) fn run(
    product: &Product<'_>,
    b: &PackedColumns,
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    let first = StoredPair::new(product, b, b.panels()[0].variant);
    let Some(other) = b.panels().iter().find(|panel| !first.serves(panel)) else {
        return match Small::new(product, b, &first, destination) {
            Some(small) => small.run(destination),
            None => run_blocked(product, b, &[first], destination, share),
        };
    };
    let other = StoredPair::new(product, b, other.variant);
    run_blocked(product, b, &[first, other], destination, share)
}

/// Computes the columns by the loop nest. Not inlined: its stack frame would slow small products.
#[inline(never)]
fn run_blocked(
    product: &Product<'_>,
    b: &PackedColumns,
    pairs: &[StoredPair],
    destination: &mut Destination<'_, '_>,
    share: &Share<'_>,
) -> Result<(), Error> {
    let i32_output = matches!(destination, Destination::I32 { .. });
    let operation = &Operation::new(product, b, pairs, i32_output);
    let (rows, panels) = (0..product.m, 0..b.panels().len());
    let needs = &operation.needs();
    if share.parts == 1 {
        return buffers::with(needs, |scratch| loops::run(operation, rows, panels, destination, scratch));
    }
    // Reserved on this thread first: it can then run the parts of a thread that has no memory.
    buffers::reserve(needs)?;
    let destination = destination.reborrow();
    divide(Block { operation, needs, rows, panels, destination }, share, |(), ()| ())
}

/// Some rows and panels of an operation, with their part of the output.
struct Block<'a, 'c, 'o> {
    operation: &'a Operation<'a>,
    needs: &'a Needs,
    rows: Range<usize>,
    panels: Range<usize>,
    destination: Destination<'c, 'o>,
}

impl Work for Block<'_, '_, '_> {
    type Output = ();

    fn run(mut self, _: usize) -> Result<(), Undone<Self>> {
        let (rows, panels) = (self.rows.clone(), self.panels.clone());
        let destination = &mut self.destination;
        buffers::with(self.needs, |scratch| loops::run(self.operation, rows, panels, destination, scratch))
            .map_err(|error| Undone { rest: self, error })
    }

    /// Cuts between rows while there are several tiles of them, so that each thread widens and sums its own rows only;
    /// else between panels.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { operation, needs, rows, panels, destination } = self;
        let (mr, nr) = (operation.mr, operation.nr);
        let tiles = rows.len().div_ceil(mr);
        if tiles <= 1 && panels.len() <= 1 {
            return Err(Self { operation, needs, rows, panels, destination });
        }
        let here = parts / 2;
        let (first, second) = if tiles >= 4 * parts || tiles > panels.len() {
            // The same number of rows for each thread: 64 rows are tiles of 6 and 5, which takes less time than to wait
            // for 66 (2 % of 128x768x768). In a small product this thread has a head start, and whole tiles are better.
            let work = rows.len().saturating_mul(operation.b.n()).saturating_mul(operation.k);
            let small = work / parts < 8 * GRAIN;
            let at = if small { tiles * here / parts * mr } else { rows.len() * here / parts };
            let at = at.max(1);
            let middle = rows.start + at;
            let (top, bottom) = destination.split(Axis::Rows, at);
            (
                Self { operation, needs, rows: rows.start..middle, panels: panels.clone(), destination: top },
                Self { operation, needs, rows: middle..rows.end, panels, destination: bottom },
            )
        } else {
            let at = (panels.len() * here / parts).max(1);
            let middle = panels.start + at;
            let (left, right) = destination.split(Axis::Columns, at * nr);
            (
                Self {
                    operation,
                    needs,
                    rows: rows.clone(),
                    panels: panels.start..middle,
                    destination: left,
                },
                Self { operation, needs, rows, panels: middle..panels.end, destination: right },
            )
        };
        Ok(Halves { first: (first, here), second: (second, parts - here) })
    }
}
