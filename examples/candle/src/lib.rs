//! Linear layers of candle that qgemm multiplies: [`QgemmLinear`] is a `Module`, to be put where a model has a `Linear` or a
//! `QMatMul`.

mod layer;

pub use layer::QgemmLinear;
