//! Results do not depend on the floating-point mode of the calling thread, nor on that of a pool's threads, and the mode
//! is the caller's again afterwards.

mod calls;
#[path = "../../kernels/tests/modes/mod.rs"]
mod modes;
mod products;

use calls::Call;
use modes::Mode;
use std::collections::BTreeMap;

/// `QGEMM_TEST_SCALE`: how many percent of the calls to make in each mode.
fn scale() -> usize {
    match std::env::var("QGEMM_TEST_SCALE") {
        Ok(percent) => percent.parse().expect("QGEMM_TEST_SCALE must be a whole number of percent"),
        Err(_) => 100,
    }
}

/// Makes every call in every mode through `run`, and lists those that have other results than in the default mode.
fn assert_the_same(calls: &[Call], run: impl Fn(Mode, &Call) -> calls::Outcome) {
    let want: Vec<_> = calls.iter().map(|call| (call.run)()).collect();
    let mut wrong = BTreeMap::<&str, Vec<Mode>>::new();
    let step = (100 / scale()).max(1);
    for (number, mode) in Mode::each().into_iter().enumerate() {
        for (call, want) in calls.iter().zip(&want).skip(number % step).step_by(step) {
            // As text, in which NaNs of errors are equal.
            if format!("{:?}", run(mode, call)) != format!("{want:?}") {
                wrong.entry(&call.name).or_default().push(mode);
            }
        }
    }
    let lines: Vec<_> = wrong.iter().map(|(name, modes)| format!("{name}: {modes:?}")).collect();
    assert!(lines.is_empty(), "{} of {} calls:\n{}", lines.len(), calls.len(), lines.join("\n"));
}

#[test]
fn quantization_is_the_same_in_every_mode() {
    assert_the_same(&calls::quantization(), |mode, call| mode.run(&call.run));
}

#[test]
fn sums_of_rows_are_the_same_in_every_mode() {
    assert_the_same(&calls::additions(), |mode, call| mode.run(&call.run));
}

#[test]
fn arguments_are_checked_the_same_in_every_mode() {
    assert_the_same(&calls::checks(), |mode, call| mode.run(&call.run));
}

#[test]
fn products_of_every_kernel_are_the_same_in_every_mode() {
    assert_the_same(&products::of_every_kernel(), |mode, call| mode.run(&call.run));
}

#[test]
fn outputs_made_in_another_mode_than_they_run_in_are_the_same() {
    let inputs = products::some_inputs();
    let made_here = products::made(inputs);
    for mode in Mode::each() {
        let made_there = mode.run(|| products::made(inputs));
        for (there, here) in made_there.iter().zip(&made_here) {
            assert_eq!((there.run)(), (here.run)(), "{}, made in {mode:?}", here.name);
            assert_eq!(mode.run(&here.run), (here.run)(), "{}, run in {mode:?}", here.name);
        }
    }
}

#[test]
fn the_reference_is_the_same_in_every_mode() {
    assert_the_same(&products::of_the_reference(), |mode, call| mode.run(&call.run));
}

#[test]
fn layers_and_gathered_products_are_the_same_in_every_mode() {
    assert_the_same(&products::layers(), |mode, call| mode.run(&call.run));
}

#[test]
fn dynamic_products_are_the_same_in_every_mode() {
    assert_the_same(&products::dynamic(), |mode, call| mode.run(&call.run));
}

#[test]
fn products_with_groupwise_weights_are_the_same_in_every_mode() {
    assert_the_same(&calls::groupwise(), |mode, call| mode.run(&call.run));
}

#[test]
fn large_products_are_the_same_on_a_thread_outside_any_pool() {
    assert_the_same(&products::large(), |mode, call| {
        // A thread inherits the mode of the one that starts it.
        mode.run(|| std::thread::scope(|scope| scope.spawn(&call.run).join().expect("it does not panic")))
    });
}

#[cfg(feature = "rayon")]
mod pools {
    use super::*;
    use rayon::{Scope, ThreadPool, ThreadPoolBuilder};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    /// Threads that run in a mode, whether or not this system's threads inherit it.
    fn pool(mode: Mode) -> ThreadPool {
        ThreadPoolBuilder::new()
            .num_threads(3)
            .start_handler(move |_| mode.set())
            .build()
            .expect("threads start")
    }

    #[test]
    fn large_products_are_the_same_on_threads_in_every_mode() {
        let pools: Vec<_> = Mode::each().into_iter().map(|mode| (mode, pool(mode))).collect();
        assert_the_same(&products::large(), |mode, call| {
            let (_, pool) =
                pools.iter().find(|(of_pool, _)| *of_pool == mode).expect("every mode has a pool");
            let outcome = pool.install(|| mode.run(&call.run));
            assert_eq!(pool.broadcast(|_| Mode::current()), [mode; 3], "after {}", call.name);
            outcome
        });
    }

    #[test]
    fn large_products_are_the_same_on_threads_in_another_mode_than_the_caller() {
        let Some(last) = Mode::each().pop() else { return };
        let pool = pool(last);
        assert_the_same(&products::large(), |mode, call| pool.install(|| mode.run(&call.run)));
    }

    /// A job that looks at its thread's mode, and comes again while there is something to wait for.
    struct Watch {
        mode: Mode,
        wrong: AtomicUsize,
        done: AtomicBool,
    }

    impl Watch {
        fn spawn<'s>(&'s self, scope: &Scope<'s>) {
            scope.spawn(|scope| {
                self.wrong.fetch_add(usize::from(Mode::current() != self.mode), SeqCst);
                if !self.done.load(SeqCst) {
                    self.spawn(scope);
                    // Meanwhile a thread that waits can take that one.
                    (0..20).for_each(|_| std::thread::yield_now());
                }
            });
        }
    }

    /// A thread that waits for a part of its product, which another thread computes, runs other jobs of the pool.
    #[test]
    fn other_jobs_of_a_pool_find_the_mode_of_its_threads() {
        let calls = products::large();
        for mode in Mode::each() {
            let watch = Watch { mode, wrong: AtomicUsize::new(0), done: AtomicBool::new(false) };
            pool(mode).scope(|scope| {
                watch.spawn(scope);
                for call in &calls {
                    // Its error is one that other tests compare.
                    let _ = (call.run)();
                }
                watch.done.store(true, SeqCst);
            });
            assert_eq!(watch.wrong.into_inner(), 0, "{mode:?}");
        }
    }
}
