//! Kernels, cache sizes and threads: nothing that a result may depend on.

use crate::input::Input;
use qgemm::{Caches, Dispatch, ParallelFor, Threads};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::LazyLock;

/// Every instruction set and kernel that runs here, by its name. A kernel that needs a proof comes with exact ones.
static DISPATCHES: LazyLock<Vec<Dispatch>> = LazyLock::new(|| {
    let kernels = Dispatch::available();
    let mut names: Vec<&str> = kernels.iter().map(|kernel| kernel.isa.name()).collect();
    names.dedup();
    names.extend(kernels.iter().map(|kernel| kernel.name));
    names.extend(Dispatch::available_groupwise());
    let named = |name: &&str| Dispatch::named(name).expect("it is available");
    names.iter().map(named).collect()
});

static POOL: LazyLock<ThreadPool> =
    LazyLock::new(|| ThreadPoolBuilder::new().num_threads(3).build().expect("three threads"));

/// Kernels to choose from. The first choice is that of the library.
pub fn dispatch(input: &mut Input<'_>) -> Dispatch {
    let auto = Dispatch::auto().expect("the environment names no kernel");
    let dispatch = match input.byte() {
        0..=63 => auto,
        other => &DISPATCHES[usize::from(other) % DISPATCHES.len()],
    };
    match input.byte() % 4 {
        0 | 1 => dispatch.clone(),
        // So small that every loop of the nest takes several turns.
        _ => {
            let l2 = 1 << input.number(6..=16);
            dispatch.clone().with_caches(Caches { l1d: 1 << input.number(5..=15), l2, l3: 0 })
        }
    }
}

/// An engine with threads of its own, or so it says. Whatever it does with parts, results are right.
#[derive(Debug)]
pub struct Engine {
    threads: usize,
    order: Order,
}

/// What an engine does with parts.
#[derive(Clone, Copy, Debug)]
enum Order {
    Ascending,
    Descending,
    /// On threads that live for one call.
    Spawned,
    /// Every second part is never run.
    Forgetful,
    /// Every part is run twice.
    Twice,
}

impl ParallelFor for Engine {
    fn threads(&self) -> usize {
        self.threads
    }

    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        match self.order {
            Order::Ascending => (0..parts).for_each(run),
            Order::Descending => (0..parts).rev().for_each(run),
            Order::Spawned => std::thread::scope(|scope| {
                (0..parts).for_each(|part| drop(scope.spawn(move || run(part))));
            }),
            Order::Forgetful => (0..parts).step_by(2).for_each(run),
            Order::Twice => (0..2 * parts).for_each(|part| run(part / 2)),
        }
    }
}

/// Who works.
#[derive(Debug)]
pub enum Crew {
    /// At most so many threads.
    Most(usize),
    /// The library's helpers.
    All,
    /// The same, told to share whatever is large enough.
    Eager,
    /// The threads of a pool of rayon's, told so as well.
    Pool,
    /// The caller's own.
    Engine(Engine),
}

impl Crew {
    /// Any of them.
    pub fn read(input: &mut Input<'_>) -> Self {
        match input.byte() % 8 {
            0..=2 => Crew::Most(1),
            3 => Crew::Most(input.number(0..=3)),
            4 => Crew::All,
            5 => Crew::Eager,
            6 => Crew::Pool,
            _ => {
                let orders =
                    [Order::Ascending, Order::Descending, Order::Spawned, Order::Forgetful, Order::Twice];
                Crew::Engine(Engine { threads: input.number(0..=5), order: input.one_of(&orders) })
            }
        }
    }

    /// The threads for a call.
    pub fn threads(&self) -> Threads<'_> {
        match self {
            Crew::Most(most) => Threads::at_most(*most),
            Crew::All => Threads::ALL,
            Crew::Eager | Crew::Pool => Threads::ALL.eager(),
            Crew::Engine(engine) => Threads::of(engine),
        }
    }

    /// Makes a call where its threads are.
    pub fn run<R: Send>(&self, call: impl FnOnce() -> R + Send) -> R {
        if let Crew::Pool = self { POOL.install(call) } else { call() }
    }
}
