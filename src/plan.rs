//! How a product is cut into blocks: arithmetic, nothing else.

use qgemm_kernels::{Caches, Kernel, MAX_MR};

/// The block sizes of the loop nest in `driver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Rows of A per block.
    pub(crate) mc: usize,
    /// Values of k per block: all K, or a multiple of MIN_KC; not 0.
    pub(crate) kc: usize,
    /// Panels per block of columns, where K takes several blocks.
    pub(crate) nc: usize,
}

/// K blocks are multiples of this, and so of any k-group, and of any run of them that a kernel sums in 16
/// bits.
const MIN_KC: usize = 256;
/// Rows that a block has at most: bounds the memory for their terms.
pub(crate) const MAX_MC: usize = 1024;
/// A K block has at most this many products, whose sum then fits i32: 2^15·255·255 < 2^31.
const MAX_KC: usize = 1 << 15;
/// Sums that a block keeps while K is cut, in bytes, at 8 each.
const SUMS: usize = 256 << 10;

impl Plan {
    /// For M rows and K values of k, each `a_size` bytes in A and `b_size` in B.
    #[inline]
    pub(crate) fn new(
        m: usize,
        k: usize,
        kernel: &Kernel,
        (a_size, b_size): (usize, usize),
        caches: Caches,
    ) -> Self {
        // A panel of B, KC x NR, takes half of the second-level cache at most; it is read once per tile.
        let panel_row = kernel.nr * b_size;
        // Small products, of which all fits: the same, without a division.
        let few = m <= MAX_MC - MAX_MR && k <= MAX_KC;
        if few && m * k * a_size <= caches.l2 / 2 && k * panel_row <= caches.l2 / 2 {
            return Self { mc: m.max(1), kc: k.max(1), nc: 1 };
        }
        let kc = (caches.l2 / 2 / panel_row).clamp(MIN_KC, MAX_KC) / MIN_KC * MIN_KC;
        let kc = kc.min(k.max(1));
        // So does a block of A, MC x KC: it is read once per panel. Blocks of equal height.
        let mc = (caches.l2 / 2 / (kc * a_size)).clamp(kernel.mr, MAX_MC) / kernel.mr * kernel.mr;
        let mc = m.div_ceil(m.div_ceil(mc).max(1)).next_multiple_of(kernel.mr);
        let nc = (SUMS / 8 / (mc * kernel.nr)).max(1);
        Self { mc, kc, nc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_bounded_whatever_the_caches() {
        for kernel in qgemm_kernels::TABLE {
            for l2 in [1 << 10, 256 << 10, 1 << 20, 2 << 20, 1 << 30] {
                let caches = Caches { l1d: 32 << 10, l2, l3: 0 };
                for (m, k) in [
                    (0, 0),
                    (1, 0),
                    (1, 1),
                    (MAX_MC - 5, 3),
                    (1, usize::MAX >> 1),
                    (7, 1000),
                    (5000, 64),
                    (3, 1 << 20),
                    (1 << 20, 1 << 20),
                ] {
                    for sizes in [(1, 1), (2, 2)] {
                        let Plan { mc, kc, nc } = Plan::new(m, k, kernel, sizes, caches);
                        assert!(kc == k.max(1) || kc.is_multiple_of(MIN_KC), "{kernel:?} {k} {kc}");
                        // The sum of a K block's products fits i32, whatever their signs.
                        assert!(kc as i64 * 255 * 255 <= i64::from(i32::MAX), "{kernel:?} {k} {kc}");
                        assert!(
                            (mc.is_multiple_of(kernel.mr) || mc >= m) && (1..=MAX_MC).contains(&mc),
                            "{kernel:?} {m} {mc}"
                        );
                        assert!(nc >= 1 && (nc == 1 || 8 * mc * nc * kernel.nr <= SUMS));
                    }
                }
            }
        }
    }
}
