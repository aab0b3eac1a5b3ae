//! Output stages that own their values, for layers that keep them.

use crate::buffer;
use crate::element::ElementType;
use crate::error::Error;
use crate::one_or_each::OneOrEach;
use crate::output::activation::Activation;
use crate::output::dequantize::{Dequantize, FloatResidual};
use crate::output::fixed_point::{Multiplier, Rounding};
use crate::output::requant::Scaling;
use crate::output::requantize::{ChosenResidual, Requantize};
use crate::output::scale::{Scale, ScaleOfA};

/// A [`Requantize`] that owns its scales and its table: made by [`Requantize::into_owned`], and checked there once.
///
/// ```
/// use qgemm::{Error, Gemm, MatMut, OwnedRequantize, PackedB, Requantize};
///
/// struct Layer {
///     weights: PackedB,
///     output: OwnedRequantize,
/// }
///
/// impl Layer {
///     fn run(&self, a: qgemm::MatRef<'_, u8>, c: MatMut<'_, u8>) -> Result<(), Error> {
///         Gemm::new(a, &self.weights).run_requantized(c, &self.output)
///     }
/// }
/// let scales = vec![0.5, 0.25];
/// let output = Requantize::new(&scales, 3)?.relu().into_owned()?;
/// # drop(scales);
/// # assert_eq!(output.view().into_owned()?, output);
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedRequantize {
    scaling: OwnedScaling,
    scale_of_a: ScaleOfA,
    zero_point: i32,
    clamp: (i32, i32),
    /// The scale and the zero point of a residual in place.
    residual: Option<(f32, i32)>,
    /// A vector of one table: vectors can be asked for without an abort.
    table: Option<(Vec<[u8; 256]>, ElementType)>,
}

/// A [`Dequantize`] that owns its scales and its bias: made by [`Dequantize::into_owned`], and checked there once.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnedDequantize {
    scale: OwnedScale,
    scale_of_a: ScaleOfA,
    bias: Option<Vec<f32>>,
    residual_in_place: bool,
    clamp: (f32, f32),
    activation: Option<Activation>,
}

#[derive(Clone, Debug, PartialEq)]
enum OwnedScaling {
    Float(OwnedScale),
    FixedPoint(OwnedOneOrEach<Multiplier>, Rounding),
    F64(OwnedOneOrEach<f64>),
}

#[derive(Clone, Debug, PartialEq)]
enum OwnedScale {
    PerTensor(f32),
    PerColumn(Vec<f32>),
    PerRow(Vec<f32>),
    RowsByColumns { rows: Vec<f32>, columns: Vec<f32> },
}

#[derive(Clone, Debug, PartialEq)]
enum OwnedOneOrEach<T> {
    PerTensor(T),
    PerAxis(Vec<T>),
}

/// # Errors
/// [`Error::Memory`] if there is not enough.
fn owned<T: Copy>(values: &[T]) -> Result<Vec<T>, Error> {
    let mut copy = Vec::new();
    buffer::reserve(&mut copy, values.len(), "output stage")?;
    copy.extend_from_slice(values);
    Ok(copy)
}

impl OwnedScale {
    fn new(scale: Scale<'_>) -> Result<Self, Error> {
        Ok(match scale {
            Scale::PerTensor(scale) => OwnedScale::PerTensor(scale),
            Scale::PerColumn(scales) => OwnedScale::PerColumn(owned(scales)?),
            Scale::PerRow(scales) => OwnedScale::PerRow(owned(scales)?),
            Scale::RowsByColumns { rows, columns } => {
                OwnedScale::RowsByColumns { rows: owned(rows)?, columns: owned(columns)? }
            }
        })
    }

    fn view(&self) -> Scale<'_> {
        match self {
            OwnedScale::PerTensor(scale) => Scale::PerTensor(*scale),
            OwnedScale::PerColumn(scales) => Scale::PerColumn(scales),
            OwnedScale::PerRow(scales) => Scale::PerRow(scales),
            OwnedScale::RowsByColumns { rows, columns } => Scale::RowsByColumns { rows, columns },
        }
    }
}

impl<T: Copy> OwnedOneOrEach<T> {
    fn new(values: OneOrEach<'_, T>) -> Result<Self, Error> {
        Ok(match values {
            OneOrEach::PerTensor(value) => OwnedOneOrEach::PerTensor(value),
            OneOrEach::PerAxis(values) => OwnedOneOrEach::PerAxis(owned(values)?),
        })
    }

    fn view(&self) -> OneOrEach<'_, T> {
        match self {
            OwnedOneOrEach::PerTensor(value) => OneOrEach::PerTensor(*value),
            OwnedOneOrEach::PerAxis(values) => OneOrEach::PerAxis(values),
        }
    }
}

impl Requantize<'_> {
    /// A stage of its own, for a layer to keep. It is checked as far as it can be without an output: the clamp too.
    ///
    /// # Errors
    /// [`Error::Clamp`] if the clamp is inverted, those that [`residual`](Self::residual) names for a residual in place,
    /// [`Error::NotOwned`] for another residual, [`Error::Memory`] if there is not enough.
    pub fn into_owned(self) -> Result<OwnedRequantize, Error> {
        self.check_clamp()?;
        let residual = match self.residual {
            None => None,
            Some(ChosenResidual { matrix: Some(_), .. }) => {
                return Err(Error::NotOwned { argument: "residual" });
            }
            Some(residual @ ChosenResidual { matrix: None, scale, zero_point }) => {
                self.check_residual(&residual)?;
                Some((scale, zero_point))
            }
        };
        let scaling = match self.scaling {
            Scaling::Float(scale) => OwnedScaling::Float(OwnedScale::new(scale)?),
            Scaling::FixedPoint(multipliers, rounding) => {
                OwnedScaling::FixedPoint(OwnedOneOrEach::new(multipliers)?, rounding)
            }
            Scaling::F64(factors) => OwnedScaling::F64(OwnedOneOrEach::new(factors)?),
        };
        let table = match self.table {
            None => None,
            Some((bytes, element)) => Some((owned(std::slice::from_ref(bytes))?, element)),
        };
        let Self { scale_of_a, zero_point, clamp, .. } = self;
        Ok(OwnedRequantize { scaling, scale_of_a, zero_point, clamp, residual, table })
    }
}

impl OwnedRequantize {
    /// The stage, to be run, or to be given a [`residual`](Requantize::residual) for one call.
    pub fn view(&self) -> Requantize<'_> {
        let residual =
            self.residual.map(|(scale, zero_point)| ChosenResidual { matrix: None, scale, zero_point });
        let scaling = match &self.scaling {
            OwnedScaling::Float(scale) => Scaling::Float(scale.view()),
            OwnedScaling::FixedPoint(multipliers, rounding) => {
                Scaling::FixedPoint(multipliers.view(), *rounding)
            }
            OwnedScaling::F64(factors) => Scaling::F64(factors.view()),
        };
        let table =
            self.table.as_ref().and_then(|(bytes, element)| bytes.first().map(|bytes| (bytes, *element)));
        let Self { scale_of_a, zero_point, clamp, .. } = *self;
        Requantize { scaling, scale_of_a, zero_point, clamp, residual, table }
    }
}

impl<'a> From<&'a OwnedRequantize> for Requantize<'a> {
    fn from(stage: &'a OwnedRequantize) -> Self {
        stage.view()
    }
}

impl Dequantize<'_> {
    /// A stage of its own, for a layer to keep. It is checked as far as it can be without an output: the clamp too.
    ///
    /// # Errors
    /// [`Error::FloatClamp`] if the clamp is inverted or NaN, [`Error::NotOwned`] for a residual that is not in place,
    /// [`Error::Memory`] if there is not enough.
    pub fn into_owned(self) -> Result<OwnedDequantize, Error> {
        self.check_clamp()?;
        let residual_in_place = match self.residual {
            None => false,
            Some(FloatResidual::Output) => true,
            Some(FloatResidual::Matrix(_)) => return Err(Error::NotOwned { argument: "residual" }),
        };
        let bias = match self.bias {
            None => None,
            Some(bias) => Some(owned(bias)?),
        };
        let scale = OwnedScale::new(self.scale)?;
        let Self { scale_of_a, clamp, activation, .. } = self;
        Ok(OwnedDequantize { scale, scale_of_a, bias, residual_in_place, clamp, activation })
    }
}

impl OwnedDequantize {
    /// The stage, to be run, or to be given a [`residual`](Dequantize::residual) for one call.
    pub fn view(&self) -> Dequantize<'_> {
        Dequantize {
            scale: self.scale.view(),
            scale_of_a: self.scale_of_a,
            bias: self.bias.as_deref(),
            residual: self.residual_in_place.then_some(FloatResidual::Output),
            clamp: self.clamp,
            activation: self.activation,
        }
    }
}

impl<'a> From<&'a OwnedDequantize> for Dequantize<'a> {
    fn from(stage: &'a OwnedDequantize) -> Self {
        stage.view()
    }
}
