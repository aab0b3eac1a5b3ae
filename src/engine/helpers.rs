//! Threads that help callers outside any rayon pool.
//!
//! Such a caller would have to hand all of its work to rayon and sleep: that takes it some 10 µs, allocates, and never
//! returns in a process that was forked, where the pool's threads are missing. It offers work to these threads instead
//! and does it meanwhile. It waits only for those that have begun.

use crate::engine::patience::{self, Shared, works_alone};
use qgemm_kernels::Offer;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The most helpers of a process.
const MAX_HELPERS: usize = 127;
/// The most callers that are helped at the same time. Others do their work alone.
const MAX_OFFERS: usize = 16;
/// How long a helper looks for work before it sleeps: longer than most callers take between two products.
const LINGER: Duration = Duration::from_micros(100);
/// The multiply-adds of a product that are worth an offer to a thread that looks for work: some 9 µs.
pub(crate) const WORTH_AN_OFFER: usize = 1 << 21;
/// The multiply-adds of a product that are worth waking a helper: 80 to 300 µs. Waking one takes the caller 12 µs, and
/// it begins 25 to 75 µs later (a virtual machine on Zen 4, 2026-11-29).
const WORTH_WAKING: usize = 1 << 24;
/// The multiply-adds of a product that are worth waking a thread of a rayon pool: it begins later than a helper, and
/// sleeps again sooner.
pub(crate) const WORTH_WAKING_IN_POOL: usize = 1 << 25;
/// The multiply-adds of smaller products, done alone one after the other, that are worth the same in the hope of more: so
/// many that waking takes a few percent of their time, whether or not the thread comes in time for the next.
const WORTH_WAKING_FOR_MORE: usize = 1 << 27;

/// The helpers of a process, and what they are offered.
pub(crate) struct Helpers {
    /// The process whose threads they are; 0 before they are started.
    process: AtomicU32,
    count: AtomicUsize,
    offers: [Offer; MAX_OFFERS],
    /// The number of helpers that look for work.
    looking: AtomicUsize,
    helpers: [Helper; MAX_HELPERS],
    /// Something that each helper is to do once, and how often this was asked for.
    errand: OnceLock<fn()>,
    errands: AtomicUsize,
}

struct Helper {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

/// A forked process has a copy of its parent's memory but not its threads: it starts helpers of its own, in the next
/// place. Beyond the last place products run on one thread.
static HELPERS: [Helpers; 4] = [const { Helpers::none() }; 4];

thread_local! {
    /// The multiply-adds that this thread has done alone since it last woke helpers.
    static ALONE: Cell<usize> = const { Cell::new(0) };
}

impl Helpers {
    const fn none() -> Self {
        Self {
            process: AtomicU32::new(0),
            count: AtomicUsize::new(0),
            offers: [const { Offer::new() }; MAX_OFFERS],
            looking: AtomicUsize::new(0),
            helpers: [const { Helper { thread: OnceLock::new(), asleep: AtomicBool::new(false) } };
                MAX_HELPERS],
            errand: OnceLock::new(),
            errands: AtomicUsize::new(0),
        }
    }

    /// The helpers of this process, which are started if `start` says so; `None` if there are none.
    fn of_this_process(start: bool) -> Option<&'static Self> {
        // Asked for each time: only so a forked process knows that it is another one.
        let process = std::process::id();
        for helpers in &HELPERS {
            match helpers.process.load(Ordering::Acquire) {
                0 if !start => return None,
                0 => {
                    match helpers.process.compare_exchange(0, process, Ordering::AcqRel, Ordering::Acquire) {
                        Ok(_) => {
                            helpers.start();
                            return Some(helpers);
                        }
                        Err(other) if other == process => return Some(helpers),
                        Err(_) => (),
                    }
                }
                other if other == process => return Some(helpers),
                _ => (),
            }
        }
        None
    }

    /// Starts a thread for each core but the caller's, or as many as the system allows.
    fn start(&'static self) {
        for me in 0..(cores() - 1).min(MAX_HELPERS) {
            let thread = thread::Builder::new().name(format!("qgemm-{me}"));
            if thread.spawn(move || self.serve(me)).is_err() {
                break;
            }
            self.count.store(me + 1, Ordering::Release);
        }
    }

    /// The life of helper number `me`.
    fn serve(&self, me: usize) {
        let Helper { thread, asleep } = &self.helpers[me];
        let _ = thread.set(thread::current());
        let mut errands = 0;
        loop {
            self.looking.fetch_add(1, Ordering::SeqCst);
            let mut start = Instant::now();
            while start.elapsed() < LINGER {
                if self.join_one() {
                    start = Instant::now();
                } else {
                    thread::yield_now();
                }
            }
            self.looking.fetch_sub(1, Ordering::SeqCst);
            if self.errands.load(Ordering::SeqCst) != errands {
                errands = self.errands.load(Ordering::SeqCst);
                if let Some(errand) = self.errand.get() {
                    errand();
                }
            }
            // Whoever offers work looks for sleepers afterwards: either it sees this, or this sees the work.
            asleep.store(true, Ordering::SeqCst);
            if self.offers.iter().any(Offer::is_open) || self.errands.load(Ordering::SeqCst) != errands {
                asleep.store(false, Ordering::SeqCst);
                continue;
            }
            while asleep.load(Ordering::SeqCst) {
                thread::park();
            }
        }
    }

    /// Joins a caller who offers work. Returns whether there was one.
    fn join_one(&self) -> bool {
        self.offers.iter().any(|offer| {
            offer.join(|| {
                self.looking.fetch_sub(1, Ordering::SeqCst);
                // Those who are woken wake others, so that the caller does not have to wake all.
                if offer.is_open() {
                    self.wake(2);
                }
            }) && {
                self.looking.fetch_add(1, Ordering::SeqCst);
                true
            }
        })
    }

    /// Wakes at most `most` helpers that sleep.
    fn wake(&self, most: usize) {
        let helpers = &self.helpers[..self.count.load(Ordering::Acquire)];
        let asleep = helpers.iter().filter(|helper| {
            helper.asleep.load(Ordering::SeqCst) && helper.asleep.swap(false, Ordering::SeqCst)
        });
        asleep.take(most).filter_map(|helper| helper.thread.get()).for_each(Thread::unpark);
    }

    /// Runs the parts `0..count`, of so many multiply-adds together, on this thread and at most `places` helpers. Wakes
    /// helpers if `wake` says so.
    ///
    /// Each thread has a range of parts to do first, so that in repeated calls it finds in its cache what it used before,
    /// and then takes parts of the others' ranges.
    pub(crate) fn for_each(
        &self,
        count: usize,
        multiply_adds: usize,
        (places, wake): (usize, bool),
        run: &(dyn Fn(usize) + Sync),
    ) {
        let ranges = (places + 1).min(MAX_HELPERS + 1);
        let done: [AtomicUsize; MAX_HELPERS + 1] = [const { AtomicUsize::new(0) }; MAX_HELPERS + 1];
        let work = |first: usize| {
            let mut own_parts = 0;
            for range in (first..ranges).chain(0..first) {
                let start = count * range / ranges;
                let len = count * (range + 1) / ranges - start;
                while done[range].load(Ordering::Relaxed) < len {
                    let part = done[range].fetch_add(1, Ordering::Relaxed);
                    if part < len {
                        run(start + part);
                        own_parts += 1;
                    }
                }
            }
            own_parts
        };
        let joined = AtomicUsize::new(0);
        let help = || {
            work(1 + joined.fetch_add(1, Ordering::Relaxed) % (ranges - 1).max(1));
        };
        let Some(offer) = self.offers.iter().find(|offer| offer.is_free()) else {
            work(0);
            return;
        };
        let start = Instant::now();
        let meanwhile = || {
            if wake {
                self.wake(places.min(2));
            }
            (work(0), Instant::now())
        };
        let (own_parts, end_of_own) = offer.during(&help, places, meanwhile, thread::yield_now);
        if joined.load(Ordering::Relaxed) > 0 {
            Shared { multiply_adds, parts: count, own_parts, start, end_of_own }.note();
        } else if !wake {
            // They look for work, but somebody else has their cores: an offer in vain takes 1 to 2 µs.
            patience::work_alone(multiply_adds, LINGER);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

/// The helpers for so many multiply-adds of this thread, and whether they have to be woken; `None` if the work is better
/// done alone, which it never is if the caller is `eager`.
pub(crate) fn helpers_for(multiply_adds: usize, eager: bool) -> Option<(&'static Helpers, bool)> {
    if cores() == 1 || !eager && (multiply_adds < WORTH_AN_OFFER || works_alone(multiply_adds)) {
        return None;
    }
    let helpers = Helpers::of_this_process(true).filter(|helpers| helpers.count() > 0)?;
    let wake = helpers.looking.load(Ordering::SeqCst) == 0;
    (eager || !wake || is_worth_waking(multiply_adds, WORTH_WAKING)).then_some((helpers, wake))
}

/// Whether so many multiply-adds of this thread are worth waking another thread: at least `enough` are, and less after
/// many that were done alone.
pub(crate) fn is_worth_waking(multiply_adds: usize, enough: usize) -> bool {
    let alone = ALONE.get().saturating_add(multiply_adds);
    let worth = multiply_adds >= enough || alone >= WORTH_WAKING_FOR_MORE;
    ALONE.set(if worth { 0 } else { alone });
    worth
}

/// Has each helper of this process call `errand` soon.
pub(crate) fn ask_each(errand: fn()) {
    if let Some(helpers) = Helpers::of_this_process(false) {
        let _ = helpers.errand.set(errand);
        helpers.errands.fetch_add(1, Ordering::SeqCst);
        helpers.wake(MAX_HELPERS);
    }
}

/// The cores that this process may use, at most as many as `RAYON_NUM_THREADS` says.
pub(crate) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let wanted = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| text.parse().ok());
        wanted.filter(|wanted| *wanted > 0).map_or(cores, |wanted| cores.min(wanted))
    })
}
