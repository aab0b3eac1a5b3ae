//! From a checked product to blocks of work, and their spreading over threads.
//!
//! ```text
//! spread: a region of C per thread (rows x panels)
//!   ic  MC rows of C                           A block in L2; its row sums
//!     jc  NC panels (all of them, if K <= KC)  sums of K blocks in L2
//!       pc  KC values of k (all, if K <= KC)   A strip widened or flipped, if it must be
//!         jr  a panel of B                     KC x NR in L2, read once per tile
//!           ir  a tile of C, MR x NR           sums in registers, rows of A in L1
//! ```
//!
//! The loops are in `band`.

use crate::band;
use crate::direct;
use crate::element::ElementType;
use crate::gemm::{Gemm, Rhs, ZeroPoint};
use crate::packed::{PackedB, Panel};
use crate::plain;
use crate::plan::Plan;
use crate::scratch;
use crate::sink::Sink;
use crate::width::{self, Width};
use crate::{Dispatch, Error};
use qgemm_kernels::{Convert, Stored, Variant};
use std::ops::Range;

/// Multiply-adds that are worth another thread: about 2 µs of work, the time it takes to wake one.
#[cfg(feature = "rayon")]
pub(crate) const GRAIN: usize = 1 << 19;

/// What all blocks of a product share.
pub(crate) struct Call<'a> {
    pub(crate) gemm: &'a Gemm<'a>,
    pub(crate) b: &'a PackedB,
    /// Of a tile.
    pub(crate) mr: usize,
    /// Of a panel.
    pub(crate) nr: usize,
    /// The ways in which A is read: one, or two where some panels are proven to allow another.
    pub(crate) ways: [Option<Way>; 2],
    pub(crate) plan: Plan,
    /// Of the sums that are stored.
    pub(crate) width: Width,
    pub(crate) k: usize,
}

/// A way to read A, for panels of the kind that goes with it.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) a: Stored,
    pub(crate) b: Stored,
    /// From the bytes of A to what the kernel reads.
    pub(crate) convert: Convert,
    /// What storing added to the values of A and of B.
    pub(crate) shift: (i64, i64),
    /// Whether the sums of the rows of A matter.
    pub(crate) row_sums: bool,
    /// What multiplies panels that are widened for as many rows as there are, if any does.
    pub(crate) widened: Option<&'static Variant>,
}

/// Of so many rows on it is faster to widen a panel once than with every tile, for kernels that have a choice.
const WIDEN: usize = 32;

impl Way {
    fn new(gemm: &Gemm<'_>, b: &PackedB, variant: &Variant) -> Self {
        let signed = gemm.a.element_type() == ElementType::I8;
        let (convert, a_shift) = variant.convert_a(signed);
        let shift = (i64::from(a_shift), i64::from(b.shift(variant.b)));
        let row_sums = !matches!(gemm.b_zero, ZeroPoint::PerTensor(zero) if i64::from(zero) + shift.1 == 0);
        let widened = if gemm.shape().0 < WIDEN { None } else { b.ready().widened(variant) };
        Self { a: variant.a, b: variant.b, convert, shift, row_sums, widened }
    }

    /// Whether this is how a panel's kernel reads A.
    pub(crate) fn serves(&self, panel: &Panel) -> bool {
        (panel.variant.a, panel.variant.b) == (self.a, self.b)
    }
}

/// The kernels that a B which comes as it is may be packed for.
pub(crate) fn dispatch<'a>(gemm: &Gemm<'a>) -> Result<&'a Dispatch, Error> {
    match gemm.dispatch {
        Some(dispatch) => Ok(dispatch),
        None => Dispatch::auto(),
    }
}

/// Computes a product whose arguments were checked, on that many threads of the pool at most.
pub(crate) fn run(gemm: &Gemm<'_>, sink: &mut Sink<'_, '_>, threads: usize) -> Result<(), Error> {
    let (m, n, _) = gemm.shape();
    if m == 0 || n == 0 {
        return Ok(());
    }
    match gemm.b {
        Rhs::Packed(b) => multiply(gemm, b, sink, threads),
        Rhs::Unpacked(b) => return plain::run(gemm, b, sink, threads),
    }
    Ok(())
}

pub(crate) fn multiply(gemm: &Gemm<'_>, b: &PackedB, sink: &mut Sink<'_, '_>, threads: usize) {
    let first = Way::new(gemm, b, b.panels()[0].variant);
    let other = b.panels().iter().find(|panel| !first.serves(panel));
    if other.is_none() && direct::run(gemm, b, &first, sink) {
        return;
    }
    walk(gemm, b, [Some(first), other.map(|panel| Way::new(gemm, b, panel.variant))], sink, threads);
}

/// Through the whole loop nest. Apart from small products, whose way its stack would lengthen.
#[inline(never)]
fn walk(gemm: &Gemm<'_>, b: &PackedB, ways: [Option<Way>; 2], sink: &mut Sink<'_, '_>, threads: usize) {
    let (m, _, k) = gemm.shape();
    let kernel = b.ready();
    let all = || ways.iter().flatten();
    let read = |way: &Way| way.widened.map_or(way.b, |variant| variant.b);
    let sizes = all().fold((1, 1), |(a, b), way| (way.a.size().max(a), read(way).size().max(b)));
    let call = Call {
        gemm,
        b,
        mr: kernel.mr,
        nr: kernel.nr,
        ways,
        plan: Plan::new(m, k, &kernel, sizes, b.caches()),
        width: match sink {
            Sink::I32 { .. } => Width::Narrow,
            _ => width::decide(gemm, b, all().map(|way| way.shift)),
        },
        k,
    };
    spread(&call, 0..m, 0..b.panels().len(), sink, threads);
}

#[cfg(not(feature = "rayon"))]
fn spread(
    call: &Call<'_>,
    rows: Range<usize>,
    panels: Range<usize>,
    sink: &mut Sink<'_, '_>,
    _threads: usize,
) {
    scratch::with(|scratch| band::region(call, rows, panels, sink, scratch));
}

/// Shares a region among the threads of the current rayon pool, as far as they are worth waking.
#[cfg(feature = "rayon")]
fn spread(call: &Call<'_>, rows: Range<usize>, panels: Range<usize>, sink: &mut Sink<'_, '_>, most: usize) {
    match threads(call.gemm, call.b.n(), most) {
        1 => scratch::with(|scratch| band::region(call, rows, panels, sink, scratch)),
        parts => split(call, rows, panels, sink.reborrow(), parts),
    }
}

/// How many threads a product with so many columns of B is worth, of `most`.
#[cfg(feature = "rayon")]
pub(crate) fn threads(gemm: &Gemm<'_>, columns: usize, most: usize) -> usize {
    let (m, _, k) = gemm.shape();
    match m.saturating_mul(columns).saturating_mul(k) / GRAIN {
        // Before anything is asked of the pool: most products are small.
        0 | 1 => 1,
        _ if most == 1 => 1,
        worth => worth.min(most).min(rayon::current_num_threads()),
    }
}

/// There is but one.
#[cfg(not(feature = "rayon"))]
pub(crate) fn threads(_: &Gemm<'_>, _: usize, _: usize) -> usize {
    1
}

/// Multiply-adds of some rows of A and all of B.
#[cfg(feature = "rayon")]
fn work(call: &Call<'_>, rows: usize) -> usize {
    rows.saturating_mul(call.b.n()).saturating_mul(call.k)
}

/// Cuts a region into `parts` of about the same size, for a thread each.
#[cfg(feature = "rayon")]
fn split(call: &Call<'_>, rows: Range<usize>, panels: Range<usize>, mut sink: Sink<'_, '_>, parts: usize) {
    let tiles = rows.len().div_ceil(call.mr);
    if parts <= 1 || (tiles <= 1 && panels.len() <= 1) {
        return scratch::with(|scratch| band::region(call, rows, panels, &mut sink, scratch));
    }
    let here = parts / 2;
    // Rows, while there are several tiles of them: then each thread widens and sums its own only.
    if tiles >= 4 * parts || tiles > panels.len() {
        // As many for each: 64 rows are tiles of 6 and 5, which takes less time than to wait for 66 (2 % of
        // 128x768x768). In a small product this thread has a start, and does well with whole tiles.
        let small = work(call, rows.len()) / parts < 8 * GRAIN;
        let at = if small { tiles * here / parts * call.mr } else { rows.len() * here / parts };
        let at = at.max(1);
        let middle = rows.start + at;
        let (top, bottom) = sink.split_rows(at);
        rayon::join(
            || split(call, rows.start..middle, panels.clone(), top, here),
            || split(call, middle..rows.end, panels.clone(), bottom, parts - here),
        );
    } else {
        let at = (panels.len() * here / parts).max(1);
        let middle = panels.start + at;
        let (left, right) = sink.split_cols(at * call.nr);
        rayon::join(
            || split(call, rows.clone(), panels.start..middle, left, here),
            || split(call, rows.clone(), middle..panels.end, right, parts - here),
        );
    }
}
