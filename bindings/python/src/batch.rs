//! `matmul_batch`: many independent products.

use crate::arrays::output::{CallersOut, Outs};
use crate::elements::DType;
use crate::errors::{raise, type_error, vector};
use crate::matmul::{Arguments, OUTPUTS, Product, output_type};
use crate::stages::StageArguments;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use qgemm::{Error, Threads, run_batch_on};

/// One product of a batch, by the names of its arguments.
struct Named<'py> {
    names: Vec<String>,
    values: Vec<Bound<'py, PyAny>>,
}

impl<'py> Named<'py> {
    fn new(dict: &Bound<'py, PyDict>) -> PyResult<Self> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        // What is None was not given.
        for (name, value) in dict.iter().filter(|(_, value)| !value.is_none()) {
            names.push(name.extract()?);
            values.push(value);
        }
        Ok(Self { names, values })
    }

    fn get(&self, name: &str) -> Option<&Bound<'py, PyAny>> {
        let at = self.names.iter().position(|known| known == name)?;
        self.values.get(at)
    }

    fn text(&self, name: &str) -> PyResult<Option<&str>> {
        let text = self.get(name).map(|value| value.extract::<&str>()).transpose();
        text.map_err(|_| type_error(name, "must be a str"))
    }

    /// # Errors
    /// `TypeError` if there is an argument of another name.
    fn arguments(&self) -> PyResult<Arguments<'_, 'py>> {
        let stage = StageArguments {
            scale: self.get("scale"),
            multipliers: self.get("multipliers"),
            rounding: self.text("rounding")?,
            factors: self.get("factors"),
            out_zero: self.get("out_zero"),
            clamp: self.get("clamp"),
            residual: self.get("residual"),
            residual_scale: self.get("residual_scale"),
            residual_zero: self.get("residual_zero"),
            activation: self.text("activation")?,
            table: self.get("table"),
        };
        const NAMES: [&str; 19] = [
            "a",
            "b",
            "a_zero",
            "b_zero",
            "bias",
            "rows",
            "out",
            "out_dtype",
            "scale",
            "multipliers",
            "rounding",
            "factors",
            "out_zero",
            "clamp",
            "residual",
            "residual_scale",
            "residual_zero",
            "activation",
            "table",
        ];
        if let Some(name) = self.names.iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(type_error(name, "is no argument of a product"));
        }
        Ok(Arguments {
            a: self.get("a"),
            b: self.get("b"),
            a_zero: self.get("a_zero"),
            b_zero: self.get("b_zero"),
            bias: self.get("bias"),
            rows: self.get("rows"),
            stage,
        })
    }
}

/// An exception of the same type, with the number of the product before its text.
fn of_product(py: Python<'_>, index: usize, error: PyErr) -> PyErr {
    PyErr::from_type(error.get_type(py), format!("products[{index}]: {}", error.value(py)))
}

/// Independent products, each described by a dict of `matmul`'s arguments (but `threads`), of any shapes and types. Returns
/// a list of their outputs.
///
/// They share the cores: whole products on each thread if there are many, parts of them if there are few. Stacked operands
/// are a list of their matrices. No `out` may share elements with another `out`, or with any input of the batch. If one is
/// refused, none is written.
///
/// >>> import numpy as np, qgemm
/// >>> queries = np.arange(12, dtype=np.int8).reshape(2, 2, 3)  # heads, tokens, values
/// >>> keys = np.arange(24, dtype=np.int8).reshape(2, 4, 3) % 5 - 2
/// >>> scores = np.zeros((2, 2, 4), np.int32)
/// >>> heads = [{"a": q, "b": k.T, "out": c} for q, k, c in zip(queries, keys, scores)]
/// >>> outputs = qgemm.matmul_batch(heads)
/// >>> scores[1]
/// array([[ 23, -19,   4,   2],
///        [ 32, -28,   7,   2]], dtype=int32)
#[pyfunction]
#[pyo3(signature = (products, threads=None))]
pub fn matmul_batch<'py>(
    products: &Bound<'py, PyAny>,
    threads: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyList>> {
    let (py, threads) = (products.py(), crate::matmul::threads(threads)?);
    let mut named = Vec::new();
    for product in products.try_iter()? {
        let product = product?;
        let index = named.len();
        let dict = product.cast::<PyDict>().map_err(|_| {
            type_error("products", format!("value {index} is of {}, must be a dict", product.get_type()))
        })?;
        named.push(Named::new(dict)?);
    }
    let mut given = vector("products", named.len())?;
    let (mut outs, mut types) = (Vec::new(), Vec::new());
    for (index, named) in named.iter().enumerate() {
        let mut describe = || {
            given.push(named.arguments()?);
            let (out, dtype) = output_type(named.get("out"), named.get("out_dtype"), &OUTPUTS, DType::I32)?;
            for other in &outs {
                out.iter().try_for_each(|out: &CallersOut<'py>| out.check_apart(other))?;
            }
            let own = out.is_some().then_some(outs.len());
            outs.extend(out);
            types.push((own, dtype));
            Ok(())
        };
        describe().map_err(|error| of_product(py, index, error))?;
    }
    let mut all = vector("products", named.len())?;
    for (index, (given, (own, dtype))) in given.iter().zip(&types).enumerate() {
        let outs = Outs { own: own.and_then(|own| outs.get(own)), all: &outs };
        let product = Product::new(py, given, *dtype, outs);
        all.push(product.map_err(|error| of_product(py, index, error))?);
    }
    {
        let mut tasks = vector("products", all.len())?;
        for (index, product) in all.iter_mut().enumerate() {
            tasks.push(product.task(Threads::ALL).map_err(|error| of_product(py, index, error))?);
        }
        py.detach(|| run_batch_on(&mut tasks, threads)).map_err(|error| match error {
            Error::InBatch { index, error } => of_product(py, index, raise(*error)),
            error => raise(error),
        })?;
    }
    let outputs = all.into_iter().map(|product| product.output.finish()).collect::<PyResult<Vec<_>>>()?;
    PyList::new(py, outputs)
}
