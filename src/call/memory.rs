//! The memory that a thread keeps between calls.

use crate::engine::groupwise::rows;
#[cfg(feature = "rayon")]
use crate::engine::helpers;
use crate::engine::{buffers, quantized_a, unpacked};

/// Frees the memory that the calling thread keeps for later calls: buffers of bounded size, the
/// largest B that this thread packed for a one-shot product, and the largest A that it quantized.
///
/// The library's helpers, which help threads outside any rayon pool, free theirs as well, a little later. Other threads,
/// such as those of a rayon pool, keep theirs: call it on each, for example by `rayon::broadcast`.
pub fn release_thread_memory() {
    release_of_engine();
    #[cfg(feature = "rayon")]
    helpers::ask_each(release_of_engine);
}

fn release_of_engine() {
    buffers::release();
    unpacked::release();
    quantized_a::release();
    rows::release();
}

#[cfg(test)]
mod tests {
    use crate::{Gemm, MatMut, MatRef};

    #[test]
    fn a_product_while_a_thread_ends_is_right() {
        struct Last;
        impl Drop for Last {
            fn drop(&mut self) {
                let (a, mut c) = ([3u8, 4], [0i32]);
                let a = (MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&a, 2, 1).unwrap());
                Gemm::new(a.0, a.1).run_i32(MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap();
                assert_eq!(c, [25]);
            }
        }
        thread_local!(static LAST: Last = const { Last });
        // A panic in a thread-local's destructor would end the process.
        let thread = std::thread::spawn(|| {
            LAST.with(|_| ());
            // The slots exist, so that they are destroyed before `LAST`'s destructor runs.
            super::release_thread_memory();
        });
        assert!(thread.join().is_ok());
    }
}
