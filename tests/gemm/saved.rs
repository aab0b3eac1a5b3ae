//! Weights that are saved, loaded and mapped: the same weights, or an error.

use crate::support::{Random, cases, each_kernel, each_kernel_or_best};
use qgemm::half::{bf16, f16};
use qgemm::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The header's checksum and the bytes of the header.
const CRC_AT: usize = 24;
const HEADER: usize = 192;

/// Bytes at a multiple of 64 in memory, as a mapped file has them; counts how many live.
struct Mapped {
    lines: Vec<qgemm_kernels::Line>,
    len: usize,
    live: Arc<AtomicUsize>,
}

impl Mapped {
    fn new(bytes: &[u8], live: &Arc<AtomicUsize>) -> Self {
        let mut lines = vec![qgemm_kernels::Line([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        live.fetch_add(1, Ordering::Relaxed);
        Self { lines, len: bytes.len(), live: live.clone() }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes the checksum of changed bytes right.
fn seal(bytes: &mut [u8]) {
    bytes[CRC_AT..CRC_AT + 4].fill(0);
    let crc = crc32fast::hash(bytes);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

fn saved(b: &PackedB) -> Vec<u8> {
    let mut bytes = Vec::new();
    b.save(&mut bytes).unwrap();
    bytes
}

fn product(b: &PackedB, random: u64) -> Vec<i32> {
    let (m, k, n) = (5, b.k(), b.n());
    let mut r = Random(random);
    let a: Vec<u8> = (0..m * k).map(|_| r.next() as u8).collect();
    let mut c = vec![0; m * n];
    Gemm::new(MatRef::row_major(&a, m, k).unwrap(), b)
        .a_zero(3)
        .b_zero(-7)
        .run_i32(MatMut::row_major(&mut c, m, n).unwrap())
        .unwrap();
    c
}

fn assert_same(got: &PackedB, want: &PackedB) {
    assert_eq!(format!("{got:?}"), format!("{want:?}"));
    let kernels = |b: &PackedB| b.panel_kernels().map(|kernel| kernel.name).collect::<Vec<_>>();
    assert_eq!(kernels(got), kernels(want));
    for k in 0..want.k() {
        assert!((0..want.n()).all(|j| got.get(k, j) == want.get(k, j)));
    }
    assert_eq!(product(got, 9), product(want, 9));
}

/// Weights, of small values in some columns, so that kernels with proofs get theirs.
fn weights(k: usize, n: usize, random: &mut Random) -> Vec<i8> {
    let small = random.below(3);
    (0..k * n)
        .map(
            |i| {
                if i % n.max(1) / 16 % 3 < small {
                    (random.next() % 9) as i8 - 4
                } else {
                    random.next() as i8
                }
            },
        )
        .collect()
}

#[test]
fn packed_weights_come_back_the_same_for_every_kernel() {
    let live = Arc::new(AtomicUsize::new(0));
    for (info, dispatch) in each_kernel_or_best() {
        let mut r = Random(7);
        for (k, n) in [(0, 0), (0, 5), (5, 0), (1, 1), (3, 7), (64, 64), (33, 70), (130, 129)] {
            for activations in [ElementType::U8, ElementType::I8] {
                let values = weights(k, n, &mut r);
                let view = MatRef::row_major(&values, k, n).unwrap();
                let bytes_of = bytemuck::cast_slice::<i8, u8>(&values);
                let packed = match r.below(2) {
                    0 => PackedB::pack_with(&dispatch, view, activations).unwrap(),
                    _ => {
                        let view = MatRef::row_major(bytes_of, k, n).unwrap();
                        PackedB::pack_with(&dispatch, view, activations).unwrap()
                    }
                };
                let bytes = saved(&packed);
                assert!(bytes.len().is_multiple_of(64));
                let loaded = PackedB::load(&bytes, &dispatch, OtherLayout::Refuse).unwrap();
                assert_same(&loaded, &packed);
                assert_eq!(saved(&loaded), bytes, "{}", info.name);
                let mapped =
                    PackedB::map(Mapped::new(&bytes, &live), &dispatch, OtherLayout::Refuse).unwrap();
                assert_same(&mapped, &packed);
                // The bytes are used in place, and live as long as a clone of the weights does.
                if k * n > 0 && cfg!(target_endian = "little") {
                    assert_eq!(live.load(Ordering::Relaxed), 1, "{} {k}x{n}", info.name);
                }
                let clone = mapped.clone();
                drop(mapped);
                assert_same(&clone, &packed);
                assert_eq!(saved(&clone), bytes);
                drop(clone);
                assert_eq!(live.load(Ordering::Relaxed), 0);
            }
        }
    }
}

#[test]
fn bytes_that_are_not_aligned_are_copied() {
    let dispatch = Dispatch::auto().unwrap();
    let values = vec![3i8; 40 * 40];
    let packed = PackedB::pack(MatRef::row_major(&values, 40, 40).unwrap()).unwrap();
    let bytes = saved(&packed);
    for shift in [1, 2, 4, 32] {
        struct Shifted(Vec<u8>, usize);
        impl AsRef<[u8]> for Shifted {
            fn as_ref(&self) -> &[u8] {
                &self.0[self.1..]
            }
        }
        let mut shifted = vec![0; 64 + shift];
        let start = shifted.as_ptr().align_offset(64) % 64 + shift;
        shifted.resize(start, 0);
        shifted.extend_from_slice(&bytes);
        let mapped = PackedB::map(Shifted(shifted, start), dispatch, OtherLayout::Refuse).unwrap();
        assert_same(&mapped, &packed);
    }
}

#[test]
fn weights_for_another_kernel_are_packed_again_or_refused() {
    let mut r = Random(3);
    let (k, n) = (37, 75);
    let values = weights(k, n, &mut r);
    let view = MatRef::row_major(&values, k, n).unwrap();
    for (from, packs) in each_kernel() {
        let packed = PackedB::pack_with(&packs, view, ElementType::I8).unwrap();
        let bytes = saved(&packed);
        for (_, reads) in each_kernel() {
            let want = PackedB::pack_with(&reads, view, ElementType::I8).unwrap();
            let loaded = PackedB::load(&bytes, &reads, OtherLayout::Repack).unwrap();
            assert_same(&loaded, &want);
            let mapped = PackedB::map(bytes.clone(), &reads, OtherLayout::Repack).unwrap();
            assert_same(&mapped, &want);
            let refused = PackedB::load(&bytes, &reads, OtherLayout::Refuse);
            if packed.kernel().name == want.kernel().name {
                assert_same(&refused.unwrap(), &want);
            } else {
                let error = refused.unwrap_err().to_string();
                assert!(error.starts_with("saved: was packed for the kernel "), "{error}");
                assert!(
                    error.contains(packed.kernel().name) && error.contains(want.kernel().name),
                    "{error}"
                );
            }
        }
        assert_eq!(packed.kernel().nr, from.nr);
    }
}

/// Group-wise weights of many kinds.
fn groupwise(seed: u64) -> GroupwiseB {
    let mut r = Random(seed);
    let bits = [CodeBits::Four, CodeBits::Eight][r.below(2)];
    let group = [8, 32, 64, 1000][r.below(4)];
    let (k, n) = (r.below(100), r.below(80));
    let groups = k.div_ceil(group);
    let mask = if bits == CodeBits::Four { 15 } else { 255 };
    let codes: Vec<u8> = (0..k * n).map(|_| r.next() as u8 & mask).collect();
    let values: Vec<f32> = (0..groups * n).map(|_| r.next() as u16 as f32 / 4096.0).collect();
    let halves: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    let brains: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
    let zeros: Vec<u8> = (0..groups * n).map(|_| r.next() as u8 & mask).collect();
    let codes = MatRef::row_major(&codes, k, n).unwrap();
    let mut builder = GroupwiseB::builder(bits, group);
    if r.below(2) == 0 {
        builder = builder.zeros(MatRef::row_major(&zeros, groups, n).unwrap());
    }
    if r.below(2) == 0 {
        builder = builder.minimums(MatRef::row_major(&halves, groups, n).unwrap());
    }
    match r.below(3) {
        0 => builder.pack(codes, MatRef::row_major(&values, groups, n).unwrap()),
        1 => builder.pack(codes, MatRef::row_major(&halves, groups, n).unwrap()),
        _ => builder.pack(codes, MatRef::row_major(&brains, groups, n).unwrap()),
    }
    .unwrap()
}

fn saved_groupwise(b: &GroupwiseB) -> Vec<u8> {
    let mut bytes = Vec::new();
    b.save(&mut bytes).unwrap();
    bytes
}

fn assert_same_groupwise(got: &GroupwiseB, want: &GroupwiseB) {
    assert_eq!(format!("{got:?}"), format!("{want:?}"));
    let (m, k, n) = (3, want.k(), want.n());
    let a: Vec<f32> = (0..m * k).map(|i| (i % 37) as f32 - 11.5).collect();
    let product = |b: &GroupwiseB| {
        let mut c = vec![0f32; m * n];
        GroupwiseGemm::new(MatRef::row_major(&a, m, k).unwrap(), b)
            .run_f32(MatMut::row_major(&mut c, m, n).unwrap(), Dequantize::groupwise())
            .unwrap();
        c.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(product(got), product(want));
    for g in 0..want.groups() {
        for j in 0..n {
            assert_eq!(got.scale(g, j), want.scale(g, j));
            assert_eq!(got.zero(g, j), want.zero(g, j));
            assert_eq!(got.minimum(g, j), want.minimum(g, j));
        }
    }
    assert!((0..k).all(|k| (0..n).all(|j| got.code(k, j) == want.code(k, j))));
}

#[test]
fn groupwise_weights_come_back_the_same() {
    let live = Arc::new(AtomicUsize::new(0));
    for seed in 0..cases(200) as u64 {
        let packed = groupwise(seed);
        let bytes = saved_groupwise(&packed);
        let loaded = GroupwiseB::load(&bytes).unwrap();
        assert_same_groupwise(&loaded, &packed);
        let mapped = GroupwiseB::map(Mapped::new(&bytes, &live)).unwrap();
        assert_eq!(live.load(Ordering::Relaxed), 1);
        assert_same_groupwise(&mapped, &packed);
        assert_eq!(saved_groupwise(&mapped), bytes);
        drop(mapped);
        assert_eq!(live.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn groupwise_weights_without_columns_come_back() {
    // Groups that are longer than vector kernels multiply have all their zero points, of which there are none here.
    for k in [0, 8, 40_000] {
        let none = MatRef::row_major(&[0f32; 0], k, 0).unwrap();
        let packed =
            quantize_groups(none, CodeBits::Four, 1 << 20, GroupScheme::Asymmetric).unwrap().pack().unwrap();
        let loaded = GroupwiseB::load(&saved_groupwise(&packed)).unwrap();
        assert_eq!((loaded.k(), loaded.n()), (k, 0));
    }
}

/// Both readers of some bytes.
fn read(bytes: &[u8]) -> [Result<(), Error>; 2] {
    let dispatch = Dispatch::auto().unwrap();
    [PackedB::load(bytes, dispatch, OtherLayout::Repack).map(drop), GroupwiseB::load(bytes).map(drop)]
}

#[test]
fn bytes_that_are_cut_off_or_changed_are_refused() {
    let values = vec![3i8; 20 * 40];
    let packed = PackedB::pack(MatRef::row_major(&values, 20, 40).unwrap()).unwrap();
    for (right, bytes) in [(0, saved(&packed)), (1, saved_groupwise(&groupwise(5)))] {
        let results = read(&bytes);
        assert!(results[right].is_ok());
        let kind =
            Error::Saved { problem: SavedProblem::Kind { got: 1 + right as u32, need: 2 - right as u32 } };
        assert_eq!(results[1 - right], Err(kind));
        for len in 0..bytes.len() {
            assert!(matches!(read(&bytes[..len])[right], Err(Error::Saved { .. })), "{len}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        let problem = SavedProblem::Length { got: longer.len() as u64, need: bytes.len() as u64 };
        assert_eq!(read(&longer)[right], Err(Error::Saved { problem }));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(matches!(read(&changed)[right], Err(Error::Saved { .. })), "{at}");
        }
    }
}

/// Whether a test has the time and the memory for a product: empty weights may have any other dimension.
fn is_small(k: usize, n: usize) -> bool {
    k < 1000 && n < 1000
}

/// Bytes that somebody made on purpose, with the right checksum: an error, or weights that can be multiplied.
#[test]
fn hostile_bytes_are_refused_or_weights() {
    let mut r = Random(11);
    let values = weights(20, 40, &mut r);
    let packed = PackedB::pack(MatRef::row_major(&values, 20, 40).unwrap()).unwrap();
    let extremes = [0, 1, 2, 63, 64, 255, 1 << 31, u64::from(u32::MAX), 1 << 32, i64::MAX as u64, u64::MAX];
    let (mut refused, mut read) = (0, 0);
    for case in 0..cases(4000) {
        let columns = case % 2 == 0;
        let mut bytes = if columns { saved(&packed) } else { saved_groupwise(&groupwise(r.next() % 50)) };
        let most = if columns { HEADER + 128 } else { HEADER };
        for _ in 0..1 + r.below(2) {
            // Kinds of numbers: any bytes, or a number that is an extreme or near what was there.
            let at = 32 + 4 * r.below((most - 36) / 4);
            let old = u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
            let new = match r.below(3) {
                0 => r.next(),
                1 => extremes[r.below(extremes.len())],
                _ => old.wrapping_add(r.next() % 5).wrapping_sub(2),
            };
            let len = if r.below(2) == 0 { 4 } else { 8 };
            bytes[at..at + len].copy_from_slice(&new.to_le_bytes()[..len]);
        }
        seal(&mut bytes);
        let is_read = if columns {
            let dispatch = Dispatch::auto().unwrap();
            let weights = PackedB::load(&bytes, dispatch, OtherLayout::Repack);
            weights
                .map(|b| {
                    if is_small(b.k(), b.n()) {
                        drop(product(&b, 1))
                    }
                })
                .is_ok()
        } else {
            let weights = GroupwiseB::load(&bytes);
            weights
                .map(|b| {
                    if is_small(b.k(), b.n()) {
                        assert_same_groupwise(&b, &b.clone())
                    }
                })
                .is_ok()
        };
        if is_read { read += 1 } else { refused += 1 }
    }
    assert!(refused > 0 && read > 0, "{refused} refused, {read} read");
}

#[test]
fn scales_that_are_no_numbers_are_refused() {
    let scales = [1.0f32; 3];
    let packed = GroupwiseB::builder(CodeBits::Eight, 8)
        .pack(MatRef::row_major(&[7u8; 12], 4, 3).unwrap(), MatRef::row_major(&scales, 1, 3).unwrap())
        .unwrap();
    let mut bytes = saved_groupwise(&packed);
    let start = u64::from_le_bytes(bytes[96..104].try_into().unwrap()) as usize;
    bytes[start + 4..start + 8].copy_from_slice(&f32::NAN.to_le_bytes());
    seal(&mut bytes);
    let error = GroupwiseB::load(&bytes).unwrap_err();
    assert_eq!(error.to_string(), "scales: element (0, 1) was NaN, must be finite");
}

/// The snapshot of weights, at a multiple of 64 bytes in memory.
fn snapshot(b: &PackedB, dispatch: &Dispatch) -> Vec<u8> {
    let most = PackedB::snapshot_bytes(dispatch, (b.k(), b.n()), b.element_type(), b.packed_for()).unwrap();
    let mut bytes = vec![0xaa; most];
    let len = b.write_snapshot(dispatch, &mut bytes).unwrap();
    assert!(bytes[len..].iter().all(|&byte| byte == 0xaa));
    bytes.truncate(len);
    bytes
}

#[test]
fn snapshots_are_the_same_weights_for_every_kernel() {
    let live = Arc::new(AtomicUsize::new(0));
    for (info, dispatch) in each_kernel_or_best() {
        let mut r = Random(11);
        for (k, n) in [(0, 0), (0, 5), (5, 0), (1, 1), (3, 7), (64, 64), (33, 70), (130, 129)] {
            for activations in [ElementType::U8, ElementType::I8] {
                let values = weights(k, n, &mut r);
                let packed =
                    PackedB::pack_with(&dispatch, MatRef::row_major(&values, k, n).unwrap(), activations);
                let packed = packed.unwrap();
                let bytes = snapshot(&packed, &dispatch);
                let mapped = PackedB::map_snapshot(Mapped::new(&bytes, &live), &dispatch).unwrap();
                assert_same(&mapped, &packed);
                // The elements are used in place.
                if k * n > 0 {
                    assert_eq!(live.load(Ordering::Relaxed), 1, "{} {k}x{n}", info.name);
                }
                assert_eq!(snapshot(&mapped, &dispatch), bytes);
                drop(mapped);
                assert_eq!(live.load(Ordering::Relaxed), 0);
                // From any address.
                for shift in [1, 4, 32] {
                    struct Shifted(Vec<u8>, usize);
                    impl AsRef<[u8]> for Shifted {
                        fn as_ref(&self) -> &[u8] {
                            &self.0[self.1..]
                        }
                    }
                    let moved = Shifted([&vec![0; shift][..], &bytes].concat(), shift);
                    assert_same(&PackedB::map_snapshot(moved, &dispatch).unwrap(), &packed);
                }
            }
        }
    }
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let dispatch = Dispatch::auto().unwrap();
    let packed = PackedB::pack(MatRef::row_major(&[3i8; 40 * 50], 40, 50).unwrap()).unwrap();
    let bytes = snapshot(&packed, dispatch);
    let mut short = vec![0xaa; bytes.len() - 1];
    let got = packed.write_snapshot(dispatch, &mut short).unwrap_err();
    assert_eq!(got, Error::Length { argument: "snapshot", got: bytes.len() - 1, need: bytes.len() });
    assert!(short.iter().all(|&byte| byte == 0xaa));
    for len in [0, HEADER - 1, HEADER, bytes.len() - 1] {
        assert!(PackedB::map_snapshot(bytes[..len].to_vec(), dispatch).is_err());
    }
    let kind = Error::Saved { problem: SavedProblem::Kind { got: 1, need: 3 } };
    assert_eq!(PackedB::map_snapshot(saved(&packed), dispatch).unwrap_err(), kind);
    assert!(PackedB::load(&bytes, dispatch, OtherLayout::Repack).is_err());
    assert!(saved_info(&bytes).is_err());
    let other = Dispatch::named("scalar").unwrap();
    if packed.kernel().isa != other.kernels().next().unwrap().isa {
        assert!(PackedB::map_snapshot(bytes.clone(), &other).is_err());
    }
    // Any other header is refused, or read as one of a matrix that fits it: without a panic.
    let mut refused = 0;
    for at in 0..HEADER {
        for change in [1, 0x40, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            refused += usize::from(PackedB::map_snapshot(changed, dispatch).is_err());
        }
    }
    assert!(refused > HEADER);
    let most = PackedB::snapshot_bytes(dispatch, (usize::MAX / 2, 3), ElementType::I8, ElementType::U8);
    assert!(matches!(most, Err(Error::Memory { .. })));
}
