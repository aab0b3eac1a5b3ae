//! The measurement of group-wise weights: packed ahead, f32 in, f32 out.

use crate::bench::expected::checked_rows;
use crate::bench::measure::Measured;
use crate::bench::operands::Operands;
use crate::bench::timing::times;
use crate::bench::variants::GroupVariant;
use crate::memory::{room, zeros};
use crate::shape::Shape;
use anyhow::Result;
use qgemm::{
    Activations, CodeBits, Dequantize, Dispatch, GroupwiseB, GroupwiseGemm, MatMut, MatRef, Threads,
};

/// Weights of a variant, and the outputs that they must give.
pub struct GroupCase<'a> {
    variant: GroupVariant,
    operands: &'a Operands,
    weights: Weights,
    /// The rows of the output that are compared, each with its number.
    expected: Vec<(usize, Vec<f32>)>,
}

impl<'a> GroupCase<'a> {
    pub fn new(variant: GroupVariant, operands: &'a Operands) -> Result<Self> {
        let weights = Weights::new(variant, operands)?;
        let Shape { k, n, .. } = operands.shape;
        let row = |i: usize| (i, weights.row_of_output(variant, &operands.a_f32[i * k..][..k], n));
        let expected = checked_rows(operands.shape).into_iter().map(row).collect();
        Ok(Self { variant, operands, weights, expected })
    }

    /// With `quick` the call is made once.
    pub fn measure(&self, dispatch: &Dispatch, threads: Threads<'_>, quick: bool) -> Result<Measured> {
        let shape @ Shape { m, k, n } = self.operands.shape;
        let GroupVariant { bits, group, activations } = self.variant;
        let mut c: Vec<f32> = zeros("--shapes", shape, m.saturating_mul(n))?;
        let (codes, scales) = (&self.weights.codes, &self.weights.scales);
        let b = GroupwiseB::builder(bits, group)
            .pack(MatRef::row_major(codes, k, n)?, MatRef::row_major(scales, k.div_ceil(group), n)?)?
            .with_dispatch(dispatch);
        let a = MatRef::row_major(&self.operands.a_f32, m, k)?;
        let product = GroupwiseGemm::new(a, &b).activations(activations).threads(threads);
        let output = Dequantize::groupwise();
        let times = times(quick, || product.run_f32(MatMut::row_major(&mut c, m, n)?, output))?;
        let pairs = self.expected.iter().flat_map(|(i, row)| c[i * n..].iter().zip(row));
        let error = pairs.fold(0f64, |worst, (got, want)| {
            let error = (f64::from(*got) - f64::from(*want)).abs();
            worst.max(if error.is_nan() { f64::INFINITY } else { error })
        });
        Ok(Measured { kernel: b.kernel_name(), times, error })
    }
}

/// Weights as they were before they were packed.
struct Weights {
    codes: Vec<u8>,
    scales: Vec<f32>,
    /// The zero point.
    middle: i64,
}

impl Weights {
    fn new(GroupVariant { bits, group, .. }: GroupVariant, operands: &Operands) -> Result<Self> {
        let shape @ Shape { k, n, .. } = operands.shape;
        let groups = k.div_ceil(group);
        // The values of B, or their upper four bits. The default zero point, the middle, stands for 0.
        let code = |b: i8| match bits {
            CodeBits::Eight => (i16::from(b) + 128) as u8,
            CodeBits::Four => ((b >> 4) + 8) as u8,
        };
        let mut codes: Vec<u8> = room("--shapes", shape, operands.b.len())?;
        codes.extend(operands.b.iter().map(|b| code(*b)));
        let mut scales: Vec<f32> = room("--shapes", shape, groups.saturating_mul(n))?;
        for g in 0..groups {
            scales.extend(operands.scales.iter().map(|scale| scale * (1.0 + (g % 8) as f32 / 8.0)));
        }
        Ok(Self { codes, scales, middle: if bits == CodeBits::Four { 8 } else { 128 } })
    }

    /// A row of the output by its definition, in plain loops: exact sums of the groups, added in their order.
    fn row_of_output(&self, variant: GroupVariant, a: &[f32], n: usize) -> Vec<f32> {
        let of_row = quantize(a);
        let by_group = variant.activations == Activations::PerRowAndGroup;
        let mut row = vec![0f32; n];
        let parts = a.chunks(variant.group).zip(self.codes.chunks(variant.group * n)).enumerate();
        for (g, (a, codes)) in parts {
            let (scale, quantized) =
                if by_group { quantize(a) } else { (1.0, of_row.1[g * variant.group..][..a.len()].to_vec()) };
            let mut sums = vec![0i64; n];
            for (a, codes) in quantized.iter().zip(codes.chunks_exact(n)) {
                sums.iter_mut()
                    .zip(codes)
                    .for_each(|(sum, code)| *sum += a * (i64::from(*code) - self.middle));
            }
            let scales = &self.scales[g * n..][..n];
            for ((y, sum), of_b) in row.iter_mut().zip(sums).zip(scales) {
                let factor = if by_group { scale * of_b } else { *of_b };
                *y = (sum as f32).mul_add(factor, *y);
            }
        }
        if !by_group {
            row.iter_mut().for_each(|y| *y *= of_row.0);
        }
        row
    }
}

/// The scale of floats, and their integers from -127 to 127.
fn quantize(values: &[f32]) -> (f32, Vec<i64>) {
    let greatest = values.iter().fold(0f32, |most, x| most.max(x.abs()));
    let scale = if greatest == 0.0 { 1.0 } else { greatest / 127.0 };
    (scale, values.iter().map(|x| ((x / scale).round_ties_even() as i64).clamp(-127, 127)).collect())
}
