//! Weights that C programs pack, compared with those that Rust packs of the same values.

use crate::c_abi::calls::{Passed, Weights, pack, pack_float, pack_groupwise};
use crate::c_abi::expect::Expect;
use crate::c_abi::formats;
use crate::c_abi::memory::{ABSENT, Matrix, Memory};
use crate::input::Input;
use crate::values::{Integers, Reals};
use qgemm::half::f16;
use qgemm::{
    CodeBits, Dispatch, ElementType, Error, GroupScales, GroupScheme, GroupwiseB, MatRef, Operand, PackedB,
    quantize_groups,
};
use qgemm_c::groupwise::{QGEMM_GROUPS_ASYMMETRIC, qgemm_groupwise_options};
use qgemm_c::matrix::{QGEMM_F16, QGEMM_F32, QGEMM_I8, QGEMM_U8};
use qgemm_c::status::*;
use qgemm_c::weights::qgemm_pack_options;
use std::ffi::CStr;

/// Names of kernels: the first has to be there, the last are none.
const NAMES: [&CStr; 5] = [c"scalar", c"portable", c"avx2", c"none such", c"\xff\xfe"];

/// A name, and the kernels that it stands for.
pub fn kernel(input: &mut Input<'_>, expect: &mut Expect) -> (Option<&'static CStr>, Option<Dispatch>) {
    let Some(name) = input.rarely(4, |input| input.one_of(&NAMES)) else { return (None, None) };
    let Ok(text) = name.to_str() else {
        expect.wrong(&[QGEMM_SHAPE]);
        return (Some(name), None);
    };
    let found = Dispatch::named(text).ok();
    if found.is_none() {
        expect.wrong(&[QGEMM_KERNEL]);
    }
    (Some(name), found)
}

/// A view of 8-bit values.
pub fn operand(bits: &[u8], (rows, cols): (usize, usize), element: u32) -> Operand<'_> {
    match element {
        QGEMM_I8 => {
            MatRef::row_major(bytemuck::cast_slice::<u8, i8>(bits), rows, cols).expect("it fits").into()
        }
        _ => MatRef::row_major(bits, rows, cols).expect("it fits").into(),
    }
}

/// Any 8-bit matrix.
pub fn bytes(input: &mut Input<'_>, memory: &Memory, shape: (usize, usize)) -> Matrix {
    let (element, mut integers) = (input.one_of(&[QGEMM_U8, QGEMM_I8]), Integers::read(input));
    Matrix::place(input, memory, shape, element, |len| integers.bytes(len))
}

/// Any matrix of floats.
pub fn floats(input: &mut Input<'_>, memory: &Memory, shape: (usize, usize)) -> Matrix {
    let mut reals = Reals::read(input);
    Matrix::place(input, memory, shape, QGEMM_F32, |len| reals.reals(len))
}

fn save(saved: &mut Vec<u8>, save: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
    save(saved).expect("a vector takes it");
}

/// Compares weights with bytes that Rust has saved.
pub fn compare_saved(what: &str, weights: &Weights<'_>, rust: &[u8]) {
    assert_eq!(weights.size(Passed::Right), (QGEMM_OK, Some(rust.len())), "{what}");
    let (status, saved) = weights.save(rust.len());
    assert_eq!(status, QGEMM_OK, "{what}");
    assert!(saved == rust, "{what}: other bytes than Rust's");
}

/// 8-bit weights of qgemm_pack; `None` if they are refused.
pub fn pack_bytes(input: &mut Input<'_>, memory: &Memory, matrix: Matrix) -> Option<Weights<'static>> {
    let (mut raw, mut expect) = (matrix, Expect::default());
    expect.matrix(input, &mut raw, &[]);
    let (k, n) = raw.shape;
    let mut activations = ElementType::U8;
    let (options, dispatch) = if input.flag() {
        let mut chosen = u32::from(input.byte() % 3);
        if chosen == QGEMM_I8 {
            activations = ElementType::I8;
        }
        if input.one_in(40) {
            chosen = input.one_of(&[3, 4, 99]);
            expect.wrong(&[QGEMM_TYPE]);
        }
        let (name, dispatch) = kernel(input, &mut expect);
        let options = qgemm_pack_options { struct_size: 0, activations: chosen, kernel: std::ptr::null() };
        (Some((expect.options(input, options, |options| &mut options.struct_size), name)), dispatch)
    } else {
        (None, None)
    };
    let (b, to) = (expect.plain(input, raw.read()), expect.passed(input));
    let (status, weights) = pack(memory, b, options, to);
    expect.check("pack", status);
    let weights = weights?;
    let values = raw.values::<u8>(memory);
    let dispatch =
        dispatch.unwrap_or_else(|| Dispatch::auto().expect("the environment names no kernel").clone());
    let rust = PackedB::pack_with(&dispatch, operand(&values, raw.shape, raw.element), activations);
    let mut saved = Vec::new();
    save(&mut saved, |to| rust.expect("C has packed it").save(to));
    compare_saved("pack", &weights, &saved);
    let info = weights.info(Passed::Right).1.expect("it is asked as it has to be");
    assert_eq!((info.k, info.n, info.bits, info.r#type, info.group), (k, n, 8, raw.element, 0));
    (raw.shape == matrix.shape).then_some(weights)
}

/// Scales, in f32 or in f16, as C and as Rust take them.
pub(super) struct Scales {
    pub(super) matrix: Matrix,
    values: Vec<f32>,
    halves: Vec<f16>,
}

impl Scales {
    pub(super) fn read(input: &mut Input<'_>, memory: &Memory, shape: (usize, usize)) -> Self {
        let mut reals = Reals::read(input);
        if input.flag() {
            let next = |len| reals.reals(len).into_iter().map(f16::from_f32).collect::<Vec<f16>>();
            let matrix = Matrix::place(input, memory, shape, QGEMM_F16, next);
            return Self { matrix, values: Vec::new(), halves: matrix.values(memory) };
        }
        let matrix = Matrix::place(input, memory, shape, QGEMM_F32, |len| reals.reals(len));
        Self { matrix, values: matrix.values(memory), halves: Vec::new() }
    }

    pub(super) fn rust(&self) -> GroupScales<'_> {
        let (rows, cols) = self.matrix.shape;
        match self.matrix.element {
            QGEMM_F32 => MatRef::row_major(&self.values, rows, cols).expect("it fits").into(),
            _ => MatRef::row_major(&self.halves, rows, cols).expect("it fits").into(),
        }
    }
}

/// What all group-wise weights are drawn with.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) group: usize,
    pub(super) bits: u32,
}

impl Shape {
    pub(super) fn groups(&self) -> usize {
        self.k.div_ceil(self.group.max(1))
    }

    pub(super) fn code_bits(&self) -> CodeBits {
        if self.bits == 4 { CodeBits::Four } else { CodeBits::Eight }
    }
}

type Packed = (Weights<'static>, GroupwiseB);

/// Group-wise weights of about K×N from any source; `None` if they are refused.
pub fn pack_groups(input: &mut Input<'_>, memory: &Memory, (k, n): (usize, usize)) -> Option<Packed> {
    let source = input.byte() % 6;
    let mut group = input.one_of(&[32, 8, 16, 64, 128, 1 << 20]);
    if input.one_in(40) {
        group = input.one_of(&[0, 1, 7, 12, usize::MAX, usize::MAX / 8 * 8, 1 << 63]);
    }
    // Formats are of sizes that mostly are multiples of 8 or of 32.
    let round = |input: &mut Input<'_>, size: usize, of| if input.one_in(16) { size } else { size / of * of };
    let (k, n) = match source {
        1 => (round(input, k, 32), n),
        3 | 4 => (round(input, k, 8), round(input, n, 8)),
        _ => (k, n),
    };
    let shape = Shape { k, n, group, bits: input.one_of(&[4, 8]) };
    let mut expect = Expect::default();
    let (what, status, weights, rust) = match source {
        0 => from_matrices(input, memory, &mut expect, shape),
        1 => formats::from_gguf(input, memory, &mut expect, shape),
        2 => formats::from_onnx(input, memory, &mut expect, shape),
        3 => formats::from_gptq(input, memory, &mut expect, shape),
        4 => formats::from_awq(input, memory, &mut expect, shape),
        _ => from_floats(input, memory, &mut expect, shape),
    };
    expect.check_either(what, status, &rust);
    let (weights, rust) = (weights?, rust.ok()?);
    let mut saved = Vec::new();
    save(&mut saved, |to| rust.save(to));
    compare_saved(what, &weights, &saved);
    let info = weights.info(Passed::Right).1.expect("it is asked as it has to be");
    assert_eq!(
        (info.k, info.n, info.bits as usize, info.group),
        (rust.k(), rust.n(), rust.bits().bits(), rust.group())
    );
    Some((weights, rust))
}

/// The source, what C returns, and what Rust does.
pub(super) type Outcome = (&'static str, qgemm_status, Option<Weights<'static>>, Result<GroupwiseB, Error>);

/// Bits, mostly right.
pub(super) fn bits(input: &mut Input<'_>, expect: &mut Expect, right: u32) -> u32 {
    if !input.one_in(40) {
        return right;
    }
    expect.wrong(&[QGEMM_RANGE]);
    input.one_of(&[0, 2, 5, 16, u32::MAX])
}

fn from_matrices(input: &mut Input<'_>, memory: &Memory, expect: &mut Expect, shape: Shape) -> Outcome {
    let (k, n, groups) = (shape.k, shape.n, shape.groups());
    let mask = if shape.bits == 4 && !input.one_in(16) { 15 } else { 255 };
    let eights = |input: &mut Input<'_>, shape| {
        let mut integers = Integers::read(input);
        let next = |len| integers.bytes(len).into_iter().map(|bits| bits & mask).collect::<Vec<u8>>();
        Matrix::place(input, memory, shape, QGEMM_U8, next)
    };
    let mut codes = eights(input, (k, n));
    let scales = Scales::read(input, memory, (groups, n));
    let zeros = input.rarely(3, |input| eights(input, (groups, n)));
    let minimums = input.rarely(3, |input| Scales::read(input, memory, (groups, n)));
    let zero = input.rarely(3, |input| i32::from(input.byte()) - 64);
    let values = codes.values::<u8>(memory);
    let each = zeros.map(|zeros| zeros.values::<u8>(memory));
    let mut builder = GroupwiseB::builder(shape.code_bits(), shape.group);
    builder = zero.map_or(builder, |zero| builder.zero(zero));
    builder = each.as_ref().map_or(builder, |each| builder.zeros(operand(each, (groups, n), QGEMM_U8)));
    builder = minimums.as_ref().map_or(builder, |minimums| builder.minimums(minimums.rust()));
    let rust = builder.pack(operand(&values, (k, n), QGEMM_U8), scales.rust());

    let (mut zeros, mut minimums) = (zeros, minimums.map(|minimums| minimums.matrix));
    let mut scales = scales.matrix;
    let small = [QGEMM_SHAPE];
    expect.matrix(input, &mut codes, &[]);
    if expect.is_right() {
        // Fewer rows may be as right, but are other weights.
        codes.shape = (k, n);
    }
    expect.matrix(input, &mut scales, &small);
    for matrix in zeros.iter_mut().chain(&mut minimums) {
        let (mut wrong, before) = (Expect::default(), *matrix);
        wrong.matrix(input, matrix, if expect.is_right() { &small } else { &[] });
        // That would be none.
        if matrix.element == 0 {
            *matrix = before;
        } else {
            expect.and(&wrong);
        }
    }
    let options = qgemm_groupwise_options {
        struct_size: 0,
        bits: bits(input, expect, shape.bits),
        has_zero: expect.choice(input, zero.is_some().into()),
        zero: zero.unwrap_or(0),
        group: shape.group,
        codes: codes.read(),
        scales: scales.read(),
        zeros: zeros.unwrap_or(ABSENT).read(),
        minimums: minimums.unwrap_or(ABSENT).read(),
        kernel: std::ptr::null(),
    };
    let (name, _) = kernel(input, expect);
    let options = expect.sized(input, options, |options| &mut options.struct_size);
    let (status, weights) = pack_groupwise(memory, options, name, expect.passed(input));
    ("groupwise", status, weights, rust)
}

fn from_floats(input: &mut Input<'_>, memory: &Memory, expect: &mut Expect, shape: Shape) -> Outcome {
    let mut b = floats(input, memory, (shape.k, shape.n));
    let values = b.values::<f32>(memory);
    let scheme = input.flag();
    let rust_scheme = if scheme { GroupScheme::Asymmetric } else { GroupScheme::Symmetric };
    let matrix = MatRef::row_major(&values, shape.k, shape.n).expect("it fits");
    let rust =
        quantize_groups(matrix, shape.code_bits(), shape.group, rust_scheme).and_then(|groups| groups.pack());
    let mut wrong = Expect::default();
    wrong.matrix(input, &mut b, &[]);
    if wrong.is_right() {
        // A smaller matrix is right as well, but another one.
        b.shape = (shape.k, shape.n);
    }
    expect.and(&wrong);
    let chosen = (
        bits(input, expect, shape.bits),
        shape.group,
        expect.choice(input, u32::from(scheme) * QGEMM_GROUPS_ASYMMETRIC),
    );
    let (status, weights) = pack_float(memory, expect.plain(input, b.read()), chosen, expect.passed(input));
    ("float", status, weights, rust)
}
