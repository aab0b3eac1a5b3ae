//! The specification kernel: the sums of the crate's head, one product at a time.
//!
//! It has the layout of the VNNI kernels (8-bit stored types, KR = 4), so that reading A in place,
//! flipped signs and k-groups are exercised on every CPU.

use crate::contract::args::Args;
use crate::contract::kernel::{Kernel, Takes, Variant};
use crate::contract::panel::panel_index;
use crate::detect::Isa;
use crate::elements::Stored;

pub static KERNEL: Kernel = Kernel {
    name: "scalar-4x8c4",
    isa: Isa::Scalar,
    mr: 4,
    nr: 8,
    kr: 4,
    i16_groups: 0,
    fused: false,
    takes: Takes::TILES,
    variants: &[
        Variant { a: Stored::U8, b: Stored::I8, a_shift: 0, micro: tile::<false> },
        Variant { a: Stored::I8, b: Stored::U8, a_shift: 0, micro: tile::<true> },
    ],
};

/// # Safety
/// As for every [`MicroFn`](crate::contract::args::MicroFn).
unsafe fn tile<const A_SIGNED: bool>(t: &Args<'_>) {
    let (c, accumulate) = t.sums();
    for i in 0..t.rows {
        for j in 0..t.cols {
            // SAFETY: i < rows and j < cols <= NR: elements of C, `col` and `row`.
            let (c, start) = unsafe {
                let c = c.add(i * t.ldc + j);
                let start = (*t.col.add(j)).wrapping_add(*t.row.add(i));
                (c, if accumulate { start.wrapping_add(*c) } else { start })
            };
            let sum = (0..t.k).fold(start, |sum, k| {
                // SAFETY: k < K and j < NR: elements of row i of A and of the panel.
                let (a, b) = unsafe { (*t.a.add(i * t.lda + k), *t.b.add(panel_index(&KERNEL, k, j))) };
                let product = match A_SIGNED {
                    true => i32::from(a as i8) * i32::from(b),
                    false => i32::from(a) * i32::from(b as i8),
                };
                sum.wrapping_add(product)
            });
            // SAFETY: as above; C is borrowed exclusively.
            unsafe { *c = sum };
        }
    }
}
