//! rten-gemm: u8 x i8. On x86-64 without VNNI its sums saturate; its documentation says so.

use crate::shape::Shape;
use crate::work::{Measured, Work, fastest};
use anyhow::{Result, anyhow};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

pub fn measure(work: &Work, _threads: usize, quick: bool) -> Result<Measured> {
    let Shape { m, k, n } = work.shape;
    let executor = GemmExecutor::<u8, i8, i32>::new();
    let a = NdTensorView::from_data([m, k], work.a.as_slice());
    let b = NdTensorView::from_data([k, n], work.b.as_slice());
    let packed = executor.prepack_b(b);
    let mut c = vec![0i32; m * n];
    let mut ways = [GemmInputB::Packed(&packed), GemmInputB::Unpacked(b)];
    let (_, times) = fastest(&mut ways, quick, |b| {
        executor
            .gemm(&mut c, GemmInputA::Unpacked(a), *b, GemmOptions::default())
            .map_err(|e| anyhow!("{e:?}"))
    })?;
    let error = work.error(&work.a, |i, j| c[i * n + j].into());
    Ok(Measured { isa: executor.kernel_name().to_string(), times, error })
}
