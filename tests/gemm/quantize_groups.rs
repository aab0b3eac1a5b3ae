//! Groups of weights rounded to nearest: the table of `quantize_groups`, in f64.

use crate::digest::Numbers;
use qgemm::{CodeBits, GroupScheme, MatRef, quantize_groups};

/// The scale, zero point and codes of a group.
fn expected(w: &[f32], bits: CodeBits, scheme: GroupScheme) -> (f32, u8, Vec<u8>) {
    let w: Vec<f64> = w.iter().map(|w| f64::from(*w)).collect();
    let (h, c) = if bits == CodeBits::Four { (7.0, 15.0) } else { (127.0, 255.0) };
    let (lo, hi) = w.iter().fold((0f64, 0f64), |(lo, hi), w| (lo.min(*w), hi.max(*w)));
    let scale = match scheme {
        GroupScheme::Symmetric => hi.max(lo.abs()) / h,
        GroupScheme::Asymmetric => (hi - lo) / c,
    } as f32;
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let steps = |x: f64| (x / f64::from(scale)).round_ties_even();
    match scheme {
        GroupScheme::Symmetric => {
            let code = |w: &f64| (steps(*w).clamp(-h, h) + h + 1.0) as u8;
            (scale, h as u8 + 1, w.iter().map(code).collect())
        }
        GroupScheme::Asymmetric => {
            let zero = steps(-lo).clamp(0.0, c);
            let code = |w: &f64| (steps(*w) + zero).clamp(0.0, c) as u8;
            (scale, zero as u8, w.iter().map(code).collect())
        }
    }
}

#[test]
fn groups_are_rounded_as_documented() {
    let r = &mut Numbers(3);
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for scheme in [GroupScheme::Symmetric, GroupScheme::Asymmetric] {
            for (k, n, group) in [(40, 5, 16), (32, 3, 32), (7, 2, 1000), (24, 1, 8)] {
                // Groups of all signs, of one, with a tie at each half, and of zeros.
                let real = |r: &mut Numbers, j: usize| match j {
                    0 => r.below(4001) as f32 / 100.0 - 20.0,
                    1 => r.below(29) as f32 / 2.0 - 7.0,
                    2 => r.below(1000) as f32 / 7.0 + 3.0,
                    3 => -(r.below(1000) as f32) - 0.25,
                    _ => 0.0,
                };
                let w: Vec<f32> = (0..k * n).map(|at| real(r, at % n)).collect();
                let quantized =
                    quantize_groups(MatRef::row_major(&w, k, n).unwrap(), bits, group, scheme).unwrap();
                assert_eq!((quantized.k, quantized.n, quantized.group), (k, n, group));
                assert_eq!(quantized.zeros.is_some(), scheme == GroupScheme::Asymmetric);
                let packed = quantized.pack().unwrap();
                for (g, j) in (0..k.div_ceil(group)).flat_map(|g| (0..n).map(move |j| (g, j))) {
                    let rows = g * group..k.min((g + 1) * group);
                    let of_group: Vec<f32> = rows.clone().map(|k| w[k * n + j]).collect();
                    let (scale, zero, codes) = expected(&of_group, bits, scheme);
                    assert_eq!(quantized.scales[g * n + j], scale, "{scheme:?} {g} {j}");
                    if let Some(zeros) = &quantized.zeros {
                        assert_eq!(zeros[g * n + j], zero, "{scheme:?} {g} {j}");
                    }
                    assert_eq!(packed.scale(g, j), Some(scale));
                    assert_eq!(packed.zero(g, j), Some(zero.into()));
                    for (k, code) in rows.zip(codes) {
                        assert_eq!(quantized.codes[k * n + j], code, "{scheme:?} {k} {j}: {}", w[k * n + j]);
                        assert_eq!(packed.code(k, j), Some(code.into()));
                    }
                }
            }
        }
    }
}
