//! Float matrices and gathered rows that own their data.

use crate::input::Input;
use crate::operands::Picks;
use crate::place::{Elements, Place};
use crate::values::Reals;
use qgemm::half::{bf16, f16};
use qgemm::{Error, FloatLhs, GatherF32, MatRef};

/// A matrix of f32, in a buffer of its own.
#[derive(Debug)]
pub struct FloatMatrix {
    /// Its place in the buffer.
    pub place: Place,
    /// The buffer.
    pub values: Vec<f32>,
}

impl FloatMatrix {
    /// Any matrix of this shape.
    pub fn read(input: &mut Input<'_>, shape: (usize, usize)) -> Self {
        let place = Place::read(input, shape, Elements::Read);
        Self { place, values: Reals::read(input).reals(place.len) }
    }

    /// A view of it.
    ///
    /// # Errors
    /// If the buffer is too short.
    pub fn view(&self) -> Result<MatRef<'_, f32>, Error> {
        self.place.view(&self.values)
    }
}

/// A of floats.
#[derive(Debug)]
pub enum OwnedFloatLhs {
    /// A matrix.
    F32(FloatMatrix),
    /// A matrix of half precision, and the same values as f32.
    F16(Vec<f16>, FloatMatrix),
    /// A matrix of bfloat16, and the same values as f32.
    Bf16(Vec<bf16>, FloatMatrix),
    /// Rows of a matrix.
    Gathered(FloatMatrix, Picks),
}

impl OwnedFloatLhs {
    /// Any A of about M×K, and its K.
    pub fn read(input: &mut Input<'_>, m: usize, k: usize) -> (Self, usize) {
        let kind = input.byte() % 8;
        if kind == 7 {
            let (picks, k) = Picks::read(input, m, k);
            return (OwnedFloatLhs::Gathered(FloatMatrix::read(input, picks.source), picks), k);
        }
        let matrix = FloatMatrix::read(input, (m, k));
        let a = match kind {
            5 => {
                let half: Vec<f16> = matrix.values.iter().map(|&x| f16::from_f32(x)).collect();
                let values = half.iter().map(|x| x.to_f32()).collect();
                OwnedFloatLhs::F16(half, FloatMatrix { values, ..matrix })
            }
            6 => {
                let half: Vec<bf16> = matrix.values.iter().map(|&x| bf16::from_f32(x)).collect();
                let values = half.iter().map(|x| x.to_f32()).collect();
                OwnedFloatLhs::Bf16(half, FloatMatrix { values, ..matrix })
            }
            _ => OwnedFloatLhs::F32(matrix),
        };
        (a, k)
    }

    /// A as calls take it.
    ///
    /// # Errors
    /// If a buffer is too short, or an index wrong.
    pub fn lhs(&self) -> Result<FloatLhs<'_>, Error> {
        Ok(match self {
            OwnedFloatLhs::F32(matrix) => matrix.view()?.into(),
            OwnedFloatLhs::F16(half, matrix) => matrix.place.view(half)?.into(),
            OwnedFloatLhs::Bf16(half, matrix) => matrix.place.view(half)?.into(),
            OwnedFloatLhs::Gathered(source, picks) => {
                GatherF32::new(source.view()?, &picks.indices, picks.taps)?.into()
            }
        })
    }

    /// An A of f32 that has the same values, so that the reference gives the same result.
    ///
    /// # Errors
    /// Those of [`lhs`](Self::lhs).
    pub fn in_f32(&self) -> Result<FloatLhs<'_>, Error> {
        match self {
            OwnedFloatLhs::F16(_, matrix) | OwnedFloatLhs::Bf16(_, matrix) => Ok(matrix.view()?.into()),
            OwnedFloatLhs::F32(_) | OwnedFloatLhs::Gathered(..) => self.lhs(),
        }
    }

    /// The matrix of all values, if A is not gathered.
    pub fn matrix(&self) -> Option<MatRef<'_, f32>> {
        match self {
            OwnedFloatLhs::F32(matrix) | OwnedFloatLhs::F16(_, matrix) | OwnedFloatLhs::Bf16(_, matrix) => {
                matrix.view().ok()
            }
            OwnedFloatLhs::Gathered(..) => None,
        }
    }
}
