//! Calls beside products: quantization, tables, indices, rows added by index.

use crate::c_abi::calls::Struct;
use crate::c_abi::memory::Memory;
use crate::c_abi::promise::{Array, Promised};
use qgemm_c::matrix::{qgemm_matrix, qgemm_matrix_mut};
use qgemm_c::quantize::*;
use qgemm_c::stage::qgemm_scales;
use qgemm_c::status::qgemm_status;

/// See `qgemm_quantize_columns`.
pub fn quantize_columns(
    memory: &Memory,
    x: Struct<qgemm_matrix>,
    out: Struct<qgemm_matrix_mut>,
    scales: Array<f32>,
) -> qgemm_status {
    x.value.check(memory);
    out.value.check(memory);
    scales.check(memory);
    // SAFETY: all is there, as was just checked, or an address is refused.
    x.pass(|x| out.pass(|out| unsafe { qgemm_quantize_columns(x, out, scales.first, scales.len) }))
}

/// See `qgemm_quantize_bias`. `bias` and `out` have one length.
pub fn quantize_bias(
    memory: &Memory,
    bias: Array<f32>,
    a_scale: f32,
    b_scale: Struct<qgemm_scales>,
    out: *mut i32,
) -> qgemm_status {
    bias.check(memory);
    b_scale.value.check(memory);
    let out = Array { first: out, len: bias.len };
    out.check(memory);
    // SAFETY: all is there, as was just checked, or an address is refused.
    b_scale.pass(|b_scale| unsafe { qgemm_quantize_bias(bias.first, a_scale, b_scale, out.first, out.len) })
}

/// See `qgemm_scatter_add`. `weights` has the length of `indices`, if it is not null.
pub fn scatter_add(
    memory: &Memory,
    rows: Struct<qgemm_matrix>,
    indices: Array<u32>,
    weights: *mut f32,
    c: Struct<qgemm_matrix_mut>,
) -> qgemm_status {
    rows.value.check(memory);
    indices.check(memory);
    let weights = Array { first: weights, len: indices.len };
    weights.check(memory);
    c.value.check(memory);
    rows.pass(|rows| {
        c.pass(|c| {
            // SAFETY: all is there, as was just checked, or an address is refused.
            unsafe { qgemm_scatter_add(rows, indices.first, indices.len, weights.first, c) }
        })
    })
}

/// See `qgemm_conv2d_indices`. `output` has room for three numbers.
pub fn conv2d_indices(
    memory: &Memory,
    conv: Struct<qgemm_conv2d>,
    indices: Array<u32>,
    output: *mut usize,
) -> qgemm_status {
    indices.check(memory);
    let output = Array { first: output, len: 3 };
    output.check(memory);
    // SAFETY: all is there, as was just checked, or an address is refused.
    conv.pass(|conv| unsafe { qgemm_conv2d_indices(conv, indices.first, indices.len, output.first) })
}

/// See `qgemm_activation_table`. `table` has room for 256 bytes.
pub fn activation_table(
    memory: &Memory,
    activation: u32,
    element: u32,
    (input, output): (qgemm_quant_params, qgemm_quant_params),
    table: *mut u8,
) -> qgemm_status {
    let table = Array { first: table, len: 256 };
    table.check(memory);
    // SAFETY: the table is there, as was just checked, or its address is refused.
    unsafe { qgemm_activation_table(activation, element, input, output, table.first) }
}
