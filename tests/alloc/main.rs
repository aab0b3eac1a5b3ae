//! A repeated product allocates nothing: not on its thread, and not on those of a pool.

mod counting;
mod kept;
#[cfg(feature = "rayon")]
mod pool;
mod product;
mod thread;
mod weights;
