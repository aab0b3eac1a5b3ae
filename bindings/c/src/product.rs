//! A product as C describes it, and its arguments once each is found right.

use crate::matrix::{
    QGEMM_F32, QGEMM_I8, QGEMM_I32, QGEMM_U8, qgemm_matrix, qgemm_matrix_mut, qgemm_zero_points,
};
use crate::memory::{self, Options};
use crate::overlap::{Place, Span};
use crate::quantize::qgemm_quant_params;
use crate::stage::{Output, flag, qgemm_stage};
use crate::status::{Failure, QGEMM_OPTIONS, QGEMM_RANGE};
use crate::threads::qgemm_threads;
use crate::weights::{Packed, qgemm_weights};
use rust::{
    Activations, Dequantize, DynamicGemm, FloatLhs, Gather, GatherF32, Gemm, GroupwiseGemm, Lhs, Requantize,
    Task, Threads,
};

/// Rows of a source, picked by index, as A: row i of A is made of `taps` rows of `a` side by side, those that
/// `indices[i * taps]` and its followers name. So M is len / taps, and K is taps times the columns of `a`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_gather {
    /// Rows of `a`, or QGEMM_PADDING.
    pub indices: *const u32,
    /// How many there are: a multiple of `taps`.
    pub len: usize,
    /// At least 1.
    pub taps: usize,
    /// 1: QGEMM_PADDING stands for rows of the next value. 0: for rows of the zero point of A, which add nothing; of 0.0 for
    /// an f32 A.
    pub has_padding: u32,
    pub padding: i32,
}

/// The index of a row outside the source.
pub const QGEMM_PADDING: u32 = 0xffff_ffff;
const _: () = assert!(QGEMM_PADDING == Gather::PADDING);

/// A matrix of C's shape that is added before rounding. It may not overlap C: see `residual_in_place` of the stage.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_residual {
    /// QGEMM_I8 or QGEMM_U8; QGEMM_F32 for an f32 output.
    pub matrix: qgemm_matrix,
    /// scale_residual / scale_out, for an 8-bit output.
    pub scale: f32,
    /// For an 8-bit output.
    pub zero_point: i32,
}

/// How f32 activations are quantized.
pub type qgemm_activations = u32;
/// The default: QGEMM_PER_ROW; for group-wise weights to i8 with a scale for each row and group.
pub const QGEMM_ACTIVATIONS_DEFAULT: qgemm_activations = 0;
/// To i8, with a scale for each row.
pub const QGEMM_PER_ROW: qgemm_activations = 1;
/// To u8, with a scale and a zero point for each row.
pub const QGEMM_PER_ROW_ASYMMETRIC: qgemm_activations = 2;
/// To i8, with a scale for all of A. Not for group-wise weights.
pub const QGEMM_PER_TENSOR: qgemm_activations = 3;
/// To u8, with a scale and a zero point for all of A (ONNX DynamicQuantizeLinear). Not for group-wise weights.
pub const QGEMM_PER_TENSOR_ASYMMETRIC: qgemm_activations = 4;

/// A product, C = A * B with zero points, bias and an output stage:
///
///     acc[m,n] = sum over k of (A[m,k] - a_zero[m]) * (B[k,n] - b_zero[n]) + bias[n]           exact
///
/// A is M×K, B is K×N, C is M×N; each of M, N, K may be 0. Set all to zeros first, then `struct_size`, `a`, `weights` (or
/// `b`), `c` and what else is needed.
///
/// C of QGEMM_I32 gets acc modulo 2^32, and needs no stage. C of QGEMM_I8 or QGEMM_U8 needs a stage of qgemm_requantize, C
/// of QGEMM_F32 one of qgemm_dequantize.
///
/// An A of QGEMM_F32 is quantized by the call, and the stage is `dynamic`; with group-wise weights and none it is scaled by
/// nothing else. Group-wise weights make C of QGEMM_F32 only, and have their own zero points.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qgemm_product {
    /// sizeof(qgemm_product)
    pub struct_size: usize,
    /// A: QGEMM_I8, QGEMM_U8 or QGEMM_F32; or the source of `gather`.
    pub a: qgemm_matrix,
    /// NULL unless rows of A are picked by index.
    pub gather: *const qgemm_gather,
    /// B, packed.
    pub weights: *const qgemm_weights,
    /// B, QGEMM_I8 or QGEMM_U8, if `weights` is NULL. The call packs it.
    pub b: qgemm_matrix,
    /// One, or M of them. Of an 8-bit A only; with group-wise weights values of its type.
    pub a_zero: qgemm_zero_points,
    /// One, or N of them.
    pub b_zero: qgemm_zero_points,
    /// N values in the scale of the sums, or NULL. For an 8-bit A and weights that are not group-wise.
    pub bias: *const i32,
    pub bias_len: usize,
    /// From the sums to C; NULL for C of QGEMM_I32.
    pub stage: *const qgemm_stage,
    /// NULL unless a matrix is added.
    pub residual: *const qgemm_residual,
    /// C, which overlaps no input.
    pub c: qgemm_matrix_mut,
    /// 1: acc is added to what C holds, modulo 2^32. For C of QGEMM_I32 only.
    pub accumulate: u32,
    /// How an A of QGEMM_F32 is quantized.
    pub activations: qgemm_activations,
    /// Where the scales and zero points of an f32 A go: M of them, or 1 for QGEMM_PER_TENSOR and its like. NULL if they are
    /// not needed. Not for group-wise weights, and not in a batch. Left as they are if C is empty.
    pub params: *mut qgemm_quant_params,
    pub params_len: usize,
    /// The threads that may do the work. Not used in a batch, which has its own.
    pub threads: qgemm_threads,
}

// SAFETY: it begins with a usize, and holds numbers, raw pointers and a function pointer that may be null. Any other bits
// of the function pointer are promised to be the address of such a function.
unsafe impl Options for qgemm_product {}

/// The arguments of a product, borrowed from the caller.
pub(crate) struct Product<'a> {
    gemm: Described<'a>,
    stage: Stage<'a>,
    accumulate: bool,
    c: qgemm_matrix_mut,
    pub(crate) place: Place,
    /// The memory of all inputs.
    pub(crate) inputs: [Span; 7],
}

#[derive(Clone, Copy)]
pub(crate) enum Described<'a> {
    Gemm(Gemm<'a>),
    Dynamic(DynamicGemm<'a>),
    Groupwise(GroupwiseGemm<'a>),
}

#[derive(Clone, Copy)]
pub(crate) enum Stage<'a> {
    Sums,
    Bytes(Requantize<'a>),
    Float(Dequantize<'a>),
}

enum AnyLhs<'a> {
    Bytes(Lhs<'a>),
    Float(FloatLhs<'a>),
}

/// Refuses an argument that would be ignored.
fn unused(argument: &'static str, given: bool, why: &'static str) -> Result<(), Failure> {
    if given { Err(Failure::options(argument, why)) } else { Ok(()) }
}

fn is_given(zeros: &qgemm_zero_points) -> bool {
    !zeros.each.is_null() || zeros.len != 0 || zeros.one != 0
}

impl<'a> Product<'a> {
    /// # Safety
    /// Unless it is refused, all that the description points to is as it says, and nobody writes to its inputs for `'a`.
    pub(crate) unsafe fn new(raw: &qgemm_product, threads: Threads<'a>) -> Result<Self, Failure> {
        // SAFETY: the promise of all that is read here is the caller's, which is the same.
        let (lhs, a, indices) = unsafe { lhs(raw) }?;
        // SAFETY: likewise.
        let (gemm, [b, a_zero, b_zero, bias]) = unsafe { gemm(raw, lhs, threads) }?;
        // SAFETY: likewise.
        let (stage, residual) = unsafe { stage(raw, &gemm) }?;
        let accumulate = flag("accumulate", raw.accumulate)?;
        unused("accumulate", accumulate && raw.c.r#type != QGEMM_I32, "is for an output of QGEMM_I32")?;
        let (place, c) = (raw.c.place("output")?, raw.c);
        let inputs = [a, indices, b, a_zero, b_zero, bias, residual];
        Ok(Self { gemm, stage, accumulate, c, place, inputs })
    }

    /// Whether the call finds scales of A that it can hand back.
    pub(crate) fn dynamic(&self) -> Option<DynamicGemm<'a>> {
        if let Described::Dynamic(gemm) = self.gemm { Some(gemm) } else { None }
    }

    pub(crate) fn stage(&self) -> Stage<'a> {
        self.stage
    }

    pub(crate) fn output(&self) -> &qgemm_matrix_mut {
        &self.c
    }

    /// The product with its output, to be run.
    ///
    /// # Safety
    /// The promise of [`qgemm_matrix_mut::of`]: nothing that the call uses overlaps C, and this is called once.
    pub(crate) unsafe fn task(&self) -> Result<Task<'a, 'a>, Failure> {
        const C: &str = "output";
        let Self { gemm, stage, accumulate, c, .. } = self;
        // SAFETY: in each arm the elements are of the type that C was said to have, and only one arm runs.
        Ok(unsafe {
            match (*gemm, *stage, c.r#type) {
                (Described::Gemm(gemm), Stage::Sums, QGEMM_I32) if *accumulate => {
                    Task::accumulate_i32(gemm, c.of(C)?)
                }
                (Described::Gemm(gemm), Stage::Sums, QGEMM_I32) => Task::i32(gemm, c.of(C)?),
                (Described::Gemm(gemm), Stage::Bytes(stage), QGEMM_I8) => {
                    Task::requantized::<i8>(gemm, c.of(C)?, stage)
                }
                (Described::Gemm(gemm), Stage::Bytes(stage), QGEMM_U8) => {
                    Task::requantized::<u8>(gemm, c.of(C)?, stage)
                }
                (Described::Gemm(gemm), Stage::Float(stage), QGEMM_F32) => Task::f32(gemm, c.of(C)?, stage),
                (Described::Dynamic(gemm), Stage::Bytes(stage), QGEMM_I8) => {
                    Task::dynamic_requantized::<i8>(gemm, c.of(C)?, stage)
                }
                (Described::Dynamic(gemm), Stage::Bytes(stage), QGEMM_U8) => {
                    Task::dynamic_requantized::<u8>(gemm, c.of(C)?, stage)
                }
                (Described::Dynamic(gemm), Stage::Float(stage), QGEMM_F32) => {
                    Task::dynamic_f32(gemm, c.of(C)?, stage)
                }
                (Described::Groupwise(gemm), Stage::Float(stage), QGEMM_F32) => {
                    Task::groupwise_f32(gemm, c.of(C)?, stage)
                }
                _ => return Err(c.wrong_type(C, "has a type that these operands and this stage do not make")),
            }?
        })
    }
}

/// A, its memory and that of its indices.
///
/// # Safety
/// That of [`Product::new`].
unsafe fn lhs<'a>(raw: &qgemm_product) -> Result<(AnyLhs<'a>, Span, Span), Failure> {
    let float = raw.a.r#type == QGEMM_F32;
    if raw.gather.is_null() {
        let a = if float {
            // SAFETY: the caller promises the matrix.
            AnyLhs::Float(unsafe { raw.a.f32("a") }?.into())
        } else {
            // SAFETY: likewise.
            AnyLhs::Bytes(unsafe { raw.a.operand("a") }?.into())
        };
        return Ok((a, raw.a.span(), Span::EMPTY));
    }
    // SAFETY: the caller promises a gather.
    let gather = unsafe { memory::read("gather", raw.gather) }?;
    // SAFETY: the caller promises so many indices.
    let indices = unsafe { memory::array::<u32>("indices", gather.indices, gather.len) }?;
    let padding = flag("has_padding", gather.has_padding)?;
    let a = if float {
        unused("padding", padding, "is 0.0 for an f32 A")?;
        // SAFETY: the caller promises the matrix.
        AnyLhs::Float(GatherF32::new(unsafe { raw.a.f32("a") }?, indices, gather.taps)?.into())
    } else {
        // SAFETY: likewise.
        let rows = Gather::new(unsafe { raw.a.operand("a") }?, indices, gather.taps)?;
        AnyLhs::Bytes(if padding { rows.padding(gather.padding)? } else { rows }.into())
    };
    Ok((a, raw.a.span(), Span::of(indices)))
}

/// The product, and the memory of B, of zero points and of the bias.
///
/// # Safety
/// That of [`Product::new`].
unsafe fn gemm<'a>(
    raw: &qgemm_product,
    a: AnyLhs<'a>,
    threads: Threads<'a>,
) -> Result<(Described<'a>, [Span; 4]), Failure> {
    // SAFETY: the caller promises zero points.
    let (a_zero, b_zero) = unsafe { (raw.a_zero.view("a_zero")?, raw.b_zero.view("b_zero")?) };
    // SAFETY: the caller promises so many values.
    let bias = unsafe { memory::optional_array("bias", raw.bias, raw.bias_len) }?;
    let weights = match raw.weights.is_null() {
        true => None,
        // SAFETY: the caller promises a handle.
        false => Some(unsafe { memory::borrow("weights", raw.weights) }?),
    };
    let float = matches!(a, AnyLhs::Float(_));
    unused("a_zero", float && is_given(&raw.a_zero), "is found by the call for an f32 A")?;
    unused("bias", float && bias.is_some(), "in i32 is for an 8-bit A; see that of qgemm_dequantize")?;
    unused("activations", !float && raw.activations != 0, "are for an f32 A")?;
    let (b, span) = match weights.map(|weights| &weights.packed) {
        Some(packed) => {
            unused("b", !raw.b.is_absent(), "is given beside weights")?;
            match packed {
                Packed::Bytes(b) => (b.into(), Span::EMPTY),
                Packed::Groupwise(b) => {
                    unused("b_zero", is_given(&raw.b_zero), "is part of group-wise weights")?;
                    unused("bias", bias.is_some(), "in i32 has no meaning for group-wise weights")?;
                    let gemm = match a {
                        AnyLhs::Bytes(a) => GroupwiseGemm::quantized(a, b).a_zero(a_zero),
                        AnyLhs::Float(a) => {
                            let activations = match raw.activations {
                                QGEMM_ACTIVATIONS_DEFAULT => Activations::PerRowAndGroup,
                                QGEMM_PER_ROW => Activations::PerRow,
                                QGEMM_PER_ROW_ASYMMETRIC => Activations::PerRowAsymmetric,
                                QGEMM_PER_TENSOR | QGEMM_PER_TENSOR_ASYMMETRIC => {
                                    let why = "for all of A are not for group-wise weights";
                                    return Err(Failure::options("activations", why));
                                }
                                got => return Err(Failure::choice("activations", got)),
                            };
                            GroupwiseGemm::new(a, b).activations(activations)
                        }
                    };
                    let spans = [Span::EMPTY, raw.a_zero.span(), Span::EMPTY, Span::EMPTY];
                    return Ok((Described::Groupwise(gemm.threads(threads)), spans));
                }
            }
        }
        None if raw.b.is_absent() => return Err(Failure::null("weights")),
        // SAFETY: the caller promises the matrix.
        None => (rust::Rhs::from(unsafe { raw.b.operand("b") }?), raw.b.span()),
    };
    let gemm = match a {
        AnyLhs::Bytes(a) => {
            let gemm = Gemm::new(a, b).a_zero(a_zero).b_zero(b_zero).threads(threads);
            Described::Gemm(bias.map_or(gemm, |bias| gemm.bias(bias)))
        }
        AnyLhs::Float(a) => {
            let gemm = DynamicGemm::new(a, b).b_zero(b_zero).threads(threads);
            Described::Dynamic(match raw.activations {
                QGEMM_ACTIVATIONS_DEFAULT | QGEMM_PER_ROW => gemm,
                QGEMM_PER_ROW_ASYMMETRIC => gemm.asymmetric(),
                QGEMM_PER_TENSOR => gemm.per_tensor(),
                QGEMM_PER_TENSOR_ASYMMETRIC => gemm.per_tensor().asymmetric(),
                got => return Err(Failure::choice("activations", got)),
            })
        }
    };
    Ok((gemm, [span, raw.a_zero.span(), raw.b_zero.span(), bias.map_or(Span::EMPTY, Span::of)]))
}

/// The output stage, with the residual of the call, and that residual's memory.
///
/// # Safety
/// That of [`Product::new`].
unsafe fn stage<'a>(raw: &qgemm_product, gemm: &Described<'a>) -> Result<(Stage<'a>, Span), Failure> {
    let mut stage = if raw.stage.is_null() {
        match (gemm, raw.c.r#type) {
            (_, QGEMM_I32) => Stage::Sums,
            (Described::Groupwise(_), QGEMM_F32) if raw.a.r#type == QGEMM_F32 => {
                Stage::Float(Dequantize::groupwise())
            }
            _ => return Err(Failure::new(QGEMM_OPTIONS, "stage", "is needed for this type of output")),
        }
    } else {
        // SAFETY: the caller promises a handle.
        match &unsafe { memory::borrow("stage", raw.stage) }?.output {
            Output::Bytes(stage) => Stage::Bytes(stage.view()),
            Output::Float(stage) => Stage::Float(stage.view()),
        }
    };
    if raw.residual.is_null() {
        return Ok((stage, Span::EMPTY));
    }
    // SAFETY: the caller promises a residual.
    let residual = unsafe { memory::read("residual", raw.residual) }?;
    stage = match stage {
        Stage::Sums => return Err(Failure::options("residual", "needs an output stage")),
        // SAFETY: the caller promises the matrix.
        Stage::Bytes(stage) => Stage::Bytes(stage.residual(
            unsafe { residual.matrix.operand("residual") }?,
            residual.scale,
            residual.zero_point,
        )),
        Stage::Float(stage) => {
            if residual.scale.to_bits() != 0 || residual.zero_point != 0 {
                let problem = "has a scale or zero point, which have to be 0 for an f32 output";
                return Err(Failure::new(QGEMM_RANGE, "residual", problem));
            }
            // SAFETY: likewise.
            Stage::Float(stage.residual(unsafe { residual.matrix.f32("residual") }?))
        }
    };
    Ok((stage, residual.matrix.span()))
}
