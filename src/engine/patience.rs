//! Whether work is worth sharing at the moment, by what this thread has seen of late. Threads are slow to answer where
//! somebody else has their cores, and where the cores share no cache.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How sharing products of some size has paid a thread of late.
#[derive(Clone, Copy)]
struct Seen {
    /// The time until which it works alone, since sharing did not pay.
    alone_until: Option<Instant>,
    /// How many times in a row it did not.
    in_vain: u32,
}

thread_local! {
    /// For small and for large products: whether small ones are worth sharing says nothing of large ones.
    static SEEN: [Cell<Seen>; 2] = const { [const { Cell::new(Seen { alone_until: None, in_vain: 0 }) }; 2] };
}

/// The place in [`SEEN`] for so many multiply-adds.
fn size(multiply_adds: usize) -> usize {
    /// About 20 µs: where cores share no cache, to pass a few lines takes as long as the work.
    const LARGE: usize = 1 << 22;
    usize::from(multiply_adds >= LARGE)
}

/// Work that was shared just now.
pub(crate) struct Shared {
    pub(crate) multiply_adds: usize,
    pub(crate) parts: usize,
    /// The parts that this thread did.
    pub(crate) own_parts: usize,
    pub(crate) start: Instant,
    /// The time when it had done them, and began to wait for the others.
    pub(crate) end_of_own: Instant,
}

impl Shared {
    /// Notes how much sooner it was done than this thread had done it alone. If not at all, the thread works alone for as
    /// long as it waited, and for twice as long each time that this happens again, so that waiting takes a few percent of
    /// its time where others are always late.
    pub(crate) fn note(self) {
        /// How long the wait for a part of a large product has to be: others may be late once, as when they wake.
        const LONG: Duration = Duration::from_micros(20);
        /// From the sixth time in a row on a thread works alone for 32 times as long as it waited.
        const MOST_IN_VAIN: u32 = 5;
        let Self { multiply_adds, parts, own_parts, start, end_of_own } = self;
        let (size, now) = (size(multiply_adds), Instant::now());
        let (wait, total) = (now - end_of_own, now - start);
        // In integers: the caller's floating-point mode may trap. Of a small product the threads' own parts take longer
        // too, as they pass what they share to and fro: it has to gain more.
        let percent = if size == 0 { 75 } else { 90 };
        let alone = (end_of_own - start).as_nanos() * parts as u128;
        let paid = 100 * own_parts as u128 * total.as_nanos() < percent * alone;
        SEEN.with(|seen| {
            let seen = &seen[size];
            let Seen { in_vain, .. } = seen.get();
            seen.set(if paid || size > 0 && wait < LONG {
                Seen { alone_until: None, in_vain: 0 }
            } else {
                let alone_until = Some(now + (1 << in_vain.min(MOST_IN_VAIN)) * wait);
                Seen { alone_until, in_vain: in_vain + 1 }
            });
        });
    }
}

/// Has this thread work alone on products of so many multiply-adds for some time.
pub(crate) fn work_alone(multiply_adds: usize, time: Duration) {
    SEEN.with(|seen| {
        let seen = &seen[size(multiply_adds)];
        seen.set(Seen { alone_until: Some(Instant::now() + time), ..seen.get() });
    });
}

/// Whether this thread works alone on products of so many multiply-adds, for the moment.
pub(crate) fn works_alone(multiply_adds: usize) -> bool {
    SEEN.with(|seen| {
        let seen = &seen[size(multiply_adds)];
        let Some(until) = seen.get().alone_until else { return false };
        let alone = Instant::now() < until;
        if !alone {
            seen.set(Seen { alone_until: None, ..seen.get() });
        }
        alone
    })
}
