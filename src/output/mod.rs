//! From exact sums to what is stored.

pub(crate) mod activation;
pub(crate) mod dequantize;
pub(crate) mod destination;
pub(crate) mod f64_factors;
pub(crate) mod fixed_point;
pub(crate) mod owned;
pub(crate) mod region;
pub(crate) mod requant;
pub(crate) mod requantize;
pub(crate) mod scale;
pub(crate) mod table;
