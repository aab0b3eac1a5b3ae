//! gemmkit: i8 x i8. It takes packed weights only with a column-major C, so C is column-major then.

use crate::shape::Shape;
use crate::work::{Measured, Work, fastest};
use anyhow::Result;
use gemmkit::{MatMut, MatRef, Parallelism, Workspace, gemm_i8_packed_b_with, gemm_i8_with, prepack_rhs_i8};

pub fn measure(work: &Work, threads: usize, quick: bool) -> Result<Measured> {
    let Shape { m, k, n } = work.shape;
    let a = || MatRef::from_row_major(&work.a_signed, m, k);
    let b = || MatRef::from_row_major(&work.b, k, n);
    let packed = prepack_rhs_i8(b());
    let mut workspace = Workspace::new();
    let mut c = vec![0i32; m * n];
    let parallelism = if threads == 1 { Parallelism::Serial } else { Parallelism::Rayon(threads) };
    let mut ways = [Some(&packed), None];
    let (way, times) = fastest(&mut ways, quick, |way| {
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
    let error = work.error(&work.a_signed, |i, j| c[at(i, j)].into());
    let isa = std::env::var("GEMMKIT_REQUIRE_ISA").unwrap_or_else(|_| "auto".into());
    Ok(Measured { isa, times, error })
}
