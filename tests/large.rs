//! Operands of 3 GiB and more, K of 2^20, offsets beyond 2^32. Each test takes up to 10 GiB, so they run one after the
//! other and only when asked for: `cargo test --release -p qgemm --test large -- --ignored --test-threads=1`.
#![cfg(target_pointer_width = "64")]

use qgemm::{
    CodeBits, Dequantize, DynamicGemm, ElementType, Gather, GatherF32, Gemm, GroupwiseB, GroupwiseGemm,
    MatMut, MatRef, PackedB,
};

/// A fixed value for each index, over all of a byte's range.
fn byte(at: usize) -> i8 {
    let mixed = (at as u64 ^ (at as u64 >> 23)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8 as i8
}

fn bytes(len: usize) -> Vec<i8> {
    (0..len).map(byte).collect()
}

/// `a` times `b`, both by rows, modulo 2^32, in an order in which B is read once.
fn product(a: &[u8], b: &[i8], (m, n, k): (usize, usize, usize)) -> Vec<i32> {
    let mut sums = vec![0i32; m * n];
    for (kk, b_row) in b.chunks_exact(n).enumerate() {
        for (i, sums) in sums.chunks_exact_mut(n).enumerate() {
            let factor = i32::from(a[i * k + kk]);
            sums.iter_mut().zip(b_row).for_each(|(sum, &b)| *sum = sum.wrapping_add(factor * i32::from(b)));
        }
    }
    sums
}

const K: usize = 1 << 20;
const N: usize = 3 << 10;

#[test]
#[ignore = "takes 6 GiB"]
fn weights_of_3_gib_with_k_of_2_pow_20() {
    let b = bytes(K * N);
    let m = 3;
    // The sums of the first row pass 2^31 in both directions, and wrap.
    let a: Vec<u8> = (0..m * K).map(|at| if at < K { 255 } else { byte(at ^ 0x5555) as u8 }).collect();
    let expected = product(&a, &b, (m, N, K));
    let a = MatRef::row_major(&a, m, K).unwrap();
    let rows = MatRef::row_major(&b, K, N).unwrap();
    let mut c = vec![0; m * N];

    Gemm::new(a, rows).run_i32(MatMut::row_major(&mut c, m, N).unwrap()).unwrap();
    assert!(c == expected, "not packed");

    let packed = PackedB::pack_for(rows, ElementType::U8).unwrap();
    c.fill(0);
    Gemm::new(a, &packed).run_i32(MatMut::row_major(&mut c, m, N).unwrap()).unwrap();
    assert!(c == expected, "packed");
    c.fill(0);
    Gemm::new(a, &packed).threads(1).run_i32(MatMut::row_major(&mut c, m, N).unwrap()).unwrap();
    assert!(c == expected, "packed, one thread");
}

#[test]
#[ignore = "takes 6 GiB"]
fn columns_of_2_pow_20() {
    // The same buffer, by columns: N is 2^20.
    let b = bytes(K * N);
    let a: Vec<u8> = (0..N).map(|at| byte(at + 9) as u8).collect();
    let dot = |column: &[i8]| a.iter().zip(column).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum::<i32>();
    let expected: Vec<i32> = b.chunks_exact(N).map(dot).collect();
    let a = MatRef::row_major(&a, 1, N).unwrap();
    let columns = MatRef::col_major(&b, N, K).unwrap();
    let mut c = vec![0; K];

    Gemm::new(a, columns).run_i32(MatMut::row_major(&mut c, 1, K).unwrap()).unwrap();
    assert!(c == expected, "not packed");

    let packed = PackedB::pack_for(columns, ElementType::U8).unwrap();
    c.fill(0);
    Gemm::new(a, &packed).run_i32(MatMut::row_major(&mut c, 1, K).unwrap()).unwrap();
    assert!(c == expected, "packed");
}

#[test]
#[ignore = "takes 3 GiB"]
fn activations_of_3_gib() {
    let (m, k, n) = (3 << 20, 1 << 10, 5);
    let a = bytes(m * k);
    let b: Vec<i8> = (0..n * k).map(|at| byte(at + 77)).collect();
    let mut c = vec![0; m * n];
    let b_columns = MatRef::col_major(&b, k, n).unwrap();
    Gemm::new(MatRef::row_major(&a, m, k).unwrap(), b_columns)
        .run_i32(MatMut::row_major(&mut c, m, n).unwrap())
        .unwrap();
    for (i, row) in a.chunks_exact(k).enumerate() {
        for (j, column) in b.chunks_exact(k).enumerate() {
            let sum: i32 = row.iter().zip(column).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            assert_eq!(c[i * n + j], sum, "({i}, {j})");
        }
    }
}

#[test]
#[ignore = "takes 4 GiB"]
fn an_output_of_3_gib() {
    let (m, n, k) = (1 << 15, 3 << 13, 3);
    let (a, b) = (bytes(m * k), bytes(k * n));
    let mut c = vec![0i32; m * n];
    Gemm::new(MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap())
        .run_i32(MatMut::row_major(&mut c, m, n).unwrap())
        .unwrap();
    for (i, row) in c.chunks_exact(n).enumerate() {
        let a: Vec<i32> = a[i * k..][..k].iter().map(|&a| i32::from(a)).collect();
        let right = (0..n).all(|j| row[j] == (0..k).map(|kk| a[kk] * i32::from(b[kk * n + j])).sum::<i32>());
        assert!(right, "row {i}");
    }
}

/// Rows at these numbers are filled, the others are the zeros that the system gives without memory for them.
const PICKS: [u32; 7] = [0, 4 << 20, (4 << 20) + 17, 1, (5 << 20) - 1, (4 << 20) - 1, 4 << 20];

#[test]
#[ignore = "takes 5 GiB of addresses"]
fn picked_rows_and_outputs_beyond_4_gib() {
    let (rows, k, n) = (5 << 20, 1 << 10, 40);
    let mut source = vec![0i8; rows * k];
    for &row in &PICKS {
        let at = row as usize * k;
        (0..k).for_each(|kk| source[at + kk] = byte(at + kk));
    }
    let picked: Vec<u8> =
        PICKS.iter().flat_map(|&row| source[row as usize * k..][..k].iter().map(|&a| a as u8)).collect();
    let b: Vec<i8> = bytes(k * n);
    let unsigned: &[u8] = bytemuck::cast_slice(&source);
    let matrix = MatRef::row_major(unsigned, rows, k).unwrap();
    let b_rows = MatRef::row_major(&b, k, n).unwrap();

    // Rows of C that are 1 GiB apart.
    let apart = 1 << 28;
    let mut c = vec![0i32; (PICKS.len() - 1) * apart + n];
    Gemm::new(Gather::rows(matrix, &PICKS).unwrap(), b_rows)
        .run_i32(MatMut::new(&mut c, PICKS.len(), n, apart, 1).unwrap())
        .unwrap();
    let expected = product(&picked, &b, (PICKS.len(), n, k));
    for (i, expected) in expected.chunks_exact(n).enumerate() {
        assert_eq!(&c[i * apart..][..n], expected, "row {i}");
        if i + 1 < PICKS.len() {
            assert!(c[i * apart + n..][..1 << 12].iter().all(|&c| c == 0), "after row {i}");
        }
    }
    drop(c);

    // A view whose rows are more than 4 GiB apart.
    let two = MatRef::new(unsigned, 2, k, ((5 << 20) - 1) * k, 1).unwrap();
    let mut c = vec![0i32; 2 * n];
    Gemm::new(two, b_rows).run_i32(MatMut::row_major(&mut c, 2, n).unwrap()).unwrap();
    assert_eq!(c, [&expected[..n], &expected[4 * n..5 * n]].concat());

    // Two rows side by side.
    let both: Vec<i8> = bytes(2 * k * n);
    let taps = Gather::new(matrix, &PICKS[..6], 2).unwrap();
    let mut c = vec![0i32; 3 * n];
    Gemm::new(taps, MatRef::row_major(&both, 2 * k, n).unwrap())
        .run_i32(MatMut::row_major(&mut c, 3, n).unwrap())
        .unwrap();
    assert_eq!(c, product(&picked[..6 * k], &both, (3, n, 2 * k)));
}

#[test]
#[ignore = "takes 5 GiB of addresses"]
fn picked_rows_of_floats_beyond_4_gib() {
    let (rows, k, n) = (5 << 20, 1 << 8, 40);
    let mut source = vec![0f32; rows * k];
    for &row in &PICKS {
        let at = row as usize * k;
        // One value of each row is 127, so a row is quantized to itself.
        (0..k).for_each(|kk| {
            source[at + kk] = if kk == 5 { 127.0 } else { f32::from(byte(at + kk).max(-127)) }
        });
    }
    let b = bytes(k * n);
    let picked = GatherF32::rows(MatRef::row_major(&source, rows, k).unwrap(), &PICKS).unwrap();
    let mut c = vec![0f32; PICKS.len() * n];
    DynamicGemm::new(picked, MatRef::row_major(&b, k, n).unwrap())
        .run_f32(MatMut::row_major(&mut c, PICKS.len(), n).unwrap(), Dequantize::dynamic(1.0).unwrap())
        .unwrap();
    for (i, &row) in PICKS.iter().enumerate() {
        for j in 0..n {
            let term = |kk| source[row as usize * k + kk] * f32::from(b[kk * n + j]);
            assert_eq!(c[i * n + j], (0..k).map(term).sum::<f32>(), "({i}, {j})");
        }
    }
}

#[test]
#[ignore = "takes 7 GiB"]
fn group_wise_weights_of_3_gib() {
    let b = bytes(K * N);
    let group = 128;
    let scales = vec![1f32; K / group * N];
    let codes = MatRef::row_major(&b, K, N).unwrap();
    let packed = GroupwiseB::builder(CodeBits::Eight, group)
        .pack(codes, MatRef::row_major(&scales, K / group, N).unwrap())
        .unwrap();
    // Each row of A picks one row of B.
    let picks = [0, 1, group, K / 2 + 3, K - group - 1, K - 1];
    let mut a = vec![0f32; picks.len() * K];
    picks.iter().enumerate().for_each(|(i, &kk)| a[i * K + kk] = 127.0);
    let mut c = vec![0f32; picks.len() * N];
    GroupwiseGemm::new(MatRef::row_major(&a, picks.len(), K).unwrap(), &packed)
        .run_f32(MatMut::row_major(&mut c, picks.len(), N).unwrap(), Dequantize::groupwise())
        .unwrap();
    for (i, &kk) in picks.iter().enumerate() {
        let expected: Vec<f32> = b[kk * N..][..N].iter().map(|&b| 127.0 * f32::from(b)).collect();
        assert_eq!(c[i * N..][..N], expected, "row {kk} of B");
    }
}
