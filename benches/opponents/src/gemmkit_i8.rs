//! gemmkit: i8 x i8. It takes packed weights only with a column-major C, so C is column-major then.

use crate::fastest::fastest;
use anyhow::Result;
use gemmkit::{MatMut, MatRef, Parallelism, Workspace, gemm_i8_packed_b_with, gemm_i8_with, prepack_rhs_i8};
use qgemm_cli::{PeerProduct, PeerTimes};

pub fn measure(product: &PeerProduct<'_>) -> Result<PeerTimes> {
    let PeerProduct { m, k, n, threads, .. } = *product;
    let a = || MatRef::from_row_major(product.a_i8, m, k);
    let b = || MatRef::from_row_major(product.b, k, n);
    let packed = prepack_rhs_i8(b());
    let mut workspace = Workspace::new();
    let mut c = vec![0i32; m * n];
    let parallelism = if threads == 1 { Parallelism::Serial } else { Parallelism::Rayon(threads) };
    let mut ways = [Some(&packed), None];
    let (way, times) = fastest(&mut ways, product.quick, |way| {
        match way {
            Some(packed) => {
                let c = MatMut::from_col_major(&mut c, m, n);
                gemm_i8_packed_b_with(&mut workspace, 1, a(), packed, 0, c, parallelism);
            }
            None => {
                let c = MatMut::from_row_major(&mut c, m, n);
                gemm_i8_with(&mut workspace, 1, a(), b(), 0, c, parallelism);
            }
        }
        Ok(())
    })?;
    let at = |i, j| if way == 0 { j * m + i } else { i * n + j };
    let c = (0..m * n).map(|x| c[at(x / n, x % n)].into()).collect();
    let kernel = std::env::var("GEMMKIT_REQUIRE_ISA").unwrap_or_else(|_| "auto".into());
    Ok(PeerTimes { kernel, times, c })
}
