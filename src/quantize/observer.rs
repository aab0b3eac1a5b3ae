//! The range of values over batches of calibration data.

use crate::error::Error;
use crate::quantize::histogram::Histogram;
use crate::quantize::params::QuantParams;
use crate::quantize::span::{Span, span};
use qgemm_kernels::in_default_float_mode;
use std::fmt;

/// The range of a tensor's values over batches of calibration data, and the parameters to quantize it by.
///
/// The range is that of all values ([`min_max`](Self::min_max)), a moving average of the batches' ranges
/// ([`moving_average`](Self::moving_average)), or the range of most values ([`percentile`](Self::percentile)).
///
/// ```
/// use qgemm::{Observer, QuantParams};
///
/// let mut activations = Observer::min_max();
/// for batch in [[0.0f32, 0.5, 1.5], [-1.0, 0.25, 1.0]] {
///     activations.observe(&batch)?;
/// }
/// assert_eq!(activations.range(), Some((-1.0, 1.5)));
/// let params = activations.params(0, 255)?;
/// assert_eq!(params, QuantParams { scale: 2.5 / 255.0, zero_point: 102 });
/// # Ok::<(), qgemm::Error>(())
/// ```
#[derive(Clone)]
pub struct Observer {
    statistic: Statistic,
}

/// More than the error of a difference such as 100 - 99.9, by which one of 2000 values is to be cut off at each end.
const ROUNDING: f64 = 1.0 / (1u64 << 47) as f64;

#[derive(Clone)]
enum Statistic {
    MinMax(Span),
    MovingAverage { constant: f64, ends: Option<(f64, f64)> },
    Percentile { percent: f64, span: Span, histogram: Histogram },
}

impl Observer {
    /// The range from the least to the greatest of all values.
    pub fn min_max() -> Self {
        Self { statistic: Statistic::MinMax(Span::EMPTY) }
    }

    /// A moving average of the ranges of batches, as PyTorch's `MovingAverageMinMaxObserver` has it, whose default for
    /// `constant` is 0.01. The range of the first batch is taken as it is; each later one moves both ends, in f64:
    ///
    /// ```text
    /// min = min + constant · (batch_min - min)
    /// max = max + constant · (batch_max - max)
    /// ```
    ///
    /// A batch without values is none.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if `constant` is not in (0, 1], or is subnormal.
    pub fn moving_average(constant: f64) -> Result<Self, Error> {
        in_default_float_mode(|| check_range("constant", constant, 1.0))?;
        Ok(Self { statistic: Statistic::MovingAverage { constant, ends: None } })
    }

    /// The range of `percent` of all values: half of the other values is cut off at each end, as ONNX Runtime's
    /// `PercentileCalibrater` does it without `symmetric`, where 99.999 is the default.
    ///
    /// `n · (100 - percent) / 200` of n values are cut off at each end, rounded down; at least one remains. The range
    /// is that of the values which remain, found from counts of values by their leading 16 bits (sign, exponent, 7 bits
    /// of the fraction): each end lies at most 1/128 of its magnitude, or 2^-132, outside of it, and never outside of
    /// the range of all values. The range does not depend on the order of the values, nor on how they are divided into
    /// batches. The counts take 512 KiB.
    ///
    /// # Errors
    /// [`Error::FloatRange`] if `percent` is not in (0, 100], or is subnormal; [`Error::Memory`] if there is not enough
    /// for the counts.
    pub fn percentile(percent: f64) -> Result<Self, Error> {
        in_default_float_mode(|| check_range("percent", percent, 100.0))?;
        let (span, histogram) = (Span::EMPTY, Histogram::new()?);
        Ok(Self { statistic: Statistic::Percentile { percent, span, histogram } })
    }

    /// Takes in a batch of values.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a value is infinite or NaN: the first one, with its index as the column, and row 0. The
    /// observer is then left as it was.
    pub fn observe(&mut self, data: &[f32]) -> Result<(), Error> {
        in_default_float_mode(|| {
            let batch = span(data);
            if !batch.is_finite() {
                let column = data.iter().position(|x| !x.is_finite()).expect("a value is not finite");
                return Err(Error::NotFinite { argument: "data", row: 0, column, got: data[column] });
            }
            if data.is_empty() {
                return Ok(());
            }
            match &mut self.statistic {
                Statistic::MinMax(span) => *span = span.join(batch),
                Statistic::MovingAverage { constant, ends } => {
                    let batch = (f64::from(batch.lo()), f64::from(batch.hi()));
                    *ends = Some(ends.map_or(batch, |ends| moved(ends, batch, *constant)));
                }
                Statistic::Percentile { span, histogram, .. } => {
                    *span = span.join(batch);
                    histogram.add(data);
                }
            }
            Ok(())
        })
    }

    /// The range so far: its least and its greatest value. `None` before any value.
    pub fn range(&self) -> Option<(f64, f64)> {
        in_default_float_mode(|| match &self.statistic {
            Statistic::MinMax(span) if *span == Span::EMPTY => None,
            Statistic::MinMax(span) => Some((span.lo().into(), span.hi().into())),
            Statistic::MovingAverage { ends, .. } => *ends,
            Statistic::Percentile { span, .. } if *span == Span::EMPTY => None,
            Statistic::Percentile { percent, span, histogram } => {
                let (lo, hi) = histogram.span_without((100.0 - percent + ROUNDING) / 200.0);
                Some((lo.max(span.lo()).into(), hi.min(span.hi()).into()))
            }
        })
    }

    /// The parameters that map the range, widened to hold 0, onto the integers [qmin, qmax]: those of
    /// [`QuantParams::from_range`].
    ///
    /// # Errors
    /// [`Error::Missing`] before any value, else those of [`QuantParams::from_data`] for `qmin` and `qmax`.
    pub fn params(&self, qmin: i32, qmax: i32) -> Result<QuantParams, Error> {
        let (lo, hi) = self.range_for("Observer::params")?;
        in_default_float_mode(|| QuantParams::holding_zero(lo, hi, qmin, qmax))
    }

    /// The parameters that map the range as it is onto the integers [qmin, qmax]: those of
    /// [`QuantParams::from_range_tight`]. A range that is too narrow for that is widened to hold 0, as that of data is
    /// by [`QuantParams::from_data_tight`].
    ///
    /// # Errors
    /// Those of [`params`](Self::params).
    pub fn params_tight(&self, qmin: i32, qmax: i32) -> Result<QuantParams, Error> {
        let (lo, hi) = self.range_for("Observer::params_tight")?;
        in_default_float_mode(|| QuantParams::tight_or_holding_zero(lo, hi, qmin, qmax))
    }

    /// The parameters for i8 of -127 to 127 with the zero point 0: [`QuantParams::symmetric`] of the greatest magnitude
    /// in the range.
    ///
    /// # Errors
    /// [`Error::Missing`] before any value.
    pub fn symmetric_params(&self) -> Result<QuantParams, Error> {
        let (lo, hi) = self.range_for("Observer::symmetric_params")?;
        in_default_float_mode(|| QuantParams::symmetric(hi.max(-lo) as f32))
    }

    fn range_for(&self, needed_by: &'static str) -> Result<(f64, f64), Error> {
        self.range().ok_or(Error::Missing { argument: "data", needed_by })
    }
}

/// The statistic and the range, without the counts.
impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Observer");
        match &self.statistic {
            Statistic::MinMax(_) => &mut fields,
            Statistic::MovingAverage { constant, .. } => fields.field("constant", constant),
            Statistic::Percentile { percent, .. } => fields.field("percent", percent),
        };
        fields.field("range", &self.range()).finish_non_exhaustive()
    }
}

/// # Errors
/// [`Error::FloatRange`] if a value is not above 0 and at most `max`, or is subnormal.
fn check_range(argument: &'static str, got: f64, max: f64) -> Result<(), Error> {
    let min = f64::MIN_POSITIVE;
    if (min..=max).contains(&got) { Ok(()) } else { Err(Error::FloatRange { argument, got, min, max }) }
}

/// The ends of a range, moved towards those of a batch.
fn moved((lo, hi): (f64, f64), batch: (f64, f64), constant: f64) -> (f64, f64) {
    let (lo, hi) = (lo + constant * (batch.0 - lo), hi + constant * (batch.1 - hi));
    // By rounding they may have passed each other.
    (lo.min(hi), hi.max(lo))
}
