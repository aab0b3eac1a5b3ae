//! Work that a thread offers to other threads while it does it itself: it never waits for one that has not begun.

use core::cell::Cell;
use core::hint::spin_loop;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Work on offer: a function that any number of threads may call at the same time, each to do a share of it.
type Work<'a> = &'a (dyn Fn() + Sync);

/// A place where one thread at a time offers work.
///
/// Threads that [`join`](Self::join) while the offer stands call the function too. The offering thread waits for those
/// that have joined, not for others: unlike a job in a thread pool's queue, an offer can be withdrawn. Nothing is
/// allocated.
#[derive(Debug)]
pub struct Offer {
    /// [`TAKEN`], [`OPEN`], [`FAILED`], the most threads that may join, and the number of those that have joined.
    state: AtomicUsize,
    /// A `Work` on the stack of the offering thread, valid while the offer is open or a thread has joined.
    work: AtomicPtr<()>,
}

/// A thread offers, or is about to.
const TAKEN: usize = 1 << 31;
/// Threads may join.
const OPEN: usize = 1 << 30;
/// A thread that joined has panicked.
const FAILED: usize = 1 << 29;
/// The bits of the number of threads that have joined, and of the most that may.
const JOINED: usize = (1 << 14) - 1;
const PLACES: usize = JOINED << PLACES_SHIFT;
const PLACES_SHIFT: u32 = 14;

/// Whether a thread may join in this state.
fn has_place(state: usize) -> bool {
    state & OPEN != 0 && state & JOINED < (state & PLACES) >> PLACES_SHIFT
}

impl Default for Offer {
    fn default() -> Self {
        Self::new()
    }
}

impl Offer {
    /// A place where nothing is offered.
    pub const fn new() -> Self {
        Self { state: AtomicUsize::new(0), work: AtomicPtr::new(null_mut()) }
    }

    /// Offers `work` to at most `places` other threads, calls `meanwhile` on this one, withdraws the offer and waits until
    /// the threads that have joined are done, calling `wait` over and over. If another thread offers here already, it
    /// only calls `meanwhile`.
    ///
    /// # Panics
    /// If `meanwhile` does, or `work` on another thread: after all have ended.
    pub fn during<R>(
        &self,
        work: &(dyn Fn() + Sync),
        places: usize,
        meanwhile: impl FnOnce() -> R,
        wait: impl Fn(),
    ) -> R {
        if self.state.compare_exchange(0, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return meanwhile();
        }
        let work: Work<'_> = work;
        self.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        // Sequentially consistent, so that of this thread, which then looks for threads that sleep, and a thread that
        // says that it sleeps and then looks for offers, one sees the other.
        self.state.store(TAKEN | OPEN | places.min(JOINED) << PLACES_SHIFT, Ordering::SeqCst);
        let failed = Cell::new(false);
        let standing = Standing { offer: self, wait: &wait, failed: &failed };
        let result = meanwhile();
        drop(standing);
        assert!(!failed.get(), "work that another thread had joined panicked there");
        result
    }

    /// Whether nobody offers work here.
    pub fn is_free(&self) -> bool {
        self.state.load(Ordering::Relaxed) == 0
    }

    /// Whether a thread may join.
    pub fn is_open(&self) -> bool {
        has_place(self.state.load(Ordering::SeqCst))
    }

    /// Joins the work that is offered here: calls its function, after `joined`. Returns whether there was any.
    pub fn join(&self, joined: impl FnOnce()) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if !has_place(state) {
                return false;
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let leave = Leave { offer: self, failed: true };
        joined();
        // SAFETY: the offer was open when this thread was counted, so `work` points to the `Work` that the offering
        // thread stored before it opened it (the exchange acquires what that store, or a later exchange, released). That
        // thread does not leave `during` while this one is counted: `Standing` waits until `leave` is dropped.
        let work = unsafe { *self.work.load(Ordering::Relaxed).cast::<Work<'_>>() };
        work();
        let mut leave = leave;
        leave.failed = false;
        true
    }
}

/// An offer that stands until this is dropped.
struct Standing<'a, W: Fn()> {
    offer: &'a Offer,
    wait: &'a W,
    failed: &'a Cell<bool>,
}

impl<W: Fn()> Drop for Standing<'_, W> {
    fn drop(&mut self) {
        /// Looks at the number of threads before `wait` is called: about a microsecond.
        const SPINS: usize = 64;
        let state = &self.offer.state;
        let mut now = state.fetch_and(!OPEN, Ordering::Acquire);
        let mut spins = 0;
        while now & JOINED != 0 {
            if spins < SPINS {
                spins += 1;
                spin_loop();
            } else {
                (self.wait)();
            }
            now = state.load(Ordering::Acquire);
        }
        self.failed.set(now & FAILED != 0);
        state.store(0, Ordering::Release);
    }
}

/// A thread that has joined an offer, until this is dropped.
struct Leave<'a> {
    offer: &'a Offer,
    failed: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.failed {
            self.offer.state.fetch_or(FAILED, Ordering::Relaxed);
        }
        self.offer.state.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicBool;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::thread::{scope, yield_now};

    #[test]
    fn nothing_is_offered_at_first_and_afterwards() {
        let offer = Offer::new();
        assert!(!offer.join(|| ()) && !offer.is_open());
        assert_eq!(offer.during(&|| (), 1, || 5, yield_now), 5);
        assert!(!offer.join(|| ()) && !offer.is_open());
    }

    #[test]
    fn every_share_is_done_once_whoever_joins() {
        let (offer, stop) = (&Offer::new(), &AtomicBool::new(false));
        scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if !offer.join(|| ()) {
                            yield_now();
                        }
                    }
                });
            }
            for round in 0..500 {
                let shares: [AtomicUsize; 20] = [const { AtomicUsize::new(0) }; 20];
                let next = AtomicUsize::new(0);
                let work = || {
                    while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                        // Not atomic as a whole: what is seen is what is done here, once.
                        share.store(share.load(Ordering::Relaxed) + round, Ordering::Relaxed);
                    }
                };
                offer.during(&work, round % 4, work, yield_now);
                assert!(shares.iter().all(|share| share.load(Ordering::Relaxed) == round));
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn no_more_threads_join_than_there_are_places() {
        let (offer, done) = (&Offer::new(), &AtomicBool::new(false));
        let (inside, most) = (&AtomicUsize::new(0), &AtomicUsize::new(0));
        let work = || {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            yield_now();
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    while !done.load(Ordering::SeqCst) {
                        offer.join(|| ());
                    }
                });
            }
            for _ in 0..200 {
                let meanwhile = || (0..20).for_each(|_| yield_now());
                offer.during(&work, 2, meanwhile, yield_now);
            }
            done.store(true, Ordering::SeqCst);
        });
        assert!(most.load(Ordering::SeqCst) <= 2);
    }

    #[test]
    fn a_second_offer_in_the_same_place_is_not_made() {
        let offer = Offer::new();
        let never = || panic!("nobody is to join this");
        offer.during(
            &|| (),
            1,
            || assert!(offer.during(&never, 1, || offer.join(|| ()), yield_now)),
            yield_now,
        );
    }

    #[test]
    fn a_panic_on_any_thread_is_one_of_the_offering_thread_after_all_have_ended() {
        let offer = &Offer::new();
        let here = catch_unwind(AssertUnwindSafe(|| offer.during(&|| (), 1, || panic!("here"), yield_now)));
        assert!(here.is_err() && !offer.is_open());
        scope(|scope| {
            let other = scope.spawn(|| {
                while !catch_unwind(AssertUnwindSafe(|| offer.join(|| ()))).unwrap_or(true) {
                    yield_now();
                }
            });
            let until_it_ends = || {
                while !other.is_finished() {
                    yield_now();
                }
            };
            let there = AssertUnwindSafe(|| offer.during(&|| panic!("there"), 1, until_it_ends, yield_now));
            assert!(catch_unwind(there).is_err());
        });
        assert_eq!(offer.during(&|| (), 1, || 7, yield_now), 7);
    }
}
