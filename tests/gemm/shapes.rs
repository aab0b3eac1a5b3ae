//! Sizes about every edge of every kernel, and beyond the blocks of the loop nest.

use crate::spec;
use crate::support::{Byte, Fill, Layout, Matrix, Random, cases, each_kernel, each_kernel_or_best, scale};
use qgemm::{Dequantize, Dispatch, ElementType, Gemm, Isa, Operand, PackedB, Requantize, Table, reference};

const FILLS: [Fill; 4] = [Fill::Random, Fill::Min, Fill::Max, Fill::Alternating];

/// The sizes around `edge` and twice it, and the least.
fn around(edge: usize) -> Vec<usize> {
    let mut sizes = vec![0, 1, edge - 1, edge, edge + 1, 2 * edge, 2 * edge + 1];
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

#[test]
fn sizes_at_and_about_each_edge_of_each_kernel_are_exact() {
    for (kernel, dispatch) in each_kernel() {
        let mut shapes = Vec::new();
        for m in around(kernel.mr) {
            for n in around(kernel.nr).into_iter().chain([7, 8, 9]) {
                shapes.extend(around(kernel.kr).into_iter().map(|k| (m, n, k)));
            }
        }
        // A step without common divisors: fewer cases still see all sizes.
        let run = cases(shapes.len()).min(shapes.len());
        for (case, (m, n, k)) in (0..run).map(|i| (i, shapes[i * 1009 % shapes.len()])) {
            let what = format!("{} {m}x{n}x{k}", kernel.name);
            let fills = (FILLS[case % 4], FILLS[case / 4 % 4]);
            edge::<i8, i8>(&dispatch, (m, n, k), fills, &what);
            edge::<i8, u8>(&dispatch, (m, n, k), fills, &what);
            edge::<u8, i8>(&dispatch, (m, n, k), fills, &what);
            edge::<u8, u8>(&dispatch, (m, n, k), fills, &what);
        }
    }
}

/// Every row's and column's zero point distinct, all kinds of output that a kernel sees.
fn edge<A: Byte, B: Byte>(
    dispatch: &Dispatch,
    (m, n, k): (usize, usize, usize),
    fills: (Fill, Fill),
    what: &str,
) where
    for<'a> Operand<'a>: From<qgemm::MatRef<'a, A>> + From<qgemm::MatRef<'a, B>>,
{
    let seed = (m * 1_000_003 + n * 1009 + k) as u64;
    let a = Matrix::<A>::filled(m, k, Layout::ROWS, fills.0, seed);
    let b = Matrix::<B>::filled(k, n, Layout::ROWS, fills.1, seed + 1);
    let a_zero: Vec<i32> = (0..m as i32).map(|i| i * 31 - 150).collect();
    let b_zero: Vec<i32> = (0..n as i32).map(|j| 200 - j * 7).collect();
    let bias: Vec<i32> = (0..n as i32).map(|j| j * j * 1000 - 500_000).collect();
    let sums = spec::sums(&a, &b, |i| a_zero[i], |j| b_zero[j], |j| bias[j]);
    let packed = PackedB::pack_with(dispatch, b.view(), A::TYPE).unwrap();
    let gemm = Gemm::new(a.view(), &packed).a_zero(&a_zero).b_zero(&b_zero).bias(&bias);

    let before = Matrix::<i32>::random(m, n, Layout::INNER, seed);
    let (mut want, mut got) = (before.clone(), before);
    each(m, n, |i, j| want.set(i, j, sums[i][j] as i32));
    got.with_mut(|c| gemm.run_i32(c)).unwrap();
    got.assert_same(&want, what);
    each(m, n, |i, j| want.set(i, j, (2 * sums[i][j]) as i32));
    got.with_mut(|c| gemm.accumulate_i32(c)).unwrap();
    got.assert_same(&want, what);

    let output = Requantize::new(0.000_3, 3).unwrap();
    let before = Matrix::<i8>::random(m, n, Layout::INNER, seed);
    let (mut want, mut got) = (before.clone(), before);
    each(m, n, |i, j| want.set(i, j, spec::requantize(sums[i][j], 0.000_3, 3, (-128, 127)) as i8));
    got.with_mut(|c| gemm.run_requantized(c, output)).unwrap();
    got.assert_same(&want, what);
}

fn each(m: usize, n: usize, mut f: impl FnMut(usize, usize)) {
    (0..m).for_each(|i| (0..n).for_each(|j| f(i, j)));
}

/// A product that is large in one dimension or two: A = 1·s·u^T has rank 1, so its exact sums take no
/// M·N·K steps to work out. Zero points, bias and all outputs.
fn large(dispatch: &Dispatch, (m, n, k): (usize, usize, usize), c: Layout, what: &str) {
    let proven = dispatch.kernels().any(|kernel| kernel.i16_groups > 0);
    let fill = if proven { Fill::Mixed } else { Fill::Random };
    let mut random = Random((m + n + k) as u64);
    // Weights that leave each panel another kernel, where there are some that need a proof.
    let b = Matrix::<i8>::filled(k, n, Layout::ROWS, fill, random.next());
    let (rows, cols): (Vec<i32>, Vec<i32>) = (
        (0..m).map(|_| random.below(4) as i32 - 1).collect(),
        (0..k).map(|_| random.below(85) as i32 - 42).collect(),
    );
    let mut a = Matrix::<i8>::filled(m, k, Layout::ROWS, Fill::Min, 0);
    each(m, k, |i, l| a.set(i, l, (rows[i] * cols[l]) as i8));
    let a_zero: Vec<i32> = (0..m as i32).map(|i| i % 300 - 150).collect();
    let b_zero: Vec<i32> = (0..n as i32).map(|j| j % 200 - 99).collect();
    let bias: Vec<i32> = (0..n as i32).map(|j| j * 77_777 - 1_000_000).collect();

    // Σ (r·u - za)(B - zb) = r·Σ u·(B - zb) - za·Σ (B - zb)
    let (mut weighted, mut plain) = (vec![0i64; n], vec![0i64; n]);
    for (l, &u) in cols.iter().enumerate() {
        for j in 0..n {
            let value = i64::from(b.at(l, j)) - i64::from(b_zero[j]);
            weighted[j] += i64::from(u) * value;
            plain[j] += value;
        }
    }
    let sum = |i: usize, j: usize| {
        let product = i64::from(rows[i]) * weighted[j] - i64::from(a_zero[i]) * plain[j];
        i128::from(product + i64::from(bias[j]))
    };

    let packed = PackedB::pack_with(dispatch, b.view(), ElementType::I8).unwrap();
    let gemm = Gemm::new(a.view(), &packed).a_zero(&a_zero).b_zero(&b_zero).bias(&bias);
    let before = Matrix::<i32>::random(m, n, c, 1);
    let (mut want, mut got) = (before.clone(), before);
    each(m, n, |i, j| want.set(i, j, sum(i, j) as i32));
    got.with_mut(|c| gemm.run_i32(c)).unwrap();
    got.assert_same(&want, what);
    each(m, n, |i, j| want.set(i, j, (2 * sum(i, j)) as i32));
    got.with_mut(|c| gemm.accumulate_i32(c)).unwrap();
    got.assert_same(&want, what);

    let scale = 1e-5;
    let before = Matrix::<u8>::random(m, n, c, 2);
    let (mut want, mut got) = (before.clone(), before);
    each(m, n, |i, j| want.set(i, j, spec::requantize(sum(i, j), scale, 128, (0, 255)) as u8));
    got.with_mut(|c| gemm.run_requantized(c, Requantize::new(scale, 128).unwrap())).unwrap();
    got.assert_same(&want, what);

    // With a bias this large 32 bits hold no sum: the same in 64.
    let huge = vec![i32::MIN; n];
    let lowered = |i: usize, j: usize| sum(i, j) - i128::from(bias[j]) + i128::from(i32::MIN);
    let gemm = gemm.bias(&huge);
    let before = Matrix::<f32>::random(m, n, c, 3);
    let (mut want, mut got) = (before.clone(), before);
    each(m, n, |i, j| want.set(i, j, spec::dequantize(lowered(i, j), scale, None)));
    got.with_mut(|c| gemm.run_f32(c, Dequantize::new(scale).unwrap())).unwrap();
    got.assert_same(&want, what);
}

#[test]
fn k_beyond_its_blocks_is_exact() {
    // A block has at most 2^15 values of k.
    for (kernel, dispatch) in each_kernel_or_best() {
        for (k, c) in [(32_768, Layout::INNER), (32_769, Layout::COLS), (98_305, Layout::INNER)] {
            let (m, n) = if scale() < 50 { (2, 3) } else { (kernel.mr + 1, 9) };
            large(&dispatch, (m, n, k), c, &format!("{} k = {k}", kernel.name));
        }
    }
}

#[test]
fn m_beyond_its_blocks_is_exact() {
    // A block has at most 1024 rows.
    for (kernel, dispatch) in each_kernel() {
        for (m, c) in [(1024, Layout::LOOSE), (1025, Layout::INNER), (2500, Layout::COLS)] {
            large(&dispatch, (m, 9, 5), c, &format!("{} m = {m}", kernel.name));
        }
    }
}

#[test]
fn n_of_many_panels_is_exact() {
    for (kernel, dispatch) in each_kernel() {
        for (n, c) in [(1000, Layout::INNER), (2049, Layout::COLS)] {
            large(&dispatch, (5, n, 7), c, &format!("{} n = {n}", kernel.name));
        }
    }
}

/// Columns are finished 4096 at a time, and few rows multiplied by panels side by side.
#[test]
fn each_of_many_columns_has_its_own_terms_factors_and_residuals() {
    for (kernel, dispatch) in each_kernel() {
        let sizes = [4300, 577, 1024, 4095, 4097, 500, 8200];
        let count = if scale() < 50 { 1 } else { sizes.len() };
        for (case, n) in sizes.into_iter().enumerate().take(count) {
            let (m, k) = ([2, 1, 3, 4, 7, 13, 1][case], [9, 67, 80, 6, 3, 5, 13][case]);
            many_columns(&dispatch, (m, n, k), &format!("{} {m}x{n}x{k}", kernel.name));
        }
    }
}

fn many_columns(dispatch: &Dispatch, (m, n, k): (usize, usize, usize), what: &str) {
    let seed = (n * 31 + m) as u64;
    let a = Matrix::<u8>::random(m, k, Layout::INNER, seed);
    let b = Matrix::<i8>::random(k, n, Layout::ROWS, seed + 1);
    let bias: Vec<i32> = (0..n as i32).map(|j| j * 91 - 30_000).collect();
    let (a_zeros, b_zeros): (Vec<i32>, Vec<i32>) =
        ((0..m as i32).map(|i| 120 + i).collect(), (0..n as i32).map(|j| j % 50).collect());
    let scales: Vec<f32> = (0..n).map(|j| (1 + j % 97) as f32 / 2e5).collect();
    let real_bias: Vec<f32> = (0..n).map(|j| j as f32 - 200.0).collect();
    let table = Table::from_fn(|x: u8| x.wrapping_mul(3));
    let residual = Matrix::<i8>::random(m, n, Layout::INNER, seed + 2);
    let packed = PackedB::pack_with(dispatch, b.view(), ElementType::U8).unwrap();
    let gemm = Gemm::new(a.view(), &packed).bias(&bias);
    let products =
        [gemm.a_zero(0), gemm.a_zero(131), gemm.a_zero(&a_zeros), gemm.a_zero(131).b_zero(&b_zeros)];
    let bytes = [
        Requantize::new(&scales, 3).unwrap(),
        Requantize::new(1.0 / 2e3, -7).unwrap().table(&table),
        Requantize::new(&scales, 3).unwrap().residual(residual.view(), 0.25, 2),
    ];
    let reals = [
        Dequantize::new(&scales).unwrap().bias(&real_bias),
        Dequantize::new(0.37).unwrap().clamp_to(-1e3, 1e4),
    ];
    for (number, gemm) in products.iter().enumerate() {
        let what = format!("{what} product {number}");
        let before = Matrix::<i32>::random(m, n, Layout::INNER, seed);
        let (mut want, mut got) = (before.clone(), before);
        want.with_mut(|c| reference::run_i32(gemm, c)).unwrap();
        got.with_mut(|c| gemm.run_i32(c)).unwrap();
        got.assert_same(&want, &what);
        for output in &bytes {
            let before = Matrix::<u8>::random(m, n, Layout::INNER, seed);
            let (mut want, mut got) = (before.clone(), before);
            want.with_mut(|c| reference::run_requantized(gemm, c, output)).unwrap();
            got.with_mut(|c| gemm.run_requantized(c, output)).unwrap();
            got.assert_same(&want, &what);
        }
        for output in &reals {
            let before = Matrix::<f32>::random(m, n, Layout::INNER, seed);
            let (mut want, mut got) = (before.clone(), before);
            want.with_mut(|c| reference::run_f32(gemm, c, output)).unwrap();
            got.with_mut(|c| gemm.run_f32(c, output)).unwrap();
            got.assert_same(&want, &what);
        }
    }
}

#[test]
fn m_and_n_beyond_their_blocks_while_k_is_split_are_exact() {
    // Sums of a split K take at most 256 KiB, 32,768 of them: fewer than M·N here. The widest panel has
    // the smallest K block, at most 8192 where a second-level cache has 1 MiB.
    let widest = each_kernel().into_iter().max_by_key(|(kernel, _)| kernel.nr).unwrap();
    let (kernel, dispatch) = widest;
    if kernel.nr < 64 && scale() < 100 {
        println!("left out at this scale: {} would multiply for minutes", kernel.name);
        return;
    }
    let shape = if kernel.nr == 64 { (66, 580, 8200) } else { (33, 1000, 33_000) };
    large(&dispatch, shape, Layout::COLS, kernel.name);
    large(&dispatch, shape, Layout::ROWS, kernel.name);
}

#[test]
fn a_dimension_of_zero_is_no_special_case() {
    let (empty, ones): ([i8; 0], _) = ([], [1u8; 12]);
    for (_, dispatch) in each_kernel() {
        // K = 0: the bias alone; what A and B would hold, and their strides, does not matter.
        let none = qgemm::MatRef::row_major(&empty, 0, 3).unwrap();
        let packed = PackedB::pack_with(&dispatch, none, ElementType::U8).unwrap();
        let a = qgemm::MatRef::row_major(&ones, 4, 3).unwrap();
        let strides = [
            a.submatrix(0..4, 0..0).unwrap(),
            a.submatrix(0..4, 3..3).unwrap(),
            qgemm::MatRef::new(&ones, 4, 0, usize::MAX, usize::MAX).unwrap(),
            qgemm::MatRef::new(&ones, 4, 0, usize::MAX, 1).unwrap(),
            qgemm::MatRef::col_major(&ones, 4, 0).unwrap(),
        ];
        for a in strides {
            for gemm in [Gemm::new(a, &packed), Gemm::new(a, none).dispatch(&dispatch)] {
                let gemm = gemm.a_zero(i32::MIN).b_zero(&[5, i32::MAX, -7]);
                let mut c = Matrix::<i32>::random(4, 3, Layout::INNER, 1);
                let mut want = c.clone();
                each(4, 3, |i, j| want.set(i, j, 0));
                c.with_mut(|c| gemm.run_i32(c)).unwrap();
                c.assert_same(&want, "k = 0");
                c.with_mut(|c| gemm.bias(&[1, 2, i32::MIN]).accumulate_i32(c)).unwrap();
                each(4, 3, |i, j| want.set(i, j, [1, 2, i32::MIN][j]));
                c.assert_same(&want, "k = 0 and a bias");
            }
        }
        // M = 0 or N = 0: nothing to do, and nothing done.
        for (m, n) in [(0, 3), (4, 0), (0, 0)] {
            let a = Matrix::<u8>::filled(m, 5, Layout::INNER, Fill::Random, 1);
            let b = Matrix::<i8>::filled(5, n, Layout::INNER, Fill::Random, 2);
            let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
            for gemm in [Gemm::new(a.view(), &packed), Gemm::new(a.view(), b.view()).dispatch(&dispatch)] {
                let before = Matrix::<u8>::random(m, n, Layout::INNER, 3);
                let mut c = before.clone();
                c.with_mut(|c| gemm.run_requantized(c, Requantize::new(1.0, 0).unwrap())).unwrap();
                c.assert_same(&before, "m or n = 0");
            }
        }
    }
}

#[test]
fn a_packed_matrix_gives_its_elements_back() {
    for (kernel, dispatch) in each_kernel() {
        // Small ones for the kernels that need a proof, and then some that have none.
        for (element, fill) in [(ElementType::I8, Fill::Within(3)), (ElementType::U8, Fill::Random)] {
            let (k, n) = (2 * kernel.kr + 1, 2 * kernel.nr + 3);
            let b = Matrix::<i8>::filled(k, n, Layout::INNER, fill, 5);
            let packed = PackedB::pack_with(&dispatch, b.view(), element).unwrap();
            assert_eq!((packed.k(), packed.n()), (k, n));
            assert_eq!((packed.element_type(), packed.packed_for()), (ElementType::I8, element));
            if kernel.i16_groups == 0 || fill == Fill::Within(3) {
                assert!(packed.panel_kernels().all(|used| used.name == kernel.name), "{}", kernel.name);
            }
            each(k, n, |l, j| assert_eq!(packed.get(l, j), Some(i32::from(b.at(l, j))), "({l}, {j})"));
            assert_eq!((packed.get(k, 0), packed.get(0, n)), (None, None));
            let b = Matrix::<u8>::filled(k, n, Layout::COLS, fill, 6);
            let packed = PackedB::pack_with(&dispatch, b.view(), element).unwrap();
            each(k, n, |l, j| assert_eq!(packed.clone().get(l, j), Some(i32::from(b.at(l, j)))));
        }
    }
}

/// The last panel is as narrow as its columns allow, and of less than 8 columns there is no padding where vectors of k are
/// multiplied.
#[test]
fn a_packed_matrix_takes_little_more_than_its_elements() {
    let k = 1024;
    for isa in Isa::ALL {
        let Ok(dispatch) = Dispatch::named(isa.name()) else { continue };
        let (step, along_k, size) = match isa {
            Isa::Avx512Bw | Isa::Avx512Vnni | Isa::AmxInt8 => (16, true, 1),
            Isa::Avx2 | Isa::AvxVnni | Isa::AvxVnniInt8 => (8, true, 1),
            Isa::Portable | Isa::Neon => (8, false, 2),
            _ => (8, false, 1),
        };
        for n in (1..=if scale() < 100 { 20 } else { 200 }).chain([513]) {
            let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Random, n as u64);
            let bytes = PackedB::pack_with(&dispatch, b.view(), ElementType::I8).unwrap().bytes();
            let columns = if along_k && n < 8 { n } else { n.next_multiple_of(step) };
            let most = size * columns * k + 24 * n.next_multiple_of(16) + 40 * n.div_ceil(8);
            assert!(
                (size * n * k..=most).contains(&bytes),
                "{isa:?}, n = {n}: {bytes} bytes, at most {most}"
            );
        }
    }
}
