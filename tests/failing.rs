//! Memory that runs out at any moment: an error and an output as it was, or the right output; never an abort, and
//! nothing that is added twice.

use qgemm::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::SeqCst};

/// The system's allocator, which refuses one request.
struct Failing;

/// The number of requests before the one that is refused; negative for none.
static BEFORE: AtomicIsize = AtomicIsize::new(-1);
/// Whether a request was refused.
static REFUSED: AtomicBool = AtomicBool::new(false);

fn refused() -> bool {
    let this = BEFORE.load(SeqCst) >= 0 && BEFORE.fetch_sub(1, SeqCst) == 0;
    if this {
        REFUSED.store(true, SeqCst);
    }
    this
}

// SAFETY: every method hands its arguments to the system's allocator and returns what that does, or null.
unsafe impl GlobalAlloc for Failing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if refused() { std::ptr::null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        if refused() { std::ptr::null_mut() } else { unsafe { System.alloc_zeroed(layout) } }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        if refused() { std::ptr::null_mut() } else { unsafe { System.realloc(ptr, layout, new_size) } }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Failing = Failing;

/// A call on an output of i32, bytes and f32 values.
type Call<'a> = dyn Fn(&mut [i32], &mut [u8], &mut [f32]) -> Result<(), Error> + Sync + 'a;

/// Runs `call` with the n-th request for memory refused, for every n, each time on threads that have none.
fn check(name: &str, len: usize, on: &On, call: &Call<'_>) {
    let blank = || ((0..len as i32).collect::<Vec<i32>>(), vec![7u8; len], vec![7f32; len]);
    let mut want = blank();
    on.run(&|| call(&mut want.0.clone(), &mut want.1.clone(), &mut want.2.clone())).unwrap();
    call(&mut want.0, &mut want.1, &mut want.2).unwrap();
    let before = blank();
    for n in 0.. {
        on.forget();
        let mut got = blank();
        REFUSED.store(false, SeqCst);
        let result = {
            let (sums, bytes, reals) = (&mut got.0, &mut got.1, &mut got.2);
            on.run_mut(&mut || {
                BEFORE.store(n, SeqCst);
                let result = call(sums, bytes, reals);
                BEFORE.store(-1, SeqCst);
                result
            })
        };
        match result {
            Ok(()) => assert!(got == want, "{name}: wrong when request {n} is refused"),
            Err(Error::Memory { .. }) => {
                assert!(got == before, "{name}: written when request {n} is refused")
            }
            Err(error) => panic!("{name}: {error} when request {n} is refused"),
        }
        if !REFUSED.load(SeqCst) {
            assert!(result.is_ok() && n < 200, "{name}");
            return;
        }
    }
}

/// Where the call is made.
enum On {
    /// On this thread, which may ask for help.
    Plain,
    /// In a pool of two threads.
    #[cfg(feature = "rayon")]
    Pool(rayon::ThreadPool),
}

impl On {
    fn forget(&self) {
        release_thread_memory();
        #[cfg(feature = "rayon")]
        if let On::Pool(pool) = self {
            pool.broadcast(|_| release_thread_memory());
        }
    }

    fn run(&self, call: &(dyn Fn() -> Result<(), Error> + Sync)) -> Result<(), Error> {
        match self {
            On::Plain => call(),
            #[cfg(feature = "rayon")]
            On::Pool(pool) => pool.install(call),
        }
    }

    fn run_mut(&self, call: &mut (dyn FnMut() -> Result<(), Error> + Send)) -> Result<(), Error> {
        match self {
            On::Plain => call(),
            #[cfg(feature = "rayon")]
            On::Pool(pool) => pool.install(call),
        }
    }
}

/// Columns of B in runs of 256, of any values and of small ones in turn: kernels with a proof serve the latter.
fn mixed(k: usize, n: usize) -> Vec<i8> {
    (0..k * n)
        .map(|i| if (i % n / 256).is_multiple_of(2) { (i * 37 % 255) as i8 } else { (i % 3) as i8 - 1 })
        .collect()
}

fn check_all(dispatch: &Dispatch, threads: Threads<'_>, on: &On) {
    for (m, n, k) in [(8, 1024, 1025), (70, 300, 70), (3, 40, 33_000), (2, 1100, 1000)] {
        let (a, b) = ((0..m * k).map(|i| (i * 29 % 256) as u8).collect::<Vec<u8>>(), mixed(k, n));
        let signed: Vec<i8> = a.iter().map(|a| *a as i8).collect();
        let reals: Vec<f32> = signed.iter().map(|a| f32::from(*a)).collect();
        let (a_zero, b_zero) = (vec![3; m], vec![-5; n]);
        let b = MatRef::row_major(&b, k, n).unwrap();
        let packed = PackedB::pack_with(dispatch, b, ElementType::U8).unwrap();
        let a = MatRef::row_major(&a, m, k).unwrap();
        let signed = MatRef::row_major(&signed, m, k).unwrap();
        let name = |what: &str| format!("{what} {m}x{n}x{k} {:?} {threads:?}", packed.kernel().name);
        let gemms = [
            ("packed", Gemm::new(a, &packed)),
            ("other type", Gemm::new(signed, &packed).a_zero(&a_zero[..]).b_zero(&b_zero[..])),
            ("wide", Gemm::new(a, &packed).a_zero(i32::MAX).b_zero(&b_zero[..])),
            ("unpacked", Gemm::new(a, b).dispatch(dispatch)),
            ("wide unpacked", Gemm::new(signed, b).dispatch(dispatch).a_zero(i32::MIN).b_zero(7)),
        ];
        // Rows of the source in fives, some of them padding.
        let taps: Vec<u32> = (0..m * (k / 5))
            .map(|i| if i % 11 == 0 { GatherF32::PADDING } else { (i * 7 % (m * k / 5)) as u32 })
            .collect();
        let some = b.submatrix(0..k / 5 * 5, 0..n).unwrap();
        let packed_some = PackedB::pack_with(dispatch, some, ElementType::I8).unwrap();
        let stage = Requantize::new(1e-4, 3).unwrap();
        let floats = Dequantize::new(0.25).unwrap();
        let (dynamic_floats, dynamic_bytes) =
            (Dequantize::dynamic(0.25).unwrap(), Requantize::dynamic(1e-2, 3).unwrap());
        for (what, gemm) in gemms {
            let gemm = gemm.threads(threads);
            check(&name(&format!("{what}, i32")), m * n, on, &|sums, _, _| {
                gemm.accumulate_i32(MatMut::row_major(sums, m, n)?)
            });
            check(&name(&format!("{what}, bytes")), m * n, on, &|_, bytes, _| {
                gemm.run_requantized(MatMut::row_major(bytes, m, n)?, stage)
            });
            check(&name(&format!("{what}, f32")), m * n, on, &|_, _, reals| {
                gemm.run_f32(MatMut::row_major(reals, m, n)?, floats)
            });
            check(&name(&format!("{what}, columns")), m * n, on, &|_, bytes, _| {
                gemm.run_requantized(MatMut::new(bytes, m, n, 1, m)?, stage)
            });
        }
        check(&name("dynamic"), m * n, on, &|_, _, c| {
            let a = MatRef::row_major(&reals, m, k)?;
            DynamicGemm::new(a, &packed)
                .asymmetric()
                .threads(threads)
                .run_f32(MatMut::row_major(c, m, n)?, dynamic_floats)
        });
        check(&name("batch"), m * n, on, &|sums, bytes, c| {
            let unpacked = Gemm::new(a, b).dispatch(dispatch);
            // Arrays: a vector of tasks would be the caller's memory.
            let mut tasks = [
                Task::accumulate_i32(unpacked, MatMut::row_major(sums, m, n)?)?,
                Task::requantized(Gemm::new(signed, &packed), MatMut::row_major(bytes, m, n)?, stage)?,
                Task::f32(Gemm::new(signed, b).dispatch(dispatch), MatMut::row_major(c, m, n)?, floats)?,
            ];
            run_batch_on(&mut tasks, threads)
        });
        check(&name("dynamic batch"), m * n, on, &|_, bytes, c| {
            let rows = DynamicGemm::new(MatRef::row_major(&reals, m, k)?, &packed);
            let columns = DynamicGemm::new(MatRef::col_major(&reals, m, k)?, b).dispatch(dispatch);
            let mut tasks = [
                Task::dynamic_requantized(rows.asymmetric(), MatMut::row_major(bytes, m, n)?, dynamic_bytes)?,
                Task::dynamic_f32(columns.per_tensor(), MatMut::row_major(c, m, n)?, dynamic_floats)?,
            ];
            run_batch_on(&mut tasks, threads)
        });
        let gathered = || {
            let a = GatherF32::new(MatRef::row_major(&reals, m * k / 5, 5)?, &taps, k / 5)?;
            Ok::<_, Error>(DynamicGemm::new(a, &packed_some).threads(threads))
        };
        check(&name("gathered"), m * n, on, &|_, bytes, _| {
            gathered()?.run_requantized(MatMut::row_major(bytes, m, n)?, dynamic_bytes)
        });
        check(&name("gathered, one scale"), m * n, on, &|_, _, c| {
            let gemm = gathered()?.asymmetric().per_tensor();
            gemm.run_f32(MatMut::row_major(c, m, n)?, dynamic_floats)
        });
        check(&name("layer"), 1, on, &|_, _, _| {
            let params = QuantParams { scale: 0.1, zero_point: 3 };
            let weight = MatRef::new(&reals[..k], n, k, 0, 1)?;
            let layer = Linear::out_in(weight).input::<u8>(params).output::<u8>(params).bias(&reals[..n]);
            layer.activation(Activation::Tanh).before_activation(params).build().map(|_| ())
        });
        let codes: Vec<u8> = (0..k * n).map(|i| (i * 7 % 16) as u8).collect();
        let groups = k.div_ceil(32);
        let weights = || {
            let codes = MatRef::row_major(&codes, k, n)?;
            let scales = MatRef::row_major(&reals[..1], 1, 1)?;
            let scales = MatRef::new(scales.row(0).unwrap(), groups, n, 0, 0)?;
            let zeros = codes.submatrix(0..groups, 0..n)?;
            GroupwiseB::builder(CodeBits::Four, 32).zeros(zeros).minimums(scales).pack(codes, scales)
        };
        check(&name("packing groups"), 1, on, &|_, _, _| weights().map(|_| ()));
        let groupwise = weights().unwrap().with_dispatch(dispatch);
        let ways = [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric];
        for activations in ways {
            check(&name(&format!("groups, {activations:?}")), m * n, on, &|_, _, c| {
                let a = MatRef::row_major(&reals, m, k)?;
                let gemm = GroupwiseGemm::new(a, &groupwise).activations(activations).threads(threads);
                gemm.run_f32(MatMut::row_major(c, m, n)?, Dequantize::groupwise().residual_in_place())
            });
        }
        check(&name("batch of groups"), m * n, on, &|sums, _, c| {
            let x = MatRef::col_major(&reals, m, k)?;
            let gemm = GroupwiseGemm::new(x, &groupwise).activations(Activations::PerRowAsymmetric);
            let mut tasks = [
                Task::accumulate_i32(Gemm::new(a, &packed), MatMut::row_major(sums, m, n)?)?,
                Task::groupwise_f32(gemm, MatMut::col_major(c, m, n)?, Dequantize::groupwise())?,
            ];
            run_batch_on(&mut tasks, threads)
        });
        check(&name("packing"), 1, on, &|_, _, _| {
            PackedB::pack_with(dispatch, b, ElementType::I8).map(|_| ())
        });
    }
}

/// Matrices of 100 rows of 300 values that are quantized by row, each layout with its own need of memory.
fn check_quantization(on: &On) {
    let (m, k) = (100, 300);
    let x: Vec<f32> = (0..m * k).map(|i| (i * 37 % 501) as f32 - 250.0).collect();
    for (x_strides, out_strides) in [((k, 1), (k, 1)), ((1, m), (1, m)), ((k, 1), (1, m)), ((1, m), (k, 1))] {
        check(&format!("rows of strides {x_strides:?} to {out_strides:?}"), m * k, on, &|_, bytes, reals| {
            let x = MatRef::new(&x, m, k, x_strides.0, x_strides.1)?;
            let out = MatMut::new(bytemuck::cast_slice_mut(bytes), m, k, out_strides.0, out_strides.1)?;
            quantize_rows(x, out, &mut reals[..m])
        });
    }
    check("percentile", 1, on, &|_, _, _| Observer::percentile(99.0).map(|_| ()));
}

/// Has helper threads started, and waits until they sleep: what the standard library asks for when a thread starts, it
/// must get.
fn start_helpers() {
    let (a, b) = (vec![1u8; 256 * 512], vec![1i8; 512 * 512]);
    let (a, b) = (MatRef::row_major(&a, 256, 512).unwrap(), MatRef::row_major(&b, 512, 512).unwrap());
    let mut c = vec![0; 256 * 512];
    let c = MatMut::row_major(&mut c, 256, 512).unwrap();
    Gemm::new(a, b).threads(Threads::ALL.eager()).run_i32(c).unwrap();
    let asleep = || {
        let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return false };
        let stats =
            threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        let helpers: Vec<_> = stats.filter(|stat| stat.contains("(qgemm-")).collect();
        !helpers.is_empty() && helpers.iter().all(|stat| stat.contains(") S "))
    };
    // Where this does not tell, or no helper is needed, after two seconds.
    for _ in 0..200 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        if asleep() {
            return;
        }
    }
}

/// One test: requests are refused whoever makes them.
#[test]
fn a_call_without_memory_is_an_error_that_changes_nothing_or_right() {
    let mut dispatches = vec![Dispatch::auto().unwrap().clone()];
    for name in ["avx2", "scalar"] {
        dispatches.extend(Dispatch::named(name).ok());
    }
    // One pool for all, whose threads have begun: what is not this library's asks for memory when a thread begins or ends.
    #[cfg(feature = "rayon")]
    let pool = On::Pool(rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap());
    #[cfg(feature = "rayon")]
    pool.forget();
    start_helpers();
    check_quantization(&On::Plain);
    for dispatch in &dispatches {
        check_all(dispatch, Threads::at_most(1), &On::Plain);
        check_all(dispatch, Threads::ALL.eager(), &On::Plain);
        #[cfg(feature = "rayon")]
        check_all(dispatch, Threads::ALL.eager(), &pool);
    }
}
