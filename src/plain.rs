//! A B that comes as it is: packed part by part into memory that a thread keeps, and multiplied while it is in cache;
//! or, where A has few rows, not packed at all.

use crate::driver;
use crate::element::Operand;
use crate::gemm::Gemm;
use crate::packed::{Known, PackedB};
use crate::scratch;
use crate::sink::Sink;
use crate::sweep::Sweep;
use crate::width;
use crate::{Dispatch, Error};
use std::ops::Range;

/// A product whose B is packed by the call.
#[derive(Clone, Copy)]
struct Call<'a> {
    gemm: &'a Gemm<'a>,
    b: Operand<'a>,
    dispatch: &'a Dispatch,
    /// Columns that a thread packs at a time.
    step: usize,
    /// What it must know of them.
    known: Known<'a>,
    /// How they are multiplied without being packed, if they are.
    sweep: Option<Sweep<'a>>,
}

/// Computes a product whose arguments were checked, on that many threads of the pool at most. After an error C is
/// as it was.
pub(crate) fn run(
    gemm: &Gemm<'_>,
    b: Operand<'_>,
    sink: &mut Sink<'_, '_>,
    threads: usize,
) -> Result<(), Error> {
    let dispatch = driver::dispatch(gemm)?;
    let n = b.cols();
    let step = PackedB::columns_at_once(dispatch, &b, gemm.a.element_type());
    let any_fits = matches!(sink, Sink::I32 { .. }) || width::any_fit(gemm, b.element);
    let known = if any_fits { Known::NoBounds { a_zero: gemm.a_zero } } else { Known::All };
    let threads = driver::threads(gemm, b.cols(), threads);
    let sweep = if any_fits { Sweep::of(gemm, b, dispatch) } else { None };
    if sweep.is_some() {
        return split(Call { gemm, b, dispatch, step, known, sweep }, 0..n, sink, threads);
    }
    let panels = n.div_ceil(dispatch.choose(n).nr);
    let even = panels.is_multiple_of(threads) || panels >= 4 * threads;
    if threads == 1 || even {
        // What another thread has no memory for, this one has, and for the last part if it has for the first.
        if n > step || threads > 1 {
            make_room(gemm, &b, n.min(step))?;
        }
        split(Call { gemm, b, dispatch, step, known, sweep }, 0..n, sink, threads)
    } else {
        // The threads share rows of what this one packs: all of B, for them to meet but once.
        make_room(gemm, &b, n)?;
        one_by_one(Call { gemm, b, dispatch, step: n, known, sweep }, 0..n, sink, threads)
    }
}

/// Takes the memory that this thread needs to pack so many columns of B.
pub(crate) fn make_room(gemm: &Gemm<'_>, b: &Operand<'_>, columns: usize) -> Result<(), Error> {
    let (dispatch, activations) = (driver::dispatch(gemm)?, gemm.a.element_type());
    scratch::with_packed(|slot| {
        let packed = slot.get_or_insert_with(|| Box::new(PackedB::empty(dispatch, b, activations)));
        packed.make_room(dispatch, b, columns, activations)
    })
}

/// There is but one thread.
#[cfg(not(feature = "rayon"))]
fn split(call: Call<'_>, columns: Range<usize>, sink: &mut Sink<'_, '_>, _: usize) -> Result<(), Error> {
    one_by_one(call, columns, sink, 1)
}

/// Cuts columns into `parts` of about as many panels, for a thread each, which packs its own.
#[cfg(feature = "rayon")]
fn split(call: Call<'_>, columns: Range<usize>, sink: &mut Sink<'_, '_>, parts: usize) -> Result<(), Error> {
    if parts == 1 {
        return one_by_one(call, columns, sink, 1);
    }
    let nr = call.dispatch.choose(call.b.cols()).nr;
    let here = parts / 2;
    let at = columns.len().div_ceil(nr) * here / parts * nr;
    let middle = columns.start + at;
    let (mut left, mut right) = sink.reborrow().split_cols(at);
    let (one, other) = rayon::join(
        || split(call, columns.start..middle, &mut left, here),
        || {
            if call.sweep.is_none() {
                make_room(call.gemm, &call.b, call.step.min(columns.end - middle))?;
            }
            split(call, middle..columns.end, &mut right, parts - here)
        },
    );
    one.or_else(|_| one_by_one(call, columns.start..middle, &mut left, 1))?;
    other.or_else(|_| one_by_one(call, middle..columns.end, &mut right, 1))
}

/// Packs (unless it sweeps) and multiplies some columns, as many at a time as stay in cache; `sink` is that part of the
/// output.
fn one_by_one(
    call: Call<'_>,
    columns: Range<usize>,
    sink: &mut Sink<'_, '_>,
    threads: usize,
) -> Result<(), Error> {
    if let Some(sweep) = call.sweep {
        sweep.run(columns, sink);
        return Ok(());
    }
    let Call { gemm, b, dispatch, step, known, .. } = call;
    let activations = gemm.a.element_type();
    scratch::with_packed(|slot| {
        let packed = slot.get_or_insert_with(|| Box::new(PackedB::empty(dispatch, &b, activations)));
        for start in columns.clone().step_by(step) {
            let part = start..columns.end.min(start.saturating_add(step));
            packed.refill(dispatch, b, part.clone(), activations, known)?;
            let from = start - columns.start;
            driver::multiply(gemm, packed, &mut sink.columns(from..from + part.len()), threads);
        }
        Ok(())
    })
}
