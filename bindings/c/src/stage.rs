//! Output stages: from exact sums to 8 bits or f32, checked once and kept behind a handle.

use crate::matrix::{element_type, qgemm_type};
use crate::memory::{self, Options};
use crate::quantize::{activation, qgemm_activation};
use crate::status::{Failure, guard, qgemm_status};
use rust::{
    Dequantize, ElementType, F64Factors, Int8Element, Multiplier, Multipliers, OwnedDequantize,
    OwnedRequantize, Requantize, Rounding, Scale, Table,
};

/// An output stage, for any number of products on any threads at the same time. Made by qgemm_requantize or
/// qgemm_dequantize, which copy all that they are given, and freed by qgemm_stage_free.
pub struct qgemm_stage {
    pub(crate) output: Output,
}

pub(crate) enum Output {
    Bytes(OwnedRequantize),
    Float(OwnedDequantize),
}

/// Float scales: `one` for all, or one per row, per column, or both (whose product, rounded to f32, is the scale). An array
/// that is NULL is left out; `one` is used if both are.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_scales {
    /// M of them, or NULL.
    pub rows: *const f32,
    pub rows_len: usize,
    /// N of them, or NULL.
    pub columns: *const f32,
    pub columns_len: usize,
    /// The scale of all, if both arrays are NULL.
    pub one: f32,
}

impl qgemm_scales {
    /// # Safety
    /// Unless they are refused, the arrays are there, and written by nobody for `'a`.
    unsafe fn view<'a>(&self) -> Result<Scale<'a>, Failure> {
        // SAFETY: the caller's promise is the same.
        let rows = unsafe { memory::optional_array("scale.rows", self.rows, self.rows_len) }?;
        // SAFETY: likewise.
        let columns = unsafe { memory::optional_array("scale.columns", self.columns, self.columns_len) }?;
        Ok(match (rows, columns) {
            (None, None) => Scale::PerTensor(self.one),
            (None, Some(columns)) => Scale::PerColumn(columns),
            (Some(rows), None) => Scale::PerRow(rows),
            (Some(rows), Some(columns)) => Scale::RowsByColumns { rows, columns },
        })
    }
}

/// A real factor `m * 2^(shift - 31)`: m is 0 or from 2^30 to 2^31 - 1, shift from -31 to 30. See qgemm_multiplier_of.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_multiplier {
    pub m: i32,
    pub shift: i32,
}

/// How sums are scaled to 8 bits.
pub type qgemm_scaling = u32;
/// By `scale`, in f32: clamp(round_half_even(f32(acc) * scale) + zero_point). As ONNX Runtime computes.
pub const QGEMM_SCALE_F32: qgemm_scaling = 0;
/// By `multipliers`, in integers, rounded as gemmlowp and TFLite's kernels do.
pub const QGEMM_FIXED_GEMMLOWP: qgemm_scaling = 1;
/// By `multipliers`, rounded as ruy does.
pub const QGEMM_FIXED_RUY: qgemm_scaling = 2;
/// By `multipliers`, rounded once, half up.
pub const QGEMM_FIXED_SINGLE: qgemm_scaling = 3;
/// By `multipliers`, rounded once, half away from zero.
pub const QGEMM_FIXED_REFERENCE: qgemm_scaling = 4;
/// By `factors`, in f64, rounded half away from zero, as TFLite's reference kernels do.
pub const QGEMM_SCALE_F64: qgemm_scaling = 5;

/// A limit of outputs.
pub type qgemm_clamp = u32;
/// The range of the output type; none for f32.
pub const QGEMM_CLAMP_NONE: qgemm_clamp = 0;
/// From `lo` to `hi`.
pub const QGEMM_CLAMP_TO: qgemm_clamp = 1;
/// Real numbers from 0 on: from the zero point on, in 8 bits.
pub const QGEMM_CLAMP_RELU: qgemm_clamp = 2;
/// Real numbers from 0 to 6; in 8 bits `output_scale` says how far 6 is from the zero point.
pub const QGEMM_CLAMP_RELU6: qgemm_clamp = 3;

/// An 8-bit output: what qgemm_requantize makes a stage of. All zeros but `struct_size`, and a scale, are the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_requantize_options {
    /// sizeof(qgemm_requantize_options)
    pub struct_size: usize,
    /// Which of the next three is used.
    pub scaling: qgemm_scaling,
    /// 1: A is f32, and the call finds its scales, which are multiplied with `scale` first. 0: `scale` holds that of A.
    pub dynamic: u32,
    /// scale_a * scale_b / scale_out (`dynamic`: scale_b / scale_out), in f32.
    pub scale: qgemm_scales,
    /// One for all, or N of them.
    pub multipliers: *const qgemm_multiplier,
    pub multipliers_len: usize,
    /// One for all, or N of them.
    pub factors: *const f64,
    pub factors_len: usize,
    /// The zero point of the output: at most 2^21 either way.
    pub zero_point: i32,
    pub clamp: qgemm_clamp,
    /// Of QGEMM_CLAMP_TO, in quantized units.
    pub lo: i32,
    pub hi: i32,
    /// Of QGEMM_CLAMP_RELU6: the scale of the output.
    pub output_scale: f32,
    /// 1: what C holds before the call is added before rounding, with the next two. Only with QGEMM_SCALE_F32.
    pub residual_in_place: u32,
    /// scale_residual / scale_out
    pub residual_scale: f32,
    pub residual_zero_point: i32,
    /// The type of `table` and of the output, QGEMM_I8 or QGEMM_U8, if there is a table.
    pub table_type: qgemm_type,
    /// 256 bytes, or NULL: the value that replaces each clamped value, by its bits (as uint8_t). See qgemm_activation_table.
    pub table: *const u8,
}

// SAFETY: it begins with a usize, and holds numbers and raw pointers.
unsafe impl Options for qgemm_requantize_options {}

/// A choice between 0 and 1.
pub(crate) fn flag(argument: &'static str, got: u32) -> Result<bool, Failure> {
    match got {
        0 => Ok(false),
        1 => Ok(true),
        got => Err(Failure::choice(argument, got)),
    }
}

/// Makes a stage with 8-bit outputs, QGEMM_I8 or QGEMM_U8. `*stage` is written if the call succeeds.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE; QGEMM_TYPE for an unknown choice; QGEMM_RANGE for a scale or factor
/// that is negative, infinite or NaN, for a multiplier or zero point out of its range, and for lo > hi; QGEMM_OPTIONS if a
/// residual comes with multipliers or factors; QGEMM_MEMORY. Numbers of scales are compared with M and N by the product.
///
/// # Safety
/// Each pointer is null or to what its type says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_requantize(
    options: *const qgemm_requantize_options,
    stage: *mut *mut qgemm_stage,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        // SAFETY: the caller promises the arrays that they name, which nobody changes during the call.
        let owned = unsafe { requantize(&options) }?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { memory::hand_out("stage", qgemm_stage { output: Output::Bytes(owned) }, stage) }
    })
}

/// # Safety
/// The arrays of the options are there, and written by nobody during the call.
unsafe fn requantize(options: &qgemm_requantize_options) -> Result<OwnedRequantize, Failure> {
    let (zero_point, dynamic) = (options.zero_point, flag("dynamic", options.dynamic)?);
    if dynamic && options.scaling != QGEMM_SCALE_F32 {
        return Err(Failure::options("dynamic", "needs QGEMM_SCALE_F32"));
    }
    match options.scaling {
        QGEMM_SCALE_F32 => {
            // SAFETY: the caller's promise is the same.
            let scale = unsafe { options.scale.view() }?;
            let made = if dynamic { Requantize::dynamic } else { Requantize::new };
            complete(made(scale, zero_point)?, options)
        }
        QGEMM_SCALE_F64 => {
            // SAFETY: the caller promises so many factors.
            let factors = unsafe { memory::array("factors", options.factors, options.factors_len) }?;
            let factors = match factors {
                [one] => F64Factors::from(*one),
                each => each.into(),
            };
            complete(Requantize::in_f64(factors, zero_point)?, options)
        }
        scaling => {
            let rounding = match scaling {
                QGEMM_FIXED_GEMMLOWP => Rounding::Gemmlowp,
                QGEMM_FIXED_RUY => Rounding::Ruy,
                QGEMM_FIXED_SINGLE => Rounding::Single,
                QGEMM_FIXED_REFERENCE => Rounding::Reference,
                got => return Err(Failure::choice("scaling", got)),
            };
            // SAFETY: the caller promises so many multipliers.
            let given =
                unsafe { memory::array("multipliers", options.multipliers, options.multipliers_len) }?;
            let mut checked = Vec::new();
            memory::reserve(&mut checked, given.len())?;
            for &qgemm_multiplier { m, shift } in given {
                checked.push(Multiplier::new(m, shift)?);
            }
            let multipliers = match checked.as_slice() {
                [one] => Multipliers::from(*one),
                each => each.into(),
            };
            complete(Requantize::fixed_point(multipliers, rounding, zero_point)?, options)
        }
    }
}

/// Adds clamp, residual and table, which all ways of scaling have, and takes ownership.
fn complete(
    mut stage: Requantize<'_>,
    options: &qgemm_requantize_options,
) -> Result<OwnedRequantize, Failure> {
    stage = match options.clamp {
        QGEMM_CLAMP_NONE => stage,
        QGEMM_CLAMP_TO => stage.clamp_to(options.lo, options.hi),
        QGEMM_CLAMP_RELU => stage.relu(),
        QGEMM_CLAMP_RELU6 => stage.relu6(options.output_scale)?,
        got => return Err(Failure::choice("clamp", got)),
    };
    if flag("residual_in_place", options.residual_in_place)? {
        stage = stage.residual_in_place(options.residual_scale, options.residual_zero_point);
    }
    if options.table.is_null() {
        return Ok(stage.into_owned()?);
    }
    // SAFETY: the maker of the stage has promised 256 bytes at `table`, as its description says.
    let bytes = unsafe { memory::array("table", options.table, 256) }?;
    match element_type("table_type", options.table_type)? {
        ElementType::I8 => Ok(stage.table(&table::<i8>(bytes)).into_owned()?),
        ElementType::U8 => Ok(stage.table(&table::<u8>(bytes)).into_owned()?),
    }
}

/// The table whose values are 256 bytes.
fn table<T: Int8Element>(bytes: &[u8]) -> Table<T> {
    Table::from_fn(|x: T| T::from_bits(bytes[usize::from(x.to_bits())]))
}

/// An f32 output: what qgemm_dequantize makes a stage of:
///
///     x = f32(acc + bias of the product) * scale
///     y = activation(clamp(x + bias + residual, lo, hi))
///
/// All zeros but `struct_size`, and a scale, are the default.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_dequantize_options {
    /// sizeof(qgemm_dequantize_options)
    pub struct_size: usize,
    /// scale_a * scale_b (`dynamic`: scale_b alone). For group-wise weights the scale of A if it is 8-bit, else 1 (`dynamic`).
    pub scale: qgemm_scales,
    /// 1: A is f32, and the call finds its scales, which are multiplied with `scale` first.
    pub dynamic: u32,
    pub clamp: qgemm_clamp,
    /// Of QGEMM_CLAMP_TO; may be infinite.
    pub lo: f32,
    pub hi: f32,
    /// The function that is applied last; 0 for none.
    pub activation: qgemm_activation,
    /// 1: what C holds before the call is added.
    pub residual_in_place: u32,
    /// N values that are added after scaling, or NULL.
    pub bias: *const f32,
    pub bias_len: usize,
}

// SAFETY: it begins with a usize, and holds numbers and raw pointers.
unsafe impl Options for qgemm_dequantize_options {}

/// Makes a stage with f32 outputs. `*stage` is written if the call succeeds.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_SHAPE; QGEMM_TYPE for an unknown choice; QGEMM_RANGE for a scale that is
/// negative, infinite or NaN, and for a limit that is NaN or lo > hi; QGEMM_MEMORY. Numbers of scales and bias values are
/// compared with M and N by the product.
///
/// # Safety
/// Each pointer is null or to what its type says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_dequantize(
    options: *const qgemm_dequantize_options,
    stage: *mut *mut qgemm_stage,
) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises options there.
        let options = unsafe { memory::options("options", options) }?;
        // SAFETY: the caller promises the arrays that they name, which nobody changes during the call.
        let owned = unsafe { dequantize(&options) }?;
        // SAFETY: the caller promises memory for a pointer.
        unsafe { memory::hand_out("stage", qgemm_stage { output: Output::Float(owned) }, stage) }
    })
}

/// # Safety
/// The arrays of the options are there, and written by nobody during the call.
unsafe fn dequantize(options: &qgemm_dequantize_options) -> Result<OwnedDequantize, Failure> {
    // SAFETY: the caller's promise is the same.
    let scale = unsafe { options.scale.view() }?;
    let dynamic = flag("dynamic", options.dynamic)?;
    let mut stage = if dynamic { Dequantize::dynamic(scale)? } else { Dequantize::new(scale)? };
    stage = match options.clamp {
        QGEMM_CLAMP_NONE => stage,
        QGEMM_CLAMP_TO => stage.clamp_to(options.lo, options.hi),
        QGEMM_CLAMP_RELU => stage.relu(),
        QGEMM_CLAMP_RELU6 => stage.relu6(),
        got => return Err(Failure::choice("clamp", got)),
    };
    // SAFETY: the caller's promise is the same.
    if let Some(bias) = unsafe { memory::optional_array("bias", options.bias, options.bias_len) }? {
        stage = stage.bias(bias);
    }
    if flag("residual_in_place", options.residual_in_place)? {
        stage = stage.residual_in_place();
    }
    if let Some(activation) = activation(options.activation)? {
        stage = stage.activation(activation);
    }
    Ok(stage.into_owned()?)
}

/// Frees a stage. NULL is allowed.
///
/// # Safety
/// `stage` is NULL, or was made by this library, was not freed before, and is used by no call any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_stage_free(stage: *mut qgemm_stage) {
    guard(|| {
        // SAFETY: the caller promises a handle of this library, which makes them by `hand_out`, and frees it once.
        unsafe { memory::free(stage) };
        Ok(())
    });
}

/// The multiplier that is nearest to a real factor of 0 or more, half away from zero: TFLite's QuantizeMultiplier.
///
/// Errors: QGEMM_NULL; QGEMM_RANGE if the factor is negative, infinite or NaN.
///
/// # Safety
/// `multiplier` is NULL or the address of memory for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_multiplier_of(real: f64, multiplier: *mut qgemm_multiplier) -> qgemm_status {
    guard(|| {
        let found = Multiplier::from_real(real)?;
        let found = qgemm_multiplier { m: found.m(), shift: found.shift() };
        // SAFETY: the caller promises memory for a multiplier.
        unsafe { memory::write("multiplier", multiplier, found) }
    })
}
