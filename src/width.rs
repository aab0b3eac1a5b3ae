//! Whether 32 bits hold the exact sums of a product.
//!
//! 32-bit arithmetic wraps, so it gives `acc + bias` whenever that value itself fits, however large
//! the partial sums. With the zero points known, column n of the result is bounded by
//!
//! ```text
//! bound[n] = max|A - za| · min( Σ|b| + K·|zb|,  K · max(|bmin - zb|, |bmax - zb|) ) + max|bias|
//! ```
//!
//! (Σ|b - zb| is at most either factor.) An i32 output needs no bound: it is defined modulo 2^32.

use crate::Error;
use crate::gemm::{Gemm, Rhs, ZeroPoint};
use crate::packed::{Columns, PackedB};

/// The width of the sums that an 8-bit or f32 output is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// `acc + bias` fits i32.
    Narrow,
    /// It may not.
    Wide,
}

/// The greatest |x - z| for x in [lo, hi] and z in the range of the zero points.
fn distance((lo, hi): (i32, i32), zero: &ZeroPoint<'_>) -> i128 {
    let (z_lo, z_hi) = zero.min_max();
    let (lo, hi) = (i128::from(lo), i128::from(hi));
    (hi - i128::from(z_lo)).abs().max((i128::from(z_hi) - lo).abs())
}

fn max_bias(gemm: &Gemm<'_>) -> i128 {
    let magnitude = |b: &i32| i128::from(b.unsigned_abs());
    gemm.bias.unwrap_or(&[]).iter().map(magnitude).max().unwrap_or(0)
}

/// That 64 bits hold the exact sums, for any elements.
pub(crate) fn check(gemm: &Gemm<'_>) -> Result<(), Error> {
    let b_element = match gemm.b {
        Rhs::Packed(b) => b.element_type(),
        Rhs::Plain(b) => b.element,
    };
    let k = gemm.a.cols();
    let a = distance(gemm.a.element_type().range(), &gemm.a_zero);
    let b = distance(b_element.range(), &gemm.b_zero);
    // k < 2^64 and the distances < 2^33, but their product may pass 2^127.
    let fits = (a * b).checked_mul(k as i128).is_some_and(|sum| sum + max_bias(gemm) < 1 << 63);
    if fits {
        return Ok(());
    }
    let far = |zero: &ZeroPoint<'_>| {
        let (lo, hi) = zero.min_max();
        if lo.unsigned_abs() > hi.unsigned_abs() { lo } else { hi }
    };
    let (argument, got) = if a >= b { ("a_zero", far(&gemm.a_zero)) } else { ("b_zero", far(&gemm.b_zero)) };
    Err(Error::ZeroPoint { argument, got, k })
}

/// Whether the exact sums of this product all fit i32.
pub(crate) fn decide(gemm: &Gemm<'_>, b: &PackedB) -> Width {
    let k = gemm.a.cols() as i128;
    let a = distance(gemm.a.element_type().range(), &gemm.a_zero);
    let room = i128::from(i32::MAX) - max_bias(gemm);
    let fits = |abs: u64, lo: i16, hi: i16, (z_lo, z_hi): (i32, i32)| {
        let far = distance((lo.into(), hi.into()), &ZeroPoint::Each(&[z_lo, z_hi]));
        let z_abs = i128::from(z_lo.unsigned_abs().max(z_hi.unsigned_abs()));
        a * (i128::from(abs) + k * z_abs).min(k * far) <= room
    };
    let Columns { abs_sum, min_max, all, .. } = b.columns();
    let all_fit = fits(all.0, all.1, all.2, gemm.b_zero.min_max());
    let each_fits = |j: usize| {
        let zero = gemm.b_zero.at(j);
        fits(abs_sum[j], min_max[j].0, min_max[j].1, (zero, zero))
    };
    if all_fit || (0..b.n()).all(each_fits) { Width::Narrow } else { Width::Wide }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ElementType, MatRef};

    /// Whether K products of `a_type` activations, all at their worst, with a column of `b` are narrow.
    fn width(k: usize, a_type: ElementType, b: i8, a_zero: i32, b_zero: i32, bias: i32) -> Width {
        let (a, b, bias) = (vec![0u8; k], vec![b; k], [bias]);
        let packed = PackedB::pack(MatRef::row_major(&b, k, 1).unwrap(), a_type).unwrap();
        let bits = MatRef::row_major(&a, 1, k).unwrap();
        let a = crate::Operand { bits, element: a_type };
        decide(&Gemm::new(a, &packed).a_zero(a_zero).b_zero(b_zero).bias(&bias), &packed)
    }

    #[test]
    fn bounds_are_where_they_should_be() {
        use ElementType::{I8, U8};
        use Width::{Narrow, Wide};
        // 255·128·65,793 = 2,147,483,520 and 127 more fit.
        assert_eq!(width(65_793, U8, -128, 0, 0, 127), Narrow);
        assert_eq!(width(65_793, U8, -128, 0, 0, 128), Wide);
        assert_eq!(width(65_794, U8, -128, 0, 0, 0), Wide);
        // 128·128·131,071 = 2^31 - 2^14.
        assert_eq!(width(131_071, I8, -128, 0, 0, (1 << 14) - 1), Narrow);
        assert_eq!(width(131_071, I8, -128, 0, 0, 1 << 14), Wide);
        // A zero point that all elements equal takes everything away, whatever their size.
        assert_eq!(width(1 << 20, I8, -128, i32::MAX, -128, 0), Narrow);
        assert_eq!(width(1, I8, 1, i32::MIN, 0, 0), Wide);
        assert_eq!(width(1, I8, 1, -(i32::MAX - 127), 0, 0), Narrow);
    }
}
