//! What a thread keeps between calls.

use crate::counting::{ENLISTED, HELD, turn};
use qgemm::*;
use std::sync::atomic::Ordering::SeqCst;

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
    let packed = PackedB::pack_for(b, ElementType::I8).unwrap();
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
            DynamicGemm::new(a, &packed).run_f32(c, Dequantize::dynamic(1.0)?)
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

/// 20,000 products of as many shapes, packed and not: the second half leaves a thread no more memory than the first.
#[test]
fn many_shapes_do_not_let_memory_grow() {
    let _turn = turn();
    let value = |i: usize| ((i as u32).wrapping_mul(0x9e37_79b1) >> 13) as i8;
    let operands: Vec<i8> = (0..70 * 70).map(value).collect();
    let mut c = vec![0i32; 70 * 70];
    let mut run = |shapes: std::ops::Range<usize>| {
        for shape in shapes {
            let (m, k, n) = (1 + shape % 67, 1 + shape / 67 % 59, 1 + shape / 3 % 61);
            let a = MatRef::row_major(&operands[..m * k], m, k).unwrap();
            let b = MatRef::row_major(&operands[70..70 + k * n], k, n).unwrap();
            let c_view = MatMut::row_major(&mut c[..m * n], m, n).unwrap();
            match shape % 2 {
                0 => Gemm::new(a, b).run_i32(c_view).unwrap(),
                _ => Gemm::new(a, &PackedB::pack(b).unwrap()).run_i32(c_view).unwrap(),
            }
            let last = (0..k)
                .map(|l| i32::from(operands[(m - 1) * k + l]) * i32::from(operands[70 + l * n + n - 1]));
            assert_eq!(c[m * n - 1], last.sum::<i32>(), "{m}x{k}x{n}");
        }
        HELD.load(SeqCst)
    };
    HELD.store(0, SeqCst);
    ENLISTED.set(Some(0));
    let (first, second) = (run(0..10_000), run(10_000..20_000));
    ENLISTED.set(None);
    assert!(first > LITTLE, "a thread keeps {first} bytes");
    assert!(second <= first, "{second} bytes, {first} before");
}
