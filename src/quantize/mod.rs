//! From f32 to 8-bit integers and back.

pub(crate) mod functions;
pub(crate) mod params;
pub(crate) mod round;
pub(crate) mod rows;
pub(crate) mod scheme;
pub(crate) mod span;
