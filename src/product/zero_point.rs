//! Zero points, as frameworks store them.

use crate::error::{Error, check_length};
use crate::one_or_each::OneOrEach;
use std::ops::Range;

/// Zero points: one for a matrix, or one per row of A or per column of B. Any i32.
///
/// Made by `into()` from an `i32`, `i8` or `u8`, or from a slice of them.
///
/// ```
/// use qgemm::ZeroPoint;
///
/// let per_tensor: ZeroPoint = 3u8.into();
/// assert_eq!(per_tensor, ZeroPoint::PerTensor(3));
/// let stored = vec![-3i8, 5]; // as in a model file
/// assert_eq!(ZeroPoint::from(&stored), ZeroPoint::PerAxisI8(&[-3, 5]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ZeroPoint<'a> {
    /// One for all.
    PerTensor(i32),
    /// One per row of A, or per column of B.
    PerAxis(&'a [i32]),
    /// One per row or column, in i8.
    PerAxisI8(&'a [i8]),
    /// One per row or column, in u8.
    PerAxisU8(&'a [u8]),
}

impl From<i32> for ZeroPoint<'_> {
    fn from(zero: i32) -> Self {
        ZeroPoint::PerTensor(zero)
    }
}

impl From<i8> for ZeroPoint<'_> {
    fn from(zero: i8) -> Self {
        ZeroPoint::PerTensor(zero.into())
    }
}

impl From<u8> for ZeroPoint<'_> {
    fn from(zero: u8) -> Self {
        ZeroPoint::PerTensor(zero.into())
    }
}

impl<'a> From<&'a [i32]> for ZeroPoint<'a> {
    fn from(zeros: &'a [i32]) -> Self {
        ZeroPoint::PerAxis(zeros)
    }
}

impl<'a> From<&'a [i8]> for ZeroPoint<'a> {
    fn from(zeros: &'a [i8]) -> Self {
        ZeroPoint::PerAxisI8(zeros)
    }
}

impl<'a> From<&'a [u8]> for ZeroPoint<'a> {
    fn from(zeros: &'a [u8]) -> Self {
        ZeroPoint::PerAxisU8(zeros)
    }
}

impl<'a> From<OneOrEach<'a, i32>> for ZeroPoint<'a> {
    fn from(zeros: OneOrEach<'a, i32>) -> Self {
        match zeros {
            OneOrEach::PerTensor(zero) => ZeroPoint::PerTensor(zero),
            OneOrEach::PerAxis(zeros) => ZeroPoint::PerAxis(zeros),
        }
    }
}

impl<'a, T> From<&'a Vec<T>> for ZeroPoint<'a>
where
    ZeroPoint<'a>: From<&'a [T]>,
{
    fn from(zeros: &'a Vec<T>) -> Self {
        zeros.as_slice().into()
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for ZeroPoint<'a>
where
    ZeroPoint<'a>: From<&'a [T]>,
{
    fn from(zeros: &'a [T; N]) -> Self {
        zeros.as_slice().into()
    }
}

impl ZeroPoint<'_> {
    /// The zero point of row or column `i`.
    ///
    /// # Panics
    /// If there is none: lengths are checked by [`check_len`](Self::check_len) first.
    #[inline]
    pub(crate) fn at(&self, i: usize) -> i32 {
        match self {
            ZeroPoint::PerTensor(zero) => *zero,
            ZeroPoint::PerAxis(zeros) => zeros[i],
            ZeroPoint::PerAxisI8(zeros) => zeros[i].into(),
            ZeroPoint::PerAxisU8(zeros) => zeros[i].into(),
        }
    }

    /// Writes those of some rows or columns to the beginning of `out`.
    pub(crate) fn copy_to(&self, range: Range<usize>, out: &mut [i32]) {
        let out = &mut out[..range.len()];
        match self {
            ZeroPoint::PerTensor(zero) => out.fill(*zero),
            ZeroPoint::PerAxis(zeros) => out.copy_from_slice(&zeros[range]),
            ZeroPoint::PerAxisI8(zeros) => {
                out.iter_mut().zip(&zeros[range]).for_each(|(out, &zero)| *out = zero.into());
            }
            ZeroPoint::PerAxisU8(zeros) => {
                out.iter_mut().zip(&zeros[range]).for_each(|(out, &zero)| *out = zero.into());
            }
        }
    }

    /// The number of them, if each row or column has its own.
    fn len(&self) -> Option<usize> {
        match self {
            ZeroPoint::PerTensor(_) => None,
            ZeroPoint::PerAxis(zeros) => Some(zeros.len()),
            ZeroPoint::PerAxisI8(zeros) => Some(zeros.len()),
            ZeroPoint::PerAxisU8(zeros) => Some(zeros.len()),
        }
    }

    /// # Errors
    /// [`Error::Length`] if each row or column has its own, and there are not `need` of them.
    #[inline]
    pub(crate) fn check_len(&self, argument: &'static str, need: usize) -> Result<(), Error> {
        self.len().map_or(Ok(()), |got| check_length(argument, got, need))
    }

    /// The least and the greatest; (0, 0) if there is none.
    #[inline]
    pub(crate) fn min_max(&self) -> (i32, i32) {
        fn of<T: Copy + Ord + Into<i32>>(zeros: &[T]) -> (i32, i32) {
            match zeros {
                [] => (0, 0),
                [first, ..] => {
                    let ends = |(lo, hi): (T, T), zero: &T| (lo.min(*zero), hi.max(*zero));
                    let (lo, hi) = zeros.iter().fold((*first, *first), ends);
                    (lo.into(), hi.into())
                }
            }
        }
        match self {
            ZeroPoint::PerTensor(zero) => (*zero, *zero),
            ZeroPoint::PerAxis(zeros) => of(zeros),
            ZeroPoint::PerAxisI8(zeros) => of(zeros),
            ZeroPoint::PerAxisU8(zeros) => of(zeros),
        }
    }
}
