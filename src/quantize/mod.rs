//! From f32 to 8-bit integers and back.

pub(crate) mod bias;
mod calibration;
pub(crate) mod checks;
pub(crate) mod functions;
mod histogram;
pub(crate) mod observer;
pub(crate) mod params;
pub(crate) mod per_channel;
pub(crate) mod round;
pub(crate) mod rows;
pub(crate) mod scales;
pub(crate) mod scheme;
pub(crate) mod span;
