//! The Python module `qgemm._qgemm`: the functions and classes of the package `qgemm`, on NumPy arrays.
//!
//! A call turns its arguments into views and values of the library (`arrays`, `elements`, `parameters`, `stages`), runs while
//! other Python threads may run, and returns arrays. All `unsafe` code is in the folder `arrays`, which also
//! says what it relies on.

use pyo3::prelude::*;

mod arrays;
mod batch;
mod dynamic;
mod elements;
mod errors;
mod groupwise;
mod info;
mod matmul;
mod packed;
mod parameters;
mod quantize;
mod saved;
mod stages;

#[pymodule]
mod _qgemm {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::batch::matmul_batch;
    #[pymodule_export]
    use crate::dynamic::dynamic_matmul;
    #[pymodule_export]
    use crate::groupwise::GroupwiseB;
    #[pymodule_export]
    use crate::info::{info, release_thread_memory};
    #[pymodule_export]
    use crate::matmul::matmul;
    #[pymodule_export]
    use crate::packed::PackedB;
    #[pymodule_export]
    use crate::quantize::{activation_table, dequantize, quantize, quantize_columns, quantize_rows};

    #[pymodule_export]
    use crate::saved::saved_info;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
