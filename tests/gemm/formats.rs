//! Group-wise weights in the layouts of other software: each code, scale and zero point is where the layout says.

use qgemm::half::f16;
use qgemm::{
    Awq, CodeBits, ElementType, GgufType, Gptq, GroupScales, GroupwiseB, MatMulNBits, MatRef, OnnxZeros,
};

/// A code that tells its place, of so many bits.
fn code(k: usize, j: usize, bits: CodeBits) -> usize {
    (k * 7 + j * 5 + k * j / 3) % (1 << bits.bits())
}

/// A zero point of a group, not 0, so that it can be stored less one.
fn zero(g: usize, j: usize, bits: CodeBits) -> usize {
    1 + (g * 3 + j * 11) % ((1 << bits.bits()) - 1)
}

fn scale(g: usize, j: usize) -> f16 {
    f16::from_f32((1 + g * 37 + j) as f32 / 16.0)
}

/// A matrix of a number for each of `rows` x `cols`.
fn numbers<T>(rows: usize, cols: usize, f: impl Fn(usize, usize) -> T) -> Vec<T> {
    (0..rows * cols).map(|at| f(at / cols, at % cols)).collect()
}

/// Bytes of little-endian numbers of so many bits, the lowest first.
fn packed(values: &[usize], bits: CodeBits) -> Vec<u8> {
    let each = 8 / bits.bits();
    let byte =
        |values: &[usize]| (0..).zip(values).map(|(at, value)| value << (at * bits.bits())).sum::<usize>();
    values.chunks(each).map(|values| byte(values) as u8).collect()
}

/// Compares all elements of weights; `zero_of` and `code_of` as users see them.
fn check(
    b: &GroupwiseB,
    (k, n, group): (usize, usize, usize),
    code_of: impl Fn(usize, usize) -> i32,
    zero_of: impl Fn(usize, usize) -> i32,
) {
    assert_eq!((b.k(), b.n()), (k, n));
    assert_eq!(b.groups(), k.div_ceil(group));
    for (k, j) in (0..k).flat_map(|k| (0..n).map(move |j| (k, j))) {
        assert_eq!(b.code(k, j), Some(code_of(k, j)), "{k} {j}");
        let g = k / group;
        assert_eq!(b.zero(g, j), Some(zero_of(g, j)), "{g} {j}");
        assert_eq!(b.scale(g, j), Some(scale(g, j).to_f32()), "{g} {j}");
    }
    // There is nothing beyond.
    let groups = b.groups();
    assert_eq!([b.code(k, 0), b.code(0, n), b.zero(groups, 0), b.zero(0, n)], [None; 4]);
    assert_eq!([b.scale(groups, 0), b.scale(0, n), b.minimum(groups, 0), b.minimum(0, n)], [None; 4]);
}

#[test]
fn blocks_of_gguf_files() {
    let (k, n, blocks) = (96, 35, 3);
    for kind in [GgufType::Q4_0, GgufType::Q4_1, GgufType::Q8_0] {
        let bits = kind.bits();
        let minimum = |g: usize, j: usize| f16::from_f32((g * 100 + j) as f32 - 50.0);
        let mut tensor = Vec::new();
        for (j, g) in (0..n).flat_map(|j| (0..blocks).map(move |g| (j, g))) {
            tensor.extend(scale(g, j).to_le_bytes());
            let code = |k: usize| code(g * 32 + k, j, bits) as u8;
            match kind {
                // i8, of which codes are 128 less.
                GgufType::Q8_0 => tensor.extend((0..32).map(|k| code(k).wrapping_sub(128))),
                _ => {
                    if kind == GgufType::Q4_1 {
                        tensor.extend(minimum(g, j).to_le_bytes());
                    }
                    tensor.extend((0..16).map(|k| code(k) | code(k + 16) << 4));
                }
            }
        }
        assert_eq!(tensor.len(), n * blocks * kind.block_bytes());
        let b = GroupwiseB::from_gguf(kind, (n, k), &tensor).unwrap();
        let (element, less, zero) = match kind {
            GgufType::Q4_0 => (ElementType::U8, 0, 8),
            GgufType::Q4_1 => (ElementType::U8, 0, 0),
            _ => (ElementType::I8, 128, 0),
        };
        assert_eq!((b.bits(), b.group(), b.element_type()), (bits, 32, element));
        check(&b, (k, n, 32), |k, j| code(k, j, bits) as i32 - less, |_, _| zero);
        for (g, j) in (0..blocks).flat_map(|g| (0..n).map(move |j| (g, j))) {
            let expected = (kind == GgufType::Q4_1).then(|| minimum(g, j).to_f32());
            assert_eq!(b.minimum(g, j), expected, "{g} {j}");
        }
    }
}

#[test]
fn tensors_of_gptq() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for (k, n, group) in [(96usize, 40, 32), (64, 8, 64), (64, 16, 1000)] {
            let (each, groups): (usize, usize) = (32 / bits.bits(), k.div_ceil(group));
            let scales = numbers(groups, n, scale);
            // An integer holds codes of rows one below the other, or zero points of columns side by side.
            let places = (0..k / each)
                .flat_map(|r| (0..n).flat_map(move |j| (0..each).map(move |l| (r * each + l, j))));
            let qweight = packed(&places.map(|(k, j)| code(k, j, bits)).collect::<Vec<_>>(), bits);
            for less in [0, 1] {
                let qzeros = packed(&numbers(groups, n, |g, j| zero(g, j, bits) - less), bits);
                let layer = Gptq {
                    k,
                    n,
                    bits,
                    group,
                    qweight: &qweight,
                    qzeros: &qzeros,
                    scales: MatRef::row_major(&scales, groups, n).unwrap().into(),
                    g_idx: None,
                    zeros_less_one: less == 1,
                };
                let b = GroupwiseB::from_gptq(&layer).unwrap();
                let group = group.min(k);
                check(&b, (k, n, group), |k, j| code(k, j, bits) as i32, |g, j| zero(g, j, bits) as i32);
            }
        }
    }
}

#[test]
fn tensors_of_awq() {
    let bits = CodeBits::Four;
    for (k, n, group) in [(96, 40, 32), (40, 8, 8), (64, 16, 64)] {
        let groups = k / group;
        let scales = numbers(groups, n, scale);
        // The columns of an integer's codes, from the lowest.
        let order = |at: usize| at / 8 * 8 + [0, 2, 4, 6, 1, 3, 5, 7][at % 8];
        let qweight = packed(&numbers(k, n, |k, at| code(k, order(at), bits)), bits);
        let qzeros = packed(&numbers(groups, n, |g, at| zero(g, order(at), bits)), bits);
        let scales = MatRef::row_major(&scales, groups, n).unwrap().into();
        let b =
            GroupwiseB::from_awq(&Awq { k, n, group, qweight: &qweight, qzeros: &qzeros, scales }).unwrap();
        check(&b, (k, n, group), |k, j| code(k, j, bits) as i32, |g, j| zero(g, j, bits) as i32);
    }
}

#[test]
fn tensors_of_matmulnbits() {
    for bits in [CodeBits::Four, CodeBits::Eight] {
        for (k, n, block_size) in [(96usize, 40, 32), (41, 5, 16), (64, 1, 64), (30, 3, 32)] {
            let blocks = k.div_ceil(block_size);
            // Rows of codes and of zero points for each column; the last block is whole, whatever K is.
            let b = packed(&numbers(n, blocks * block_size, |j, k| code(k, j, bits)), bits);
            let scales = numbers(n, blocks, |j, g| scale(g, j));
            let row = |j: usize| packed(&(0..blocks).map(|g| zero(g, j, bits)).collect::<Vec<_>>(), bits);
            let packed_zeros: Vec<u8> = (0..n).flat_map(row).collect();
            let real_zeros = numbers(n, blocks, |j, g| f16::from_f32(zero(g, j, bits) as f32));
            let real = GroupScales::from(MatRef::row_major(&real_zeros, n, blocks).unwrap());
            for zero_points in [OnnxZeros::None, OnnxZeros::Packed(&packed_zeros), OnnxZeros::Real(real)] {
                let scales = MatRef::row_major(&scales, n, blocks).unwrap().into();
                let weights = MatMulNBits { k, n, bits, block_size, b: &b, scales, zero_points };
                let middle = 1 << (bits.bits() - 1);
                let zero_of = |g, j| match zero_points {
                    OnnxZeros::None => middle,
                    _ => zero(g, j, bits) as i32,
                };
                let b = GroupwiseB::from_onnx(&weights).unwrap();
                check(&b, (k, n, block_size), |k, j| code(k, j, bits) as i32, zero_of);
            }
        }
    }
}
