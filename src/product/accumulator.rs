//! The accumulator that the exact sums of a product need: i32, i32 with terms in f64, or i64.
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
//! If that bound is too large, the sums of stored products alone may still fit: `K · max|a| · max|b|` bounds them, which
//! fits i32 up to K = 65,793 for u8 by i8, 33,025 for u8 by u8, and 131,071 for i8 by i8. Then only adding the zero-point
//! terms and the bias needs more than 32 bits, once per element. f64 holds every integer up to 2^53, and
//!
//! ```text
//! 2^31 + 2^31 + max|za'| · (max Σ|b| + K·max|zb|) + max|zb'| · K · 255
//! ```
//!
//! bounds the sum of products, the bias, and the terms of the zero points of A and of B. Every product and every sum on
//! the way is an integer within that bound, so all of them are exact in f64 if it is at most 2^53.

use crate::element::ElementType;
use crate::error::Error;
use crate::product::Product;
use crate::product::zero_point::ZeroPoint;
use crate::weights::packed_columns::PackedColumns;

/// The accumulator that an 8-bit or f32 output is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accumulator {
    /// `acc + bias` fits i32.
    I32,
    /// The sum of stored products fits i32; f64 holds it with the zero-point terms and the bias added.
    I32WithF64Terms,
    /// The sum of stored products needs i64.
    I64,
}

/// Whether i32 holds the sum of any K products of values in two ranges.
fn products_fit(k: usize, a: (i64, i64), b: (i64, i64)) -> bool {
    let far = |(lo, hi): (i64, i64)| u128::from(lo.unsigned_abs().max(hi.unsigned_abs()));
    // Far below 2^128, since k < 2^64 and stored values have 8 bits.
    k as u128 * far(a) * far(b) <= i32::MAX as u128
}

/// Whether f64 holds exactly, in any order of additions, the sum of K products that fit i32, a bias and the zero-point
/// terms. `zero_a` and `zero_b` are the greatest magnitudes of the zero points of stored values, `sum_b` that of the
/// sum of a column of B less its zero point.
fn terms_fit(k: usize, zero_a: u64, zero_b: u64, sum_b: u128) -> bool {
    // Far below 2^128, since `products_fit` bounds k.
    let (a, b) = (u128::from(zero_a) * sum_b, u128::from(zero_b) * k as u128 * 255);
    (1 << 32) + a + b <= 1 << f64::MANTISSA_DIGITS
}

/// The greatest |x - z| for x in [lo, hi] and z in the range of the zero points.
fn distance((lo, hi): (i32, i32), zero: &ZeroPoint<'_>) -> i128 {
    let (z_lo, z_hi) = zero.min_max();
    let (lo, hi) = (i128::from(lo), i128::from(hi));
    (hi - i128::from(z_lo)).abs().max((i128::from(z_hi) - lo).abs())
}

/// The greatest magnitude of the bias; 0 without one.
fn max_bias(product: &Product<'_>) -> i128 {
    let magnitude = |b: &i32| i128::from(b.unsigned_abs());
    product.bias.unwrap_or(&[]).iter().map(magnitude).max().unwrap_or(0)
}

/// Checks that i64 holds the exact sums, whatever the elements are.
///
/// # Errors
/// [`Error::Range`] if K is too large for zero points of 0; else [`Error::SumTooLarge`].
pub(crate) fn check_i64(product: &Product<'_>) -> Result<(), Error> {
    let k = product.k;
    let a = distance(product.a.element_type().range(), &product.a_zero);
    let b = distance(product.b.element_type().range(), &product.b_zero);
    // k < 2^64 and the distances are below 2^33, but their product may exceed 2^127.
    let fits = (a * b).checked_mul(k as i128).is_some_and(|sum| sum + max_bias(product) < 1 << 63);
    if fits { Ok(()) } else { Err(sum_too_large(product)) }
}

/// The error for sums that i64 does not hold: it names K, or the zero point that is to blame.
#[cold]
fn sum_too_large(product: &Product<'_>) -> Error {
    let (a, b, k) = (product.a.element_type().range(), product.b.element_type().range(), product.k);
    let magnitude = |range| distance(range, &ZeroPoint::PerTensor(0));
    let max_k = ((1 << 63) - 1 - max_bias(product)) / (magnitude(a) * magnitude(b));
    if k as i128 > max_k {
        let got = k.try_into().unwrap_or(i64::MAX);
        return Error::Range { argument: "columns of a", got, min: 0, max: max_k as i64 };
    }
    // One of the distances is greater than without zero points: that which is so by the greater factor.
    let (by_a, by_b) =
        (distance(a, &product.a_zero) * magnitude(b), distance(b, &product.b_zero) * magnitude(a));
    let (argument, (lo, hi), zero) =
        if by_a >= by_b { ("a_zero", a, &product.a_zero) } else { ("b_zero", b, &product.b_zero) };
    let (z_lo, z_hi) = zero.min_max();
    let low_is_farther = i64::from(hi) - i64::from(z_lo) > i64::from(z_hi) - i64::from(lo);
    Error::SumTooLarge { argument, got: if low_is_farther { z_lo } else { z_hi }, k }
}

/// The accumulator that a product needs. `shifts` gives, for each pair of types that its kernels multiply, the amounts
/// that storing adds to the values of A and of B.
pub(crate) fn choose(
    product: &Product<'_>,
    b: &PackedColumns,
    mut shifts: impl Iterator<Item = (i64, i64)>,
) -> Accumulator {
    if fits_i32(product, b) {
        return Accumulator::I32;
    }
    let stored = |(lo, hi): (i32, i32), shift: i64| (i64::from(lo) + shift, i64::from(hi) + shift);
    let (a, k) = (product.a.element_type().range(), product.k);
    let far = |zero: &ZeroPoint<'_>, shift: i64| {
        let (lo, hi) = zero.min_max();
        (i64::from(lo) + shift).unsigned_abs().max((i64::from(hi) + shift).unsigned_abs())
    };
    let sum_b = u128::from(b.stats().all.0) + k as u128 * u128::from(far(&product.b_zero, 0));
    // With K = 0 there are no products for a kernel to add.
    let fits = k > 0
        && shifts.all(|(to_a, to_b)| {
            products_fit(k, stored(a, to_a), stored(b.element_type().range(), to_b))
                && terms_fit(k, far(&product.a_zero, to_a), far(&product.b_zero, to_b), sum_b)
        });
    if fits { Accumulator::I32WithF64Terms } else { Accumulator::I64 }
}

/// Whether i32 holds all exact sums, from the statistics of B's columns.
pub(crate) fn fits_i32(product: &Product<'_>, b: &PackedColumns) -> bool {
    let k = product.k as i128;
    let a = distance(product.a.element_type().range(), &product.a_zero);
    let room = i128::from(i32::MAX) - max_bias(product);
    let fits = |abs: u64, lo: i16, hi: i16, (z_lo, z_hi): (i32, i32)| {
        let far = distance((lo.into(), hi.into()), &ZeroPoint::PerAxis(&[z_lo, z_hi]));
        let z_abs = i128::from(z_lo.unsigned_abs().max(z_hi.unsigned_abs()));
        a * (i128::from(abs) + k * z_abs).min(k * far) <= room
    };
    let stats = b.stats();
    let any_fits = fits(stats.all.0, stats.all.1, stats.all.2, product.b_zero.min_max());
    let each_fits = |(l, j): (usize, usize)| {
        let zero = product.b_zero.at(j);
        fits(stats.abs_sum[l], stats.min_max[l].0, stats.min_max[l].1, (zero, zero))
    };
    any_fits || b.range().enumerate().all(each_fits)
}

/// Whether i32 holds all exact sums for any B of the element type.
pub(crate) fn fits_i32_for_any_b(product: &Product<'_>, b: ElementType) -> bool {
    let a = distance(product.a.element_type().range(), &product.a_zero);
    let far = product.k as i128 * distance(b.range(), &product.b_zero);
    // `check_i64` bounds the product.
    a * far <= i128::from(i32::MAX) - max_bias(product)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::operand::Operand;
    use crate::matrix::view::MatRef;
    use crate::product::Arguments;
    use crate::weights::packed::PackedB;

    /// The accumulator of K products of `a_type` activations with a column of `b`, on a kernel that adds `shifts` to both, and
    /// whether i32 would do for any B of i8.
    fn accumulators(
        k: usize,
        a_type: ElementType,
        b: i8,
        a_zero: i32,
        b_zero: i32,
        bias: i32,
        shifts: (i64, i64),
    ) -> (Accumulator, bool) {
        let (a, b, bias) = (vec![0u8; k], vec![b; k], [bias]);
        let packed = PackedB::pack_for(MatRef::row_major(&b, k, 1).unwrap(), a_type).unwrap();
        let bits = MatRef::row_major(&a, 1, k).unwrap();
        let a = Operand { bits, element: a_type };
        let arguments = Arguments {
            a_zero: a_zero.into(),
            b_zero: b_zero.into(),
            bias: Some(&bias),
            ..Arguments::new(a.into(), (&packed).into())
        };
        let product = Product::new(&arguments, (1, 1)).unwrap();
        let chosen = choose(&product, &packed.columns, [shifts].into_iter());
        (chosen, fits_i32_for_any_b(&product, ElementType::I8))
    }

    /// That of a kernel that stores values as they are, as the 16-bit kernels do.
    fn accumulator(k: usize, a_type: ElementType, b: i8, a_zero: i32, b_zero: i32, bias: i32) -> Accumulator {
        accumulators(k, a_type, b, a_zero, b_zero, bias, (0, 0)).0
    }

    #[test]
    fn bounds_are_where_they_should_be() {
        use Accumulator::{I32, I32WithF64Terms, I64};
        use ElementType::{I8, U8};
        // 255·128·65,793 = 2,147,483,520 and 127 more fit.
        assert_eq!(accumulator(65_793, U8, -128, 0, 0, 127), I32);
        assert_eq!(accumulator(65_793, U8, -128, 0, 0, 128), I32WithF64Terms);
        assert_eq!(accumulator(65_794, U8, -128, 0, 0, 0), I64);
        // 128·128·131,071 = 2^31 - 2^14.
        assert_eq!(accumulator(131_071, I8, -128, 0, 0, (1 << 14) - 1), I32);
        assert_eq!(accumulator(131_071, I8, -128, 0, 0, 1 << 14), I32WithF64Terms);
        assert_eq!(accumulator(131_072, I8, -128, 0, 0, 0), I64);
        // A zero point that all elements equal takes everything away, whatever their size.
        assert_eq!(accumulator(1 << 20, I8, -128, i32::MAX, -128, 0), I32);
        assert_eq!(accumulator(1, I8, 1, i32::MIN, 0, 0), I32WithF64Terms);
        assert_eq!(accumulator(131_071, I8, 1, i32::MIN, 0, 0), I32WithF64Terms);
        assert_eq!(accumulator(131_072, I8, 1, i32::MIN, 0, 0), I64);
        assert_eq!(accumulator(0, I8, 1, i32::MIN, 0, i32::MIN), I64);
        assert_eq!(accumulator(1, I8, 1, -(i32::MAX - 127), 0, 0), I32);
    }

    #[test]
    fn i32_fits_any_b_up_to_the_exact_bound() {
        let fits =
            |k, a_zero, b_zero, bias| accumulators(k, ElementType::U8, 0, a_zero, b_zero, bias, (0, 0)).1;
        // As with a column of -128 above.
        assert!(fits(65_793, 0, 0, 127) && !fits(65_793, 0, 0, 128) && !fits(65_793, 0, 0, -128));
        assert!(!fits(65_794, 0, 0, 0));
        // Farthest from 128 are values of A by 128; from 1, values of B by 129: 128·129·130,055 = 2^31 - 15,488.
        assert!(fits(130_055, 128, 1, 15_487) && !fits(130_055, 128, 1, 15_488) && !fits(130_056, 128, 1, 0));
        assert!(fits(0, i32::MIN, i32::MAX, i32::MAX) && !fits(1, i32::MIN, 0, 0));
    }

    #[test]
    fn shifted_values_count_as_they_are_stored() {
        use Accumulator::{I32WithF64Terms, I64};
        use ElementType::{I8, U8};
        let far = |k, a_type, shifts| accumulators(k, a_type, 1, i32::MIN, 0, 0, shifts).0;
        // Activations of i8 stored as u8, and of u8 as i8.
        assert_eq!(far(65_793, I8, (128, 0)), I32WithF64Terms);
        assert_eq!(far(65_794, I8, (128, 0)), I64);
        assert_eq!(far(131_071, U8, (-128, 0)), I32WithF64Terms);
        assert_eq!(far(131_072, U8, (-128, 0)), I64);
        // Weights stored as u8.
        assert_eq!(far(33_025, U8, (0, 128)), I32WithF64Terms);
        assert_eq!(far(33_026, U8, (0, 128)), I64);
        // The farthest zero points with terms of at most 2^53 - 2^32, where the sum of a column of -128 is 2^22.
        let last = ((1 << 53) - (1 << 32)) >> 22;
        let fits = |stored: i64, shift: i64| {
            let zero = (stored - shift).try_into().unwrap();
            accumulators(1 << 15, U8, -128, zero, 0, 0, (shift, 0)).0 == I32WithF64Terms
        };
        for shift in [-128, 0, 128] {
            assert!(fits(last, shift) && !fits(last + 1, shift), "{shift}");
            assert!(fits(-last, shift) && !fits(-last - 1, shift), "{shift}");
        }
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
        assert_eq!(accumulator(4096, ElementType::U8, 1, 1 << 20, 1 << 20, 0), Accumulator::I32WithF64Terms);
        assert_eq!(accumulator(4096, ElementType::U8, 1, 1 << 24, 1 << 24, 0), Accumulator::I64);
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
