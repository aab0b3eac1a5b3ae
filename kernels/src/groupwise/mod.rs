//! Group-wise weights: codes of 4 or 8 bits with a scale, and perhaps a zero point or a minimum, per column and group of
//! values of k. `layout` has the panel, `args` the arithmetic, `tile` the loop nest that all vector kernels share.

pub mod args;
pub mod fma;
pub mod kernel;
pub mod layout;
pub mod portable;
pub mod scalar;
pub mod tile;
pub mod vector;
