//! Kernels that are exact only for panels of small weights: they run where packing proved it, nowhere
//! else, and give what all others give.

use crate::support::{Random, cases};
use qgemm::{Dispatch, ElementType, Gemm, MatMut, MatRef, PackedB, Requantize, reference};

/// The AVX2 kernels, where they run; other targets have no kernel that needs a proof.
fn avx2() -> Option<Dispatch> {
    Dispatch::available().iter().any(|kernel| kernel.i16_groups > 0).then(|| Dispatch::named("avx2").unwrap())
}

/// A B whose panels (16 columns) allow the given numbers of steps, and no more: each 16-bit lane of one
/// column sums to 128 over that many k-groups.
fn b_with_steps(k: usize, panels: &[usize], random: &mut Random) -> Vec<i8> {
    let n = 16 * panels.len();
    let mut b = vec![0i8; k * n];
    for l in 0..k {
        for j in 0..n {
            let steps = panels[j / 16];
            b[l * n + j] = match steps {
                0 => random.next() as i8,
                // 64, 32, 16 or 8 in one column, anything smaller in the others, of either sign.
                _ if j % 16 == 3 => (64 / steps) as i8,
                _ => (random.below(128 / steps + 1) as i32 - (64 / steps) as i32) as i8,
            };
        }
    }
    b
}

fn check(k: usize, m: usize, b: &[i8], a_signed: bool, packed: &PackedB, random: &mut Random) {
    let n = packed.n();
    let bits: Vec<u8> = (0..m * k).map(|i| if i < k { 255 } else { random.next() as u8 }).collect();
    let signed: Vec<i8> = bits.iter().map(|&bits| if bits == 255 { 127 } else { bits as i8 }).collect();
    let plain = MatRef::row_major(b, k, n).unwrap();
    let product = match a_signed {
        true => Gemm::new(MatRef::row_major(&signed, m, k).unwrap(), packed),
        false => Gemm::new(MatRef::row_major(&bits, m, k).unwrap(), packed),
    };
    let oracle = match a_signed {
        true => Gemm::new(MatRef::row_major(&signed, m, k).unwrap(), plain),
        false => Gemm::new(MatRef::row_major(&bits, m, k).unwrap(), plain),
    };
    let zeros: Vec<i32> = (0..m).map(|i| 100 - 37 * i as i32).collect();
    let columns: Vec<i32> = (0..n).map(|j| 11 * j as i32 - 300).collect();
    for (product, oracle) in [
        (product, oracle),
        (product.a_zero(-5).b_zero(9), oracle.a_zero(-5).b_zero(9)),
        (product.a_zero(&zeros).b_zero(&columns), oracle.a_zero(&zeros).b_zero(&columns)),
    ] {
        let (mut got, mut want) = (vec![0i32; m * n], vec![1i32; m * n]);
        product.run_i32(MatMut::row_major(&mut got, m, n).unwrap()).unwrap();
        reference::run_i32(&oracle, MatMut::row_major(&mut want, m, n).unwrap()).unwrap();
        assert!(got == want, "{m}x{k}x{n} to i32, {packed:?}");
        let output = Requantize::new(1e-3, 4).unwrap();
        let (mut got, mut want) = (vec![0i8; m * n], vec![1i8; m * n]);
        product.run_requantized(MatMut::row_major(&mut got, m, n).unwrap(), output).unwrap();
        reference::run_requantized(&oracle, MatMut::row_major(&mut want, m, n).unwrap(), output).unwrap();
        assert!(got == want, "{m}x{k}x{n} to i8, {packed:?}");
    }
}

#[test]
fn each_panel_runs_the_kernel_that_was_proven_for_it() {
    let Some(dispatch) = avx2() else { return assert!(!cfg!(target_arch = "x86_64") || !has_avx2()) };
    let mut random = Random(5);
    let panels = [0, 8, 1, 4, 2, 0];
    for k in [64, 67, 256] {
        let b = b_with_steps(k, &panels, &mut random);
        for (activations, a_signed) in
            [(ElementType::U8, false), (ElementType::I8, true), (ElementType::U8, true)]
        {
            let view = MatRef::row_major(&b, k, 96).unwrap();
            let packed = PackedB::pack_with(&dispatch, view, activations).unwrap();
            let steps: Vec<usize> = packed.panel_kernels().map(|kernel| kernel.i16_groups).collect();
            assert_eq!(steps, panels);
            for m in [1, 6, 13] {
                check(k, m, &b, a_signed, &packed, &mut random);
            }
        }
    }
}

#[test]
fn a_weight_past_the_bound_costs_its_panel_the_proof() {
    let Some(dispatch) = avx2() else { return assert!(!cfg!(target_arch = "x86_64") || !has_avx2()) };
    let mut random = Random(6);
    for steps in [1, 2, 4, 8] {
        let k = 64;
        let mut b = b_with_steps(k, &[steps], &mut random);
        let at = (8 * steps).min(k - 1) / 4 * 4;
        let at = at.min(k - 4) * 16 + 3;
        b[at] += 1;
        let packed =
            PackedB::pack_with(&dispatch, MatRef::row_major(&b, k, 16).unwrap(), ElementType::U8).unwrap();
        assert_eq!(
            packed.panel_kernels().next().unwrap().i16_groups,
            steps / 2,
            "{steps} steps and one more"
        );
        check(k, 7, &b, false, &packed, &mut random);
    }
}

#[test]
fn weights_of_any_size_give_what_the_oracle_gives() {
    let Some(dispatch) = avx2() else { return assert!(!cfg!(target_arch = "x86_64") || !has_avx2()) };
    let mut random = Random(7);
    for case in 0..cases(60) {
        let (m, k, n) = (1 + random.below(14), random.below(200), 1 + random.below(70));
        let span = [1, 2, 8, 9, 16, 17, 32, 33, 64, 65, 100][case % 11];
        let b: Vec<i8> =
            (0..k * n).map(|_| (random.below(2 * span + 1) as i32 - span as i32) as i8).collect();
        let packed =
            PackedB::pack_with(&dispatch, MatRef::row_major(&b, k, n).unwrap(), ElementType::U8).unwrap();
        check(k, m, &b, case % 2 == 0, &packed, &mut random);
    }
    // K in several blocks, with both kinds of panels.
    let k = 40_000;
    let b = b_with_steps(k, &[8, 0], &mut random);
    let packed =
        PackedB::pack_with(&dispatch, MatRef::row_major(&b, k, 32).unwrap(), ElementType::I8).unwrap();
    check(k, 2, &b, true, &packed, &mut random);
}

/// Whether this CPU has AVX2: then the tests above must not have found nothing to do.
fn has_avx2() -> bool {
    qgemm_kernels::Features::detect().has(qgemm::Isa::Avx2)
}
