//! A repeated product allocates nothing: not on its thread, and not on those of a pool.

use qgemm::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// The system's allocator, which counts what enlisted threads ask for. The test harness's threads are
/// not among them: they may allocate whenever they like.
struct Counting;

/// By a thread's number in the pool.
static COUNTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

thread_local! {
    /// The number of a thread that is enlisted. (No initializer, no destructor: no allocation.)
    static ENLISTED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The bytes that enlisted threads have allocated and not freed.
static HELD: AtomicIsize = AtomicIsize::new(0);

fn hold(bytes: isize) {
    if ENLISTED.get().is_some() {
        HELD.fetch_add(bytes, SeqCst);
    }
}

fn count() {
    if let Some(thread) = ENLISTED.get() {
        COUNTS[thread].fetch_add(1, SeqCst);
        MEETING.load(SeqCst).then(|| meet(1 - thread));
    }
}

/// Whether a thread that allocates waits for the other one to allocate as well.
static MEETING: AtomicBool = AtomicBool::new(false);

/// Returns when that thread has allocated; gives up after a time that no scheduler takes.
fn meet(other: usize) {
    let start = Instant::now();
    while COUNTS[other].load(SeqCst) == 0 && start.elapsed() < Duration::from_secs(60) {
        std::thread::yield_now();
    }
}

/// The most bytes that an enlisted thread gets at once.
static LARGEST: AtomicUsize = AtomicUsize::new(usize::MAX);

fn refused(bytes: usize) -> bool {
    ENLISTED.get().is_some() && bytes > LARGEST.load(SeqCst)
}

// SAFETY: every method hands its arguments to the system's allocator and returns what that does, or null.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refused(layout.size()) {
            return std::ptr::null_mut();
        }
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if refused(new_size) {
            return std::ptr::null_mut();
        }
        count();
        hold(new_size as isize - layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One count at a time. A test that failed has said so.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|failed| failed.into_inner())
}

/// How often each of the enlisted threads allocates during `f`.
fn allocations(f: impl FnOnce()) -> [usize; 2] {
    COUNTS.iter().for_each(|count| count.store(0, SeqCst));
    f();
    [0, 1].map(|thread| COUNTS[thread].load(SeqCst))
}

/// The types of outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Output {
    I32,
    Accumulate,
    Bytes,
    F32,
}

const OUTPUTS: [Output; 4] = [Output::I32, Output::Accumulate, Output::Bytes, Output::F32];

/// Which paths a product takes.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    /// M, N and K.
    shape: (usize, usize, usize),
    /// A of the type that B was not packed for: kernels of 8-bit operands convert it.
    other_type: bool,
    /// Sums of more than 32 bits.
    wide: bool,
    /// A zero point per row and column.
    each: bool,
    /// B as it comes.
    one_shot: bool,
    /// Column-major A and C: gathered, and stored through a buffer.
    columns: bool,
    /// Rows of A gathered, here in reverse order.
    gathered: bool,
}

fn paths(shape: (usize, usize, usize), deep: (usize, usize, usize)) -> Vec<Path> {
    let plain = Path { shape, ..Path::default() };
    let split = Path { shape: deep, ..plain };
    vec![
        plain,
        Path { other_type: true, each: true, ..plain },
        Path { wide: true, ..plain },
        Path { each: true, columns: true, ..plain },
        Path { one_shot: true, ..plain },
        Path { one_shot: true, columns: true, each: true, wide: true, ..plain },
        split,
        Path { other_type: true, wide: true, each: true, ..split },
        Path { columns: true, ..split },
        Path { gathered: true, other_type: true, ..plain },
        Path { gathered: true, ..split },
    ]
}

/// All that a product needs, made ahead.
struct Product {
    path: Path,
    a: Vec<u8>,
    /// The numbers of its rows, in reverse order.
    reversed: Vec<u32>,
    a_zero: Vec<i32>,
    b: Vec<i8>,
    b_zero: Vec<i32>,
    packed: PackedB,
    dispatch: Dispatch,
}

/// The outputs of a product: one for each thread that runs it.
struct Stores {
    sums: Vec<i32>,
    bytes: Vec<i8>,
    reals: Vec<f32>,
}

impl Product {
    fn new(kernel: KernelInfo, path: Path) -> Self {
        let (m, n, k) = path.shape;
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 16) as u8;
        let dispatch = Dispatch::named(kernel.name).unwrap();
        let b: Vec<i8> = (0..k * n).map(|i| value(i) as i8).collect();
        let view = MatRef::row_major(&b, k, n).unwrap();
        let packed_for = if path.other_type { ElementType::I8 } else { ElementType::U8 };
        let packed = PackedB::pack_with(&dispatch, view, packed_for).unwrap();
        let far = if path.wide { i32::MIN } else { 100 };
        Self {
            path,
            a: (0..m * k).map(|i| value(i + 7)).collect(),
            reversed: (0..m as u32).rev().collect(),
            a_zero: (0..m as i32).map(|i| i.wrapping_add(far)).collect(),
            b_zero: (0..n as i32).collect(),
            b,
            packed,
            dispatch,
        }
    }

    fn stores(&self) -> Stores {
        let len = self.path.shape.0 * self.path.shape.1;
        Stores { sums: vec![0; len], bytes: vec![0; len], reals: vec![0.0; len] }
    }

    fn run(&self, output: Output, stores: &mut Stores) {
        let Path { shape: (m, n, k), each, one_shot, columns, gathered, .. } = self.path;
        let a = if columns { MatRef::col_major(&self.a, m, k) } else { MatRef::row_major(&self.a, m, k) };
        let a = match gathered {
            true => Gather::new(a.unwrap(), &self.reversed, 1).unwrap().into(),
            false => Lhs::from(a.unwrap()),
        };
        let b = MatRef::row_major(&self.b, k, n).unwrap();
        let b = if one_shot { Rhs::from(b) } else { Rhs::from(&self.packed) };
        let gemm = Gemm::new(a, b).dispatch(&self.dispatch);
        let gemm = match each {
            true => gemm.a_zero(&self.a_zero).b_zero(&self.b_zero),
            false => gemm.a_zero(self.a_zero[0]).b_zero(3),
        };
        fn view<T>(c: &mut [T], m: usize, n: usize, columns: bool) -> MatMut<'_, T> {
            if columns { MatMut::col_major(c, m, n) } else { MatMut::row_major(c, m, n) }.unwrap()
        }
        match output {
            Output::I32 => gemm.run_i32(view(&mut stores.sums, m, n, columns)),
            Output::Accumulate => gemm.accumulate_i32(view(&mut stores.sums, m, n, columns)),
            Output::Bytes => {
                let stage = Requantize::new(1e-4, 3).unwrap();
                gemm.run_requantized(view(&mut stores.bytes, m, n, columns), &stage)
            }
            Output::F32 => {
                gemm.run_f32(view(&mut stores.reals, m, n, columns), &Dequantize::new(0.1).unwrap())
            }
        }
        .unwrap();
    }
}

/// All kernels of this CPU; at a small `QGEMM_TEST_SCALE`, one of each kind: 16-bit, and the best.
fn kernels() -> Vec<KernelInfo> {
    let mut kernels = Dispatch::available();
    let scale = std::env::var("QGEMM_TEST_SCALE").map_or(100, |percent| percent.parse().unwrap());
    let best = kernels.last().unwrap().name;
    kernels.retain(|kernel| scale >= 50 || kernel.isa == Isa::Portable || kernel.name == best);
    kernels
}

#[test]
fn the_counter_counts_this_thread_and_no_other() {
    let _turn = turn();
    ENLISTED.set(Some(1));
    let [other, mine] = allocations(|| drop(std::hint::black_box(vec![1u8, 2, 3])));
    assert_eq!((other, mine), (0, 1));
    let [_, mine] = allocations(|| {
        let mut grown = std::hint::black_box(Vec::with_capacity(1));
        (0..5).for_each(|i| grown.push(std::hint::black_box(i)));
    });
    assert!(mine >= 2);
    ENLISTED.set(None);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8, 2, 3]))), [0, 0]);
}

#[test]
fn after_the_first_call_a_thread_allocates_nothing() {
    let _turn = turn();
    // A pool of one thread has nobody to share with: the calling thread works alone.
    #[cfg(feature = "rayon")]
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    let mut first_calls = 0;
    for kernel in kernels() {
        for path in paths((33, 70, 40), (7, 9, 33_000)) {
            let product = Product::new(kernel, path);
            let smaller = Product::new(kernel, Path { shape: (5, 9, 20), ..path });
            for output in OUTPUTS {
                // A new thread each: what another product left must not help.
                std::thread::scope(|scope| {
                    let counted = scope.spawn(|| {
                        let (mut stores, mut less) = (product.stores(), smaller.stores());
                        ENLISTED.set(Some(0));
                        let first = allocations(|| product.run(output, &mut stores));
                        let again = allocations(|| {
                            (0..3).for_each(|_| product.run(output, &mut stores));
                        });
                        let smaller = allocations(|| {
                            smaller.run(output, &mut less);
                            product.run(output, &mut stores);
                        });
                        ENLISTED.set(None);
                        (first, again, smaller)
                    });
                    let (first, again, smaller) = counted.join().unwrap();
                    let what = format!("{} {output:?} {path:?}", kernel.name);
                    assert_eq!(again, [0, 0], "{what}");
                    assert_eq!(smaller, [0, 0], "{what}, after a smaller one");
                    first_calls += first[0];
                });
            }
        }
    }
    assert!(first_calls > 0, "first calls take memory: the count does not see it");
}

#[test]
fn after_the_first_call_a_batch_on_one_thread_allocates_nothing() {
    let _turn = turn();
    let mut first_calls = 0;
    for kernel in kernels() {
        // Of several shapes, packed and not, the largest neither first nor last.
        let shapes = [(9, 17, 30), (33, 70, 40), (1, 130, 50), (0, 3, 5)];
        let one_shots = [true, true, false, true];
        let paths = shapes.into_iter().zip(one_shots);
        let products: Vec<_> = paths
            .map(|(shape, one_shot)| Product::new(kernel, Path { shape, one_shot, ..Path::default() }))
            .collect();
        let work = || {
            let mut stores: Vec<_> = products.iter().map(Product::stores).collect();
            let mut tasks: Vec<_> = products
                .iter()
                .zip(&mut stores)
                .map(|(product, stores)| {
                    let (m, n, k) = product.path.shape;
                    let a = MatRef::row_major(&product.a, m, k).unwrap();
                    let b = MatRef::row_major(&product.b, k, n).unwrap();
                    let b = if product.path.one_shot { Rhs::from(b) } else { Rhs::from(&product.packed) };
                    let gemm = Gemm::new(a, b).a_zero(3).dispatch(&product.dispatch);
                    Task::i32(gemm, MatMut::row_major(&mut stores.sums, m, n).unwrap()).unwrap()
                })
                .collect();
            ENLISTED.set(Some(0));
            let first = allocations(|| run_batch(&mut tasks).unwrap());
            let again = allocations(|| (0..3).for_each(|_| run_batch(&mut tasks).unwrap()));
            ENLISTED.set(None);
            (first, again)
        };
        // A pool of one thread, or a thread without one; in any case a new one.
        #[cfg(feature = "rayon")]
        let (first, again) = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work);
        #[cfg(not(feature = "rayon"))]
        let (first, again) = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        assert_eq!(again, [0, 0], "{}", kernel.name);
        first_calls += first[0];
    }
    assert!(first_calls > 0, "first calls take memory: the count does not see it");
}

/// Every slot of the library keeps much more than this, and the runtime's own thread-local memory is much less.
const LITTLE: isize = 16 << 10;

#[test]
fn release_thread_memory_frees_all_that_a_thread_keeps() {
    let _turn = turn();
    let (m, k, n) = (32, 4096, 64);
    let floats = vec![1.5f32; m * k];
    let bytes = vec![7u8; m * k];
    let b = vec![-3i8; k * n];
    let a = MatRef::row_major(&bytes, m, k).unwrap();
    let b = MatRef::row_major(&b, k, n).unwrap();
    let packed = PackedB::pack(b, ElementType::I8).unwrap();
    let work = || {
        let (mut sums, mut reals) = (vec![0; m * n], vec![0.0; m * n]);
        let mut held = Vec::new();
        let mut measure = |run: &mut dyn FnMut() -> Result<(), Error>| {
            HELD.store(0, SeqCst);
            ENLISTED.set(Some(0));
            run().unwrap();
            let kept = HELD.load(SeqCst);
            release_thread_memory();
            ENLISTED.set(None);
            held.push((kept, HELD.load(SeqCst)));
        };
        // Scratch alone, since B is packed; then the memory for packing, and that for quantizing.
        measure(&mut || {
            let c = MatMut::row_major(&mut sums, m, n)?;
            Gemm::new(a, &packed).a_zero(&[3; 32]).run_i32(c)
        });
        measure(&mut || Gemm::new(a, b).run_i32(MatMut::row_major(&mut sums, m, n)?));
        let a = MatRef::row_major(&floats, m, k).unwrap();
        measure(&mut || {
            let c = MatMut::row_major(&mut reals, m, n)?;
            DynamicGemm::new(a, &packed).run_f32(c, &Dequantize::new(1.0)?)
        });
        held
    };
    // A pool of one thread, or a thread without one; in any case a new one.
    #[cfg(feature = "rayon")]
    let held = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work);
    #[cfg(not(feature = "rayon"))]
    let held = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    for (use_of_memory, (kept, left)) in ["scratch", "packing", "quantizing"].iter().zip(held) {
        assert!(kept > 4 * LITTLE, "{use_of_memory}: a thread keeps {kept} bytes");
        assert!(left < LITTLE, "{use_of_memory}: {left} bytes of {kept} are left");
    }
}

/// A batch keeps no more of an unpacked B than the product alone: some columns at a time, or none for a few rows.
#[test]
fn a_batch_packs_a_part_of_b_at_a_time() {
    let _turn = turn();
    let (k, n) = (64, 40_000);
    let b = vec![-3i8; k * n];
    let caches = Caches { l1d: 32 << 10, l2: 64 << 10, l3: 0 };
    let dispatch = Dispatch::auto().unwrap().clone().with_caches(caches);
    for m in [1, 8] {
        let (a, mut sums) = (vec![7u8; m * k], vec![0; m * n]);
        let work = || {
            let a = MatRef::row_major(&a, m, k).unwrap();
            let gemm = Gemm::new(a, MatRef::row_major(&b, k, n).unwrap()).dispatch(&dispatch);
            let mut kept = |run: &dyn Fn(Gemm<'_>, MatMut<'_, i32>)| {
                HELD.store(0, SeqCst);
                ENLISTED.set(Some(0));
                run(gemm, MatMut::row_major(&mut sums, m, n).unwrap());
                let kept = HELD.load(SeqCst);
                release_thread_memory();
                ENLISTED.set(None);
                kept
            };
            let alone = kept(&|gemm, c| gemm.run_i32(c).unwrap());
            let batch = kept(&|gemm, c| run_batch(&mut [Task::i32(gemm, c).unwrap()]).unwrap());
            (alone, batch)
        };
        #[cfg(feature = "rayon")]
        let (alone, batch) = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work);
        #[cfg(not(feature = "rayon"))]
        let (alone, batch) = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        assert!(batch <= alone + LITTLE, "{m} rows: {batch} bytes, {alone} without a batch");
        assert!(alone < (k * n) as isize / 2, "{m} rows: {alone} bytes");
    }
}

/// An odd number of panels, for an even number of threads: they share rows if one of them can pack all of B, else
/// columns, of which each packs a part at a time.
#[cfg(feature = "rayon")]
#[test]
fn a_product_without_the_memory_for_all_of_b_packs_it_in_parts() {
    let _turn = turn();
    let (m, k) = (8, 4096);
    let kernel = kernels().pop().unwrap();
    // A part has 256 columns or a panel, which is at most half of these.
    let threads = (256 / kernel.nr).max(2);
    let n = (2 * threads + 1) * kernel.nr;
    let (a, b) = (vec![7u8; m * k], vec![-3i8; k * n]);
    let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
    let dispatch = Dispatch::named(kernel.name).unwrap().with_caches(Caches { l1d: 1, l2: 1, l3: 0 });
    let largest = PackedB::pack_with(&dispatch, b, ElementType::U8).unwrap().bytes() / 4 * 3;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for batch in [false, true] {
        let mut sums = vec![0; m * n];
        let c = MatMut::row_major(&mut sums, m, n).unwrap();
        let gemm = Gemm::new(a, b).dispatch(&dispatch);
        let result = pool.install(|| {
            release_thread_memory();
            LARGEST.store(largest, SeqCst);
            ENLISTED.set(Some(0));
            let result = if batch { run_batch(&mut [Task::i32(gemm, c).unwrap()]) } else { gemm.run_i32(c) };
            ENLISTED.set(None);
            LARGEST.store(usize::MAX, SeqCst);
            result
        });
        assert_eq!(result, Ok(()), "batch: {batch}");
        assert!(sums.iter().all(|sum| *sum == -3 * 7 * 4096), "batch: {batch}");
    }
}

#[test]
fn after_the_first_call_a_dynamic_product_allocates_nothing() {
    let _turn = turn();
    for kernel in kernels() {
        for one_shot in [false, true] {
            let product = Product::new(kernel, Path { shape: (33, 70, 40), one_shot, ..Path::default() });
            let real = |(i, &byte): (usize, &u8)| f32::from(byte) - i as f32 / 7.0;
            let real: Vec<f32> = product.a.iter().enumerate().map(real).collect();
            let columns = vec![0.1; 70];
            let run = |stores: &mut Stores| {
                let a = MatRef::row_major(&real, 33, 40).unwrap();
                let b = MatRef::row_major(&product.b, 40, 70).unwrap();
                let b = if one_shot { Rhs::from(b) } else { Rhs::from(&product.packed) };
                let gemm = DynamicGemm::new(a, b).dispatch(&product.dispatch);
                let output = Dequantize::new(&columns).unwrap();
                for gemm in [gemm, gemm.asymmetric(), gemm.per_tensor(), gemm.asymmetric().per_tensor()] {
                    let c = MatMut::row_major(&mut stores.reals, 33, 70).unwrap();
                    gemm.run_f32(c, &output).unwrap();
                }
            };
            std::thread::scope(|scope| {
                let counted = scope.spawn(|| {
                    let mut stores = product.stores();
                    ENLISTED.set(Some(0));
                    let first = allocations(|| run(&mut stores));
                    let again = allocations(|| (0..3).for_each(|_| run(&mut stores)));
                    ENLISTED.set(None);
                    (first, again)
                });
                let (first, again) = counted.join().unwrap();
                assert!(first[0] > 0, "a first call takes memory: the count does not see it");
                assert_eq!(again, [0, 0], "{} {one_shot}", kernel.name);
            });
        }
    }
}

#[cfg(feature = "rayon")]
mod pool {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Barrier;

    /// A pool of two threads, enlisted, that have both taken work from one another.
    struct Pair(rayon::ThreadPool);

    impl Pair {
        fn new() -> Self {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
            for first in [0, 1] {
                let both = Barrier::new(2);
                // Thread `first` can meet in the second task only the other one, which must take it.
                pool.broadcast(|thread| {
                    if thread.index() == first {
                        rayon::join(|| both.wait(), || both.wait());
                    }
                });
            }
            pool.broadcast(|thread| ENLISTED.set(Some(thread.index())));
            Self(pool)
        }

        /// Frees what the threads keep.
        fn forget(&self) {
            self.0.broadcast(|_| release_thread_memory());
        }
    }

    impl Drop for Pair {
        /// Its threads end some time later, and what that allocates is not to be counted.
        fn drop(&mut self) {
            self.0.broadcast(|_| ENLISTED.set(None));
        }
    }

    /// Runs a product once on each thread while the other one is held: it does all parts by itself,
    /// and has then the memory for any of them.
    fn each_alone(pool: &Pair, product: &Product, output: Output) {
        let barrier = Barrier::new(2);
        pool.0.broadcast(|thread| {
            // Until both are here one might still look for work to take.
            barrier.wait();
            let mut ran = Ok(());
            for turn in [0, 1] {
                if thread.index() == turn {
                    ran = catch_unwind(AssertUnwindSafe(|| product.run(output, &mut product.stores())));
                }
                // Also after a panic: the other one waits.
                barrier.wait();
            }
            ran.unwrap_or_else(|panic| resume_unwind(panic));
        });
    }

    #[test]
    fn after_the_first_call_the_threads_of_a_pool_allocate_nothing() {
        let _turn = turn();
        let pool = Pair::new();
        for kernel in kernels() {
            // Worth two threads, and of several tiles and panels.
            for path in paths((70, 131, 180), (25, 9, 33_000)) {
                let product = Product::new(kernel, path);
                let mut stores = product.stores();
                for output in OUTPUTS {
                    pool.forget();
                    each_alone(&pool, &product, output);
                    let again = allocations(|| {
                        for _ in 0..3 {
                            pool.0.install(|| product.run(output, &mut stores));
                        }
                    });
                    assert_eq!(again, [0, 0], "{} {output:?} {path:?}", kernel.name);
                }
            }
        }
    }

    #[test]
    fn both_threads_of_a_pool_take_part_in_such_a_product() {
        // Otherwise the test above would say nothing of threads. Without memory of its own a thread that
        // takes part allocates, and waits there for the other one: it gets its part if there are two.
        let _turn = turn();
        let pool = Pair::new();
        let scalar = Dispatch::named("scalar").unwrap();
        let kernel = scalar.kernels().next().unwrap();
        // A B that comes as it is would be packed, by one thread, before.
        for path in paths((70, 131, 180), (25, 9, 33_000)).into_iter().filter(|path| !path.one_shot) {
            let product = Product::new(kernel, path);
            let mut stores = product.stores();
            pool.forget();
            MEETING.store(true, SeqCst);
            let counts = allocations(|| pool.0.install(|| product.run(Output::Bytes, &mut stores)));
            MEETING.store(false, SeqCst);
            assert!(counts[0] > 0 && counts[1] > 0, "{counts:?} {path:?}");
        }
    }
}
