//! tract-linalg: i8 x i8. It packs both operands. qgemm takes A unpacked, so the packing of A is timed here.
//! Weights can be the left or the right operand, and there are several kernels: all combinations are tried, and the
//! fastest is measured.

use crate::fastest::fastest;
use anyhow::{Context, Result};
use qgemm_cli::{PeerProduct, PeerTimes};
use tract_data::prelude::{DatumType, Tensor};
use tract_linalg::MmmDispatch;
use tract_linalg::WeightType;
use tract_linalg::mmm::{AsInputValue, FusedSpec, MMMInputValue, MatMatMul, Query};
use tract_linalg::multithread::{Executor, multithread_tract_scope};

/// A combination of a kernel and the side of the weights.
struct Way {
    kernel: Box<dyn MatMatMul>,
    packing: usize,
    /// B is the left operand, and C is computed as its transpose.
    transposed: bool,
    weights: Box<dyn MMMInputValue>,
}

pub fn measure(product: &PeerProduct<'_>) -> Result<PeerTimes> {
    let PeerProduct { m, k, n, threads, .. } = *product;
    let a = Tensor::from_shape(&[m, k], product.a_i8)?;
    let b = Tensor::from_shape(&[k, n], product.b)?;
    let mut c = Tensor::zero::<i32>(&[m, n])?;
    let mut ways = ways((m, k, n), &b)?;
    let executor = if threads == 1 { Executor::SingleThread } else { Executor::multithread(threads) };
    let (best, times) = multithread_tract_scope(executor, || {
        fastest(&mut ways, product.quick, |way| way.run(&a, &mut c, (m, n)))
    })?;
    let c = c.try_as_plain_ram()?.as_slice::<i32>()?.iter().map(|c| (*c).into()).collect();
    Ok(PeerTimes { kernel: ways[best].kernel.name().to_string(), times, c })
}

/// All combinations, with the kernel that tract itself prefers first.
fn ways((m, k, n): (usize, usize, usize), b: &Tensor) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for transposed in [false, true] {
        let (rows, cols) = if transposed { (n, m) } else { (m, n) };
        let dispatch = MmmDispatch::native();
        let (rows, k, cols) = (Some(rows), Some(k), Some(cols));
        let preferred = dispatch.preferred_kernel(DatumType::I32, rows, k, cols);
        let preferred = preferred.context("it has no preference")?.name().to_string();
        let mut kernels = dispatch.suitable(&Query::plain(DatumType::I32, rows, k, cols));
        kernels.sort_by_key(|(kernel, _, _)| kernel.name() != preferred);
        for (kernel, packing, _) in kernels.into_iter().filter(|(_, _, extractor)| extractor.is_none()) {
            let (left, right) = &kernel.packings()[packing];
            // Those without vectors take minutes to try with large products, and are never the fastest on a CPU of today.
            let generic = kernel.name().starts_with("generic") && kernel.name() != preferred;
            if generic || left.precursor() != WeightType::from(DatumType::I8) {
                continue;
            }
            let weights = if transposed { left.prepare_one(b, 0, 1)? } else { right.prepare_one(b, 0, 1)? };
            ways.push(Way { kernel, packing, transposed, weights });
        }
    }
    Ok(ways)
}

impl Way {
    fn run(&mut self, a: &Tensor, c: &mut Tensor, (m, n): (usize, usize)) -> Result<()> {
        let Self { kernel, packing, transposed, weights } = self;
        let (left, right) = &kernel.packings()[*packing];
        let activations = if *transposed { right } else { left }.prepare_one(a, 1, 0)?;
        let (activations, weights) = (AsInputValue::Owned(activations), AsInputValue::Borrowed(&**weights));
        let (rows, cols, axes) = if *transposed { (n, m, (1, 0)) } else { (m, n, (0, 1)) };
        let (a, b) = if *transposed { (weights, activations) } else { (activations, weights) };
        // SAFETY: the operands were packed by the kernel's own packing for these sizes, and C is a
        // tensor of rows x cols i32 along these axes that no one else uses meanwhile.
        unsafe {
            let store = kernel.c_view(Some(axes.0), Some(axes.1)).wrap(&c.view_mut());
            let steps = [FusedSpec::AddMatMul { a, b, packing: *packing }, FusedSpec::Store(store)];
            kernel.run(rows, cols, &steps)
        }
    }
}
