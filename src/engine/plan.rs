//! Block sizes, and the limits that bound scratch memory: arithmetic, nothing else.

use qgemm_kernels::{Caches, Kernel, MAX_MR, MAX_NR};

/// A value for each column of one panel.
pub(crate) type PerColumn<T> = [T; MAX_NR];

/// Columns whose zero-point terms, scales and stores are prepared together, where a kernel stores the output of several
/// panels in one call. One panel at a time took 1x768x3072 14 % longer with 8-bit outputs (Zen 4, 2026-11-26).
pub(crate) const MAX_FUSED_COLUMNS: usize = 4096;
/// The values per column that kernels read for so many columns, at most.
pub(crate) const MAX_FUSED_VALUES: usize = MAX_FUSED_COLUMNS + MAX_NR;

/// The block sizes of the loop nest in `loops`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Rows of A per block.
    pub(crate) mc: usize,
    /// Values of k per block: all K, or a multiple of [`MIN_KC`]; not 0.
    pub(crate) kc: usize,
    /// NC, in panels: those whose sums wait together for the next K block, or are kept in 64 bits.
    pub(crate) nc: usize,
}

/// K blocks are multiples of this, and so of every KR and of every run of k-groups that a kernel sums in 16 bits.
const MIN_KC: usize = 256;
/// The most products of a K block. Their sum fits i32: 2^15·255·255 < 2^31.
const MAX_KC: usize = 1 << 15;
/// The most rows of a block. It bounds the memory for the terms of rows.
pub(crate) const MAX_MC: usize = 1024;
/// The memory for sums that wait for the next K block, in bytes.
const WAITING_SUMS_BYTES: usize = 256 << 10;

/// The bytes of an element of A and of B as kernels read them.
#[derive(Clone, Copy)]
pub(crate) struct ElementSizes {
    pub(crate) a: usize,
    pub(crate) b: usize,
}

impl Plan {
    /// The blocks of a product of `m` rows and `k` values of k.
    #[inline]
    pub(crate) fn new(m: usize, k: usize, kernel: &Kernel, sizes: ElementSizes, caches: Caches) -> Self {
        let half_l2 = caches.l2 / 2;
        let panel_row = kernel.nr * sizes.b;
        // The blocks of a small product are all of it. This agrees with what follows, and takes no division.
        let few = m <= MAX_MC - MAX_MR && k <= MAX_KC;
        if few && m * k * sizes.a <= half_l2 && k * panel_row <= half_l2 {
            return Self { mc: m.max(1), kc: k.max(1), nc: 1 };
        }
        let kc = depth_of_block(half_l2, panel_row).min(k.max(1));
        let mc = rows_of_block(half_l2, kc * sizes.a, kernel.mr);
        // Blocks of about equal height, in whole tiles.
        let mc = m.div_ceil(m.div_ceil(mc).max(1)).next_multiple_of(kernel.mr);
        // Waiting sums take up to 8 bytes each.
        let nc = (WAITING_SUMS_BYTES / 8 / (mc * kernel.nr)).max(1);
        Self { mc, kc, nc }
    }
}

/// The scratch memory that the blocks of an operation take at most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    /// Rows that have terms.
    pub(crate) rows: usize,
    /// Cache lines of copied rows of A, and of widened rows of a panel.
    pub(crate) a_lines: usize,
    pub(crate) widened_lines: usize,
    /// Sums in 32 and in 64 bits.
    pub(crate) sums: usize,
    pub(crate) sums_i64: usize,
}

/// The blocks of an operation, as far as they decide its [`Needs`].
#[derive(Clone, Copy)]
pub(crate) struct Blocks {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) panels: usize,
    /// Whether rows of A are copied.
    pub(crate) copies_a: bool,
    /// Whether panels are widened.
    pub(crate) widens: bool,
    /// Whether sums are kept in 64 bits.
    pub(crate) i64_sums: bool,
}

impl Needs {
    /// The needs of blocks that are cut as `plan` says.
    pub(crate) fn new(plan: &Plan, kernel: &Kernel, sizes: ElementSizes, blocks: Blocks) -> Self {
        let Blocks { m, k, panels, copies_a, widens, i64_sums } = blocks;
        let (rows, depth) = (plan.mc.min(m), plan.kc.min(k));
        let waiting = rows * kernel.nr * plan.nc.min(panels);
        // Tiles of two kinds, of which one may be the other transposed.
        let tiles = 2 * rows.min(rows_together(kernel.mr)) * kernel.nr;
        let sums = if depth == k { tiles } else { waiting.max(tiles) };
        let padded = || depth.next_multiple_of(kernel.kr.max(MAX_KR));
        Self {
            rows,
            a_lines: if copies_a { row_lines(depth * sizes.a) * rows } else { 0 },
            widened_lines: if widens { (padded() * kernel.nr * sizes.b).div_ceil(64) } else { 0 },
            sums: if i64_sums { 0 } else { sums },
            sums_i64: if i64_sums { waiting } else { 0 },
        }
    }

    /// The greater of both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            rows: self.rows.max(other.rows),
            a_lines: self.a_lines.max(other.a_lines),
            widened_lines: self.widened_lines.max(other.widened_lines),
            sums: self.sums.max(other.sums),
            sums_i64: self.sums_i64.max(other.sums_i64),
        }
    }
}

/// The cache lines of a copied row of A of so many bytes.
#[inline]
pub(crate) fn row_lines(bytes: usize) -> usize {
    bytes.div_ceil(64).max(1)
}

/// The most values of a k-group.
const MAX_KR: usize = 8;

/// The rows whose sums are finished together where they go through scratch, in whole tiles: their sums stay in the first-level
/// cache, and calls are few.
pub(crate) fn rows_together(mr: usize) -> usize {
    const TILES: usize = 8;
    const ROWS: usize = 96;
    TILES.min(ROWS / mr).max(1) * mr
}

/// KC: a panel of B, KC x NR, is read once per tile, so it fits half of the second-level cache.
fn depth_of_block(half_l2: usize, panel_row: usize) -> usize {
    (half_l2 / panel_row).clamp(MIN_KC, MAX_KC) / MIN_KC * MIN_KC
}

/// MC: a block of A, MC x KC, is read once per panel, so it fits the other half.
fn rows_of_block(half_l2: usize, row_bytes: usize, mr: usize) -> usize {
    (half_l2 / row_bytes).clamp(mr, MAX_MC) / mr * mr
}

/// The rows of a block at most, where `k` is small and rows of C lie `distance` bytes apart, each on a page of its own: a CPU
/// finds about as many pages again without delay. With blocks of 48 rows 2048x64x2048 runs at 391 GMAC/s instead of 340
/// (Zen 5, 2026-11-28); where `slow_stores` bind anyway nothing is gained, and 2 % lost (Zen 4, 2026-11-29).
pub(crate) fn rows_within_pages(k: usize, distance: usize, slow_stores: bool) -> usize {
    const PAGE: usize = 4096;
    const MOST_K: usize = 256;
    if k <= MOST_K && distance >= PAGE && !slow_stores { 48 } else { MAX_MC }
}

/// The least number of columns of an unpacked B that are packed at a time: its rows are then read 256 bytes at a time,
/// as streams.
const MIN_PACK_COLUMNS: usize = 256;

/// The columns of an unpacked B that are packed and multiplied at a time, in whole panels of `panel_bytes`: the panels
/// stay in the second-level cache until they are multiplied, which gains 10 % at 64x4096x4096 (Zen 4, 2026-11-26).
pub(crate) fn columns_at_once(kernel: &Kernel, panel_bytes: Option<usize>, caches: Caches) -> usize {
    let panel = panel_bytes.unwrap_or(usize::MAX).max(1);
    (caches.l2 / 4 * 3 / panel).max(MIN_PACK_COLUMNS / kernel.nr).saturating_mul(kernel.nr)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with tiles of 4 x 8 and k-groups of 4.
    fn scalar() -> &'static Kernel {
        qgemm_kernels::TABLE.iter().find(|kernel| kernel.name == "scalar-4x8c4").unwrap()
    }

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
                    for sizes in [ElementSizes { a: 1, b: 1 }, ElementSizes { a: 2, b: 2 }] {
                        let Plan { mc, kc, nc } = Plan::new(m, k, kernel, sizes, caches);
                        assert!(kc == k.max(1) || kc.is_multiple_of(MIN_KC), "{kernel:?} {k} {kc}");
                        // The sum of a K block's products fits i32, whatever their signs.
                        assert!(kc as i64 * 255 * 255 <= i64::from(i32::MAX), "{kernel:?} {k} {kc}");
                        assert!(
                            (mc.is_multiple_of(kernel.mr) || mc >= m) && (1..=MAX_MC).contains(&mc),
                            "{kernel:?} {m} {mc}"
                        );
                        assert!(nc >= 1 && (nc == 1 || 8 * mc * nc * kernel.nr <= WAITING_SUMS_BYTES));
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_are_as_large_as_half_of_the_second_cache() {
        for kernel in qgemm_kernels::TABLE {
            for l2 in [256 << 10, 1 << 20, 2 << 20] {
                for sizes in
                    [ElementSizes { a: 1, b: 1 }, ElementSizes { a: 2, b: 1 }, ElementSizes { a: 1, b: 2 }]
                {
                    let caches = Caches { l1d: 32 << 10, l2, l3: 0 };
                    let Plan { mc, kc, nc } = Plan::new(1 << 20, 1 << 20, kernel, sizes, caches);
                    let fits = |k: usize| k * kernel.nr * sizes.b <= l2 / 2;
                    assert!(kc == MIN_KC || fits(kc), "{kernel:?} {l2} {kc}");
                    assert!(kc == MAX_KC || !fits(kc + MIN_KC), "{kernel:?} {l2} {kc}");
                    let fits = |rows: usize| rows * kc * sizes.a <= l2 / 2;
                    assert!(mc == kernel.mr || fits(mc), "{kernel:?} {l2} {mc}");
                    assert!(mc + kernel.mr > MAX_MC || !fits(mc + kernel.mr), "{kernel:?} {l2} {mc}");
                    let fits = |panels: usize| 8 * mc * kernel.nr * panels <= WAITING_SUMS_BYTES;
                    assert!((nc == 1 || fits(nc)) && !fits(nc + 1), "{kernel:?} {l2} {nc}");
                    // A row more than a block holds is not left alone.
                    let two = Plan::new(mc + 1, 1 << 20, kernel, sizes, caches).mc;
                    assert_eq!(two, (mc + 1).div_ceil(2).next_multiple_of(kernel.mr), "{kernel:?} {l2}");
                }
            }
        }
    }

    #[test]
    fn small_products_are_one_block() {
        let kernel = scalar();
        let (sizes, caches) = (ElementSizes { a: 2, b: 2 }, Caches { l1d: 32 << 10, l2: 1 << 20, l3: 0 });
        let plan = |m, k| Plan::new(m, k, kernel, sizes, caches);
        assert_eq!(plan(0, 0), Plan { mc: 1, kc: 1, nc: 1 });
        // All of A in half of the cache, or a row more.
        assert_eq!(plan(512, 512), Plan { mc: 512, kc: 512, nc: 1 });
        assert_eq!(plan(513, 512).mc, 260);
    }

    #[test]
    fn needs_are_those_of_one_block() {
        let kernel = scalar();
        let sizes = ElementSizes { a: 2, b: 1 };
        let plan = Plan { mc: 100, kc: 512, nc: 3 };
        let blocks = |m, k, panels| Blocks { m, k, panels, copies_a: true, widens: true, i64_sums: false };
        let needs = |blocks| {
            let Needs { rows, a_lines, widened_lines, sums, sums_i64 } =
                Needs::new(&plan, kernel, sizes, blocks);
            [rows, a_lines, widened_lines, sums, sums_i64]
        };
        // Tiles of two kinds, 8 of 4 x 8 together; rows of 1,024 bytes; 512 values of 8 columns.
        assert_eq!(needs(blocks(200, 512, 9)), [100, 16 * 100, 64, 2 * 32 * 8, 0]);
        // Sums wait for the next K block.
        assert_eq!(needs(blocks(200, 513, 9)), [100, 16 * 100, 64, 100 * 8 * 3, 0]);
        assert_eq!(needs(blocks(200, 513, 2)), [100, 16 * 100, 64, 100 * 8 * 2, 0]);
        // Fewer rows than a block has; rows of 34 bytes; 24 values of 8 columns.
        assert_eq!(needs(blocks(5, 17, 9)), [5, 5, 3, 2 * 5 * 8, 0]);
        let some = Blocks { copies_a: false, widens: false, i64_sums: true, ..blocks(200, 512, 9) };
        assert_eq!(needs(some), [100, 0, 0, 0, 100 * 8 * 3]);
    }

    #[test]
    fn the_greater_needs_count() {
        let needs = |[rows, a_lines, widened_lines, sums, sums_i64]: [usize; 5]| Needs {
            rows,
            a_lines,
            widened_lines,
            sums,
            sums_i64,
        };
        for (a, b) in [([1, 20, 3, 40, 5], [10, 2, 30, 4, 50]), ([10, 2, 30, 4, 50], [1, 20, 3, 40, 5])] {
            let Needs { rows, a_lines, widened_lines, sums, sums_i64 } = needs(a).max(needs(b));
            assert_eq!([rows, a_lines, widened_lines, sums, sums_i64], [10, 20, 30, 40, 50]);
        }
    }

    #[test]
    fn rows_far_apart_are_few_at_a_time() {
        assert_eq!(rows_within_pages(256, 4096, false), 48);
        for (k, distance, slow_stores) in [(257, 4096, false), (256, 4095, false), (256, 4096, true)] {
            assert_eq!(rows_within_pages(k, distance, slow_stores), MAX_MC);
        }
    }

    #[test]
    fn packed_columns_fill_three_quarters_of_the_second_cache() {
        let kernel = scalar();
        let columns = |bytes, l2| columns_at_once(kernel, bytes, Caches { l1d: 32 << 10, l2, l3: 0 });
        assert_eq!(columns(Some(1 << 10), 1 << 20), 768 * 8);
        // Its rows are read 256 bytes at a time, however small the cache or large a panel.
        for few in [columns(Some(1 << 20), 1 << 20), columns(None, 1 << 20), columns(Some(1), 0)] {
            assert_eq!(few, 256);
        }
    }
}
