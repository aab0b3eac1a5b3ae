//! rten-gemm: u8 x i8. On x86-64 without VNNI its sums saturate; its documentation says so.

use crate::fastest::fastest;
use anyhow::{Result, anyhow};
use qgemm_cli::{PeerProduct, PeerTimes};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

pub fn measure(product: &PeerProduct<'_>) -> Result<PeerTimes> {
    let PeerProduct { m, k, n, .. } = *product;
    let executor = GemmExecutor::<u8, i8, i32>::new();
    let a = NdTensorView::from_data([m, k], product.a_u8);
    let b = NdTensorView::from_data([k, n], product.b);
    let packed = executor.prepack_b(b);
    let mut c = vec![0i32; m * n];
    let mut ways = [GemmInputB::Packed(&packed), GemmInputB::Unpacked(b)];
    let (_, times) = fastest(&mut ways, product.quick, |b| {
        executor
            .gemm(&mut c, GemmInputA::Unpacked(a), *b, GemmOptions::default())
            .map_err(|e| anyhow!("{e:?}"))
    })?;
    let kernel = executor.kernel_name().to_string();
    Ok(PeerTimes { kernel, times, c: c.into_iter().map(f64::from).collect() })
}
