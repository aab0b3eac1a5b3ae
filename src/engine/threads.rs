//! Division of work among the threads of the current rayon pool. Without the feature `rayon` there is one thread.

/// The multiply-adds that are worth another thread: about 2 µs of work, the time it takes to wake one.
pub(crate) const GRAIN: usize = 1 << 19;

/// Runs both functions, on two threads if one is idle.
#[cfg(feature = "rayon")]
pub(crate) fn join<A: Send, B: Send>(
    one: impl FnOnce() -> A + Send,
    other: impl FnOnce() -> B + Send,
) -> (A, B) {
    rayon::join(one, other)
}

/// Runs both functions, one after the other.
#[cfg(not(feature = "rayon"))]
pub(crate) fn join<A, B>(one: impl FnOnce() -> A, other: impl FnOnce() -> B) -> (A, B) {
    (one(), other())
}

/// The threads of the current pool.
#[cfg(feature = "rayon")]
pub(crate) fn pool_size() -> usize {
    rayon::current_num_threads()
}

/// The threads of the current pool.
#[cfg(not(feature = "rayon"))]
pub(crate) fn pool_size() -> usize {
    1
}

/// The threads that `multiply_adds` are worth, at most `most`.
#[inline]
pub(crate) fn threads_for(multiply_adds: usize, most: usize) -> usize {
    match multiply_adds / GRAIN {
        // Without a question to the pool: most products are small.
        0 | 1 => 1,
        _ if most == 1 => 1,
        worth => worth.min(most).min(pool_size()),
    }
}

/// Two pieces of some work, each with the number of parts that it is divided into further.
pub(crate) struct Halves<W> {
    pub(crate) first: (W, usize),
    pub(crate) second: (W, usize),
}

/// Work that can be divided.
pub(crate) trait Divide: Sized + Send {
    /// Cuts work that is to become `parts` parts, at least two, into two pieces; returns it whole if it cannot be cut.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self>;
}

/// Divides work into `parts` parts for a thread each, runs every part, and joins the results pairwise on the thread that
/// divided. `run` gets, with its part, the number of parts that this was to become: more than 1 if it cannot be cut.
pub(crate) fn divide<W: Divide, R: Send>(
    work: W,
    parts: usize,
    run: &(impl Fn(W, usize) -> R + Sync),
    both: &(impl Fn(R, R) -> R + Sync),
) -> R {
    if parts <= 1 {
        return run(work, 1);
    }
    match work.halve(parts) {
        Err(whole) => run(whole, parts),
        Ok(Halves { first: (first, first_parts), second: (second, second_parts) }) => {
            let (one, other) =
                join(|| divide(first, first_parts, run, both), || divide(second, second_parts, run, both));
            both(one, other)
        }
    }
}
