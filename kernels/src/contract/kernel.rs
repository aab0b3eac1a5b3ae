//! A row of the kernel table, as data.

use crate::contract::args::MicroFn;
use crate::detect::Isa;
use crate::elements::{Convert, Stored};
use core::fmt;

/// A pair of types that a kernel multiplies, and the function that does.
pub struct Variant {
    /// What A is read as.
    pub a: Stored,
    /// What the panels hold.
    pub b: Stored,
    /// What the kernel adds to the values of A before it multiplies them: 128, if it inverts the sign bits
    /// of i8 as it reads them, else 0.
    pub a_shift: i32,
    pub(crate) micro: MicroFn,
}

impl Variant {
    /// How A, of i8 (`signed`) or u8, becomes what the kernel reads; and what that and the kernel add to its values
    /// before they are multiplied.
    #[inline]
    pub fn convert_a(&self, signed: bool) -> (Convert, i32) {
        let convert = Convert::new(signed, self.a);
        (convert, convert.shift(signed) + self.a_shift)
    }
}

/// A row of the table.
pub struct Kernel {
    /// Instruction set, MRxNR, KR after the `c`, steps (if any) after the `s`: `avx512vnni-6x64c4`.
    pub name: &'static str,
    /// The instructions it needs.
    pub isa: Isa,
    /// The most rows of a tile.
    pub mr: usize,
    /// The columns of a panel; a power of two.
    pub nr: usize,
    /// The values of k that lie side by side in a panel; a power of two.
    pub kr: usize,
    /// 0 for a kernel that is exact for every B. Else how many k-groups it sums in 16 bits, which is exact
    /// only for panels that [`provable_i16_groups`] finds to allow as many.
    pub i16_groups: usize,
    /// Whether it makes 8-bit and f32 outputs itself, from registers. The others store sums only.
    pub fused: bool,
    /// What its functions take besides tiles.
    pub(crate) takes: Takes,
    /// The types it multiplies. An 8-bit kernel has a variant for each sign of A; of a 16-bit one the first serves all
    /// inputs, and there may be another for panels that are [`widened`](Self::widened).
    pub variants: &'static [Variant],
}

/// What the functions of a kernel take besides tiles of at most MR x NR.
#[derive(Clone, Copy)]
pub(crate) struct Takes {
    /// So few rows, of two panels at once, the second one full but for 15 columns at most.
    pub(crate) abreast: usize,
    /// With at most so many values of k, tall products: any number of rows beyond MR that [`TALL`] divides, for
    /// the outputs that have an [`Out::least_tall`]. Each row of A is read to the end of its last k-group.
    pub(crate) tall: usize,
}

impl Takes {
    pub(crate) const TILES: Self = Self { abreast: 0, tall: 0 };
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Kernel {
    /// Of a variant whose panels hold i8 that it widens to i16 as it reads them, the one that reads panels of the same
    /// layout widened ahead: faster where that serves many rows.
    pub fn widened(&self, variant: &Variant) -> Option<&'static Variant> {
        let both = (variant.a, variant.b) == (Stored::I16, Stored::I8);
        self.variants.iter().find(|other| both && (other.a, other.b) == (Stored::I16, Stored::I16))
    }

    /// Bytes of a panel of `k` rows whose elements are `stored`; `None` where that overflows.
    #[inline]
    pub fn panel_bytes(&self, k: usize, stored: Stored) -> Option<usize> {
        self.padded(k)?.checked_mul(self.nr * stored.size())
    }

    /// `k`, rounded up to whole k-groups; `None` where that overflows.
    #[inline]
    pub fn padded(&self, k: usize) -> Option<usize> {
        // KR is a power of two, and this is called too often for a division.
        Some(k.checked_add(self.kr - 1)? & !(self.kr - 1))
    }
}

/// The rows of the next tile, of those that are `left`. The last two tiles are of even height: those of 8 rows
/// at MR = 6 are 4 + 4, not 6 + 2.
#[inline]
pub fn tile_height(left: usize, mr: usize) -> usize {
    if left >= 2 * mr || left == mr {
        mr
    } else if left > mr {
        left.div_ceil(2)
    } else {
        left
    }
}
