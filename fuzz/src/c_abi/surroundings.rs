//! What surrounds products, compared with the functions of Rust: quantization, tables, indices, rows added by index.

use crate::c_abi::calls::{
    Passed, activation_table, conv2d_indices, multiplier_of, quantize_bias, quantize_columns, scatter_add,
};
use crate::c_abi::expect::Expect;
use crate::c_abi::memory::{Matrix, Memory};
use crate::c_abi::packing::floats;
use crate::c_abi::promise::Array;
use crate::compare::assert_equal;
use crate::input::Input;
use crate::values::{Integers, Random, Reals};
use qgemm::{Activation, Conv2d, Error, MatMut, MatRef, Multiplier, OneOrEach, QuantParams, Table};
use qgemm_c::matrix::{QGEMM_F32, QGEMM_I8, QGEMM_I32, QGEMM_U8};
use qgemm_c::quantize::{qgemm_conv2d, qgemm_quant_params};
use qgemm_c::stage::qgemm_scales;
use qgemm_c::status::*;

/// Runs a case.
pub fn run(input: &mut Input<'_>, memory: &Memory) -> Option<()> {
    match input.byte() % 6 {
        0 => columns(input, memory),
        1 => bias(input, memory),
        2 => scatter(input, memory),
        3 => conv(input, memory),
        4 => table(input, memory),
        _ => multiplier(input),
    }
    Some(())
}

/// Checks that a call has written what it may, if it succeeded, and nothing else.
fn check_written(
    memory: &Memory,
    what: &str,
    before: &[Vec<u8>],
    status: qgemm_status,
    written: &[(usize, usize)],
) {
    memory.assert_as_before(what, before, if status == QGEMM_OK { written } else { &[] });
}

fn shape(input: &mut Input<'_>) -> (usize, usize) {
    (input.number(0..=40), input.number(0..=40))
}

fn columns(input: &mut Input<'_>, memory: &Memory) {
    let (mut expect, (k, n)) = (Expect::default(), shape(input));
    let mut x = floats(input, memory, (k, n));
    let mut integers = Integers::read(input);
    let out = Matrix::place(input, memory, (k, n), QGEMM_I8, |len| integers.bytes(len));
    let values = x.values::<f32>(memory);
    let (mut bytes, mut found) = (vec![0i8; k * n], vec![0f32; n]);
    let rust = MatRef::row_major(&values, k, n)
        .and_then(|x| qgemm::quantize_columns(x, MatMut::row_major(&mut bytes, k, n)?, &mut found));
    let mut scales = Array::of(memory, &vec![7f32; n]);
    if n > 0 && k > 0 && input.one_in(20) {
        scales.first = x.data.cast();
        // A single column may have no more than its own place, as a matrix that is as large.
        if x.extent().is_some_and(|extent| extent >= 4 * n) {
            expect.wrong(&[QGEMM_OVERLAP]);
        } else {
            scales = Array::of(memory, &vec![7f32; n]);
        }
    }
    let right = scales;
    expect.array(input, &mut scales);
    let mut wrong = out;
    expect.matrix(input, &mut x, &[QGEMM_SHAPE]);
    expect.matrix(input, &mut wrong, &[QGEMM_SHAPE]);
    let (x, c) = (expect.plain(input, x.read()), expect.plain(input, wrong.written()));
    let before = memory.snapshot();
    let status = quantize_columns(memory, x, c, scales);
    let mut written = out.elements();
    written.push((right.first.addr(), 4 * n));
    check_written(memory, "columns", &before, status, &written);
    expect.check_either("columns", status, &rust);
    if status == QGEMM_OK {
        assert_equal("columns", &out.values::<i8>(memory), &bytes);
        assert_equal("scales of columns", &memory.get(right.first, n), &found);
    }
}

fn bias(input: &mut Input<'_>, memory: &Memory) {
    let (mut expect, len) = (Expect::default(), input.number(0..=40));
    let (values, a_scale) = (Reals::read(input).reals(len), Reals::read(input).real());
    let mut scales = Reals::read(input);
    let each = if input.flag() { Some(scales.reals(len)) } else { None };
    let one = scales.real();
    let mut found = vec![0; len];
    let scale =
        each.as_deref().filter(|each| !each.is_empty()).map_or(OneOrEach::PerTensor(one), OneOrEach::PerAxis);
    let is_given = each.as_ref().is_none_or(|each| !each.is_empty());
    let rust = qgemm::quantize_bias(&values, a_scale, scale, &mut found);
    let mut columns = each.map_or(Array::NONE, |each| Array::of(memory, &each));
    expect.array(input, &mut columns);
    let mut array = Array::of(memory, &values);
    let mut out = memory.put(&vec![7i32; len]);
    if len > 0 {
        match input.byte() {
            250 => {
                array.first = std::ptr::null_mut();
                expect.wrong(&[QGEMM_NULL]);
            }
            251 => {
                out = std::ptr::null_mut();
                expect.wrong(&[QGEMM_NULL]);
            }
            252 => {
                out = out.wrapping_byte_add(1);
                expect.wrong(&[QGEMM_MISALIGNED]);
            }
            253 => {
                out = array.first.cast();
                expect.wrong(&[QGEMM_OVERLAP, QGEMM_NULL]);
            }
            254 => {
                array.len = input.one_of(&[usize::MAX, usize::MAX / 4]);
                expect.wrong(&[QGEMM_TOO_LARGE]);
            }
            _ => (),
        }
    }
    let rows = if input.one_in(40) { memory.put(&[1f32]) } else { std::ptr::null_mut() };
    if !rows.is_null() {
        expect.wrong(&[QGEMM_OPTIONS]);
    }
    let raw = qgemm_scales { rows, rows_len: 0, columns: columns.first, columns_len: columns.len, one };
    let raw = expect.plain(input, raw);
    let before = memory.snapshot();
    let status = quantize_bias(memory, array, a_scale, raw, out);
    check_written(memory, "bias", &before, status, &[(out.addr(), 4 * len)]);
    // Scales of no columns are at any address, also at none.
    if is_given {
        expect.check_either("bias", status, &rust);
    }
    if status == QGEMM_OK && is_given {
        assert_eq!(memory.get(out, len), found);
    }
}

fn scatter(input: &mut Input<'_>, memory: &Memory) {
    let (mut expect, (len, cols), all) = (Expect::default(), shape(input), input.number(0..=20));
    let element = if input.flag() { QGEMM_F32 } else { QGEMM_I32 };
    let number = |input: &mut Input<'_>, shape| {
        let (mut reals, mut integers) = (Reals::read(input), Integers::read(input));
        match element {
            QGEMM_F32 => Matrix::place(input, memory, shape, element, |len| reals.reals(len)),
            _ => Matrix::place(input, memory, shape, element, |len| integers.integers(len)),
        }
    };
    let (mut rows, c) = (number(input, (len, cols)), number(input, (all, cols)));
    let mut random = Random::new(input.byte().into());
    let mut indices: Vec<u32> = (0..len).map(|_| random.below(all.max(1)) as u32).collect();
    if let (Some(first), true) = (indices.first_mut(), input.one_in(16)) {
        *first = input.one_of(&[all as u32, u32::MAX]);
    }
    let weights = if input.one_in(3) {
        Some(Reals::read(input).reals(len)).filter(|all| !all.is_empty())
    } else {
        None
    };
    let mut floats = if element == QGEMM_F32 { c.values::<f32>(memory) } else { Vec::new() };
    let mut numbers = if element == QGEMM_I32 { c.values::<i32>(memory) } else { Vec::new() };
    let rust: Result<(), Error> = if element == QGEMM_F32 {
        let values = rows.values::<f32>(memory);
        let (rows, c) = (MatRef::row_major(&values, len, cols), MatMut::row_major(&mut floats, all, cols));
        qgemm::scatter_add_f32(rows.expect("it fits"), &indices, weights.as_deref(), c.expect("it fits"))
    } else {
        let values = rows.values::<i32>(memory);
        let (rows, c) = (MatRef::row_major(&values, len, cols), MatMut::row_major(&mut numbers, all, cols));
        qgemm::scatter_add_i32(rows.expect("it fits"), &indices, c.expect("it fits"))
    };
    if weights.is_some() && element == QGEMM_I32 {
        expect.wrong(&[QGEMM_OPTIONS]);
    }
    let mut indices = Array::of(memory, &indices);
    if input.one_in(20) && len > 0 && c.extent().is_some_and(|extent| extent >= 4 * len) {
        // As indices, values of C are no rows of it, or right by chance.
        indices.first = c.data.cast();
        expect.wrong(&[QGEMM_OVERLAP, QGEMM_RANGE]);
    }
    let weights = weights.map_or(std::ptr::null_mut(), |weights| memory.put(&weights));
    if weights.is_null() {
        expect.array(input, &mut indices);
    }
    let mut wrong = c;
    expect.matrix(input, &mut rows, &[QGEMM_SHAPE]);
    let small = if wrong.shape.0 > 0 { [QGEMM_SHAPE, QGEMM_RANGE] } else { [QGEMM_SHAPE; 2] };
    let mut smaller = Expect::default();
    smaller.matrix(input, &mut wrong, if expect.is_right() { &small } else { &[] });
    if wrong.shape.0 < c.shape.0 {
        // No index may name the row that is left out.
        expect.perhaps(&small);
    } else {
        expect.and(&smaller);
    }
    let (rows, output) = (expect.plain(input, rows.read()), expect.plain(input, wrong.written()));
    let before = memory.snapshot();
    let status = scatter_add(memory, rows, indices, weights, output);
    check_written(memory, "scatter", &before, status, &c.elements());
    expect.check_either("scatter", status, &rust);
    if status == QGEMM_OK && element == QGEMM_F32 {
        assert_equal("scatter", &c.values::<f32>(memory), &floats);
    } else if status == QGEMM_OK {
        assert_equal("scatter", &c.values::<i32>(memory), &numbers);
    }
}

fn conv(input: &mut Input<'_>, memory: &Memory) {
    let mut expect = Expect::default();
    let size = |input: &mut Input<'_>, least: usize, most: usize| match input.byte() {
        250 => 0,
        251 => input.one_of(&[usize::MAX, 1 << 32, 1 << 63, u32::MAX as usize]),
        _ => input.number(least..=most),
    };
    let raw = qgemm_conv2d {
        struct_size: 0,
        batch: size(input, 1, 3),
        height: size(input, 1, 12),
        width: size(input, 1, 12),
        kernel_height: size(input, 1, 4),
        kernel_width: size(input, 1, 4),
        stride_height: size(input, 1, 3),
        stride_width: size(input, 1, 3),
        dilation_height: size(input, 1, 3),
        dilation_width: size(input, 1, 3),
        padding_top: size(input, 0, 3),
        padding_left: size(input, 0, 3),
        padding_bottom: size(input, 0, 3),
        padding_right: size(input, 0, 3),
    };
    let rust = Conv2d::builder(raw.batch, (raw.height, raw.width), (raw.kernel_height, raw.kernel_width))
        .stride(raw.stride_height, raw.stride_width)
        .dilation(raw.dilation_height, raw.dilation_width)
        .padding(raw.padding_top, raw.padding_left, raw.padding_bottom, raw.padding_right)
        .build();
    let found = rust.as_ref().map_or(Vec::new(), |conv| conv.indices().to_vec());
    let asks = input.flag();
    let mut indices = if asks { Array::NONE } else { Array::of(memory, &vec![7u32; found.len()]) };
    let right = indices;
    expect.array(input, &mut indices);
    let output = memory.put(&[7usize; 3]);
    let passed = expect.passed(input);
    let output_passed = match passed {
        Passed::Right => output,
        Passed::Null => std::ptr::null_mut(),
        Passed::Misaligned => output.wrapping_byte_add(1),
    };
    let raw = expect.sized(input, raw, |raw| &mut raw.struct_size);
    let before = memory.snapshot();
    let status = conv2d_indices(memory, raw, indices, output_passed);
    let written = [(right.first.addr(), 4 * right.len), (output.addr(), 24)];
    check_written(memory, "conv", &before, status, &written);
    expect.check_either("conv", status, &rust);
    if status == QGEMM_OK {
        let (images, height, width) = rust.expect("C accepts it").output_shape();
        assert_eq!(memory.get(output, 3), [images, height, width]);
        assert!(asks || memory.get(right.first, right.len) == found);
    }
}

fn table(input: &mut Input<'_>, memory: &Memory) {
    let mut expect = Expect::default();
    let params = |input: &mut Input<'_>| QuantParams {
        scale: Reals::read(input).real().abs(),
        zero_point: Integers::read(input).integer(),
    };
    let (from, to) = (params(input), params(input));
    let activations = [
        None,
        Some(Activation::Gelu),
        Some(Activation::GeluTanh),
        Some(Activation::Silu),
        Some(Activation::Sigmoid),
        Some(Activation::Tanh),
        Some(Activation::HardSwish),
    ];
    let (chosen, element) = (input.number(0..=6), if input.flag() { QGEMM_I8 } else { QGEMM_U8 });
    let apply = |x: f32| activations[chosen].map_or(x, |f| f.apply(x));
    let rust = if element == QGEMM_I8 {
        Table::<i8>::new(from, to, apply)
            .map(|table| (0..=255u8).map(|bits| table.get(bits as i8) as u8).collect())
    } else {
        Table::<u8>::new(from, to, apply)
            .map(|table| (0..=255u8).map(|bits| table.get(bits)).collect::<Vec<u8>>())
    };
    let room = memory.put(&[7u8; 256]);
    let raw = |params: QuantParams| qgemm_quant_params { scale: params.scale, zero_point: params.zero_point };
    let at = if input.one_in(20) { std::ptr::null_mut() } else { room };
    if at.is_null() {
        expect.wrong(&[QGEMM_NULL]);
    }
    let (activation, element) = (expect.choice(input, chosen as u32), expect.choice(input, element));
    let before = memory.snapshot();
    let status = activation_table(memory, activation, element, (raw(from), raw(to)), at);
    check_written(memory, "table", &before, status, &[(room.addr(), 256)]);
    expect.check_either("table", status, &rust);
    if status == QGEMM_OK {
        assert_eq!(memory.get(room, 256), rust.expect("C accepts it"));
    }
}

fn multiplier(input: &mut Input<'_>) {
    let (mut expect, real) = (Expect::default(), f64::from_bits(input.long()));
    let to = expect.passed(input);
    let rust = Multiplier::from_real(real);
    let (status, made) = multiplier_of(real, to);
    expect.check_either("multiplier", status, &rust);
    if let (Some(made), Ok(rust)) = (made, rust) {
        assert_eq!((made.m, made.shift), (rust.m(), rust.shift()));
    }
}
