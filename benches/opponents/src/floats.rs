//! f32 libraries on the same values, for comparison: a network that does not use int8 uses f32. Sums beyond 2^24
//! are rounded.

use crate::shape::Shape;
use crate::timing::{Times, times};
use crate::work::{Measured, Work};
use anyhow::Result;

/// Operands and result in f32, row-major.
struct Floats {
    a: Vec<f32>,
    b: Vec<f32>,
    c: Vec<f32>,
}

impl Floats {
    fn new(work: &Work) -> Self {
        let floats = |values: &[i8]| values.iter().map(|&x| x.into()).collect();
        let Shape { m, n, .. } = work.shape;
        Self { a: floats(&work.a_signed), b: floats(&work.b), c: vec![0.0; m * n] }
    }

    fn measured(&self, work: &Work, times: Times) -> Measured {
        let error = work.error(&work.a_signed, |i, j| self.c[i * work.shape.n + j].into());
        Measured { isa: "f32".into(), times, error }
    }
}

pub fn gemm(work: &Work, threads: usize, quick: bool) -> Result<Measured> {
    let Shape { m, k, n } = work.shape;
    let mut floats = Floats::new(work);
    let Floats { a, b, c } = &mut floats;
    let parallelism = if threads == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(threads) };
    let times = times(quick, || {
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
    Ok(floats.measured(work, times))
}

/// Sets the number of threads of matrixmultiply, which reads it from the environment once.
pub fn set_matrixmultiply_threads(threads: usize) {
    // SAFETY: called before any other thread was started.
    unsafe { std::env::set_var("MATMUL_NUM_THREADS", threads.to_string()) };
}

pub fn matrixmultiply(work: &Work, _threads: usize, quick: bool) -> Result<Measured> {
    let Shape { m, k, n } = work.shape;
    let mut floats = Floats::new(work);
    let Floats { a, b, c } = &mut floats;
    let times = times(quick, || {
        let (k_stride, n_stride) = (k as isize, n as isize);
        // SAFETY: A (m×k), B (k×n) and C (m×n) are row-major and have these sizes.
        unsafe {
            matrixmultiply::sgemm(
                m,
                k,
                n,
                1.0,
                a.as_ptr(),
                k_stride,
                1,
                b.as_ptr(),
                n_stride,
                1,
                0.0,
                c.as_mut_ptr(),
                n_stride,
                1,
            );
        }
        anyhow::Ok(())
    })?;
    Ok(floats.measured(work, times))
}
