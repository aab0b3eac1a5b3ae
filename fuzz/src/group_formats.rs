//! Group-wise weights from every source: plain matrices, the tensors of formats, float matrices.

use crate::float_lhs::FloatMatrix;
use crate::group_weights::{Expected, GroupShape, Numbers, about};
use crate::input::Input;
use crate::operands::{Matrix8, length};
use qgemm::half::f16;
use qgemm::{
    Awq, CodeBits, ElementType, Error, GgufType, Gptq, GroupScheme, GroupwiseB, MatMulNBits, OnnxZeros,
    Operand, quantize_groups,
};

/// Weights of about K×N, packed from any source and compared with it; `None` if they are refused.
pub fn weights(input: &mut Input<'_>, k: usize, n: usize) -> Option<GroupwiseB> {
    let source = input.byte() % 8;
    let shape = GroupShape::read(input, k, n);
    match source {
        0 | 1 => from_matrices(input, shape),
        2 => from_gguf(input, shape),
        3 => from_onnx(input, shape),
        4 => from_gptq(input, shape),
        5 => from_awq(input, shape),
        _ => from_floats(input, shape),
    }
}

/// The middle of the range of codes.
fn middle(bits: CodeBits) -> i32 {
    1 << (bits.bits() - 1)
}

/// The code of so many bits at a place of packed bytes, the lowest first.
fn code_at(bytes: &[u8], at: usize, bits: CodeBits) -> i32 {
    match bits {
        CodeBits::Eight => bytes[at].into(),
        CodeBits::Four => (bytes[at / 2] >> (at % 2 * 4) & 15).into(),
    }
}

/// The weights that were made.
///
/// # Panics
/// If they were refused though all sizes and types are right, and for another reason than a value.
fn made(result: Result<GroupwiseB, Error>, sizes_are_right: bool) -> Option<GroupwiseB> {
    match result {
        Ok(weights) => Some(weights),
        Err(
            Error::NotFinite { .. } | Error::Code { .. } | Error::FloatRange { .. } | Error::Group { .. },
        ) => None,
        Err(Error::GroupOrder { .. }) => None,
        Err(error) => {
            assert!(!sizes_are_right, "refused: {error}");
            None
        }
    }
}

fn get(matrix: &Operand<'_>, row: usize, col: usize) -> i32 {
    matrix.get(row, col).expect("it is an element")
}

fn from_matrices(input: &mut Input<'_>, shape: GroupShape) -> Option<GroupwiseB> {
    let GroupShape { k, n, group, bits } = shape;
    let groups = shape.groups();
    let mut codes = Matrix8::read(input, (k, n));
    if bits == CodeBits::Four && !input.one_in(16) {
        codes.narrow_to_four_bits();
    }
    let rows = length(input, groups);
    let scales = Numbers::read(input, rows * n);
    let minimums = input.rarely(3, |input| Numbers::read(input, groups * n));
    let one = input.rarely(3, |input| i32::from(input.byte()) - 64);
    let mut each = input.rarely(3, |input| Matrix8::read(input, (groups, n)));
    if let Some(each) = &mut each {
        if !input.one_in(16) {
            each.retype(codes.element);
        }
        if bits == CodeBits::Four && !input.one_in(16) {
            each.narrow_to_four_bits();
        }
    }
    let operand = codes.operand().ok()?;
    let mut builder = GroupwiseB::builder(bits, group);
    if let Some(zero) = one {
        builder = builder.zero(zero);
    }
    if let Some(each) = &each {
        builder = builder.zeros(each.operand().ok()?);
    }
    if let Some(minimums) = &minimums {
        builder = builder.minimums(minimums.matrix(groups, n)?);
    }
    let is_right = rows == groups && each.as_ref().is_none_or(|each| each.element == codes.element);
    let packed = made(builder.pack(operand, scales.matrix(rows, n)?), is_right)?;
    let usual = if codes.element == ElementType::I8 { 0 } else { middle(bits) };
    let zeros = each.as_ref().map(|each| each.operand().expect("it was viewed before"));
    let at = |g: usize, j: usize| g * n + j;
    let minimum = |g, j| minimums.as_ref().map_or(0.0, |minimums| minimums.at(at(g, j)));
    Expected {
        shape,
        code: &|row, j| get(&operand, row, j),
        zero: &|g, j| zeros.map_or(one.unwrap_or(usual), |zeros| get(&zeros, g, j)),
        scale: &|g, j| scales.at(at(g, j)),
        minimum: if minimums.is_some() { Some(&minimum) } else { None },
    }
    .check(&packed);
    Some(packed)
}

fn from_gguf(input: &mut Input<'_>, GroupShape { k, n, .. }: GroupShape) -> Option<GroupwiseB> {
    let kind = input.one_of(&[GgufType::Q4_0, GgufType::Q4_1, GgufType::Q8_0]);
    let k = if input.one_in(32) { k } else { k / 32 * 32 };
    let shape = GroupShape { k, n, group: 32, bits: kind.bits() };
    let (groups, size) = (shape.groups(), kind.block_bytes());
    let mut blocks = about(input, n * groups * size);
    let mut scales = Numbers::read(input, n * groups);
    if let Numbers::F32(_) | Numbers::Bf16(_) = scales {
        scales = Numbers::F16((0..n * groups).map(|at| f16::from_f32(scales.at(at))).collect());
    }
    // The scales of some inputs are whatever bytes there are.
    if input.flag() {
        for (at, block) in blocks.chunks_exact_mut(size).take(n * groups).enumerate() {
            block[..2].copy_from_slice(&f16::from_f32(scales.at(at)).to_le_bytes());
        }
    }
    let is_right = k.is_multiple_of(32) && blocks.len() == n * groups * size;
    let packed = made(GroupwiseB::from_gguf(kind, (n, k), &blocks), is_right)?;
    let block = |g: usize, j: usize| &blocks[(j * groups + g) * size..][..size];
    let number = |g, j, at: usize| f16::from_le_bytes([block(g, j)[at], block(g, j)[at + 1]]).to_f32();
    let minimum = |g, j| number(g, j, 2);
    Expected {
        shape,
        code: &|row, j| {
            let (block, at) = (block(row / 32, j), row % 32);
            let codes = &block[if kind == GgufType::Q4_1 { 4 } else { 2 }..];
            match kind {
                GgufType::Q8_0 => (codes[at] as i8).into(),
                _ => (codes[at % 16] >> (at / 16 * 4) & 15).into(),
            }
        },
        zero: &|_, _| if kind == GgufType::Q4_0 { 8 } else { 0 },
        scale: &|g, j| number(g, j, 0),
        minimum: if kind == GgufType::Q4_1 { Some(&minimum) } else { None },
    }
    .check(&packed);
    Some(packed)
}

fn from_onnx(input: &mut Input<'_>, shape: GroupShape) -> Option<GroupwiseB> {
    let GroupShape { k, n, group: block_size, bits } = shape;
    // Blocks are stored whole.
    let (blocks, per_byte) = (shape.groups(), 8 / bits.bits());
    let codes_per_column = (blocks * block_size).min(1 << 20);
    let b = about(input, (n * codes_per_column / per_byte).min(1 << 20));
    let scales = Numbers::read(input, n * blocks);
    let bytes_per_column = blocks.div_ceil(per_byte);
    let packed_zeros = about(input, n * bytes_per_column);
    let real_zeros = scales.whole_like(input, bits.max());
    let zeros = input.byte() % 3;
    let zero_points = match zeros {
        0 => OnnxZeros::None,
        1 => OnnxZeros::Packed(&packed_zeros),
        _ => OnnxZeros::Real(real_zeros.matrix(n, blocks)?),
    };
    let scales_given = scales.matrix(n, blocks)?;
    let weights = MatMulNBits { k, n, bits, block_size, b: &b, scales: scales_given, zero_points };
    let is_right = block_size.is_multiple_of(per_byte)
        && b.len() * per_byte == n * codes_per_column
        && packed_zeros.len() == n * bytes_per_column;
    let packed = made(GroupwiseB::from_onnx(&weights), is_right)?;
    Expected {
        shape,
        code: &|row, j| code_at(&b, j * codes_per_column + row, bits),
        zero: &|g, j| match zeros {
            0 => middle(bits),
            1 => code_at(&packed_zeros[j * bytes_per_column..], g, bits),
            _ => real_zeros.at(j * blocks + g) as i32,
        },
        scale: &|g, j| scales.at(j * blocks + g),
        minimum: None,
    }
    .check(&packed);
    Some(packed)
}

fn from_gptq(input: &mut Input<'_>, shape: GroupShape) -> Option<GroupwiseB> {
    let each = 32 / shape.bits.bits();
    let whole = |size: usize, keep: bool| if keep { size } else { size / each * each };
    let shape =
        GroupShape { k: whole(shape.k, input.one_in(32)), n: whole(shape.n, input.one_in(32)), ..shape };
    let GroupShape { k, n, group, bits } = shape;
    let groups = shape.groups();
    let (qweight, qzeros) = (about(input, k / each * n * 4), about(input, groups * (n / each) * 4));
    let scales = Numbers::read(input, groups * n);
    let mut g_idx: Vec<i32> = (0..length(input, k)).map(|row| (row / group.max(1)) as i32).collect();
    if input.one_in(16) {
        g_idx.reverse();
    }
    let (with_g_idx, zeros_less_one) = (input.flag(), input.flag());
    let layer = Gptq {
        k,
        n,
        bits,
        group,
        qweight: &qweight,
        qzeros: &qzeros,
        scales: scales.matrix(groups, n)?,
        g_idx: with_g_idx.then_some(&g_idx),
        zeros_less_one,
    };
    let is_whole = k.is_multiple_of(each) && n.is_multiple_of(each);
    let is_right = is_whole && qweight.len() == k * n / each * 4 && qzeros.len() == groups * n / each * 4;
    let packed = made(GroupwiseB::from_gptq(&layer), is_right && (g_idx.len() == k || !with_g_idx))?;
    Expected {
        shape,
        code: &|row, j| code_at(&qweight, (row / each * n + j) * each + row % each, bits),
        zero: &|g, j| code_at(&qzeros, g * n + j, bits) + i32::from(zeros_less_one),
        scale: &|g, j| scales.at(g * n + j),
        minimum: None,
    }
    .check(&packed);
    Some(packed)
}

fn from_awq(input: &mut Input<'_>, shape: GroupShape) -> Option<GroupwiseB> {
    /// The column of each code of an integer.
    const ORDER: [usize; 8] = [0, 2, 4, 6, 1, 3, 5, 7];
    let n = if input.one_in(32) { shape.n } else { shape.n / 8 * 8 };
    let shape = GroupShape { n, bits: CodeBits::Four, ..shape };
    let GroupShape { k, n, group, bits } = shape;
    let groups = shape.groups();
    let (qweight, qzeros) = (about(input, k * (n / 8) * 4), about(input, groups * (n / 8) * 4));
    let scales = Numbers::read(input, groups * n);
    let layer = Awq { k, n, group, qweight: &qweight, qzeros: &qzeros, scales: scales.matrix(groups, n)? };
    let is_right = n.is_multiple_of(8) && qweight.len() == k * n / 2 && qzeros.len() == groups * n / 2;
    let packed = made(GroupwiseB::from_awq(&layer), is_right)?;
    let place =
        |j: usize| j / 8 * 8 + ORDER.iter().position(|&column| column == j % 8).expect("it is below 8");
    Expected {
        shape,
        code: &|row, j| code_at(&qweight, row * n + place(j), bits),
        zero: &|g, j| code_at(&qzeros, g * n + place(j), bits),
        scale: &|g, j| scales.at(g * n + j),
        minimum: None,
    }
    .check(&packed);
    Some(packed)
}

fn from_floats(input: &mut Input<'_>, shape: GroupShape) -> Option<GroupwiseB> {
    let GroupShape { k, n, group, bits } = shape;
    let scheme = if input.flag() { GroupScheme::Asymmetric } else { GroupScheme::Symmetric };
    let matrix = FloatMatrix::read(input, (k, n));
    let w = matrix.view().ok()?;
    let quantized = quantize_groups(w, bits, group, scheme).ok()?;
    let packed = quantized.pack().expect("all of it was made by the library");
    let at = |row: usize, j: usize| row * n + j;
    let zero = |g, j| quantized.zeros.as_ref().map_or(middle(bits), |zeros| zeros[at(g, j)].into());
    Expected {
        shape,
        code: &|row, j| quantized.codes[at(row, j)].into(),
        zero: &zero,
        scale: &|g, j| quantized.scales[at(g, j)],
        minimum: None,
    }
    .check(&packed);
    // Each value is half a step away at most, but for zero points that were rounded, and what f32 and denormals lose.
    for (row, j) in (0..k).flat_map(|row| (0..n).map(move |j| (row, j))) {
        let (g, w) = (row / group, f64::from(*w.get(row, j).expect("it is an element")));
        let scale = f64::from(quantized.scales[at(g, j)]);
        let code = i32::from(quantized.codes[at(row, j)]) - zero(g, j);
        let error = (w - scale * f64::from(code)).abs() / scale;
        let most = match scheme {
            // A scale that was rounded down leaves more than half a step at the ends of the range.
            _ if scale < f64::from(f32::MIN_POSITIVE) => 256.0,
            GroupScheme::Symmetric => 0.501,
            GroupScheme::Asymmetric => 1.001,
        };
        assert!(error <= most, "row {row}, column {j}: {w} became {code} steps of {scale}");
    }
    Some(packed)
}
