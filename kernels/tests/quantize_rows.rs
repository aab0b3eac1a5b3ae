//! Compares quantized rows of f32 with the definition, where this CPU has the instructions.

mod random;

use qgemm_kernels::{BlockMut, F32Rows, Features, Isa, QuantizedRows, RowExtremes, RowParams};
use random::Random;

/// The rows, or `None` if the CPU lacks the instructions, as detection must say.
fn f32_rows(data: &[f32], stride: usize, k: usize) -> Option<F32Rows<'_>> {
    let rows = F32Rows::new(data, stride, k);
    assert_eq!(rows.is_some(), Features::detect().has(Isa::Avx512Bw));
    rows
}

/// Rows of results one after the other.
fn row_major(bits: &mut [u8], rows: usize) -> BlockMut<'_, u8> {
    let k = bits.len() / rows;
    BlockMut::new(bits, rows, k, k, 1).unwrap()
}

/// The least and the greatest result.
fn range(unsigned: bool) -> (f32, f32) {
    if unsigned { (0.0, 255.0) } else { (-127.0, 127.0) }
}

/// The definition: saturate(round_half_even(x / scale) + zero).
fn definition(x: f32, RowParams { scale, zero }: RowParams, unsigned: bool) -> u8 {
    let (lo, hi) = range(unsigned);
    let q = ((x / scale).round_ties_even() + zero as f32).clamp(lo, hi);
    q as i32 as u8
}

/// The f32 that lies `ulps` numbers farther from 0 than `x`, or 0 if that passes 0.
fn neighbour(x: f32, ulps: i32) -> f32 {
    let magnitude = x.abs().to_bits().saturating_add_signed(ulps);
    f32::from_bits(magnitude).copysign(x)
}

/// A scale of any magnitude, or one next to the limits of the scales whose reciprocals are used.
fn scale(random: &mut Random) -> f32 {
    let limits = [f32::MIN_POSITIVE, f32::MAX / 256.0];
    match random.below(4) {
        0 => neighbour(limits[random.below(2)], random.below(9) as i32 - 4),
        // A subnormal scale, among them the least number above 0.
        1 if random.below(4) == 0 => f32::from_bits(1 + (random.next() as u32 >> (9 + random.below(23)))),
        _ => f32::from_bits((1 + random.below(245) as u32) << 23 | random.next() as u32 >> 9),
    }
}

/// A number whose result is within the range: anywhere, half-way between two results, or next to that. Now and then one
/// beyond the range, as far as the rounding of a zero point, or of a scale without a reciprocal, may put it.
fn value(params: RowParams, unsigned: bool, random: &mut Random) -> f32 {
    let (lo, hi) = range(unsigned);
    let (lo, hi) = ((lo - params.zero as f32) * params.scale, (hi - params.zero as f32) * params.scale);
    let any = (random.next() >> 40) as f32 / (1u64 << 24) as f32;
    let x = lo + (hi - lo) * any;
    let half = ((x / params.scale).floor() + 0.5) * params.scale;
    let x = match random.below(4) {
        0 => x,
        1 => half,
        2 => neighbour(half, random.below(7) as i32 - 3),
        _ => [lo, hi, 0.0, -0.0][random.below(4)],
    };
    let beyond = if params.scale < f32::MIN_POSITIVE {
        [lo, hi][random.below(2)] * 1.5
    } else if unsigned {
        hi + 0.501 * params.scale
    } else {
        hi
    };
    if random.below(20) == 0 { beyond } else { x.clamp(lo, hi) }
}

#[test]
fn rows_are_quantized_by_the_definition() {
    let mut random = Random(1);
    for case in 0..3000 {
        let (rows, k) =
            (random.below(7), [random.below(20), random.below(200), 64 * random.below(4)][case % 3]);
        let (mut stride, mut out_stride) = (k + random.below(3), k + random.below(3));
        if rows * k == 0 || rows == 1 {
            // The distance of rows that are not read may be anything.
            let far = [0, 1, usize::MAX / 2, usize::MAX];
            (stride, out_stride) = (far[random.below(4)], far[random.below(4)]);
        }
        let unsigned = random.below(2) == 1;
        let zero = |random: &mut Random| if unsigned { random.below(256) as i32 } else { 0 };
        let params: Vec<RowParams> =
            (0..rows).map(|_| RowParams { scale: scale(&mut random), zero: zero(&mut random) }).collect();
        // The slices are not longer than they must be.
        let len = |stride: usize| if rows * k == 0 { 0 } else { (rows - 1) * stride + k };
        let mut x = vec![f32::NAN; len(stride)];
        for (i, &params) in params.iter().enumerate() {
            for x in x.iter_mut().skip(i.wrapping_mul(stride)).take(k) {
                *x = value(params, unsigned, &mut random);
            }
        }
        let Some(f32_rows) = f32_rows(&x, stride, k) else { return };
        let want_extremes = random.below(4) > 0;
        let mut bits = vec![0xee; len(out_stride)];
        let mut asked = 0;
        let params_of_row = |i: usize, extremes: RowExtremes| {
            assert_eq!(i, asked);
            asked += 1;
            let row = if k == 0 { &[] } else { &x[i * stride..][..k] };
            let want = RowExtremes {
                highest: row.iter().fold(0, |max, x| max.max(x.to_bits() as i32)),
                lowest: row.iter().fold(0, |max, x| max.max(x.to_bits())),
            };
            assert_eq!(
                extremes,
                if want_extremes { want } else { RowExtremes::default() },
                "{rows}x{k} row {i}"
            );
            Some(params[i])
        };
        let block = BlockMut::new(&mut bits, rows, k, out_stride, 1).unwrap();
        let out = QuantizedRows { bits: block, unsigned };
        assert_eq!(f32_rows.quantize(want_extremes, params_of_row, out), Ok(()));
        assert_eq!(asked, rows);
        for (at, &got) in bits.iter().enumerate() {
            let (i, k_at) = if rows == 1 { (0, at) } else { (at / out_stride, at % out_stride) };
            let want = if k_at < k { definition(x[i * stride + k_at], params[i], unsigned) } else { 0xee };
            let RowParams { scale, zero } = params[i];
            assert_eq!(
                got,
                want,
                "{rows}x{k} ({i}, {k_at}): {:?} / {scale:?} + {zero}",
                x[i * stride + k_at]
            );
        }
    }
}

/// Every number half-way between two results, and its neighbours, with scales whose mantissas begin in all ways.
#[test]
fn halves_are_rounded_by_the_definition() {
    let mut random = Random(2);
    for i in 0..256 {
        for (unsigned, zero) in [(false, 0), (true, 0), (true, 255), (true, random.below(256) as i32)] {
            let scale = f32::from_bits(0x3f00_0000 | i << 15 | random.next() as u32 & 0x7fff);
            let params = RowParams { scale, zero };
            let (lo, hi) = range(unsigned);
            let mut x = Vec::new();
            for q in lo as i32..hi as i32 {
                let half = ((q - zero) as f32 + 0.5) * scale;
                x.extend((-4..=4).map(|ulps| neighbour(half, ulps)));
            }
            let Some(f32_rows) = f32_rows(&x, x.len(), x.len()) else { return };
            let mut bits = vec![0; x.len()];
            let out = QuantizedRows { bits: row_major(&mut bits, 1), unsigned };
            assert_eq!(f32_rows.quantize(false, |_, _| Some(params), out), Ok(()));
            for (x, got) in x.iter().zip(bits) {
                assert_eq!(got, definition(*x, params, unsigned), "{x:?} / {scale:?} + {zero}");
            }
        }
    }
}

#[test]
fn a_row_without_params_is_the_error() {
    for rows in 1..6 {
        for wrong in 0..rows {
            let mut x = vec![1.0; rows * 3];
            x[wrong * 3 + 2] = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY][wrong % 4];
            let Some(f32_rows) = f32_rows(&x, 3, 3) else { return };
            let infinity = f32::INFINITY.to_bits();
            let params_of_row = |_, RowExtremes { highest, lowest }: RowExtremes| {
                let finite = highest < infinity as i32 && lowest < infinity | 1 << 31;
                finite.then_some(RowParams { scale: 1.0, zero: 0 })
            };
            let mut bits = vec![0; rows * 3];
            let out = QuantizedRows { bits: row_major(&mut bits, rows), unsigned: false };
            assert_eq!(f32_rows.quantize(true, params_of_row, out), Err(wrong));
        }
    }
}

#[test]
fn shapes_that_differ_are_refused() {
    let refused = |x: usize, k: usize, (row_stride, col_stride): (usize, usize)| {
        std::panic::catch_unwind(|| {
            let (x, mut bits) = (vec![0.0; x], vec![0; 30]);
            let Some(f32_rows) = f32_rows(&x, 5, 3) else { panic!("as it should") };
            let bits = BlockMut::new(&mut bits, 3, k, row_stride, col_stride).unwrap();
            let out = QuantizedRows { bits, unsigned: false };
            f32_rows.quantize(true, |_, _| Some(RowParams { scale: 1.0, zero: 0 }), out)
        })
        .is_err()
    };
    assert!(refused(12, 3, (4, 1)) && refused(13, 2, (4, 1)) && refused(13, 4, (4, 1)));
    assert!(refused(13, 3, (1, 3)) && refused(13, 3, (6, 2)));
    assert_eq!(refused(13, 3, (4, 1)), !Features::detect().has(Isa::Avx512Bw));
}
