//! The output stage by itself: with K = 0 the sums are the bias, so any i32 can be put through it.

use crate::spec;
use crate::support::{Random, cases, each_kernel};
use qgemm::{
    Dequantize, ElementType, Gemm, Int8Element, MatMut, MatRef, Multiplier, PackedB, Requantize, Rounding,
};

/// The largest output zero point.
const FAR: i32 = 1 << 21;

/// Calls `run` with a product of one row whose sums are `sums`, and its number of columns: computed in
/// 32 bits, then in 64, which a last column of i32::MIN takes.
fn with_sums(sums: &[i32], run: impl Fn(&Gemm<'_>, usize)) {
    let (a, b) = ([0u8; 0], [0i8; 0]);
    let wide = [sums, &[i32::MIN][..]].concat();
    for bias in [sums, &wide] {
        let a = MatRef::row_major(&a, 1, 0).unwrap();
        let b = MatRef::row_major(&b, 0, bias.len()).unwrap();
        run(&Gemm::new(a, b).bias(bias), bias.len());
    }
}

fn requantized<T: Int8Element + Default>(gemm: &Gemm<'_>, output: &Requantize<'_>, n: usize) -> Vec<i32> {
    let mut c = vec![T::default(); n];
    gemm.run_requantized(MatMut::row_major(&mut c, 1, n).unwrap(), output).unwrap();
    c.iter().map(|c| c.to_i32()).collect()
}

fn dequantized(gemm: &Gemm<'_>, output: &Dequantize<'_>, n: usize) -> Vec<f32> {
    let mut c = vec![f32::NAN; n];
    gemm.run_f32(MatMut::row_major(&mut c, 1, n).unwrap(), output).unwrap();
    c
}

#[track_caller]
fn check(sums: &[i32], scale: f32, zero_point: i32, clamp: (i32, i32)) {
    let output = Requantize::new(scale, zero_point).unwrap().clamp_to(clamp.0, clamp.1);
    let range = |lo: i32, hi: i32| (clamp.0.max(lo), clamp.1.min(hi));
    let what = |sum: &i32| format!("{sum} · {scale:e} + {zero_point}, clamp {clamp:?}");
    with_sums(sums, |gemm, n| {
        if range(-128, 127).0 <= range(-128, 127).1 {
            for (sum, got) in sums.iter().zip(requantized::<i8>(gemm, &output, n)) {
                let want = spec::requantize((*sum).into(), scale, zero_point, range(-128, 127));
                assert_eq!(got, want, "i8: {}", what(sum));
            }
        }
        if range(0, 255).0 <= range(0, 255).1 {
            for (sum, got) in sums.iter().zip(requantized::<u8>(gemm, &output, n)) {
                let want = spec::requantize((*sum).into(), scale, zero_point, range(0, 255));
                assert_eq!(got, want, "u8: {}", what(sum));
            }
        }
    });
}

/// Sums about 0, about powers of two, and about where `scale` puts the output's range for `zero_point`.
fn interesting(scale: f32, zero_point: i32) -> Vec<i32> {
    let mut sums: Vec<i32> = (-20..=20).collect();
    for bit in 0..32 {
        let power = 1i64 << bit;
        sums.extend((-2..=2).flat_map(|d| [power + d, -power + d]).map(|x| x as i32));
    }
    sums.extend((20..24).flat_map(|bit| (1..20).map(move |i| (1 << bit) * 3 + i * 2 - 1)));
    for y in [-129, -128, -127, -1, 0, 1, 127, 128, 254, 255, 256] {
        // f64 only to find the neighbourhood; the judgment is the specification's.
        let middle = ((f64::from(y) - f64::from(zero_point)) / f64::from(scale)) as i32;
        sums.extend((-3..=3).map(|d| middle.saturating_add(d)));
    }
    sums
}

const SCALES: [f32; 17] = [
    0.0,
    -0.0,
    f32::from_bits(1),
    f32::from_bits(0x7f_ffff),
    f32::MIN_POSITIVE,
    1e-30,
    1.0 / 16_777_216.0,
    0.000_977,
    0.1,
    0.25,
    0.5,
    1.0,
    1.5,
    3.7,
    65_536.0,
    1e30,
    f32::MAX,
];

const ZERO_POINTS: [i32; 12] = [0, 1, -1, 3, 127, -128, 255, 300, FAR, -FAR, FAR - 1, -FAR + 1];

#[test]
fn requantized_values_are_the_specification_s_at_every_extreme() {
    let all = (i32::MIN, i32::MAX);
    for (scale, zero_point) in SCALES.iter().flat_map(|s| ZERO_POINTS.iter().map(move |z| (*s, *z))) {
        check(&interesting(scale, zero_point), scale, zero_point, all);
    }
}

#[test]
fn ties_go_to_even_before_the_zero_point_is_added() {
    // Every half from -150 to 150: with an odd zero point the results are odd where rounding the sum
    // of both would make them even.
    let sums: Vec<i32> = (-600..=600).collect();
    for scale in [0.5, 0.25, 0.125, 1.5, 2.5] {
        for zero_point in [0, 1, -1, 2, 100, -101, 255] {
            check(&sums, scale, zero_point, (i32::MIN, i32::MAX));
        }
    }
    // And by hand: 0.5, 1.5, 2.5, -0.5, -1.5, -2.5.
    with_sums(&[1, 3, 5, -1, -3, -5], |gemm, n| {
        let even = Requantize::new(0.5, 0).unwrap();
        assert_eq!(requantized::<i8>(gemm, &even, n)[..6], [0, 2, 2, 0, -2, -2]);
        let odd = Requantize::new(0.5, 1).unwrap();
        assert_eq!(requantized::<i8>(gemm, &odd, n)[..6], [1, 3, 3, 1, -1, -1]);
    });
}

#[test]
fn clamps_narrow_the_type_s_range() {
    let clamps = [
        (0, 127),
        (-5, 5),
        (7, 7),
        (-128, -128),
        (255, 255),
        (-1000, 1000),
        (127, i32::MAX),
        (i32::MIN, 0),
        (200, 300),
        (-300, -100),
        (i32::MIN, i32::MIN + 5),
        (i32::MAX, i32::MAX),
    ];
    for clamp in clamps {
        for (scale, zero_point) in [(0.5, 0), (0.5, 3), (1.0, -100), (0.75, FAR), (1.0, -FAR), (0.0, 50)] {
            check(&interesting(scale, zero_point), scale, zero_point, clamp);
        }
    }
}

#[test]
fn random_sums_and_scales_round_as_the_specification_says() {
    let mut random = Random(3);
    for _ in 0..cases(300) {
        // Of any exponent that leaves the outputs a chance.
        let scale = f32::from_bits((90 + random.below(45) as u32) << 23 | random.next() as u32 & 0x7f_ffff);
        let reach = (300.0 / f64::from(scale)).min(2e9) as u64;
        let sums: Vec<i32> = (0..100)
            .map(|_| (random.next() % (2 * reach + 1)) as i64 - reach as i64)
            .map(|x| x as i32)
            .collect();
        let zero_point = ZERO_POINTS[random.below(ZERO_POINTS.len())];
        check(&sums, scale, zero_point, (i32::MIN, i32::MAX));
    }
}

#[test]
fn a_scale_of_its_own_for_each_column() {
    let mut random = Random(4);
    let sums: Vec<i32> = (0..150).map(|_| random.next() as i32 >> random.below(31)).collect();
    // One more, for the column that a 64-bit product has.
    let scales: Vec<f32> = (0..151).map(|j| SCALES[j % SCALES.len()]).collect();
    with_sums(&sums, |gemm, n| {
        let bytes = requantized::<u8>(gemm, &Requantize::new(&scales[..n], 5).unwrap(), n);
        let reals = dequantized(gemm, &Dequantize::new(&scales[..n]).unwrap(), n);
        for (j, sum) in sums.iter().enumerate() {
            let want = spec::requantize((*sum).into(), scales[j], 5, (0, 255));
            assert_eq!(bytes[j], want, "{sum} · {:e}", scales[j]);
            let want = spec::dequantize((*sum).into(), scales[j], None);
            assert_eq!(reals[j].to_bits(), want.to_bits(), "{sum} · {:e}", scales[j]);
        }
    });
}

#[test]
fn f32_outputs_round_the_product_and_then_the_sum() {
    let mut random = Random(5);
    let mut fused_would_differ = 0;
    for scale in SCALES {
        let sums = interesting(scale.max(1e-9), 0);
        let bias: Vec<f32> = (0..=sums.len())
            .map(|j| match j % 7 {
                0 => 0.0,
                1 => -0.0,
                2 => f32::MAX,
                3 => f32::from_bits(random.next() as u32 % 0x80_0000),
                _ => -(sums[j % sums.len()] as f32 * scale) * 1.000_001,
            })
            .collect();
        with_sums(&sums, |gemm, n| {
            let output = Dequantize::new(scale).unwrap();
            let (plain, biased) =
                (dequantized(gemm, &output, n), dequantized(gemm, &output.bias(&bias[..n]), n));
            for (j, sum) in sums.iter().enumerate() {
                let want = spec::dequantize((*sum).into(), scale, None);
                assert_eq!(plain[j].to_bits(), want.to_bits(), "{sum} · {scale:e}");
                let want = spec::dequantize((*sum).into(), scale, Some(bias[j]));
                assert_eq!(biased[j].to_bits(), want.to_bits(), "{sum} · {scale:e} + {:e}", bias[j]);
            }
        });
        let differs = |j: &usize| {
            let (sum, bias) = (sums[*j] as f32, bias[*j]);
            sum.mul_add(scale, bias).to_bits() != (sum * scale + bias).to_bits()
        };
        fused_would_differ += (0..sums.len()).filter(differs).count();
    }
    assert!(fused_would_differ > 100, "the cases would not notice a fused multiply-add");
}

#[test]
fn an_f32_bias_that_is_not_finite_arrives() {
    with_sums(&[1, 2, 3], |gemm, n| {
        let bias = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        let c = dequantized(gemm, &Dequantize::new(1.0).unwrap().bias(&bias[..n]), n);
        assert!(c[0].is_nan() && c[1] == f32::INFINITY && c[2] == f32::NEG_INFINITY, "{c:?}");
    });
}

/// Beyond 14 bits kernels do not add the zero point themselves. Sums are of 32 bits, or too wide for that.
#[test]
fn zero_points_far_out_are_added_by_every_stage() {
    // One that kernels multiply by: it shifts no sums to the left.
    let multiplier = Multiplier::from_real(0.5).unwrap();
    let offsets: Vec<i32> = (-40..40).map(|at| at * 7).collect();
    let want: Vec<i32> = offsets.iter().map(|offset| *offset.clamp(&-128, &127)).collect();
    let (a, b) = ([0u8], vec![1i8; offsets.len()]);
    let a = MatRef::row_major(&a, 1, 1).unwrap();
    let b = MatRef::row_major(&b, 1, offsets.len()).unwrap();
    for far in [1 << 14, (1 << 14) + 1, (1 << 15) - 1, 1 << 15, 1 << 16, FAR] {
        for (zero_point, a_zero) in [(far, 0), (-far, 0), (far, 1 << 30), (-far, 1 << 30)] {
            // The product is the zero point of A, negated.
            let bias: Vec<i32> = offsets.iter().map(|offset| 2 * (offset - zero_point) + a_zero).collect();
            let mut stages =
                vec![Requantize::new(0.5, zero_point).unwrap(), Requantize::in_f64(0.5, zero_point).unwrap()];
            for rounding in [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single] {
                stages.push(Requantize::fixed_point(multiplier, rounding, zero_point).unwrap());
            }
            for (info, dispatch) in each_kernel() {
                let packed = PackedB::pack_with(&dispatch, b, ElementType::U8).unwrap();
                let gemm = Gemm::new(a, &packed).bias(&bias).a_zero(a_zero);
                for (at, stage) in stages.iter().enumerate() {
                    let got = requantized::<i8>(&gemm, stage, bias.len());
                    assert_eq!(got, want, "{} {zero_point} {a_zero} stage {at}", info.name);
                }
            }
        }
    }
}
