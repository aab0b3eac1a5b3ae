//! Headers of saved group-wise weights: what they say, and numbers in them that do not fit.

use qgemm::half::{bf16, f16};
use qgemm::*;
use qgemm_kernels::MAX_VECTOR_GROUP;

/// Weights of zeros: K x 3 in one group, with the zero point 9 or one for each column.
fn saved(bits: CodeBits, k: usize, group: usize, each: bool) -> Vec<u8> {
    let codes = vec![0u8; k * 3];
    let scales = [f16::ONE; 3];
    let builder = GroupwiseB::builder(bits, group);
    let builder =
        if each { builder.zeros(MatRef::row_major(&[1u8, 2, 3], 1, 3).unwrap()) } else { builder.zero(9u8) };
    let codes = MatRef::row_major(&codes, k, 3).unwrap();
    let mut bytes = Vec::new();
    builder.pack(codes, MatRef::row_major(&scales, 1, 3).unwrap()).unwrap().save(&mut bytes).unwrap();
    bytes
}

/// Loads the weights with another number in the header, and the checksum that fits.
fn with(bytes: &[u8], at: usize, number: u32) -> Result<GroupwiseB, Error> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
    bytes[24..28].fill(0);
    let crc = crc32fast::hash(&bytes);
    bytes[24..28].copy_from_slice(&crc.to_le_bytes());
    GroupwiseB::load(&bytes)
}

const GROUP: usize = 48;
const EACH: usize = 72;
const ZERO: usize = 76;

fn refused(result: Result<GroupwiseB, Error>, number: &str) {
    let error = result.unwrap_err().to_string();
    assert!(error.starts_with("saved: ") && error.contains(number), "{error}");
}

#[test]
fn a_zero_point_is_one_of_its_codes() {
    let four = saved(CodeBits::Four, 40, 40, false);
    assert_eq!(with(&four, ZERO, 15).unwrap().zero(0, 2), Some(15));
    refused(with(&four, ZERO, 16), "16");
    let eight = saved(CodeBits::Eight, 40, 40, false);
    assert_eq!(with(&eight, ZERO, 255).unwrap().zero(0, 2), Some(255));
    refused(with(&eight, ZERO, 256), "256");
    refused(with(&eight, EACH, 2), "2");
}

#[test]
fn groups_are_of_whole_steps_or_of_all_rows() {
    let bytes = saved(CodeBits::Four, 44, 44, false);
    for group in [44, 45, 48, 1000] {
        assert_eq!(with(&bytes, GROUP, group).unwrap().groups(), 1);
    }
    for group in [0, 1, 43, 42] {
        refused(with(&bytes, GROUP, group), &group.to_string());
    }
}

#[test]
fn long_groups_have_their_zero_points() {
    for (k, loads) in [(40, true), (MAX_VECTOR_GROUP, true), (MAX_VECTOR_GROUP + 8, false)] {
        let bytes = saved(CodeBits::Four, k, k, true);
        let b = GroupwiseB::load(&bytes).unwrap();
        assert_eq!([0, 1, 2].map(|j| b.zero(0, j)), [Some(1), Some(2), Some(3)]);
        let without = with(&bytes, EACH, 0);
        assert_eq!(without.is_ok(), loads, "{k}");
        assert_eq!(without.map_or(None, |b| b.zero(0, 2)), loads.then_some(0));
    }
}

#[test]
fn the_kind_is_told() {
    let (codes, numbers) = ([7u8; 48], [1f32; 3]);
    let (halves, brains) = (numbers.map(f16::from_f32), numbers.map(bf16::from_f32));
    let codes = MatRef::row_major(&codes, 16, 3).unwrap();
    let scales: [GroupScales<'_>; 3] = [
        MatRef::row_major(&numbers, 1, 3).unwrap().into(),
        MatRef::row_major(&halves, 1, 3).unwrap().into(),
        MatRef::row_major(&brains, 1, 3).unwrap().into(),
    ];
    let types = [ScaleBits::F32, ScaleBits::F16, ScaleBits::Bf16];
    for (at, each) in (0..3).flat_map(|at| [(at, false), (at, true)]) {
        for minimums in [None, Some(0), Some(1), Some(2)] {
            let zeros = [1u8, 2, 3];
            let mut builder = GroupwiseB::builder(CodeBits::Eight, 16).zero(2u8);
            if each {
                builder = builder.zeros(MatRef::row_major(&zeros, 1, 3).unwrap());
            }
            if let Some(minimums) = minimums {
                builder = builder.minimums(scales[minimums]);
            }
            let mut bytes = Vec::new();
            builder.pack(codes, scales[at]).unwrap().save(&mut bytes).unwrap();
            let info = saved_info(&bytes).unwrap();
            assert_eq!((info.k, info.n, info.element), (16, 3, ElementType::U8));
            let kind = SavedKind::Groupwise {
                bits: CodeBits::Eight,
                group: 16,
                scales: types[at],
                minimums: minimums.map(|at| types[at]),
                zeros: each,
            };
            assert_eq!(info.kind, kind);
        }
    }
}

/// Panels that have kernels with proofs, where the CPU has such, come back with them; other dispatches do not have them.
#[test]
#[cfg(target_arch = "x86_64")]
fn snapshots_keep_kernels_with_proofs() {
    let Ok(dispatch) = Dispatch::named("avx2") else { return };
    let (k, n) = (64, 70);
    // Ones in the first panels, extremes in the others.
    let b: Vec<i8> = (0..k * n).map(|at| if at % n < 32 { 1 } else { -128 }).collect();
    let b = MatRef::row_major(&b, k, n).unwrap();
    let packed = PackedB::pack_with(&dispatch, b, ElementType::U8).unwrap();
    let kernels = |b: &PackedB| b.panel_kernels().map(|kernel| kernel.name).collect::<Vec<_>>();
    assert!(kernels(&packed)[0].starts_with("avx2-6x16c4s") && kernels(&packed)[4] == "avx2-6x16c2");
    let most = PackedB::snapshot_bytes(&dispatch, (k, n), ElementType::I8, ElementType::U8).unwrap();
    let mut bytes = vec![0; most];
    let len = packed.write_snapshot(&dispatch, &mut bytes).unwrap();
    bytes.truncate(len);
    let mapped = PackedB::map_snapshot(bytes, &dispatch).unwrap();
    assert_eq!(kernels(&mapped), kernels(&packed));
    let product = |b: &PackedB| {
        let mut c = vec![0; n];
        let a = MatRef::row_major(&[255u8; 64], 1, k).unwrap();
        Gemm::new(a, b).run_i32(MatMut::row_major(&mut c, 1, n).unwrap()).unwrap();
        c
    };
    assert_eq!(product(&mapped), product(&packed));
    assert_eq!((product(&mapped)[0], product(&mapped)[69]), (255 * 64, -128 * 255 * 64));
    let other = Dispatch::named("scalar").unwrap();
    let error = packed.write_snapshot(&other, &mut vec![0; most]).unwrap_err().to_string();
    assert!(error.starts_with("saved: "), "{error}");
}
