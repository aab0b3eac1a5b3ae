//! What surrounds products: quantization, tables of activations, indices of convolutions, rows added by index.

use crate::matrix::{QGEMM_F32, QGEMM_I8, element_type, qgemm_matrix, qgemm_matrix_mut, qgemm_type};
use crate::memory::{self, Options};
use crate::overlap::{Span, check_output};
use crate::stage::qgemm_scales;
use crate::status::{Failure, QGEMM_OVERLAP, guard, qgemm_status};
use rust::{Activation, Conv2d, ElementType, Int8Element, OneOrEach, QuantParams, Table};

/// A function that is applied to outputs.
pub type qgemm_activation = u32;
/// None.
pub const QGEMM_IDENTITY: qgemm_activation = 0;
/// x/2 * (1 + erf(x / sqrt(2)))
pub const QGEMM_GELU: qgemm_activation = 1;
/// Its approximation by tanh.
pub const QGEMM_GELU_TANH: qgemm_activation = 2;
/// x / (1 + exp(-x)), also called swish.
pub const QGEMM_SILU: qgemm_activation = 3;
/// 1 / (1 + exp(-x))
pub const QGEMM_SIGMOID: qgemm_activation = 4;
/// tanh(x)
pub const QGEMM_TANH: qgemm_activation = 5;
/// x * min(max(x + 3, 0), 6) / 6
pub const QGEMM_HARD_SWISH: qgemm_activation = 6;

/// The activation; `None` for the identity.
pub(crate) fn activation(got: qgemm_activation) -> Result<Option<Activation>, Failure> {
    Ok(Some(match got {
        QGEMM_IDENTITY => return Ok(None),
        QGEMM_GELU => Activation::Gelu,
        QGEMM_GELU_TANH => Activation::GeluTanh,
        QGEMM_SILU => Activation::Silu,
        QGEMM_SIGMOID => Activation::Sigmoid,
        QGEMM_TANH => Activation::Tanh,
        QGEMM_HARD_SWISH => Activation::HardSwish,
        got => return Err(Failure::choice("activation", got)),
    }))
}

/// The affine map of quantized values: real = scale * (q - zero_point).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_quant_params {
    /// Finite and greater than 0.
    pub scale: f32,
    pub zero_point: i32,
}

impl qgemm_quant_params {
    fn rust(self) -> QuantParams {
        QuantParams { scale: self.scale, zero_point: self.zero_point }
    }
}

/// The table of an activation between two quantizations, for the `table` of an 8-bit stage: for each of 256 bit patterns of
/// `type` (QGEMM_I8 or QGEMM_U8) that of quantize(activation(dequantize(value))), into 256 bytes.
///
/// Errors: QGEMM_NULL, QGEMM_TYPE; QGEMM_RANGE if a scale is not finite and positive.
///
/// # Safety
/// `table` is NULL or the address of 256 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_activation_table(
    activation: qgemm_activation,
    r#type: qgemm_type,
    input: qgemm_quant_params,
    output: qgemm_quant_params,
    table: *mut u8,
) -> qgemm_status {
    fn fill<T: Int8Element>(
        f: Option<Activation>,
        params: (QuantParams, QuantParams),
        out: &mut [u8],
    ) -> Result<(), Failure> {
        let table = Table::<T>::new(params.0, params.1, |x| f.map_or(x, |f| f.apply(x)))?;
        for (bits, out) in (0..=u8::MAX).zip(out) {
            *out = table.get(T::from_bits(bits)).to_bits();
        }
        Ok(())
    }
    guard(|| {
        let (f, params) = (self::activation(activation)?, (input.rust(), output.rust()));
        // SAFETY: the caller promises 256 bytes.
        let out = unsafe { memory::array_mut("table", table, 256) }?;
        match element_type("type", r#type)? {
            ElementType::I8 => fill::<i8>(f, params, out),
            ElementType::U8 => fill::<u8>(f, params, out),
        }
    })
}

/// Quantizes float weights, K×N of QGEMM_F32, to QGEMM_I8 from -127 to 127 with a scale for each column: scales[n] is the
/// greatest magnitude of column n over 127. `out` is K×N and `scales` holds `len` = N.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_OVERLAP, QGEMM_NOT_FINITE.
///
/// # Safety
/// Matrices are as qgemm_matrix and qgemm_matrix_mut say, and `scales` is the address of `len` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_quantize_columns(
    x: *const qgemm_matrix,
    out: *const qgemm_matrix_mut,
    scales: *mut f32,
    len: usize,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises both structs.
        let (raw, out) = unsafe { (memory::read("x", x)?, memory::read("out", out)?) };
        // SAFETY: the caller promises the matrix.
        let x = unsafe { raw.f32("x") }?;
        if out.r#type != QGEMM_I8 {
            return Err(out.wrong_type("out", "has to be QGEMM_I8"));
        }
        let span = Span::of_array(scales, len);
        check_output("out", &out.place("out")?, &[raw.span(), span])?;
        check_apart("scales", span, raw.span())?;
        // SAFETY: the caller promises so many scales, and they overlap neither x nor the output.
        let scales = unsafe { memory::array_mut("scales", scales, len) }?;
        // SAFETY: it overlaps neither x nor the scales.
        let out = unsafe { out.of::<i8>("out") }?;
        Ok(rust::quantize_columns(x, out, scales)?)
    })
}

/// Checks that an array which is written has nothing in common with an input.
fn check_apart(argument: &'static str, output: Span, input: Span) -> Result<(), Failure> {
    match output.meets(input) {
        true => Err(Failure::new(QGEMM_OVERLAP, argument, "overlaps an input")),
        false => Ok(()),
    }
}

/// Quantizes a bias to the scale of the sums: out[n] = round_half_even(bias[n] / (a_scale * b_scale[n])). Of `b_scale`, `one`
/// or `columns` (`len` of them) is used. `bias` and `out` hold `len` values.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_OVERLAP, QGEMM_OPTIONS if there are scales of rows; QGEMM_RANGE
/// if a scale is not finite and positive or a value does not fit int32_t.
///
/// # Safety
/// The arrays are there, and `b_scale` is NULL or the address of such a struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_quantize_bias(
    bias: *const f32,
    a_scale: f32,
    b_scale: *const qgemm_scales,
    out: *mut i32,
    len: usize,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a struct and the arrays.
        let raw = unsafe { memory::read("b_scale", b_scale) }?;
        if !raw.rows.is_null() {
            return Err(Failure::options("b_scale", "has scales of rows"));
        }
        // SAFETY: likewise.
        let columns = unsafe { memory::optional_array("b_scale", raw.columns, raw.columns_len) }?;
        let span = Span::of_array(out, len);
        check_apart("out", span, Span::of_array(bias, len))?;
        check_apart("out", span, columns.map_or(Span::EMPTY, Span::of))?;
        // SAFETY: likewise, and what is written overlaps nothing that is read.
        let (bias, out) = unsafe { (memory::array("bias", bias, len)?, memory::array_mut("out", out, len)?) };
        let scale = columns.map_or(OneOrEach::PerTensor(raw.one), OneOrEach::PerAxis);
        Ok(rust::quantize_bias(bias, a_scale, scale, out)?)
    })
}

/// Adds each row of `rows` to a row of `c`: for i from 0 on, c[indices[i], j] += weights[i] * rows[i, j]. Both are of QGEMM_F32
/// or, without weights, both of QGEMM_I32 (modulo 2^32). `indices` holds `len` row numbers of `c`, as many as `rows` has rows;
/// they may repeat. `weights` holds as many, or is NULL.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_TOO_LARGE, QGEMM_TYPE, QGEMM_OVERLAP; QGEMM_RANGE if an index is no
/// row of `c`, which is then as it was; QGEMM_OPTIONS for weights with QGEMM_I32.
///
/// # Safety
/// Matrices are as qgemm_matrix and qgemm_matrix_mut say, elements of `c` are set, and the arrays are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_scatter_add(
    rows: *const qgemm_matrix,
    indices: *const u32,
    len: usize,
    weights: *const f32,
    c: *const qgemm_matrix_mut,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises both structs.
        let (rows, c) = unsafe { (memory::read("rows", rows)?, memory::read("output", c)?) };
        // SAFETY: the caller promises the arrays.
        let indices = unsafe { memory::array("indices", indices, len) }?;
        let weights = match weights.is_null() {
            true => None,
            // SAFETY: likewise.
            false => Some(unsafe { memory::array("weights", weights, len) }?),
        };
        let inputs = [rows.span(), Span::of(indices), weights.map_or(Span::EMPTY, Span::of)];
        check_output("output", &c.place("output")?, &inputs)?;
        if rows.r#type != c.r#type {
            return Err(c.wrong_type("output", "has to be of the type of rows"));
        }
        if c.r#type == QGEMM_F32 {
            // SAFETY: the caller promises the matrices, and C overlaps no input.
            let (rows, c) = unsafe { (rows.f32("rows")?, c.of("output")?) };
            return Ok(rust::scatter_add_f32(rows, indices, weights, c)?);
        }
        // SAFETY: likewise; any other type than QGEMM_I32 is refused before C is made.
        let (rows, c) = unsafe { (rows.i32("rows")?, c.of("output")?) };
        match weights {
            None => Ok(rust::scatter_add_i32(rows, indices, c)?),
            Some(_) => Err(Failure::options("weights", "are for QGEMM_F32")),
        }
    })
}

/// A convolution of images, whose pixels (batch, height, width in this order) are the rows of a source, each a row of
/// channels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_conv2d {
    /// sizeof(qgemm_conv2d)
    pub struct_size: usize,
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub kernel_height: usize,
    pub kernel_width: usize,
    /// At least 1.
    pub stride_height: usize,
    pub stride_width: usize,
    /// At least 1.
    pub dilation_height: usize,
    pub dilation_width: usize,
    /// Pixels around each image.
    pub padding_top: usize,
    pub padding_left: usize,
    pub padding_bottom: usize,
    pub padding_right: usize,
}

// SAFETY: it begins with a usize, and holds integers.
unsafe impl Options for qgemm_conv2d {}

/// The indices of a convolution, for a qgemm_gather with kernel_height * kernel_width taps: for each output pixel and tap a row
/// of the source, or QGEMM_PADDING. B has kernel_height * kernel_width * channels rows, in this order, and a column for each
/// output channel; row i of C is output pixel i.
///
/// `output` gets the number of images, their height and their width. With `indices` NULL and `len` 0 that is all; otherwise
/// `len` is the product of these three and of the taps.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE, QGEMM_OVERLAP; QGEMM_RANGE if a size is 0 or too large; QGEMM_MEMORY.
///
/// # Safety
/// Each pointer is null or to what its type says, `output` to three of them, `indices` to `len`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_conv2d_indices(
    conv: *const qgemm_conv2d,
    indices: *mut u32,
    len: usize,
    output: *mut usize,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let raw = unsafe { memory::options("conv", conv) }?;
        let conv = Conv2d::builder(raw.batch, (raw.height, raw.width), (raw.kernel_height, raw.kernel_width))
            .stride(raw.stride_height, raw.stride_width)
            .dilation(raw.dilation_height, raw.dilation_width)
            .padding(raw.padding_top, raw.padding_left, raw.padding_bottom, raw.padding_right)
            .build()?;
        let span = Span::of_array(indices, len);
        if span.meets(Span::of_array(output, 3)) {
            return Err(Failure::new(QGEMM_OVERLAP, "indices", "overlap the output"));
        }
        // Before anything is written.
        // SAFETY: the caller promises room for three numbers, which is no part of the indices.
        let output = unsafe { memory::array_mut("output", output, 3) }?;
        if !indices.is_null() || len != 0 {
            let found = conv.indices();
            if len != found.len() {
                let (argument, got, need) = ("indices", len, found.len());
                return Err(rust::Error::Length { argument, got, need }.into());
            }
            // SAFETY: the caller promises room for so many, which is no part of the output.
            unsafe { memory::array_mut("indices", indices, len) }?.copy_from_slice(found);
        }
        let (images, height, width) = conv.output_shape();
        output.copy_from_slice(&[images, height, width]);
        Ok(())
    })
}
