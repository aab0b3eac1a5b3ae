//! The threads of a call, and the caller's own.

use crate::status::{Failure, QGEMM_RANGE};
use rust::{ParallelFor, Threads};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs one part of a call: `run(job, part)`, with the `job` that came with it. It may be called on any thread.
pub type qgemm_run_part = unsafe extern "C" fn(job: *mut c_void, part: usize);

/// A parallel loop of the caller's: calls `run(job, part)` once for each part from 0 to `parts` - 1, in any order, on any
/// threads, and returns when all of these calls have returned; none may be made later. A part that was not run is run
/// afterwards by the thread that made the call. `context` is that of qgemm_threads.
pub type qgemm_parallel_for =
    Option<unsafe extern "C" fn(context: *mut c_void, parts: usize, run: qgemm_run_part, job: *mut c_void)>;

/// The threads that may do the work of a call. Results do not depend on them. All zeros are the default: the calling
/// thread, and helpers that the library starts, one for each core (RAYON_NUM_THREADS limits them).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_threads {
    /// The most threads, the calling one among them; 1 for that alone, 0 for the default. With `parallel_for`: the number of
    /// parts that it can run at the same time, at least 1.
    pub most: usize,
    /// The caller's own threads do the work, in place of the library's. NULL without them. It is called on the calling
    /// thread, and must not throw.
    pub parallel_for: qgemm_parallel_for,
    /// Passed to `parallel_for`.
    pub context: *mut c_void,
}

/// The threads of a call, to be borrowed from.
pub(crate) struct Crew {
    threads: qgemm_threads,
    /// Whether a part has panicked, so that outputs may be wrong.
    panicked: AtomicBool,
}

// SAFETY: the context is only handed to the caller's own function, whose contract it is that it may be called so while the
// call runs; the library calls it on the calling thread.
unsafe impl Sync for Crew {}

impl Crew {
    pub(crate) fn new(threads: &qgemm_threads) -> Result<Self, Failure> {
        if threads.parallel_for.is_some() && threads.most == 0 {
            return Err(Failure::new(
                QGEMM_RANGE,
                "threads",
                "most is 0, with a parallel_for that needs a number",
            ));
        }
        Ok(Self { threads: *threads, panicked: AtomicBool::new(false) })
    }

    pub(crate) fn threads(&self) -> Threads<'_> {
        match (self.threads.parallel_for, self.threads.most) {
            (Some(_), _) => Threads::of(self),
            (None, 0) => Threads::ALL,
            (None, most) => Threads::at_most(most),
        }
    }

    /// Passes on the panic of a part, once all have ended.
    ///
    /// # Panics
    /// If a part has.
    pub(crate) fn check(&self) {
        assert!(!self.panicked.load(Ordering::Acquire), "a part of the call panicked");
    }
}

/// What a caller's threads are given by address.
struct Job<'a> {
    run: &'a (dyn Fn(usize) + Sync),
    parts: usize,
    panicked: &'a AtomicBool,
}

/// # Safety
/// `job` is that of a `for_each` which has not returned.
unsafe extern "C" fn run_part(job: *mut c_void, part: usize) {
    // SAFETY: `job` was made from a `&Job` of a `for_each` that has not returned, so that it lives. It is shared by threads
    // and never written; all that it holds is `Sync`.
    let job = unsafe { &*job.cast::<Job<'_>>().cast_const() };
    if part >= job.parts {
        return;
    }
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (job.run)(part))) {
        job.panicked.store(true, Ordering::Release);
        // The destructor of what was thrown could panic itself.
        std::mem::forget(panic);
    }
}

impl ParallelFor for Crew {
    fn threads(&self) -> usize {
        self.threads.most
    }

    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        let Some(parallel_for) = self.threads.parallel_for else { return };
        let job = Job { run, parts, panicked: &self.panicked };
        // SAFETY: the caller promises that the function may be called so, and that it calls `run_part` no more once it has
        // returned, until when `job` lives.
        unsafe { parallel_for(self.threads.context, parts, run_part, (&raw const job).cast_mut().cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    unsafe extern "C" fn each_and_one_more(
        _: *mut c_void,
        parts: usize,
        run: qgemm_run_part,
        job: *mut c_void,
    ) {
        for part in 0..=parts {
            // SAFETY: `job` came with `run`, and this is before the return.
            unsafe { run(job, part) };
        }
    }

    #[test]
    fn parts_run_and_panics_are_kept() {
        let threads =
            qgemm_threads { most: 2, parallel_for: Some(each_and_one_more), context: std::ptr::null_mut() };
        let crew = Crew::new(&threads).unwrap();
        let sum = AtomicUsize::new(0);
        crew.for_each(4, &|part| {
            sum.fetch_add(part + 1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 10);
        crew.check();
        crew.for_each(2, &|part| assert_eq!(part, 0));
        assert!(catch_unwind(AssertUnwindSafe(|| crew.check())).is_err());
        assert!(Crew::new(&qgemm_threads { most: 0, ..threads }).is_err());
    }
}
