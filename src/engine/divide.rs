//! Division of work into parts that several threads run.

use crate::engine::threads::Share;
use crate::error::Error;
use std::sync::Mutex;

/// Two pieces of some work, each with the number of parts that it is divided into further.
pub(crate) struct Halves<W> {
    pub(crate) first: (W, usize),
    pub(crate) second: (W, usize),
}

/// Work that can be divided.
pub(crate) trait Work: Sized + Send {
    /// The result of a part.
    type Output: Send;

    /// Cuts work that is to become `parts` parts, at least two, into two pieces; returns it whole if it cannot be cut.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self>;

    /// Runs a part on this thread. `parts` is the number of parts that it was to become: more than 1 if it cannot be cut.
    fn run(self, parts: usize) -> Result<Self::Output, Undone<Self>>;
}

/// What a thread has no memory for. Nothing of it was written.
pub(crate) struct Undone<W> {
    pub(crate) rest: W,
    pub(crate) error: Error,
}

/// The most parts.
const MAX_PARTS: usize = 128;
/// Few parts, which take less room on the stack.
const FEW_PARTS: usize = 16;

/// Divides work as `share` says, runs every part, and joins the results in order. Parts that another thread had no
/// memory for run on this one.
///
/// # Errors
/// [`Error::Memory`] if this thread does not have enough either. It has reserved what it needs before it divides work, so
/// that nothing was written then.
pub(crate) fn divide<W: Work>(
    work: W,
    share: &Share<'_>,
    both: impl Fn(W::Output, W::Output) -> W::Output,
) -> Result<W::Output, Error> {
    match share.parts {
        0 | 1 => work.run(1).map_err(|undone| undone.error),
        ..=FEW_PARTS => divide_into::<W, FEW_PARTS>(work, share, both),
        _ => divide_into::<W, MAX_PARTS>(work, share, both),
    }
}

/// A part, or what became of it.
enum Part<W: Work> {
    /// Not yet, or at the moment.
    None,
    /// To run, with the number of parts that it was to become.
    Todo(W, usize),
    Done(W::Output),
}

#[inline(never)]
fn divide_into<W: Work, const MOST: usize>(
    work: W,
    share: &Share<'_>,
    both: impl Fn(W::Output, W::Output) -> W::Output,
) -> Result<W::Output, Error> {
    let mut parts: [Mutex<Part<W>>; MOST] = std::array::from_fn(|_| Mutex::new(Part::None));
    let mut count = 0;
    cut(work, share.parts.min(MOST), &mut |work, its_parts| {
        parts[count] = Mutex::new(Part::Todo(work, its_parts));
        count += 1;
    });
    let exchange = |index: usize, part: Part<W>| {
        let mut place = parts[index].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        std::mem::replace(&mut *place, part)
    };
    let run = |index: usize| {
        if index >= count {
            return;
        }
        let result = match exchange(index, Part::None) {
            Part::Todo(work, its_parts) => match work.run(its_parts) {
                Ok(output) => Part::Done(output),
                Err(undone) => Part::Todo(undone.rest, its_parts),
            },
            Part::None => return,
            done => done,
        };
        exchange(index, result);
    };
    if count == 1 {
        run(0)
    } else {
        share.crew.for_each(count, &run)
    }
    let mut all = None;
    for index in 0..count {
        let output = match exchange(index, Part::None) {
            Part::Done(output) => output,
            Part::Todo(work, _) => work.run(1).map_err(|undone| undone.error)?,
            Part::None => unreachable!("the thread that ran it panicked, and so did this one"),
        };
        all = Some(match all {
            None => output,
            Some(before) => both(before, output),
        });
    }
    Ok(all.expect("there is one part at least"))
}

/// Cuts work into parts, in order.
fn cut<W: Work>(work: W, parts: usize, each: &mut impl FnMut(W, usize)) {
    if parts <= 1 {
        return each(work, 1);
    }
    match work.halve(parts) {
        Err(whole) => each(whole, parts),
        Ok(Halves { first, second }) => {
            cut(first.0, first.1, each);
            cut(second.0, second.1, each);
        }
    }
}
