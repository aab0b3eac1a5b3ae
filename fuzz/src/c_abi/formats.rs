//! Group-wise weights in the layouts of other software.

use crate::c_abi::calls::{pack_awq, pack_gguf, pack_gptq, pack_onnx};
use crate::c_abi::expect::Expect;
use crate::c_abi::memory::{ABSENT, Matrix, Memory};
use crate::c_abi::packing::{Outcome, Scales, Shape, bits};
use crate::c_abi::promise::Array;
use crate::input::Input;
use crate::values::Integers;
use qgemm::{Awq, GgufType, Gptq, GroupwiseB, MatMulNBits, MatRef, OnnxZeros};
use qgemm_c::formats::{qgemm_awq_options, qgemm_gptq_options, qgemm_onnx_options};
use qgemm_c::groupwise::{QGEMM_GGUF_Q4_0, QGEMM_GGUF_Q4_1, QGEMM_GGUF_Q8_0};
use qgemm_c::matrix::QGEMM_F32;
use qgemm_c::status::*;

/// Blocks of a GGUF file.
pub(super) fn from_gguf(
    input: &mut Input<'_>,
    memory: &Memory,
    expect: &mut Expect,
    shape: Shape,
) -> Outcome {
    let (element, rust, size) = input.one_of(&[
        (QGEMM_GGUF_Q4_0, GgufType::Q4_0, 18),
        (QGEMM_GGUF_Q4_1, GgufType::Q4_1, 20),
        (QGEMM_GGUF_Q8_0, GgufType::Q8_0, 34),
    ]);
    let blocks = Integers::read(input).bytes(shape.n * (shape.k / 32) * size);
    let rust = GroupwiseB::from_gguf(rust, (shape.n, shape.k), &blocks);
    let mut blocks = Array::of(memory, &blocks);
    expect.array(input, &mut blocks);
    let element = expect.choice(input, element);
    let (status, weights) = pack_gguf(memory, element, (shape.n, shape.k), blocks, expect.passed(input));
    ("gguf", status, weights, rust)
}

/// The tensors of a MatMulNBits.
pub(super) fn from_onnx(
    input: &mut Input<'_>,
    memory: &Memory,
    expect: &mut Expect,
    shape: Shape,
) -> Outcome {
    let (Shape { k, n, group, .. }, per_byte) = (shape, 8 / shape.bits as usize);
    let group = if group > 256 { 256 } else { group };
    let blocks = k.div_ceil(group.max(1));
    let b = Integers::read(input).bytes(n * blocks * group / per_byte);
    let scales = Scales::read(input, memory, (n, blocks));
    let packed = input.rarely(3, |input| Integers::read(input).bytes(n * blocks.div_ceil(per_byte)));
    let real = input.rarely(8, |input| {
        let zero = f32::from(input.byte() % 16);
        Matrix::place(input, memory, (n, blocks), QGEMM_F32, |len| vec![zero; len])
    });
    let reals = real.map_or(Vec::new(), |real| real.values::<f32>(memory));
    let zero_points = match (&packed, real) {
        (Some(packed), _) => OnnxZeros::Packed(packed),
        (None, Some(_)) => OnnxZeros::Real(MatRef::row_major(&reals, n, blocks).expect("it fits").into()),
        (None, None) => OnnxZeros::None,
    };
    let rust = GroupwiseB::from_onnx(&MatMulNBits {
        k,
        n,
        bits: shape.code_bits(),
        block_size: group,
        b: &b,
        scales: scales.rust(),
        zero_points,
    });
    let mut b = Array::of(memory, &b);
    expect.array(input, &mut b);
    let mut matrix = scales.matrix;
    expect.matrix(input, &mut matrix, &[QGEMM_SHAPE]);
    let mut zeros = packed.map_or(Array::NONE, |packed| Array::of(memory, &packed));
    expect.array(input, &mut zeros);
    if zeros.len > 0 && real.is_some() || !zeros.first.is_null() && real.is_some() {
        expect.wrong(&[QGEMM_OPTIONS]);
    }
    let options = qgemm_onnx_options {
        struct_size: 0,
        bits: bits(input, expect, shape.bits),
        k,
        n,
        block_size: group,
        b: b.first,
        b_len: b.len,
        scales: matrix.read(),
        zero_points: zeros.first,
        zero_points_len: zeros.len,
        real_zero_points: real.unwrap_or(ABSENT).read(),
    };
    let options = expect.sized(input, options, |options| &mut options.struct_size);
    let (status, weights) = pack_onnx(memory, options, expect.passed(input));
    ("onnx", status, weights, rust)
}

/// A layer of GPTQ's.
pub(super) fn from_gptq(
    input: &mut Input<'_>,
    memory: &Memory,
    expect: &mut Expect,
    shape: Shape,
) -> Outcome {
    let (Shape { k, n, group, .. }, per_byte, groups) = (shape, 8 / shape.bits as usize, shape.groups());
    let qweight = Integers::read(input).bytes(k * n / per_byte);
    let qzeros = Integers::read(input).bytes(groups * n / per_byte);
    let scales = Scales::read(input, memory, (groups, n));
    let act_order = input.one_in(16);
    let g_idx = input.rarely(3, |_| {
        (0..k).map(|row| (row / group.max(1)) as i32 + i32::from(act_order && row == 3)).collect::<Vec<i32>>()
    });
    let zeros_less_one = input.flag();
    let rust = GroupwiseB::from_gptq(&Gptq {
        k,
        n,
        bits: shape.code_bits(),
        group,
        qweight: &qweight,
        qzeros: &qzeros,
        scales: scales.rust(),
        g_idx: g_idx.as_deref(),
        zeros_less_one,
    });
    let (mut qweight, mut qzeros) = (Array::of(memory, &qweight), Array::of(memory, &qzeros));
    expect.array(input, &mut qweight);
    expect.array(input, &mut qzeros);
    let mut g_idx = g_idx.map_or(Array::NONE, |g_idx| Array::of(memory, &g_idx));
    expect.array(input, &mut g_idx);
    let mut matrix = scales.matrix;
    expect.matrix(input, &mut matrix, &[QGEMM_SHAPE]);
    let options = qgemm_gptq_options {
        struct_size: 0,
        bits: bits(input, expect, shape.bits),
        zeros_less_one: expect.choice(input, zeros_less_one.into()),
        k,
        n,
        group,
        qweight: qweight.first,
        qweight_len: qweight.len,
        qzeros: qzeros.first,
        qzeros_len: qzeros.len,
        scales: matrix.read(),
        g_idx: g_idx.first,
        g_idx_len: g_idx.len,
    };
    let options = expect.sized(input, options, |options| &mut options.struct_size);
    let (status, weights) = pack_gptq(memory, options, expect.passed(input));
    ("gptq", status, weights, rust)
}

/// A layer of AWQ's.
pub(super) fn from_awq(input: &mut Input<'_>, memory: &Memory, expect: &mut Expect, shape: Shape) -> Outcome {
    let (Shape { k, n, group, .. }, groups) = (shape, shape.groups());
    let (qweight, qzeros) =
        (Integers::read(input).bytes(k * n / 2), Integers::read(input).bytes(groups * n / 2));
    let scales = Scales::read(input, memory, (groups, n));
    let layer = Awq { k, n, group, qweight: &qweight, qzeros: &qzeros, scales: scales.rust() };
    let rust = GroupwiseB::from_awq(&layer);
    let (mut qweight, mut qzeros) = (Array::of(memory, &qweight), Array::of(memory, &qzeros));
    expect.array(input, &mut qweight);
    expect.array(input, &mut qzeros);
    let mut matrix = scales.matrix;
    expect.matrix(input, &mut matrix, &[QGEMM_SHAPE]);
    let options = qgemm_awq_options {
        struct_size: 0,
        k,
        n,
        group,
        qweight: qweight.first,
        qweight_len: qweight.len,
        qzeros: qzeros.first,
        qzeros_len: qzeros.len,
        scales: matrix.read(),
    };
    let options = expect.sized(input, options, |options| &mut options.struct_size);
    let (status, weights) = pack_awq(memory, options, expect.passed(input));
    ("awq", status, weights, rust)
}
