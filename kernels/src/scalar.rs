//! The specification kernel: the sums of the crate's head, one product at a time.
//!
//! Its layout is that of the VNNI kernels (8-bit stored types, KR = 4), so that all CPUs read A in place, invert signs
//! and walk k-groups.

use crate::contract::args::Args;
use crate::contract::kernel::{Instruction, Kernel, Tile, Variant, byte_type};
use crate::contract::panel::panel_index;
use crate::detect::Isa;
use crate::elements::Stored;

pub static KERNEL: Kernel =
    Kernel::new("scalar-4x8c4", &[Variant::of::<Bytes<false>>(), Variant::of::<Bytes<true>>()]);

/// A product of two bytes of different signs.
struct Bytes<const A_SIGNED: bool>;

impl<const A_SIGNED: bool> Instruction for Bytes<A_SIGNED> {
    const ISA: Isa = Isa::Scalar;
    const A: Stored = byte_type(A_SIGNED);
    const B: Stored = byte_type(!A_SIGNED);
    const KR: usize = 4;
}

// SAFETY: A is read at (i, k) for k < K, the panel where `panel_index` of this NR and KR says; terms and C are accessed
// within rows and columns.
unsafe impl<const A_SIGNED: bool> Tile for Bytes<A_SIGNED> {
    type Instruction = Self;
    const MR: usize = 4;
    const NR: usize = 8;

    unsafe fn tile(t: &Args<'_>) {
        t.debug_assert_contract(Self::MR, (Self::NR, Self::LANES), Self::EXTENSIONS);
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
                    let (a, b) =
                        unsafe { (*t.a.add(i * t.lda + k), *t.b.add(panel_index(&KERNEL, Self::NR, k, j))) };
                    let product = if A_SIGNED {
                        i32::from(a as i8) * i32::from(b)
                    } else {
                        i32::from(a) * i32::from(b as i8)
                    };
                    sum.wrapping_add(product)
                });
                // SAFETY: an element of C, which nobody else accesses.
                unsafe { *c = sum };
            }
        }
    }
}
