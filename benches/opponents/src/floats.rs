//! gemm: f32 x f32.

use anyhow::Result;
use gemm::Parallelism;
use qgemm_cli::{PeerProduct, PeerTimes, times};

pub fn measure(product: &PeerProduct<'_>) -> Result<PeerTimes> {
    let PeerProduct { m, k, n, threads, .. } = *product;
    let floats = |values: &[i8]| values.iter().map(|&x| x.into()).collect::<Vec<f32>>();
    let (a, b, mut c) = (floats(product.a_i8), floats(product.b), vec![0f32; m * n]);
    let parallelism = if threads == 1 { Parallelism::None } else { Parallelism::Rayon(threads) };
    let times = times(product.quick, || {
        let (col_stride, c_row_stride) = (1, n as isize);
        // SAFETY: A (m×k), B (k×n) and C (m×n) are row-major and have these sizes. C is not read.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                col_stride,
                c_row_stride,
                false,
                a.as_ptr(),
                col_stride,
                k as isize,
                b.as_ptr(),
                col_stride,
                n as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
        anyhow::Ok(())
    })?;
    Ok(PeerTimes { kernel: "f32".into(), times, c: c.into_iter().map(f64::from).collect() })
}
