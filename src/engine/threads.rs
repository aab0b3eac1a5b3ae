//! The threads that share the work of a call: which, and how many. Without the feature `rayon` there is one, unless the
//! caller brings others.

#[cfg(feature = "rayon")]
use crate::engine::helpers::{self, Helpers, WORTH_AN_OFFER, WORTH_WAKING_IN_POOL};
#[cfg(feature = "rayon")]
use crate::engine::patience::{Shared, works_alone};
#[cfg(feature = "rayon")]
use std::cell::Cell;
use std::fmt;
#[cfg(feature = "rayon")]
use std::time::{Duration, Instant};

/// The threads that a call may use.
///
/// ```
/// use qgemm::{Gemm, MatMut, MatRef, Threads};
///
/// let (a, b) = ([1i8, 2], [3i8, 4]);
/// let product = Gemm::new(MatRef::row_major(&a, 1, 2)?, MatRef::row_major(&b, 2, 1)?);
/// let mut c = [0];
/// product.threads(1).run_i32(MatMut::row_major(&mut c, 1, 1)?)?; // on this thread alone
/// assert_eq!(c, [11]);
///
/// /// An engine's own threads; here, for brevity, some that live for one call.
/// struct Engine;
/// impl qgemm::ParallelFor for Engine {
///     fn threads(&self) -> usize {
///         4
///     }
///     fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
///         std::thread::scope(|scope| {
///             (0..parts).for_each(|part| drop(scope.spawn(move || run(part))));
///         });
///     }
/// }
/// product.threads(Threads::of(&Engine)).run_i32(MatMut::row_major(&mut c, 1, 1)?)?;
/// assert_eq!(c, [11]);
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct Threads<'a> {
    most: usize,
    of: Option<&'a dyn ParallelFor>,
    #[cfg_attr(
        not(feature = "rayon"),
        expect(dead_code, reason = "the caller's own threads are never asleep")
    )]
    eager: bool,
}

/// Threads of the caller's that run parts of a call.
pub trait ParallelFor: Sync {
    /// The number of parts that can run at the same time.
    fn threads(&self) -> usize;

    /// Calls `run(part)` once for each `part` in `0..parts`, in any order, on any threads, and returns when all calls have
    /// returned. Parts differ in size by a few percent at most. `run` does not wait for other parts, and allocates only
    /// where a thread has not run a product of this size before. A part that was not run is run afterwards by the thread
    /// that made the call, and a part is not run twice: results are right in any case.
    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync));
}

impl fmt::Debug for Threads<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("most", &self.most).field("own", &self.of.is_some()).finish()
    }
}

impl Default for Threads<'_> {
    fn default() -> Self {
        Self::ALL
    }
}

/// At most so many threads; 0 counts as 1.
impl From<usize> for Threads<'_> {
    fn from(most: usize) -> Self {
        Self::at_most(most)
    }
}

impl<'a> Threads<'a> {
    /// All threads of the rayon pool that the calling thread belongs to; on a thread outside any pool that thread and
    /// qgemm's helpers.
    pub const ALL: Self = Self { most: usize::MAX, of: None, eager: false };

    /// As [`ALL`](Self::ALL), but at most `most` threads, the calling one among them; 0 counts as 1. With 1 the calling
    /// thread does all the work, and no other thread hears of it.
    pub const fn at_most(most: usize) -> Self {
        Self { most, ..Self::ALL }
    }

    /// The caller's own threads.
    pub fn of(pool: &'a dyn ParallelFor) -> Self {
        Self { of: Some(pool), ..Self::ALL }
    }

    /// The same threads, for products from about a million multiply-adds on. Without this a product that is not worth
    /// waking a thread that sleeps (it takes some 10 µs) is computed by the calling thread alone, unless the others seem
    /// to be awake. Say this where they are: where they run one product after the other.
    #[must_use]
    pub const fn eager(self) -> Self {
        Self { eager: true, ..self }
    }

    /// Whether they are the caller's own.
    pub(crate) fn are_own(&self) -> bool {
        self.of.is_some()
    }

    /// The threads for what is part of shared work already: at most `most` of the same, but none of the caller's own
    /// besides the one that runs the part.
    pub(crate) fn inside_a_part(self, most: usize) -> Self {
        Self { most: if self.are_own() { 1 } else { self.most.min(most) }, of: None, ..self }
    }
}

/// The multiply-adds that are worth another thread: about 2 µs of work.
pub(crate) const GRAIN: usize = 1 << 19;

/// How the parts of some work are shared.
#[derive(Clone, Copy)]
pub(crate) struct Share<'a> {
    /// The number of parts to cut: one for each thread, or more for those that may be late.
    pub(crate) parts: usize,
    pub(crate) threads: usize,
    pub(crate) crew: Crew<'a>,
}

/// Who does the parts.
#[derive(Clone, Copy)]
pub(crate) enum Crew<'a> {
    /// This thread.
    Alone,
    /// The rayon pool of this thread, whose other threads may be asleep.
    #[cfg(feature = "rayon")]
    Pool { multiply_adds: usize, asleep: bool },
    /// This thread with helpers.
    #[cfg(feature = "rayon")]
    Helped { helpers: &'static Helpers, multiply_adds: usize, places: usize, wake: bool },
    /// The caller's threads.
    Own(&'a dyn ParallelFor),
}

impl Share<'_> {
    pub(crate) const ALONE: Self = Self { parts: 1, threads: 1, crew: Crew::Alone };

    /// A greater number of parts, for parts that cannot be even.
    pub(crate) fn finer_parts(&self, multiply_adds: usize) -> usize {
        (8 * self.parts).min((multiply_adds / GRAIN).max(self.parts))
    }
}

/// Whether so many multiply-adds are to be shared at all. Most products are small: this asks nobody.
#[inline]
pub(crate) fn is_worth_sharing(multiply_adds: usize, threads: Threads<'_>) -> bool {
    multiply_adds / GRAIN > 1 && threads.most > 1
}

/// The share of work of so many multiply-adds.
#[inline]
pub(crate) fn share(multiply_adds: usize, threads: Threads<'_>) -> Share<'_> {
    if is_worth_sharing(multiply_adds, threads) { share_large(multiply_adds, threads) } else { Share::ALONE }
}

#[inline(never)]
fn share_large(multiply_adds: usize, threads: Threads<'_>) -> Share<'_> {
    let worth = (multiply_adds / GRAIN).min(threads.most);
    if let Some(pool) = threads.of {
        let threads = worth.min(pool.threads()).max(1);
        return Share { parts: threads, threads, crew: Crew::Own(pool) };
    }
    #[cfg(not(feature = "rayon"))]
    return Share::ALONE;
    #[cfg(feature = "rayon")]
    if rayon::current_thread_index().is_some() {
        let all = worth.min(rayon::current_num_threads());
        // More threads than cores would take turns.
        let count = if threads.eager { all } else { all.min(helpers::cores()) };
        let asleep = !others_are_awake();
        if count > 1 && (threads.eager || is_worth_asking(multiply_adds, asleep)) {
            // A thread that wakes late finds a part that is left, and stays awake for the next product.
            let parts = if asleep { 2 * count } else { count };
            return Share { parts, threads: count, crew: Crew::Pool { multiply_adds, asleep } };
        }
        return Share::ALONE;
    }
    #[cfg(feature = "rayon")]
    match helpers::helpers_for(multiply_adds, threads.eager) {
        Some((helpers, wake)) => {
            // One that is late does fewer parts. With twice as many of them 64x512x512 and 3136x64x64 take 1.07 and 1.02
            // times as long (Zen 4, 2026-11-29).
            let parts_each = if wake { 4 } else { 2 };
            let threads = worth.min(helpers.count() + 1);
            let parts = (multiply_adds / (2 * GRAIN)).clamp(threads, parts_each * threads);
            Share { parts, threads, crew: Crew::Helped { helpers, multiply_adds, places: threads - 1, wake } }
        }
        None => Share::ALONE,
    }
}

impl Crew<'_> {
    /// Runs the parts `0..count`.
    pub(crate) fn for_each(&self, count: usize, run: &(dyn Fn(usize) + Sync)) {
        match self {
            Crew::Alone => (0..count).for_each(run),
            #[cfg(feature = "rayon")]
            Crew::Pool { multiply_adds, asleep } => {
                let start = Instant::now();
                RAN.set((0, start));
                join_all(0..count, &|part| {
                    run(part);
                    RAN.set((RAN.get().0 + 1, Instant::now()));
                });
                if *asleep {
                    WOKEN.set(Some(start));
                }
                if WOKEN.get().is_none_or(|time| time.elapsed() > WAKING) {
                    let (own_parts, end_of_own) = RAN.get();
                    Shared { multiply_adds: *multiply_adds, parts: count, own_parts, start, end_of_own }
                        .note();
                }
                SHARED.set(Some(Instant::now()));
            }
            #[cfg(feature = "rayon")]
            Crew::Helped { helpers, multiply_adds, places, wake } => {
                helpers.for_each(count, *multiply_adds, (*places, *wake), run)
            }
            Crew::Own(pool) => pool.for_each(count, run),
        }
    }
}

#[cfg(feature = "rayon")]
thread_local! {
    /// The time when this thread last shared work with its pool.
    static SHARED: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The parts of its pool's work that this thread has run since it last shared some, and when it had.
    static RAN: Cell<(usize, Instant)> = Cell::new((0, Instant::now()));
    /// The time when this thread last shared work with threads that were asleep.
    static WOKEN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time that threads take to wake and to read what they need into their caches: they are not blamed for being late
/// in it.
#[cfg(feature = "rayon")]
const WAKING: Duration = Duration::from_micros(500);

/// Whether the other threads of the pool still look for work since this one last shared some: rayon's go to sleep after
/// 20 to 30 µs, and to wake one then takes as long as from outside the pool.
#[cfg(feature = "rayon")]
fn others_are_awake() -> bool {
    const AWAKE: Duration = Duration::from_micros(15);
    SHARED.get().is_some_and(|time| time.elapsed() < AWAKE)
}

/// Whether so many multiply-adds are worth asking the threads of this thread's pool.
#[cfg(feature = "rayon")]
fn is_worth_asking(multiply_adds: usize, asleep: bool) -> bool {
    multiply_adds >= WORTH_AN_OFFER
        && !works_alone(multiply_adds)
        && (!asleep || helpers::is_worth_waking(multiply_adds, WORTH_WAKING_IN_POOL))
}

/// Runs parts by [`rayon::join`], which allocates nothing.
#[cfg(feature = "rayon")]
fn join_all(parts: std::ops::Range<usize>, run: &(dyn Fn(usize) + Sync)) {
    if parts.len() == 1 {
        return run(parts.start);
    }
    let middle = parts.start + parts.len() / 2;
    rayon::join(|| join_all(parts.start..middle, run), || join_all(middle..parts.end, run));
}
