//! Group-wise weights as plain matrices, and packed from them by every way that the library has.

use crate::input::Input;
use crate::operands::length;
use crate::values::{Random, Reals};
use qgemm::half::{bf16, f16};
use qgemm::{CodeBits, GroupScales, GroupwiseB, MatRef};

/// Numbers of a type that scales have.
#[derive(Debug)]
pub enum Numbers {
    /// f32.
    F32(Vec<f32>),
    /// Half precision.
    F16(Vec<f16>),
    /// bfloat16.
    Bf16(Vec<bf16>),
}

impl Numbers {
    /// Some numbers, mostly finite, of any type.
    pub fn read(input: &mut Input<'_>, len: usize) -> Self {
        let kind = input.byte() % 3;
        let mut reals = if input.one_in(4) { Reals::read(input) } else { Reals::usual(input.byte()) };
        let reals = (0..len).map(|_| reals.real());
        match kind {
            0 => Numbers::F32(reals.collect()),
            1 => Numbers::F16(reals.map(f16::from_f32).collect()),
            _ => Numbers::Bf16(reals.map(bf16::from_f32).collect()),
        }
    }

    /// Whole numbers from 0 to `max` in the type of others; with a few that are not.
    pub fn whole_like(&self, input: &mut Input<'_>, max: u8) -> Self {
        let (wrong, mut random) = (input.one_in(16), Random::new(input.byte().into()));
        let number = |_| {
            let at = random.below(usize::from(max) + 1) as f32;
            if wrong && random.below(8) == 0 { at - 0.5 } else { at }
        };
        let whole: Vec<f32> = (0..self.len()).map(number).collect();
        match self {
            Numbers::F32(_) => Numbers::F32(whole),
            Numbers::F16(_) => Numbers::F16(whole.iter().map(|&x| f16::from_f32(x)).collect()),
            Numbers::Bf16(_) => Numbers::Bf16(whole.iter().map(|&x| bf16::from_f32(x)).collect()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Numbers::F32(x) => x.len(),
            Numbers::F16(x) => x.len(),
            Numbers::Bf16(x) => x.len(),
        }
    }

    /// Number `at`.
    pub fn at(&self, at: usize) -> f32 {
        match self {
            Numbers::F32(x) => x[at],
            Numbers::F16(x) => x[at].to_f32(),
            Numbers::Bf16(x) => x[at].to_f32(),
        }
    }

    /// A row-major matrix of them; `None` if there are too few.
    pub fn matrix(&self, rows: usize, cols: usize) -> Option<GroupScales<'_>> {
        Some(match self {
            Numbers::F32(x) => MatRef::row_major(x, rows, cols).ok()?.into(),
            Numbers::F16(x) => MatRef::row_major(x, rows, cols).ok()?.into(),
            Numbers::Bf16(x) => MatRef::row_major(x, rows, cols).ok()?.into(),
        })
    }

    /// The transpose of a row-major matrix of them; `None` if there are too few.
    pub fn transposed(&self, rows: usize, cols: usize) -> Option<GroupScales<'_>> {
        Some(match self {
            Numbers::F32(x) => MatRef::row_major(x, rows, cols).ok()?.transpose().into(),
            Numbers::F16(x) => MatRef::row_major(x, rows, cols).ok()?.transpose().into(),
            Numbers::Bf16(x) => MatRef::row_major(x, rows, cols).ok()?.transpose().into(),
        })
    }
}

/// The size of weights and their groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupShape {
    /// Rows.
    pub k: usize,
    /// Columns.
    pub n: usize,
    /// Rows of a group, which may be wrong.
    pub group: usize,
    /// Bits of a code.
    pub bits: CodeBits,
}

impl GroupShape {
    /// Any groups of a K×N matrix.
    pub fn read(input: &mut Input<'_>, k: usize, n: usize) -> Self {
        let bits = if input.flag() { CodeBits::Eight } else { CodeBits::Four };
        let group = match input.byte() % 16 {
            0..=9 => input.one_of(&[32, 8, 16, 64, 128, 24, 40, 256, 264, 1 << 20]),
            10 | 11 => k.max(1),
            12 | 13 => k + 3,
            14 => 8 * input.number(1..=50),
            _ => input.number(0..=40),
        };
        Self { k, n, group, bits }
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.k.div_ceil(self.group.max(1))
    }
}

/// What weights have to hold, element by element.
pub struct Expected<'e> {
    /// Their size.
    pub shape: GroupShape,
    /// The code of (k, j).
    pub code: &'e dyn Fn(usize, usize) -> i32,
    /// The zero point of (g, j).
    pub zero: &'e dyn Fn(usize, usize) -> i32,
    /// The scale of (g, j).
    pub scale: &'e dyn Fn(usize, usize) -> f32,
    /// The minimum of (g, j).
    pub minimum: Option<&'e dyn Fn(usize, usize) -> f32>,
}

impl Expected<'_> {
    /// Panics unless packed weights hold that, and nothing besides.
    pub fn check(&self, b: &GroupwiseB) {
        let GroupShape { k, n, group, bits } = self.shape;
        assert_eq!((b.k(), b.n(), b.group(), b.bits(), b.groups()), (k, n, group, bits, self.shape.groups()));
        for j in 0..n {
            for row in 0..k {
                assert_eq!(b.code(row, j), Some((self.code)(row, j)), "code of row {row}, column {j}");
            }
            for g in 0..b.groups() {
                assert_eq!(b.zero(g, j), Some((self.zero)(g, j)), "zero point of group {g}, column {j}");
                let bits = |x: f32| x.to_bits();
                let scale = b.scale(g, j).map(bits);
                assert_eq!(scale, Some(bits((self.scale)(g, j))), "scale of group {g}, column {j}");
                let minimum = self.minimum.map(|minimum| bits(minimum(g, j)));
                assert_eq!(b.minimum(g, j).map(bits), minimum, "minimum of group {g}, column {j}");
            }
        }
        assert_eq!((b.code(k, 0), b.code(0, n)), (None, None));
        assert_eq!((b.zero(b.groups(), 0), b.scale(0, n), b.minimum(b.groups(), 0)), (None, None, None));
    }
}

/// Bytes of about a length, mostly of that.
pub fn about(input: &mut Input<'_>, len: usize) -> Vec<u8> {
    let len = length(input, len);
    let (mut random, mask) = (Random::new(input.byte().into()), input.one_of(&[255, 255, 0x77, 0]));
    (0..len).map(|_| random.bits() as u8 & mask).collect()
}
