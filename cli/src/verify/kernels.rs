//! Cases computed by kernels, in the form that the case asks for.

use crate::verify::buffer::{Buffer, Written};
use crate::verify::case::{Activations, Call, Case, ColumnWeights, Output, Product, Weights};
use crate::verify::described::Described;
use crate::verify::stage::{FloatStage, QuantizedStage};
use qgemm::{
    Dequantize, Dispatch, Error, GroupwiseB, Int8Element, MatMut, OwnedDequantize, OwnedRequantize, PackedB,
    QuantParams, Requantize, Rhs, Task, Threads, run_batch_on,
};
use rayon::ThreadPool;
use rayon::prelude::*;

/// Computes a case by the kernels of `dispatch`; `pools[t - 1]` has t threads.
pub fn by_kernels(case: &Case, dispatch: &Dispatch, pools: &[ThreadPool]) -> Result<Vec<Written>, Error> {
    pools[case.threads - 1].install(|| match &case.call {
        Call::One(product) => Ok(vec![one(product, dispatch)?]),
        Call::Parts(product, parts) => Ok(vec![in_parts(product, *parts, dispatch)?]),
        Call::Batch(products) => batch(products, dispatch),
    })
}

fn one(product: &Product, dispatch: &Dispatch) -> Result<Written, Error> {
    let (ready, mut written) = (Ready::new(product, dispatch)?, Written::before(product));
    ready.run(Threads::ALL.eager(), &mut written)?;
    Ok(written)
}

/// Each part runs on a thread of its own.
fn in_parts(product: &Product, parts: usize, dispatch: &Dispatch) -> Result<Written, Error> {
    let (ready, mut written) = (Ready::new(product, dispatch)?, Written::before(product));
    let mut parts = ready.task(Threads::at_most(1), &mut written)?.into_parts(parts)?;
    parts.par_iter_mut().try_for_each(Task::run)?;
    drop(parts);
    Ok(written)
}

fn batch(products: &[Product], dispatch: &Dispatch) -> Result<Vec<Written>, Error> {
    let ready =
        products.iter().map(|product| Ready::new(product, dispatch)).collect::<Result<Vec<_>, _>>()?;
    let mut written: Vec<_> = products.iter().map(Written::before).collect();
    let tasks = ready.iter().zip(&mut written).map(|(ready, written)| ready.task(Threads::ALL, written));
    run_batch_on(&mut tasks.collect::<Result<Vec<_>, _>>()?, Threads::ALL.eager())?;
    Ok(written)
}

/// A product with all that a layer makes once: B packed, the output stage kept. Each is there if the case asks for it.
struct Ready<'a> {
    product: &'a Product,
    dispatch: &'a Dispatch,
    b: ReadyB<'a>,
    kept: Kept,
}

/// The right operand, packed if the case asks for it.
enum ReadyB<'a> {
    Columns { weights: &'a ColumnWeights, packed: Option<PackedB> },
    Groups(GroupwiseB),
}

/// An output stage that is kept.
enum Kept {
    Nothing,
    Requantize(OwnedRequantize),
    Dequantize(OwnedDequantize),
}

impl<'a> Ready<'a> {
    fn new(product: &'a Product, dispatch: &'a Dispatch) -> Result<Self, Error> {
        let of_a = product.scale_of_a();
        let kept = match &product.output {
            Output::I8(stage) if stage.is_kept => Kept::Requantize(stage.without_matrix(of_a)?.into_owned()?),
            Output::U8(stage) if stage.is_kept => Kept::Requantize(stage.without_matrix(of_a)?.into_owned()?),
            Output::F32(stage) if stage.is_kept => {
                Kept::Dequantize(stage.without_matrix(of_a)?.into_owned()?)
            }
            _ => Kept::Nothing,
        };
        let b = match &product.b {
            Weights::Groups(groups) => ReadyB::Groups(groups.pack(dispatch)?),
            Weights::Columns(weights) => {
                let pack = |activations| PackedB::pack_with(dispatch, weights.b.operand()?, activations);
                ReadyB::Columns { weights, packed: weights.packed_for.map(pack).transpose()? }
            }
        };
        Ok(Self { product, dispatch, b, kept })
    }

    fn described(&self, threads: Threads<'a>) -> Result<Described<'_>, Error> {
        let Self { product, dispatch, .. } = *self;
        let (weights, packed) = match &self.b {
            ReadyB::Columns { weights, packed } => (*weights, packed),
            ReadyB::Groups(b) => {
                let gemm = match &product.a {
                    Activations::Static(given) => {
                        given.describe_groupwise((given.a.lhs()?, given.a_zero.borrow()), b)
                    }
                    Activations::Dynamic(given) => given.describe_groupwise(given.a.lhs()?, b),
                };
                return Ok(Described::Groupwise(gemm.threads(threads)));
            }
        };
        let b: Rhs<'_> = match packed {
            Some(packed) => packed.into(),
            None => weights.b.operand()?.into(),
        };
        let b = (b, weights.zero.borrow());
        Ok(match &product.a {
            Activations::Static(given) => {
                let gemm = given.describe((given.a.lhs()?, given.a_zero.borrow()), b);
                Described::Gemm(gemm.dispatch(dispatch).threads(threads))
            }
            Activations::Dynamic(given) => {
                let gemm = given.describe(given.a.lhs()?, b);
                Described::Dynamic(gemm.dispatch(dispatch).threads(threads))
            }
        })
    }

    fn requantize<'s, T: Int8Element>(
        &'s self,
        stage: &'s QuantizedStage<T>,
    ) -> Result<Requantize<'s>, Error> {
        stage.with_matrix(match &self.kept {
            Kept::Requantize(kept) => kept.view(),
            _ => stage.without_matrix(self.product.scale_of_a())?,
        })
    }

    fn dequantize<'s>(&'s self, stage: &'s FloatStage) -> Result<Dequantize<'s>, Error> {
        stage.with_matrix(match &self.kept {
            Kept::Dequantize(kept) => kept.view(),
            _ => stage.without_matrix(self.product.scale_of_a())?,
        })
    }

    /// Runs the product by a method of its builder.
    fn run(&self, threads: Threads<'a>, written: &mut Written) -> Result<(), Error> {
        let (c, described) = (&self.product.c, self.described(threads)?);
        let params = self.product.hands_back_params().then_some(&mut written.params[..]);
        match (&self.product.output, &described, &mut written.c) {
            (Output::I32 { accumulate: true }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
                gemm.accumulate_i32(c.view_mut(buffer)?)
            }
            (Output::I32 { accumulate: false }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
                gemm.run_i32(c.view_mut(buffer)?)
            }
            (Output::I8(stage), _, Buffer::I8(buffer)) => {
                described.run_requantized(c.view_mut(buffer)?, &self.requantize(stage)?, params)
            }
            (Output::U8(stage), _, Buffer::U8(buffer)) => {
                described.run_requantized(c.view_mut(buffer)?, &self.requantize(stage)?, params)
            }
            (Output::F32(stage), _, Buffer::F32(buffer)) => {
                described.run_f32(c.view_mut(buffer)?, &self.dequantize(stage)?, params)
            }
            _ => unreachable!("the buffer has the type of the output, and sums are of static products"),
        }
    }

    /// The product as a task.
    fn task<'s, 'c>(&'s self, threads: Threads<'a>, written: &'c mut Written) -> Result<Task<'s, 'c>, Error> {
        let (c, described) = (&self.product.c, self.described(threads)?);
        match (&self.product.output, described, &mut written.c) {
            (Output::I32 { accumulate: true }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
                Task::accumulate_i32(gemm, c.view_mut(buffer)?)
            }
            (Output::I32 { accumulate: false }, Described::Gemm(gemm), Buffer::I32(buffer)) => {
                Task::i32(gemm, c.view_mut(buffer)?)
            }
            (Output::I8(stage), described, Buffer::I8(buffer)) => {
                described.requantized_task(c.view_mut(buffer)?, self.requantize(stage)?)
            }
            (Output::U8(stage), described, Buffer::U8(buffer)) => {
                described.requantized_task(c.view_mut(buffer)?, self.requantize(stage)?)
            }
            (Output::F32(stage), described, Buffer::F32(buffer)) => {
                described.f32_task(c.view_mut(buffer)?, self.dequantize(stage)?)
            }
            _ => unreachable!("the buffer has the type of the output, and sums are of static products"),
        }
    }
}

impl<'a> Described<'a> {
    fn run_requantized<T: Int8Element>(
        &self,
        c: MatMut<'_, T>,
        stage: &Requantize<'_>,
        params: Option<&mut [QuantParams]>,
    ) -> Result<(), Error> {
        match (self, params) {
            (Described::Gemm(gemm), _) => gemm.run_requantized(c, stage),
            (Described::Dynamic(gemm), None) => gemm.run_requantized(c, stage),
            (Described::Dynamic(gemm), Some(params)) => gemm.run_requantized_with_params(c, stage, params),
            (Described::Groupwise(_), _) => unreachable!("group-wise weights make f32"),
        }
    }

    fn run_f32(
        &self,
        c: MatMut<'_, f32>,
        stage: &Dequantize<'_>,
        params: Option<&mut [QuantParams]>,
    ) -> Result<(), Error> {
        match (self, params) {
            (Described::Gemm(gemm), _) => gemm.run_f32(c, stage),
            (Described::Dynamic(gemm), None) => gemm.run_f32(c, stage),
            (Described::Dynamic(gemm), Some(params)) => gemm.run_f32_with_params(c, stage, params),
            (Described::Groupwise(gemm), _) => gemm.run_f32(c, stage),
        }
    }

    fn requantized_task<'c, T: Int8Element>(
        self,
        c: MatMut<'c, T>,
        stage: Requantize<'a>,
    ) -> Result<Task<'a, 'c>, Error> {
        match self {
            Described::Gemm(gemm) => Task::requantized(gemm, c, stage),
            Described::Dynamic(gemm) => Task::dynamic_requantized(gemm, c, stage),
            Described::Groupwise(_) => unreachable!("group-wise weights make f32"),
        }
    }

    fn f32_task<'c>(self, c: MatMut<'c, f32>, stage: Dequantize<'a>) -> Result<Task<'a, 'c>, Error> {
        match self {
            Described::Gemm(gemm) => Task::f32(gemm, c, stage),
            Described::Dynamic(gemm) => Task::dynamic_f32(gemm, c, stage),
            Described::Groupwise(gemm) => Task::groupwise_f32(gemm, c, stage),
        }
    }
}
