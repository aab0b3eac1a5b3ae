//! Threads that help callers outside any rayon pool.
//!
//! Such a caller would have to hand all of its work to rayon and sleep: that takes it some 10 µs, allocates, and never
//! returns in a process that was forked, where the pool's threads are missing. It offers work to these threads instead
//! and does it meanwhile. It waits only for those that have begun.

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
/// The multiply-adds of one caller that are worth waking a sleeping helper: at least 100 µs, where waking one takes the
/// caller 2 to 4 µs (Zen 4 and Zen 5, 2026-11-29).
const WORTH_WAKING: usize = 1 << 24;

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
            let start = Instant::now();
            while !self.join_one() && start.elapsed() < LINGER {
                thread::yield_now();
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

    /// Runs the parts `0..count` on this thread and at most `places` helpers, each of which takes the next part when it is
    /// done with one. Wakes helpers if `wake` says so.
    pub(crate) fn for_each(&self, count: usize, places: usize, wake: bool, run: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let part = next.fetch_add(1, Ordering::Relaxed);
                if part >= count {
                    return;
                }
                run(part);
            }
        };
        let meanwhile = || {
            if wake {
                self.wake(places.min(2));
            }
            work();
        };
        match self.offers.iter().find(|offer| offer.is_free()) {
            Some(offer) => offer.during(&work, places, meanwhile, thread::yield_now),
            None => work(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }
}

/// The helpers for so many multiply-adds of this thread, and whether they have to be woken; `None` if the work is better
/// done alone.
///
/// Work that would not pay for waking a helper is done alone until enough has come together: what waking takes is then a
/// few percent of it, whether or not the helper comes in time.
pub(crate) fn helpers_for(multiply_adds: usize) -> Option<(&'static Helpers, bool)> {
    if cores() == 1 {
        return None;
    }
    let helpers = Helpers::of_this_process(true)?;
    if helpers.looking.load(Ordering::SeqCst) > 0 {
        return Some((helpers, false));
    }
    let alone = ALONE.get().saturating_add(multiply_adds);
    let worth = alone >= WORTH_WAKING;
    ALONE.set(if worth { 0 } else { alone });
    worth.then_some((helpers, true))
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
