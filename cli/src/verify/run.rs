//! Cases computed, by the reference loops or by kernels.

use crate::owned_output::OwnedRequantize;
use crate::verify::case::{
    Call, Case, Destination, Dynamic, GatheredRows, Layout, Output, OwnedLhs, Product, Static,
};
use crate::verify::gather::gathered_matrix;
use crate::verify::outcome::Buffer;
use qgemm::{
    Dequantize, Dispatch, DynamicGemm, Error, Gather, Gemm, Int8Element, Lhs, MatMut, MatRef, PackedB,
    Requantize, Rhs, Task, Threads, reference, run_batch_on,
};
use rayon::ThreadPool;

/// Computes a case by the definition: plain loops over operands that are not packed.
pub fn by_definition(case: &Case) -> Result<Vec<Buffer>, Error> {
    match &case.call {
        Call::Single(product) => Ok(vec![product.by_definition()?]),
        Call::Dynamic(product) => Ok(vec![product.by_definition()?]),
        Call::Batch(products) => products.iter().map(Product::<Static>::by_definition).collect(),
    }
}

/// Computes a case by the kernels of `dispatch`; `pools[t - 1]` has t threads.
pub fn by_kernels(case: &Case, dispatch: &Dispatch, pools: &[ThreadPool]) -> Result<Vec<Buffer>, Error> {
    pools[case.threads - 1].install(|| match &case.call {
        Call::Single(product) => Ok(vec![product.by_kernels(dispatch)?]),
        Call::Dynamic(product) => Ok(vec![product.by_kernels(dispatch)?]),
        Call::Batch(products) => batch_by_kernels(products, dispatch),
    })
}

fn batch_by_kernels(products: &[Product<Static>], dispatch: &Dispatch) -> Result<Vec<Buffer>, Error> {
    let packed = products.iter().map(|product| product.pack(dispatch)).collect::<Result<Vec<_>, _>>()?;
    let mut buffers: Vec<_> = products.iter().map(Product::initial_output).collect();
    let parts = products.iter().zip(&packed).zip(&mut buffers);
    let tasks = parts.map(|((product, packed), buffer)| {
        let gemm = product.gemm(product.quantization.a.borrow()?, product.rhs(packed.as_ref())?);
        product.task(gemm.dispatch(dispatch), buffer)
    });
    run_batch_on(&mut tasks.collect::<Result<Vec<_>, _>>()?, Threads::ALL.eager())?;
    Ok(buffers)
}

/// The code that runs a described product.
#[derive(Clone, Copy)]
enum Runner {
    Reference,
    Kernels,
}

impl Runner {
    fn run_i32(self, gemm: &Gemm<'_>, c: MatMut<'_, i32>) -> Result<(), Error> {
        match self {
            Runner::Reference => reference::run_i32(gemm, c),
            Runner::Kernels => gemm.run_i32(c),
        }
    }

    fn accumulate_i32(self, gemm: &Gemm<'_>, c: MatMut<'_, i32>) -> Result<(), Error> {
        match self {
            Runner::Reference => reference::accumulate_i32(gemm, c),
            Runner::Kernels => gemm.accumulate_i32(c),
        }
    }

    fn run_requantized<T: Int8Element>(
        self,
        gemm: &Gemm<'_>,
        c: MatMut<'_, T>,
        output: &Requantize<'_>,
    ) -> Result<(), Error> {
        match self {
            Runner::Reference => reference::run_requantized(gemm, c, output),
            Runner::Kernels => gemm.run_requantized(c, output),
        }
    }

    fn run_f32(self, gemm: &Gemm<'_>, c: MatMut<'_, f32>, output: &Dequantize<'_>) -> Result<(), Error> {
        match self {
            Runner::Reference => reference::run_f32(gemm, c, output),
            Runner::Kernels => gemm.run_f32(c, output),
        }
    }
}

impl<Q> Product<Q> {
    /// B packed ahead, if the case asks for that.
    fn pack(&self, dispatch: &Dispatch) -> Result<Option<PackedB>, Error> {
        let pack = |activations| PackedB::pack_with(dispatch, self.b.operand()?, activations);
        self.packed_for.map(pack).transpose()
    }

    fn rhs<'a>(&'a self, packed: Option<&'a PackedB>) -> Result<Rhs<'a>, Error> {
        Ok(match packed {
            Some(packed) => packed.into(),
            None => self.b.operand()?.into(),
        })
    }
}

impl Product<Static> {
    fn by_definition(&self) -> Result<Buffer, Error> {
        let b = self.b.operand()?.into();
        match &self.quantization.a {
            OwnedLhs::Matrix(a) => self.run(&self.gemm(a.operand()?.into(), b), Runner::Reference),
            // Rows are gathered here, so that the library's own gathering is verified too.
            OwnedLhs::Gathered(rows) => {
                let a = gathered_matrix(rows, &self.quantization.a_zero)?;
                self.run(&self.gemm(a.operand()?.into(), b), Runner::Reference)
            }
        }
    }

    fn by_kernels(&self, dispatch: &Dispatch) -> Result<Buffer, Error> {
        let packed = self.pack(dispatch)?;
        let gemm = self.gemm(self.quantization.a.borrow()?, self.rhs(packed.as_ref())?);
        self.run(&gemm.dispatch(dispatch), Runner::Kernels)
    }

    fn gemm<'a>(&'a self, a: Lhs<'a>, b: Rhs<'a>) -> Gemm<'a> {
        let Static { a_zero, bias, .. } = &self.quantization;
        let gemm = Gemm::new(a, b).a_zero(a_zero.borrow()).b_zero(self.b_zero.borrow());
        let gemm = gemm.threads(Threads::ALL.eager());
        match bias {
            Some(bias) => gemm.bias(bias),
            None => gemm,
        }
    }

    fn run(&self, gemm: &Gemm<'_>, runner: Runner) -> Result<Buffer, Error> {
        let mut buffer = self.initial_output();
        match (&self.quantization.output, &mut buffer) {
            (Output::I32 { accumulate: true }, Buffer::I32(c)) => {
                runner.accumulate_i32(gemm, self.c.view(c)?)?;
            }
            (Output::I32 { accumulate: false }, Buffer::I32(c)) => runner.run_i32(gemm, self.c.view(c)?)?,
            (Output::I8(stage), Buffer::I8(c)) => self.requantize(gemm, runner, stage, c)?,
            (Output::U8(stage), Buffer::U8(c)) => self.requantize(gemm, runner, stage, c)?,
            (Output::F32(stage), Buffer::F32(c)) => {
                runner.run_f32(gemm, self.c.view(c)?, &stage.borrow()?)?;
            }
            _ => unreachable!("the buffer has the type of the output"),
        }
        Ok(buffer)
    }

    fn requantize<T: Int8Element>(
        &self,
        gemm: &Gemm<'_>,
        runner: Runner,
        stage: &OwnedRequantize<T>,
        c: &mut [T],
    ) -> Result<(), Error> {
        runner.run_requantized(gemm, self.c.view(c)?, &stage.borrow()?)
    }

    /// The product as a task of a batch.
    fn task<'a, 'c>(&'a self, gemm: Gemm<'a>, buffer: &'c mut Buffer) -> Result<Task<'a, 'c>, Error> {
        match (&self.quantization.output, buffer) {
            (Output::I32 { accumulate: true }, Buffer::I32(c)) => Task::accumulate_i32(gemm, self.c.view(c)?),
            (Output::I32 { accumulate: false }, Buffer::I32(c)) => Task::i32(gemm, self.c.view(c)?),
            (Output::I8(stage), Buffer::I8(c)) => Task::requantized(gemm, self.c.view(c)?, stage.borrow()?),
            (Output::U8(stage), Buffer::U8(c)) => Task::requantized(gemm, self.c.view(c)?, stage.borrow()?),
            (Output::F32(stage), Buffer::F32(c)) => Task::f32(gemm, self.c.view(c)?, stage.borrow()?),
            _ => unreachable!("the buffer has the type of the output"),
        }
    }

    fn initial_output(&self) -> Buffer {
        match self.quantization.output {
            Output::I32 { .. } => Buffer::I32(self.c.initial(|bits| bits as i32)),
            Output::I8(_) => Buffer::I8(self.c.initial(|bits| bits as i8)),
            Output::U8(_) => Buffer::U8(self.c.initial(|bits| bits as u8)),
            Output::F32(_) => Buffer::F32(self.c.initial(f32::from_bits)),
        }
    }
}

impl Product<Dynamic> {
    fn by_definition(&self) -> Result<Buffer, Error> {
        let mut c = self.c.initial(f32::from_bits);
        let gemm = self.gemm(self.b.operand()?.into())?;
        let output = self.quantization.output.borrow_dynamic()?;
        reference::run_dynamic_f32(&gemm, self.c.view(&mut c)?, output)?;
        Ok(Buffer::F32(c))
    }

    fn by_kernels(&self, dispatch: &Dispatch) -> Result<Buffer, Error> {
        let mut c = self.c.initial(f32::from_bits);
        let packed = self.pack(dispatch)?;
        let gemm = self.gemm(self.rhs(packed.as_ref())?)?.dispatch(dispatch);
        gemm.run_f32(self.c.view(&mut c)?, self.quantization.output.borrow_dynamic()?)?;
        Ok(Buffer::F32(c))
    }

    fn gemm<'a>(&'a self, b: Rhs<'a>) -> Result<DynamicGemm<'a>, Error> {
        let Dynamic { layout, a, asymmetric, per_tensor, .. } = &self.quantization;
        let a = MatRef::new(a, self.c.rows, self.k, layout.row_stride, layout.col_stride)?;
        let gemm = DynamicGemm::new(a, b).b_zero(self.b_zero.borrow()).threads(Threads::ALL.eager());
        let gemm = if *asymmetric { gemm.asymmetric() } else { gemm };
        Ok(if *per_tensor { gemm.per_tensor() } else { gemm })
    }
}

impl OwnedLhs {
    fn borrow(&self) -> Result<Lhs<'_>, Error> {
        match self {
            OwnedLhs::Matrix(a) => Ok(a.operand()?.into()),
            OwnedLhs::Gathered(GatheredRows { source, indices, taps, padding }) => {
                let gather = Gather::new(source.operand()?, indices, *taps)?;
                Ok(padding.map_or(Ok(gather), |value| gather.padding(value))?.into())
            }
        }
    }
}

impl Destination {
    /// The buffer before the call, of 32 random bits per element: equal for the definition and for kernels.
    fn initial<T>(&self, from_bits: impl Fn(u32) -> T) -> Vec<T> {
        let bits = |i: u64| (self.fill.wrapping_mul(2 * i + 1) >> 32) as u32;
        (0..self.layout.len as u64).map(|i| from_bits(bits(i))).collect()
    }

    fn view<'c, T>(&self, c: &'c mut [T]) -> Result<MatMut<'c, T>, Error> {
        let Layout { row_stride, col_stride, .. } = self.layout;
        MatMut::new(c, self.rows, self.cols, row_stride, col_stride)
    }
}
