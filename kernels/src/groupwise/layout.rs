//! The layout of group-wise weights in memory, the same on every CPU.
//!
//! Columns come in panels of [`PANEL`], the last one as wide as what is left. A panel is its groups one after the other,
//! and a group is its steps: 8 values of k for codes of 4 bits, 4 for codes of 8 bits. A step has 4 bytes per column.
//!
//! ```text
//!   8 bits, a step:  column 0: k0 k1 k2 k3 | column 1: k0 k1 k2 k3 | ..
//!   4 bits, a step:  column 0: k0+k4 k1+k5 k2+k6 k3+k7 | column 1: ..         low nibble + high nibble
//! ```
//!
//! Where the last step of a group has less values of k, the others are 0. Scales and minimums are a value per column,
//! group after group; so are zero points of 8 bits. Those of 4 bits share bytes: byte j has column j in its low nibble and
//! column j + 16 in its high one.

/// The columns of a panel.
pub const PANEL: usize = 32;

/// The most values of k that a group of a vector kernel has. Up to here sums and their parts fit the integers that hold
/// them (see `tile`); a longer group is multiplied by the scalar kernel.
pub const MAX_VECTOR_GROUP: usize = 32_704;

/// The place of value `k` of a row of A that kernels read as words: each four are in the order k0 k2 k1 k3.
pub const fn word_place(k: usize) -> usize {
    k & !3 | [0, 2, 1, 3][k & 3]
}

/// The number of bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeBits {
    /// Codes of 0 to 15, two to a byte.
    Four,
    /// Codes of 0 to 255.
    Eight,
}

impl CodeBits {
    /// The values of k in a step.
    pub const fn step(self) -> usize {
        match self {
            CodeBits::Four => 8,
            CodeBits::Eight => 4,
        }
    }

    /// The number of bits.
    pub const fn bits(self) -> usize {
        match self {
            CodeBits::Four => 4,
            CodeBits::Eight => 8,
        }
    }

    /// The greatest code.
    pub const fn max(self) -> u8 {
        match self {
            CodeBits::Four => 15,
            CodeBits::Eight => 255,
        }
    }
}

/// The shape of group-wise weights: `k` rows in groups of `group` (the last one what is left), `n` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupShape {
    k: usize,
    n: usize,
    group: usize,
    bits: CodeBits,
}

impl GroupShape {
    /// `None` if a group has no values, or one that is not the only one is no whole number of steps, or if the weights
    /// would not fit the address space.
    pub const fn new(k: usize, n: usize, group: usize, bits: CodeBits) -> Option<Self> {
        if group == 0 || (k > group && !group.is_multiple_of(bits.step())) {
            return None;
        }
        // With padding a column has less than k + 8 codes of at most a byte, and at most k scales of 4 bytes.
        let Some(rows) = k.checked_add(8) else { return None };
        match rows.checked_mul(5) {
            Some(bytes) if n == 0 || bytes <= (isize::MAX as usize - 4 * PANEL) / n => {
                Some(Self { k, n, group, bits })
            }
            _ => None,
        }
    }

    /// The number of rows.
    pub const fn k(&self) -> usize {
        self.k
    }

    /// The number of columns.
    pub const fn n(&self) -> usize {
        self.n
    }

    /// The values of k of each group but the last.
    pub const fn group(&self) -> usize {
        self.group
    }

    /// The bits of a code.
    pub const fn bits(&self) -> CodeBits {
        self.bits
    }

    /// The number of groups.
    pub const fn groups(&self) -> usize {
        self.k.div_ceil(self.group)
    }

    /// The values of k of the longest group.
    pub const fn longest_group(&self) -> usize {
        if self.k < self.group { self.k } else { self.group }
    }

    /// The values of k of group `g`.
    pub const fn group_len(&self, g: usize) -> usize {
        let left = self.k - g * self.group;
        if left < self.group { left } else { self.group }
    }

    /// The steps of a group that is not the last.
    pub const fn group_steps(&self) -> usize {
        self.longest_group().div_ceil(self.bits.step())
    }

    /// The steps of all groups.
    pub const fn steps(&self) -> usize {
        self.k.div_ceil(self.bits.step())
    }

    /// The number of panels.
    pub const fn panels(&self) -> usize {
        self.n.div_ceil(PANEL)
    }

    /// The columns of panel `p`.
    pub const fn panel_cols(&self, p: usize) -> usize {
        let left = self.n - p * PANEL;
        if left < PANEL { left } else { PANEL }
    }

    /// The columns that kernels may read behind the last panel, in the last row of each array, as if it were a whole one.
    const fn slack(&self) -> usize {
        self.n.next_multiple_of(PANEL) - self.n
    }

    /// The offset of the codes of panel `p`, in bytes; of the end, for the number of panels.
    pub const fn codes_start(&self, p: usize) -> usize {
        let columns = p * PANEL;
        (if columns < self.n { columns } else { self.n }) * 4 * self.steps()
    }

    /// The bytes of all codes, with what kernels may read behind them.
    pub const fn codes_len(&self) -> usize {
        self.codes_start(self.panels()) + 4 * self.slack()
    }

    /// The offset of the scales of panel `p`, in values; of the end, for the number of panels.
    pub const fn scales_start(&self, p: usize) -> usize {
        let columns = p * PANEL;
        (if columns < self.n { columns } else { self.n }) * self.groups()
    }

    /// The number of scales, with what kernels may read behind them.
    pub const fn scales_len(&self) -> usize {
        self.scales_start(self.panels()) + self.slack()
    }

    /// The bytes of the zero points of a group in a panel of `cols` columns.
    pub const fn zeros_row(&self, cols: usize) -> usize {
        match self.bits {
            CodeBits::Four if cols > PANEL / 2 => PANEL / 2,
            _ => cols,
        }
    }

    /// The offset of the zero points of panel `p`, in bytes; of the end, for the number of panels.
    pub const fn zeros_start(&self, p: usize) -> usize {
        let whole = self.n / PANEL;
        if p <= whole {
            p * self.zeros_row(PANEL) * self.groups()
        } else {
            (whole * self.zeros_row(PANEL) + self.zeros_row(self.n % PANEL)) * self.groups()
        }
    }

    /// The bytes of all zero points, with what kernels may read behind them.
    pub const fn zeros_len(&self) -> usize {
        self.zeros_start(self.panels()) + self.slack()
    }

    /// The place of the code of row `k` and column `j`, both of which exist: its byte, and whether it is in the high nibble.
    pub const fn code_at(&self, k: usize, j: usize) -> (usize, bool) {
        let panel = j / PANEL;
        let (cols, step) = (self.panel_cols(panel), self.bits.step());
        // Groups before the last are whole steps, so that steps count on over groups.
        let (at, within) = (k / step, k % step);
        let byte = self.codes_start(panel) + (at * cols + j % PANEL) * 4 + within % 4;
        (byte, within >= 4)
    }

    /// Bytes from a step of column `j` to the next.
    pub const fn step_distance(&self, j: usize) -> usize {
        4 * self.panel_cols(j / PANEL)
    }

    /// The place of the scale of group `g` and column `j`, both of which exist.
    pub const fn scale_at(&self, g: usize, j: usize) -> usize {
        let panel = j / PANEL;
        self.scales_start(panel) + g * self.panel_cols(panel) + j % PANEL
    }

    /// The place of the zero point of group `g` and column `j`, both of which exist: its byte, and whether it is in the high
    /// nibble.
    pub const fn zero_at(&self, g: usize, j: usize) -> (usize, bool) {
        let (panel, j) = (j / PANEL, j % PANEL);
        let row = self.zeros_start(panel) + g * self.zeros_row(self.panel_cols(panel));
        match self.bits {
            CodeBits::Four => (row + j % (PANEL / 2), j >= PANEL / 2),
            CodeBits::Eight => (row + j, false),
        }
    }

    /// The bytes of a row of A as kernels read it: codes of 8 bits, or words if `words`, up to whole steps of 8.
    pub const fn a_row_len(&self, words: bool) -> usize {
        self.k.next_multiple_of(8) * if words { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// Every code, scale and zero point has a place of its own, inside what is counted.
    #[test]
    fn places_are_distinct_and_fill_the_panels() {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            for (k, n, group) in
                [(1, 1, 16), (16, 16, 16), (40, 33, 16), (97, 70, 32), (64, 64, 64), (21, 17, 100)]
            {
                let shape = GroupShape::new(k, n, group, bits).unwrap();
                let mut codes = vec![0u8; shape.codes_len()];
                let mut zeros = vec![0u8; shape.zeros_len()];
                let mut scales = vec![0u8; shape.scales_len()];
                let set = |at: (usize, bool), of: &mut [u8]| {
                    let mask = if bits == CodeBits::Eight {
                        255
                    } else if at.1 {
                        0xf0
                    } else {
                        0xf
                    };
                    assert_eq!(of[at.0] & mask, 0);
                    of[at.0] |= mask;
                };
                for j in 0..n {
                    (0..k).for_each(|k| set(shape.code_at(k, j), &mut codes));
                    (0..shape.groups()).for_each(|g| set(shape.zero_at(g, j), &mut zeros));
                    for g in 0..shape.groups() {
                        scales[shape.scale_at(g, j)] += 1;
                    }
                }
                let bits_set =
                    |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
                assert_eq!(bits_set(&codes), k * n * bits.bits());
                assert_eq!(bits_set(&zeros), shape.groups() * n * bits.bits());
                let (scales, slack) = scales.split_at(shape.scales_len() - shape.slack());
                assert!(scales.iter().all(|count| *count == 1) && slack.iter().all(|count| *count == 0));
                assert!(codes[shape.codes_len() - 4 * shape.slack()..].iter().all(|byte| *byte == 0));
                assert!(zeros[shape.zeros_len() - shape.slack()..].iter().all(|byte| *byte == 0));
            }
        }
    }

    #[test]
    fn groups_that_are_no_whole_steps_are_refused_unless_there_is_one() {
        assert!(GroupShape::new(40, 1, 20, CodeBits::Four).is_none());
        assert!(GroupShape::new(40, 1, 20, CodeBits::Eight).is_some());
        assert!(GroupShape::new(19, 1, 20, CodeBits::Four).is_some());
        assert!(GroupShape::new(19, 1, 0, CodeBits::Four).is_none());
        assert!(GroupShape::new(usize::MAX, 1, 16, CodeBits::Four).is_none());
        assert!(GroupShape::new(usize::MAX / 64, 1 << 10, 16, CodeBits::Four).is_none());
    }
}
