//! Weights with a scale per column and group of rows: what users hold, and the formats that they come in.

pub(crate) mod awq;
pub(crate) mod builder;
pub(crate) mod gguf;
pub(crate) mod gptq;
pub(crate) mod onnx;
pub(crate) mod pack;
pub(crate) mod packed;
pub(crate) mod round_to_nearest;
pub(crate) mod scales;
