//! Runs the kernels' self-test, and compares products of the library with its reference, as WebAssembly; `run.mjs`
//! calls it.

use qgemm::{
    CodeBits, Dequantize, Dispatch, ElementType, Gemm, GroupScheme, GroupwiseGemm, MatMut, MatRef, PackedB, Requantize,
    quantize_groups, reference,
};
use qgemm_kernels::{Features, GROUP_TABLE, TABLE, Line, selftest};
use std::fmt::Write;

/// Runs everything. The low 32 bits of the result are the address of the report, the high 32 bits its length.
#[unsafe(no_mangle)]
pub extern "C" fn run() -> u64 {
    let mut report = String::new();
    let mut arena = vec![Line([0; 64]); selftest::ARENA / 64];
    let features = Features::detect();
    let (mut passed, mut failed) = (0, 0);
    for kernel in TABLE {
        let Some(ready) = kernel.ready(&features) else { continue };
        let outcome = selftest::run(ready, bytemuck::cast_slice_mut(&mut arena), &mut report);
        let _ = writeln!(report, "KERNEL {} passed={} failed={}", kernel.name, outcome.passed, outcome.failed);
        passed += outcome.passed;
        failed += outcome.failed;
    }
    for kernel in GROUP_TABLE {
        let Some(ready) = kernel.ready(&features) else { continue };
        let outcome = selftest::run_groupwise(ready, bytemuck::cast_slice_mut(&mut arena), &mut report);
        let _ = writeln!(report, "KERNEL {} passed={} failed={}", kernel.name, outcome.passed, outcome.failed);
        passed += outcome.passed;
        failed += outcome.failed;
    }
    for kernel in Dispatch::available() {
        let right = product(kernel.name).unwrap_or_else(|error| panic!("{error}"));
        let _ = writeln!(report, "PRODUCT {} {}", kernel.name, if right { "is right" } else { "IS WRONG" });
        (passed, failed) = (passed + u32::from(right), failed + u32::from(!right));
    }
    let right = groupwise_product().unwrap_or_else(|error| panic!("{error}"));
    let _ = writeln!(report, "PRODUCT of group-wise weights {}", if right { "is right" } else { "IS WRONG" });
    (passed, failed) = (passed + u32::from(right), failed + u32::from(!right));
    let _ = writeln!(report, "DONE passed={passed} failed={failed}");
    let report = report.leak();
    (report.len() as u64) << 32 | report.as_ptr() as u64
}

/// Whether a product of several panels, with zero points, is the same as the reference's.
fn product(kernel: &str) -> Result<bool, qgemm::Error> {
    let (m, k, n) = (13, 131, 37);
    let mut state = 1u32;
    let mut bytes = |len: usize| {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(next).collect::<Vec<_>>()
    };
    let (a, b) = (bytes(m * k), bytes(k * n));
    let dispatch = Dispatch::named(kernel)?;
    let b = MatRef::row_major(bytemuck::cast_slice::<u8, i8>(&b), k, n)?;
    let packed = PackedB::pack_with(&dispatch, b, ElementType::U8)?;
    let gemm = Gemm::new(MatRef::row_major(&a, m, k)?, &packed).a_zero(77).b_zero(-3);
    let output = Requantize::new(1e-4, 5)?;
    let (mut ours, mut theirs) = (vec![0i8; m * n], vec![0i8; m * n]);
    gemm.run_requantized(MatMut::row_major(&mut ours, m, n)?, &output)?;
    reference::run_requantized(&gemm, MatMut::row_major(&mut theirs, m, n)?, &output)?;
    Ok(ours == theirs && ours.iter().any(|y| *y != ours[0]))
}

/// Whether a product with group-wise weights is the same as the reference's, with all kernels.
fn groupwise_product() -> Result<bool, qgemm::Error> {
    let (m, k, n) = (7, 100, 45);
    let mut state = 7u32;
    let mut reals = |len: usize| {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 65_536.0 - 128.0
        };
        (0..len).map(next).collect::<Vec<_>>()
    };
    let (a, w) = (reals(m * k), reals(k * n));
    let w = MatRef::row_major(&w, k, n)?;
    let packed = quantize_groups(w, CodeBits::Four, 32, GroupScheme::Asymmetric)?.pack()?;
    let (mut right, mut theirs) = (true, vec![0f32; m * n]);
    let a = MatRef::row_major(&a, m, k)?;
    let stage = Dequantize::groupwise();
    reference::run_groupwise_f32(&GroupwiseGemm::new(a, &packed), MatMut::row_major(&mut theirs, m, n)?, stage)?;
    for kernel in Dispatch::available_groupwise() {
        let packed = packed.clone().with_dispatch(&Dispatch::named(kernel)?);
        let mut ours = vec![0f32; m * n];
        GroupwiseGemm::new(a, &packed).run_f32(MatMut::row_major(&mut ours, m, n)?, stage)?;
        right &= ours == theirs && ours.iter().any(|y| *y != ours[0]);
    }
    Ok(right)
}
