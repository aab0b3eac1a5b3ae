//! Functions of an 8-bit value as tables of their 256 results.

use crate::element::Int8Element;
use crate::error::Error;
use crate::output::activation::Activation;
use crate::quantize::functions::{dequantize, quantize};
use crate::quantize::params::QuantParams;
use qgemm_kernels::in_default_float_mode;
use std::marker::PhantomData;

/// A function from `i8` to `i8`, or from `u8` to `u8`, as a table of its 256 values. It is exact, and equally fast for
/// every function.
///
/// ```
/// use qgemm::{Activation, QuantParams, Table};
///
/// let input = QuantParams { scale: 0.05, zero_point: 0 };
/// let output = QuantParams { scale: 0.025, zero_point: -100 };
/// let gelu = Table::<i8>::activation(Activation::Gelu, input, output)?;
/// assert_eq!(gelu.get(20), -66); // 0.05 · 20 = 1.0, gelu(1.0) = 0.841, 0.841 / 0.025 - 100 = -66.3
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table<T> {
    /// The bits of the value for the bits of each argument.
    bytes: [u8; 256],
    element: PhantomData<T>,
}

impl<T: Int8Element> Table<T> {
    /// The table of a function of quantized values.
    pub fn from_fn(f: impl Fn(T) -> T) -> Self {
        Self {
            bytes: std::array::from_fn(|bits| f(T::from_bits(bits as u8)).to_bits()),
            element: PhantomData,
        }
    }

    /// The table of a function of real numbers, between two quantizations: each value is [`dequantize`]d with `input`,
    /// passed to `f`, and [`quantize`]d with `output`, bit for bit. `f` is called in the default floating-point mode.
    ///
    /// # Errors
    /// [`Error::Scale`] if a scale is not finite and positive.
    pub fn new(input: QuantParams, output: QuantParams, f: impl Fn(f32) -> f32) -> Result<Self, Error> {
        in_default_float_mode(|| {
            let arguments: [T; 256] = std::array::from_fn(|bits| T::from_bits(bits as u8));
            let (mut reals, mut values) = ([0.0; 256], arguments);
            dequantize(&arguments, input, &mut reals)?;
            quantize(&reals.map(f), output, &mut values)?;
            Ok(Self { bytes: values.map(T::to_bits), element: PhantomData })
        })
    }

    /// The table of an activation, between the quantizations of its argument and of its value.
    ///
    /// # Errors
    /// Those of [`Table::new`].
    pub fn activation(
        activation: Activation,
        input: QuantParams,
        output: QuantParams,
    ) -> Result<Self, Error> {
        Self::new(input, output, |x| activation.apply(x))
    }

    /// The value of the function at `x`.
    pub fn get(&self, x: T) -> T {
        T::from_bits(self.bytes[usize::from(x.to_bits())])
    }

    pub(crate) fn bytes(&self) -> &[u8; 256] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_saturate_and_take_nan_for_zero() {
        let params = |scale, zero_point| QuantParams { scale, zero_point };
        let table = Table::<i8>::new(params(1.0, 0), params(0.5, 10), |x| x).unwrap();
        assert_eq!(
            [-128, -70, -69, 0, 1, 58, 59, 127].map(|x| table.get(x)),
            [-128, -128, -128, 10, 12, 126, 127, 127]
        );
        let table = Table::<u8>::new(params(1.0, 100), params(1.0, 7), |x| x.sqrt()).unwrap();
        assert_eq!([0, 99, 100, 101, 104, 125].map(|x| table.get(x)), [7, 7, 7, 8, 9, 12]);
        let infinite = params(f32::MAX, 1);
        let silu = Table::<i8>::activation(Activation::Silu, infinite, params(1.0, -3)).unwrap();
        assert_eq!([-128, 0, 1, 2, 127].map(|x| silu.get(x)), [-3, -3, -3, 127, 127]);
        assert!(matches!(Table::<u8>::new(params(0.0, 0), params(1.0, 0), |x| x), Err(Error::Scale { .. })));
        assert!(matches!(
            Table::<u8>::new(params(1.0, 0), params(f32::NAN, 0), |x| x),
            Err(Error::Scale { .. })
        ));
    }

    #[test]
    fn any_function_of_integers() {
        let table = Table::<i8>::from_fn(|x| x.saturating_neg());
        assert!((i8::MIN..=i8::MAX).all(|x| table.get(x) == x.saturating_neg()));
    }
}
