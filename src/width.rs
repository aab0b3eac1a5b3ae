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
//!
//! Where that bound does not hold, the sums of stored products by themselves may still fit, which
//! `K · max|a| · max|b|` bounds: for u8 by i8 up to K = 65,793, for u8 by u8 33,025, for i8 by i8 131,071. Then
//! more bits are needed only to add what zero points and bias contribute (see `terms`), once per element: those
//! of f64, which holds every integer up to 2^53, where no partial sum can exceed that:
//!
//! ```text
//! 2^31 + 2^31 + max|za'| · (max Σ|b| + K·max|zb|) + max|zb'| · K · 255
//! ```
//!
//! bounds the sum of products, the bias, and the terms of the zero points of A and of B. Each is an integer, and
//! so is every product and sum on the way.

use crate::Error;
use crate::columns::Columns;
use crate::element::ElementType;
use crate::gemm::{Gemm, Rhs, ZeroPoint};
use crate::packed::PackedB;

/// The width of the sums that an 8-bit or f32 output is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    /// `acc + bias` fits i32.
    Narrow,
    /// It may not, but the sum of stored products does, and f64 holds it with all that is added.
    Corrected,
    /// It takes i64.
    Wide,
}

/// Whether i32 holds the sum of any K products of values in two ranges.
fn products_fit(k: usize, a: (i64, i64), b: (i64, i64)) -> bool {
    let far = |(lo, hi): (i64, i64)| u128::from(lo.unsigned_abs().max(hi.unsigned_abs()));
    // Far below 2^128: k < 2^64, and stored values are of 8 bits.
    k as u128 * far(a) * far(b) <= i32::MAX as u128
}

/// Whether f64 holds the sum of any K products that fit i32, the bias and the terms of the zero points exactly,
/// however they are added up. `zero_a` and `zero_b` are the greatest magnitudes of zero points of stored values,
/// `sum_b` that of a column's sum of B less its zero point.
fn terms_fit(k: usize, zero_a: u64, zero_b: u64, sum_b: u128) -> bool {
    // Far below 2^128: `products_fit` bounds k.
    let (a, b) = (u128::from(zero_a) * sum_b, u128::from(zero_b) * k as u128 * 255);
    (1 << 32) + a + b <= 1 << f64::MANTISSA_DIGITS
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
        Rhs::Unpacked(b) => b.element,
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
    Err(Error::SumTooLarge { argument, got, k })
}

/// The width that this product needs, where storing adds `shifts` to the values of A and of B in each way that
/// kernels read them.
pub(crate) fn decide(gemm: &Gemm<'_>, b: &PackedB, mut shifts: impl Iterator<Item = (i64, i64)>) -> Width {
    if all_fit(gemm, b) {
        return Width::Narrow;
    }
    let stored = |(lo, hi): (i32, i32), shift: i64| (i64::from(lo) + shift, i64::from(hi) + shift);
    let (a, k) = (gemm.a.element_type().range(), gemm.a.cols());
    let far = |zero: &ZeroPoint<'_>, shift: i64| {
        let (lo, hi) = zero.min_max();
        (i64::from(lo) + shift).unsigned_abs().max((i64::from(hi) + shift).unsigned_abs())
    };
    let sum_b = u128::from(b.columns().all.0) + k as u128 * u128::from(far(&gemm.b_zero, 0));
    // Without products there is nothing for a kernel to do.
    let corrected = k > 0
        && shifts.all(|(to_a, to_b)| {
            products_fit(k, stored(a, to_a), stored(b.element_type().range(), to_b))
                && terms_fit(k, far(&gemm.a_zero, to_a), far(&gemm.b_zero, to_b), sum_b)
        });
    if corrected { Width::Corrected } else { Width::Wide }
}

/// Whether the exact sums all fit i32.
pub(crate) fn all_fit(gemm: &Gemm<'_>, b: &PackedB) -> bool {
    let k = gemm.a.cols() as i128;
    let a = distance(gemm.a.element_type().range(), &gemm.a_zero);
    let room = i128::from(i32::MAX) - max_bias(gemm);
    let fits = |abs: u64, lo: i16, hi: i16, (z_lo, z_hi): (i32, i32)| {
        let far = distance((lo.into(), hi.into()), &ZeroPoint::PerAxis(&[z_lo, z_hi]));
        let z_abs = i128::from(z_lo.unsigned_abs().max(z_hi.unsigned_abs()));
        a * (i128::from(abs) + k * z_abs).min(k * far) <= room
    };
    let Columns { abs_sum, min_max, all, .. } = b.columns();
    let any_fits = fits(all.0, all.1, all.2, gemm.b_zero.min_max());
    let each_fits = |(l, j): (usize, usize)| {
        let zero = gemm.b_zero.at(j);
        fits(abs_sum[l], min_max[l].0, min_max[l].1, (zero, zero))
    };
    any_fits || b.range().enumerate().all(each_fits)
}

/// Whether they would whatever a B of such elements holds.
pub(crate) fn any_fit(gemm: &Gemm<'_>, b: ElementType) -> bool {
    let a = distance(gemm.a.element_type().range(), &gemm.a_zero);
    let far = gemm.a.cols() as i128 * distance(b.range(), &gemm.b_zero);
    // `check` bounds the product.
    a * far <= i128::from(i32::MAX) - max_bias(gemm)
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
        // As the kernels of 16 bits store them.
        decide(
            &Gemm::new(a, &packed).a_zero(a_zero).b_zero(b_zero).bias(&bias),
            &packed,
            [(0, 0)].into_iter(),
        )
    }

    #[test]
    fn bounds_are_where_they_should_be() {
        use ElementType::{I8, U8};
        use Width::{Corrected, Narrow, Wide};
        // 255·128·65,793 = 2,147,483,520 and 127 more fit.
        assert_eq!(width(65_793, U8, -128, 0, 0, 127), Narrow);
        assert_eq!(width(65_793, U8, -128, 0, 0, 128), Corrected);
        assert_eq!(width(65_794, U8, -128, 0, 0, 0), Wide);
        // 128·128·131,071 = 2^31 - 2^14.
        assert_eq!(width(131_071, I8, -128, 0, 0, (1 << 14) - 1), Narrow);
        assert_eq!(width(131_071, I8, -128, 0, 0, 1 << 14), Corrected);
        assert_eq!(width(131_072, I8, -128, 0, 0, 0), Wide);
        // A zero point that all elements equal takes everything away, whatever their size.
        assert_eq!(width(1 << 20, I8, -128, i32::MAX, -128, 0), Narrow);
        assert_eq!(width(1, I8, 1, i32::MIN, 0, 0), Corrected);
        assert_eq!(width(131_071, I8, 1, i32::MIN, 0, 0), Corrected);
        assert_eq!(width(131_072, I8, 1, i32::MIN, 0, 0), Wide);
        assert_eq!(width(0, I8, 1, i32::MIN, 0, i32::MIN), Wide);
        assert_eq!(width(1, I8, 1, -(i32::MAX - 127), 0, 0), Narrow);
    }

    #[test]
    fn terms_fit_up_to_the_exact_bound() {
        const MOST: u128 = (1 << 53) - (1 << 32);
        let f64_holds = |x: u128| x as f64 as u128 == x && (x - 1) as f64 as u128 == x - 1;
        assert!(f64_holds(MOST + (1 << 32)) && !f64_holds(MOST + (1 << 32) + 2));
        for sum_b in [1, 2, 255, 768 * 128, 131_071 * 128, 1 << 40] {
            let last = (MOST / sum_b) as u64;
            assert!(terms_fit(1, last, 0, sum_b) && !terms_fit(1, last + 1, 0, sum_b), "{sum_b}");
        }
        for k in [1, 768, 33_025, 131_071] {
            let last = (MOST / (k as u128 * 255)) as u64;
            assert!(terms_fit(k, 0, last, 0) && !terms_fit(k, 0, last + 1, 0), "{k}");
            assert!(!terms_fit(k, 1, last, MOST));
        }
        // Zero points of both that are far out: of 20 bits each, then of 25.
        assert_eq!(width(4096, ElementType::U8, 1, 1 << 20, 1 << 20, 0), Width::Corrected);
        assert_eq!(width(4096, ElementType::U8, 1, 1 << 24, 1 << 24, 0), Width::Wide);
    }

    #[test]
    fn products_fit_up_to_the_exact_bound() {
        const I8: (i64, i64) = (-128, 127);
        const U8: (i64, i64) = (0, 255);
        for (a, b, last) in [(U8, U8, 33_025), (U8, I8, 65_793), (I8, U8, 65_793), (I8, I8, 131_071)] {
            assert!(products_fit(last, a, b) && !products_fit(last + 1, a, b), "{a:?} {b:?}");
            // Against the sums of all four extremes, up to 2^20 and at the end of usize.
            for k in (0..=1usize << 20).step_by(37).chain([last, last + 1, usize::MAX]) {
                let ends = [a.0 * b.0, a.0 * b.1, a.1 * b.0, a.1 * b.1];
                let fits = ends.iter().all(|end| i32::try_from(i128::from(*end) * k as i128).is_ok());
                // The bound takes -2^31 for too much, as it is with a magnitude of 2^31.
                let bound = ends.iter().all(|end| i128::from(*end).abs() * k as i128 <= i128::from(i32::MAX));
                assert_eq!(products_fit(k, a, b), bound, "{k} {a:?} {b:?}");
                assert!(fits || !bound);
            }
        }
    }
}
