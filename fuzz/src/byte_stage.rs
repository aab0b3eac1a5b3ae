//! Output stages to 8 bits that own their data.

use crate::input::Input;
use crate::operands::{Matrix8, length};
use crate::scales::OwnedScale;
use crate::values::{Integers, Random, Reals};
use qgemm::{Error, Int8Element, Multiplier, OneOrEach, Requantize, Rounding, Table};

/// One value, or one per column.
type Columns<T> = Result<T, Vec<T>>;

fn borrow<T: Copy>(columns: &Columns<T>) -> OneOrEach<'_, T> {
    match columns {
        Ok(one) => OneOrEach::PerTensor(*one),
        Err(each) => OneOrEach::PerAxis(each),
    }
}

fn columns<T>(input: &mut Input<'_>, n: usize, mut next: impl FnMut() -> T) -> Columns<T> {
    if input.flag() {
        return Ok(next());
    }
    Err((0..length(input, n)).map(|_| next()).collect())
}

#[derive(Debug)]
enum Scaling {
    Float(OwnedScale),
    Fixed(Columns<Multiplier>, Rounding),
    F64(Columns<f64>),
}

impl Scaling {
    fn read(input: &mut Input<'_>, (m, n): (usize, usize)) -> Self {
        match input.byte() % 6 {
            0..=2 => Scaling::Float(OwnedScale::read(input, (m, n))),
            3 => {
                let roundings = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference];
                let rounding = input.one_of(&roundings);
                let (shift, spread) = (input.number(0..=61) as i32 - 31, input.number(0..=8) as i32);
                let mut random = Random::new(input.byte().into());
                let multipliers = columns(input, n, || {
                    let bits = random.bits();
                    let m = match bits % 8 {
                        0 => 0,
                        1 => 1 << 30,
                        2 => i32::MAX,
                        _ => 1 << 30 | (bits >> 32) as i32 & ((1 << 30) - 1),
                    };
                    let shift = shift + ((bits >> 8) % (spread as u64 + 1)) as i32;
                    Multiplier::new(m, shift.min(30)).expect("it is in range")
                });
                Scaling::Fixed(multipliers, rounding)
            }
            _ => {
                let exponent =
                    if input.flag() { -i32::from(input.byte() % 24) } else { input.word() as i32 % 1100 };
                let (mut random, wrong) = (Random::new(input.byte().into()), input.one_in(32));
                let unit = 2f64.powi(exponent);
                let factors = columns(input, n, || match random.bits() {
                    bits if wrong && bits % 8 == 0 => [f64::NAN, -1.0, f64::INFINITY][bits as usize / 8 % 3],
                    bits if bits % 4 == 0 => unit,
                    bits if bits % 4 == 1 => 1.5 * unit,
                    bits => unit * ((bits >> 11) as f64 / (1u64 << 52) as f64),
                });
                Scaling::F64(factors)
            }
        }
    }

    /// Whether a stage has to refuse it.
    fn is_wrong(&self) -> bool {
        let wrong = |factor: &f64| !factor.is_finite() || *factor < 0.0;
        match self {
            Scaling::Float(scale) => scale.is_wrong(),
            Scaling::Fixed(..) => false,
            Scaling::F64(Ok(factor)) => wrong(factor),
            Scaling::F64(Err(factors)) => factors.iter().any(wrong),
        }
    }
}

#[derive(Debug)]
struct Residual {
    /// `None` for the output itself.
    matrix: Option<Matrix8>,
    scale: f32,
    zero_point: i32,
}

/// A stage to values of type `T`.
#[derive(Debug)]
pub struct ByteStage<T> {
    scaling: Scaling,
    zero_point: i32,
    clamp: Option<(i32, i32)>,
    relu: bool,
    residual: Option<Residual>,
    table: Option<Box<Table<T>>>,
    /// Whether the stage is for a call that finds the scale of A.
    dynamic: bool,
    /// Whether the library runs a copy of it that owns its data.
    kept: bool,
}

impl<T: Int8Element> ByteStage<T> {
    /// Any stage of an M×N output. Those of a call that finds the scale of A are made for one, mostly.
    pub fn read(input: &mut Input<'_>, (m, n): (usize, usize), finds_scale: bool) -> Self {
        let scaling = if finds_scale {
            Scaling::Float(OwnedScale::read(input, (m, n)))
        } else {
            Scaling::read(input, (m, n))
        };
        let dynamic = finds_scale != input.one_in(128) && matches!(scaling, Scaling::Float(_));
        let zero_point = match input.byte() % 4 {
            0 | 1 => i32::from(input.byte()) - 128,
            2 => Integers::read(input).integer() % ((1 << 21) + 1),
            _ => Integers::read(input).integer(),
        };
        let clamp = input.rarely(3, |input| {
            let (lo, hi) = (i32::from(input.byte()) - 128, i32::from(input.byte()));
            if input.one_in(16) { (Integers::read(input).integer(), hi) } else { (lo, hi) }
        });
        let (relu, kept) = (input.one_in(8), input.one_in(4));
        let residual = input.rarely(4, |input| Residual {
            matrix: input.rarely(2, |input| {
                let rows = length(input, m);
                Matrix8::read(input, (rows, n))
            }),
            scale: if input.one_in(16) { Reals::read(input).real() } else { f32::from(input.byte()) / 64.0 },
            zero_point: Integers::read(input).integer() >> if input.flag() { 10 } else { 0 },
        });
        let table = input.rarely(4, |input| {
            let mut values = Integers::read(input);
            let values: [T; 256] = std::array::from_fn(|_| T::from_bits(values.byte()));
            Box::new(Table::from_fn(|x: T| values[usize::from(x.to_bits())]))
        });
        Self { scaling, zero_point, clamp, relu, residual, table, dynamic, kept }
    }

    /// The stage.
    ///
    /// # Errors
    /// Those of making it. A wrong scale has to be one.
    pub fn build(&self) -> Result<Requantize<'_>, Error> {
        let made = match &self.scaling {
            Scaling::Float(scale) if self.dynamic => Requantize::dynamic(scale.borrow(), self.zero_point),
            Scaling::Float(scale) => Requantize::new(scale.borrow(), self.zero_point),
            Scaling::Fixed(multipliers, rounding) => {
                Requantize::fixed_point(borrow(multipliers), *rounding, self.zero_point)
            }
            Scaling::F64(factors) => Requantize::in_f64(borrow(factors), self.zero_point),
        };
        let is_wrong = self.scaling.is_wrong() || self.zero_point.unsigned_abs() > 1 << 21;
        assert_eq!(made.is_err(), is_wrong, "{made:?} of {:?} and {}", self.scaling, self.zero_point);
        let mut stage = made?;
        if self.relu {
            stage = stage.relu();
        }
        if let Some((lo, hi)) = self.clamp {
            stage = stage.clamp_to(lo, hi);
        }
        stage = match &self.residual {
            Some(Residual { matrix: Some(matrix), scale, zero_point }) => {
                stage.residual(matrix.operand()?, *scale, *zero_point)
            }
            Some(Residual { matrix: None, scale, zero_point }) => {
                stage.residual_in_place(*scale, *zero_point)
            }
            None => stage,
        };
        Ok(self.table.as_ref().map_or(stage, |table| stage.table(table)))
    }

    /// Calls `run` with the stage, or with a copy that owns its data, which gives the same results.
    ///
    /// # Errors
    /// Those of `run`.
    pub fn run_kept(
        &self,
        stage: &Requantize<'_>,
        run: impl FnOnce(&Requantize<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        match stage.into_owned() {
            Ok(owned) if self.kept => run(&owned.view()),
            _ => run(stage),
        }
    }
}
