//! Scales and minimums of group-wise weights, as they come and as kernels read them.

use crate::buffer;
use crate::error::{Error, check_shape};
use crate::matrix::view::MatRef;
use crate::weights::storage::Storage;
use half::{bf16, f16};
use qgemm_kernels as kernels;
use qgemm_kernels::{GroupShape, in_default_float_mode};

/// Scales (or minimums) of group-wise weights: a matrix with a row per group and a column per column of the weights, kept in
/// the type that it comes in. Made by `into()` from a [`MatRef`] of `f32`, [`half::f16`] or [`half::bf16`]; those that are stored as
/// [N, groups] are passed as a transpose.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum GroupScales<'a> {
    /// A matrix of f32.
    F32(MatRef<'a, f32>),
    /// A matrix of IEEE half precision.
    F16(MatRef<'a, f16>),
    /// A matrix of bfloat16.
    Bf16(MatRef<'a, bf16>),
}

impl<'a> From<MatRef<'a, f32>> for GroupScales<'a> {
    fn from(scales: MatRef<'a, f32>) -> Self {
        GroupScales::F32(scales)
    }
}

impl<'a> From<MatRef<'a, f16>> for GroupScales<'a> {
    fn from(scales: MatRef<'a, f16>) -> Self {
        GroupScales::F16(scales)
    }
}

impl<'a> From<MatRef<'a, bf16>> for GroupScales<'a> {
    fn from(scales: MatRef<'a, bf16>) -> Self {
        GroupScales::Bf16(scales)
    }
}

/// The purpose that errors name.
pub(super) const PURPOSE: &str = "packed b";

/// The groups of weights, or none if they have no columns: a loop over them ends at once, however many rows there are.
pub(super) fn groups_with_columns(shape: &GroupShape) -> usize {
    if shape.n() == 0 { 0 } else { shape.groups() }
}

/// Scales in the order of panels.
#[derive(Clone)]
pub(crate) enum PackedScales {
    F32(Storage<f32>),
    F16(Storage<u16>),
    Bf16(Storage<u16>),
}

/// A type of scales.
trait ScaleType: Copy {
    type Bits: Copy + Default;
    fn bits(self) -> Self::Bits;
}

impl ScaleType for f32 {
    type Bits = f32;
    fn bits(self) -> f32 {
        self
    }
}

impl ScaleType for f16 {
    type Bits = u16;
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

impl ScaleType for bf16 {
    type Bits = u16;
    fn bits(self) -> u16 {
        self.to_bits()
    }
}

fn pack<T: ScaleType>(
    scales: MatRef<'_, T>,
    shape: &GroupShape,
    argument: &'static str,
) -> Result<Storage<T::Bits>, Error> {
    check_shape(argument, (scales.rows(), scales.cols()), (shape.groups(), shape.n()))?;
    let mut packed = Vec::new();
    buffer::refill(&mut packed, shape.scales_len(), T::Bits::default(), PURPOSE)?;
    for g in 0..groups_with_columns(shape) {
        for j in 0..shape.n() {
            let scale = *scales.get(g, j).expect("the shape was checked");
            packed[shape.scale_at(g, j)] = scale.bits();
        }
    }
    Ok(Storage::Own(packed))
}

impl PackedScales {
    /// # Errors
    /// [`Error::Shape`] if it is no matrix of groups by columns, [`Error::NotFinite`], [`Error::Memory`].
    pub(crate) fn new(
        scales: GroupScales<'_>,
        shape: &GroupShape,
        argument: &'static str,
    ) -> Result<Self, Error> {
        let packed = match scales {
            GroupScales::F32(scales) => PackedScales::F32(pack(scales, shape, argument)?),
            GroupScales::F16(scales) => PackedScales::F16(pack(scales, shape, argument)?),
            GroupScales::Bf16(scales) => PackedScales::Bf16(pack(scales, shape, argument)?),
        };
        packed.checked(shape, argument)
    }

    /// The value at a place of the layout.
    pub(crate) fn at(&self, at: usize) -> f32 {
        match self {
            PackedScales::F32(scales) => scales[at],
            PackedScales::F16(scales) => f16::from_bits(scales[at]).to_f32(),
            PackedScales::Bf16(scales) => bf16::from_bits(scales[at]).to_f32(),
        }
    }

    /// The number that stands for the type where scales are saved.
    pub(crate) fn code(&self) -> u32 {
        match self {
            PackedScales::F32(_) => 0,
            PackedScales::F16(_) => 1,
            PackedScales::Bf16(_) => 2,
        }
    }

    /// The scales, if all of them are finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`], naming the first that is not.
    pub(crate) fn checked(self, shape: &GroupShape, argument: &'static str) -> Result<Self, Error> {
        let places = (0..groups_with_columns(shape)).flat_map(|g| (0..shape.n()).map(move |j| (g, j)));
        let mut values = places.map(|(g, j)| (g, j, self.at(shape.scale_at(g, j))));
        // A signalling NaN would trap in a mode of the caller's.
        match in_default_float_mode(|| values.find(|(_, _, value)| !value.is_finite())) {
            Some((row, column, got)) => Err(Error::NotFinite { argument, row, column, got }),
            None => Ok(self),
        }
    }

    /// The scales in the form that kernels read.
    pub(crate) fn for_kernel(&self) -> kernels::GroupScales<'_> {
        match self {
            PackedScales::F32(scales) => kernels::GroupScales::F32(scales),
            PackedScales::F16(scales) => kernels::GroupScales::F16(scales),
            PackedScales::Bf16(scales) => kernels::GroupScales::Bf16(scales),
        }
    }

    /// The memory that they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            PackedScales::F32(scales) => size_of_val(&scales[..]),
            PackedScales::F16(scales) | PackedScales::Bf16(scales) => size_of_val(&scales[..]),
        }
    }
}
