//! A case, and the kinds of its values.

use crate::groupwise::layout::{CodeBits, GroupShape};
use core::fmt;

/// A case: its shape, and a seed that decides everything else.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) m: usize,
    pub(super) shape: GroupShape,
    pub(super) seed: u32,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { m, shape, seed } = self;
        write!(
            f,
            "{m}x{}x{} {:?} bits, groups of {}, seed {seed}",
            shape.k(),
            shape.n(),
            shape.bits(),
            shape.group()
        )
    }
}

/// A sequence of numbers.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u32) -> Self {
        Self(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub(super) fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

/// The kinds of values of a case.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    /// 0 one zero point, 1 one per group and column, 2 extremes of them.
    pub(super) zeros: u32,
    pub(super) one_zero: u8,
    pub(super) minimums: bool,
    /// f32, f16, bf16.
    pub(super) scale_type: u32,
    pub(super) group_scales: bool,
    pub(super) a_zeros: bool,
    pub(super) bias: bool,
    clamped: bool,
    /// Random, at the extremes, or small.
    pub(super) a: u32,
    pub(super) codes: u32,
    /// Ordinary scales, or any finite ones.
    pub(super) wild: bool,
}

impl Kinds {
    pub(super) fn new(bits: CodeBits, random: &mut Random) -> Self {
        Self {
            zeros: random.below(3),
            one_zero: random.below(u32::from(bits.max()) + 1) as u8,
            minimums: random.below(3) == 0,
            scale_type: random.below(3),
            group_scales: random.below(2) == 0,
            a_zeros: random.below(3) == 0,
            bias: random.below(2) == 0,
            clamped: random.below(3) == 0,
            a: random.below(3),
            codes: random.below(3),
            wild: random.below(8) == 0,
        }
    }

    /// The bounds of outputs.
    pub(super) fn clamp(&self) -> (f32, f32) {
        if self.clamped { (-0.0, 90.5) } else { (f32::NEG_INFINITY, f32::INFINITY) }
    }
}
