//! The memory that packed weights say they take is what they hold.

use crate::counting::{ENLISTED, HELD, turn};
use qgemm::half::f16;
use qgemm::*;
use std::sync::atomic::Ordering::SeqCst;

/// What `pack` gives, and the bytes that it holds.
fn held<T>(pack: impl FnOnce() -> T) -> (T, usize) {
    // What a process finds out once is no part of it.
    Dispatch::auto().unwrap();
    HELD.store(0, SeqCst);
    ENLISTED.set(Some(0));
    let packed = pack();
    // The packing's own scratch is not the weights'.
    release_thread_memory();
    ENLISTED.set(None);
    (packed, HELD.load(SeqCst).try_into().unwrap())
}

#[test]
fn columns_take_what_they_say() {
    let _turn = turn();
    for (k, n) in [(1, 1), (300, 200), (70_000, 3), (1000, 64), (9_000_000, 1)] {
        let b = vec![-3i8; k * n];
        let b = MatRef::row_major(&b, k, n).unwrap();
        for activations in [ElementType::U8, ElementType::I8] {
            let (packed, held) = held(|| PackedB::pack_for(b, activations).unwrap());
            assert!(packed.bytes() >= k * n);
            assert_eq!(packed.bytes(), held, "{k}x{n} {activations:?}");
        }
    }
}

#[test]
fn groups_take_what_they_say() {
    let _turn = turn();
    let (k, n, group) = (320, 70, 32);
    let (codes, groups) = (vec![5u8; k * n], k / group);
    let codes = MatRef::row_major(&codes, k, n).unwrap();
    let (scales, halves) = (vec![1f32; groups * n], vec![f16::ONE; groups * n]);
    let scales = MatRef::row_major(&scales, groups, n).unwrap();
    let halves = MatRef::row_major(&halves, groups, n).unwrap();
    let (equal, mut unequal) = (vec![3u8; groups * n], vec![3u8; groups * n]);
    unequal[groups * n - 1] = 4;
    let [equal, unequal] = [&equal, &unequal].map(|zeros| MatRef::row_major(zeros, groups, n).unwrap());
    for bits in [CodeBits::Four, CodeBits::Eight] {
        let builder = || GroupwiseB::builder(bits, group);
        let (one, _) = held(|| builder().zero(3u8).pack(codes, scales).unwrap());
        let one = one.bytes();
        let (packed, bytes) = held(|| builder().zeros(equal).pack(codes, scales).unwrap());
        // Zero points that are all equal are one.
        assert_eq!([packed.bytes(), bytes], [one; 2], "{bits:?}");
        let (packed, bytes) = held(|| builder().zeros(unequal).pack(codes, scales).unwrap());
        assert_eq!(packed.bytes(), bytes, "{bits:?}");
        assert!(bytes > one, "{bits:?}");
        let (packed, bytes) = held(|| builder().zero(3u8).minimums(halves).pack(codes, halves).unwrap());
        assert_eq!(packed.bytes(), bytes, "{bits:?}");
    }
}
