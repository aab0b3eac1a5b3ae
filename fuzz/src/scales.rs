//! Float scales of every form and size, right and wrong.

use crate::input::Input;
use crate::operands::length;
use crate::values::{Random, Reals};
use qgemm::Scale;

/// A scale that owns its values.
#[derive(Debug)]
pub enum OwnedScale {
    /// One for all.
    One(f32),
    /// One per column.
    Columns(Vec<f32>),
    /// One per row.
    Rows(Vec<f32>),
    /// Both.
    Both(Vec<f32>, Vec<f32>),
}

/// A source of scales: positive numbers of about a size, rarely others.
struct Source {
    any: Option<Reals>,
    unit: f32,
    random: Random,
}

impl Source {
    fn read(input: &mut Input<'_>) -> Self {
        // Zero, denormal, usual, huge: also those whose products are infinite.
        let exponent = match input.byte() % 8 {
            0..=5 => -i32::from(input.byte() % 24),
            _ => input.number(0..=276) as i32 - 149,
        };
        let any = input.rarely(16, Reals::read);
        Self { any, unit: 2f64.powi(exponent) as f32, random: Random::new(input.byte().into()) }
    }

    fn next(&mut self) -> f32 {
        // From 1 to 2, so that a unit that is the greatest power of two gives finite numbers; ties if it is 1.
        let factor = match self.random.bits() % 4 {
            0 => 1.0,
            1 => 1.5,
            _ => 1.0 + (self.random.bits() % (1 << 23)) as f32 / (1 << 23) as f32,
        };
        self.any.as_mut().map_or(factor * self.unit, Reals::real)
    }

    fn some(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

impl OwnedScale {
    /// Any scale of an M×N output.
    pub fn read(input: &mut Input<'_>, (m, n): (usize, usize)) -> Self {
        let form = input.byte() % 8;
        let mut source = Source::read(input);
        match form {
            0 | 1 => OwnedScale::One(source.next()),
            2..=4 => OwnedScale::Columns(source.some(length(input, n))),
            5 => OwnedScale::Rows(source.some(length(input, m))),
            _ => {
                let rows = source.some(length(input, m));
                OwnedScale::Both(rows, Source::read(input).some(length(input, n)))
            }
        }
    }

    /// The scale as stages take it.
    pub fn borrow(&self) -> Scale<'_> {
        match self {
            OwnedScale::One(scale) => Scale::PerTensor(*scale),
            OwnedScale::Columns(scales) => Scale::PerColumn(scales),
            OwnedScale::Rows(scales) => Scale::PerRow(scales),
            OwnedScale::Both(rows, columns) => Scale::RowsByColumns { rows, columns },
        }
    }

    /// Whether every stage has to refuse it: a scale is negative or not finite, or a product of two is not.
    pub fn is_wrong(&self) -> bool {
        let wrong = |scale: &f32| !scale.is_finite() || *scale < 0.0;
        match self {
            OwnedScale::One(scale) => wrong(scale),
            OwnedScale::Columns(scales) | OwnedScale::Rows(scales) => scales.iter().any(wrong),
            OwnedScale::Both(rows, columns) => {
                let infinite = |row: &f32| columns.iter().any(|column| !(row * column).is_finite());
                rows.iter().chain(columns).any(wrong) || rows.iter().any(infinite)
            }
        }
    }
}
