//! Target `saved`: bytes as saved weights. Those that load multiply as their own elements say.

use crate::compare::compare;
use crate::engines::dispatch;
use crate::group_formats;
use crate::groupwise::GroupwiseCase;
use crate::input::Input;
use crate::operands::{Matrix8, element_type};
use crate::place::Place;
use crate::shape::Shape;
use crate::values::Integers;
use qgemm::{
    Dequantize, Dispatch, ElementType, Error, Gemm, GroupwiseB, MatRef, OtherLayout, PackedB, SAVED_MAGIC,
    reference, saved_info,
};
use qgemm_kernels::Line;

/// The places of the length and of the checksum in a header, and the bytes of the header.
const LENGTH_AT: usize = 16;
const CRC_AT: usize = 24;
const HEADER: usize = 192;

/// The most elements of weights that are multiplied.
const MOST: usize = 1 << 14;

/// Bytes at a multiple of 64 in memory, as a mapped file has them, or one beyond.
pub struct Mapped {
    lines: Vec<Line>,
    first: usize,
    len: usize,
}

impl Mapped {
    /// A copy of bytes, so many bytes beyond a multiple of 64.
    pub fn new(bytes: &[u8], first: usize) -> Self {
        let mut lines = vec![Line([0; 64]); (first + bytes.len()).div_ceil(64)];
        bytemuck::cast_slice_mut(&mut lines)[first..first + bytes.len()].copy_from_slice(bytes);
        Self { lines, first, len: bytes.len() }
    }
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[self.first..self.first + self.len]
    }
}

/// Makes the length and the checksum of changed bytes right.
pub fn seal(bytes: &mut [u8]) {
    if bytes.len() < HEADER {
        return;
    }
    let len = bytes.len() as u64;
    bytes[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&len.to_le_bytes());
    bytes[CRC_AT..CRC_AT + 4].fill(0);
    let crc = crc32fast::hash(bytes);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (mode, dispatch) = (input.byte() % 8, dispatch(&mut input));
    if mode == 0 {
        return arbitrary_bytes(input, &dispatch);
    }
    let mut saved = match mode {
        1..=3 => packed(&mut input, &dispatch),
        4 | 5 => groupwise(&mut input),
        _ => snapshot(&mut input, &dispatch),
    };
    let Some(saved) = &mut saved else { return };
    let is_changed = change(&mut input, saved);
    seal(saved);
    load_all(&mut input, saved, &dispatch, is_changed);
}

/// Bytes that nobody saved, with the first of those that are looked at right, or whatever they are.
fn arbitrary_bytes(mut input: Input<'_>, dispatch: &Dispatch) {
    let is_sealed = input.flag();
    let mut bytes = input.rest().to_vec();
    if is_sealed && bytes.len() >= HEADER {
        bytes[..8].copy_from_slice(&SAVED_MAGIC);
        bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
        seal(&mut bytes);
    }
    load_all(&mut Input::new(&bytes), &bytes, dispatch, true);
}

fn packed(input: &mut Input<'_>, dispatch: &Dispatch) -> Option<Vec<u8>> {
    let b = packed_b(input, dispatch)?;
    let mut saved = Vec::new();
    b.save(&mut saved).expect("a vector takes it");
    Some(saved)
}

fn packed_b(input: &mut Input<'_>, dispatch: &Dispatch) -> Option<PackedB> {
    let (k, n) = (input.number(0..=70), input.number(0..=70));
    let (matrix, activations) = (Matrix8::read(input, (k, n)), element_type(input));
    Some(PackedB::pack_with(dispatch, matrix.operand().ok()?, activations).expect("there is memory"))
}

fn groupwise(input: &mut Input<'_>) -> Option<Vec<u8>> {
    let Shape { k, n, .. } = Shape::read(input);
    if k * n > MOST {
        return None;
    }
    let mut saved = Vec::new();
    group_formats::weights(input, k, n)?.save(&mut saved).expect("a vector takes it");
    Some(saved)
}

fn snapshot(input: &mut Input<'_>, dispatch: &Dispatch) -> Option<Vec<u8>> {
    let b = packed_b(input, dispatch)?;
    let shape = (b.k(), b.n());
    let most =
        PackedB::snapshot_bytes(dispatch, shape, b.element_type(), b.packed_for()).expect("it is small");
    let mut saved = vec![0; most];
    let len = b.write_snapshot(dispatch, &mut saved).expect("there is room");
    if len > 0 {
        let mut short = vec![0; len - 1];
        let refused = b.write_snapshot(dispatch, &mut short);
        assert!(matches!(refused, Err(Error::Length { .. })) && short.iter().all(|&byte| byte == 0));
    }
    saved.truncate(len);
    Some(saved)
}

/// Changes some bytes, mostly of the header; returns whether any is another one.
pub fn change(input: &mut Input<'_>, bytes: &mut Vec<u8>) -> bool {
    let before = bytes.clone();
    for _ in 0..input.number(0..=4) {
        let kind = input.byte() % 8;
        let at = match kind {
            // A number of the header, or of a record of a panel, which begin behind it.
            0..=4 => 4 * input.number(0..=HEADER / 4 - 2),
            5 => HEADER + 4 * input.number(0..=63),
            _ => input.number(0..=bytes.len()),
        };
        let value = match input.byte() % 8 {
            0..=4 => input.byte().into(),
            5 => input.one_of(&[
                64,
                128,
                192,
                256,
                1 << 16,
                1 << 20,
                1 << 32,
                1 << 40,
                1 << 61,
                u64::MAX - 63,
                u64::MAX,
            ]),
            6 => (bytes.len() as u64).saturating_sub(u64::from(input.byte() % 65)),
            _ => input.long(),
        };
        match (kind, input.byte() % 16) {
            (6, 15) => bytes.truncate(at),
            (6, 14) => bytes.extend([0; 64]),
            (6 | 7, _) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value as u8),
            (_, len) => {
                let len = if len < 8 { 4 } else { 8 };
                bytes
                    .iter_mut()
                    .skip(at)
                    .take(len)
                    .zip(value.to_le_bytes())
                    .for_each(|(byte, new)| *byte = new);
            }
        }
    }
    *bytes != before
}

/// Loads bytes in every way; those that load are multiplied.
fn load_all(input: &mut Input<'_>, bytes: &[u8], dispatch: &Dispatch, is_changed: bool) {
    let (first, m) = (usize::from(input.one_in(4)), input.number(1..=7));
    let other = if input.one_in(4) { OtherLayout::Refuse } else { OtherLayout::Repack };
    let info = saved_info(bytes);
    let loaded = PackedB::load(bytes, dispatch, other);
    let mapped = PackedB::map(Mapped::new(bytes, first), dispatch, other);
    assert_eq!(loaded.is_ok(), mapped.is_ok(), "{loaded:?} {mapped:?}");
    let element = element_type(input);
    for b in [loaded, mapped].into_iter().flatten() {
        let info = info.as_ref().expect("it was loaded");
        assert_eq!((info.k, info.n, info.element), (b.k(), b.n(), b.element_type()));
        multiply(input, &b, m, element);
    }
    let loaded = GroupwiseB::load(bytes);
    let mapped = GroupwiseB::map(Mapped::new(bytes, first));
    assert_eq!(loaded.is_ok(), mapped.is_ok(), "{loaded:?} {mapped:?}");
    for b in [loaded, mapped].into_iter().flatten() {
        let info = info.as_ref().expect("it was loaded");
        assert_eq!((info.k, info.n, info.element), (b.k(), b.n(), b.element_type()));
        if b.k().max(1).saturating_mul(b.n().max(1)) <= MOST {
            GroupwiseCase::with_weights(input, b.with_dispatch(dispatch), m).compare(input);
        }
    }
    let snapshot = PackedB::map_snapshot(Mapped::new(bytes, first), dispatch);
    // Statistics of one that was changed are believed, so that nothing is promised of its products.
    if let (Ok(b), false) = (snapshot, is_changed) {
        multiply(input, &b, m, element);
    }
}

/// The values of packed weights, as a matrix.
fn elements(b: &PackedB) -> Vec<u8> {
    let (k, n) = (b.k(), b.n());
    (0..k * n).map(|at| b.get(at / n, at % n).expect("it is an element") as u8).collect()
}

/// Compares products of weights with the reference's, which reads a matrix of the weights' elements.
fn multiply(input: &mut Input<'_>, b: &PackedB, m: usize, a_type: ElementType) {
    let (k, n) = (b.k(), b.n());
    if k.max(1).saturating_mul(n.max(1)) > MOST {
        return;
    }
    let bits = elements(b);
    match b.element_type() {
        ElementType::U8 => {
            multiply_by(input, b, MatRef::row_major(&bits, k, n).expect("it fits").into(), m, a_type)
        }
        ElementType::I8 => {
            let values: &[i8] = bytemuck::cast_slice(&bits);
            multiply_by(input, b, MatRef::row_major(values, k, n).expect("it fits").into(), m, a_type);
        }
    }
}

fn multiply_by(
    input: &mut Input<'_>,
    b: &PackedB,
    matrix: qgemm::Operand<'_>,
    m: usize,
    a_type: ElementType,
) {
    let (k, n) = (b.k(), b.n());
    let a = Integers::read(input).bytes(m * k);
    let a: qgemm::Lhs<'_> = match a_type {
        ElementType::U8 => MatRef::row_major(&a, m, k).expect("it fits").into(),
        ElementType::I8 => {
            MatRef::row_major(bytemuck::cast_slice::<u8, i8>(&a), m, k).expect("it fits").into()
        }
    };
    let (a_zero, b_zero) = (Integers::read(input).integer(), Integers::read(input).integer());
    let got = Gemm::new(a, b).a_zero(a_zero).b_zero(b_zero);
    let expected = Gemm::new(a, matrix).a_zero(a_zero).b_zero(b_zero);
    let place = Place::row_major(m, n);
    compare("loaded", &place, &vec![0i32; m * n], |c| got.run_i32(c), |c| reference::run_i32(&expected, c));
    let stage = Dequantize::new(0.5).expect("it is a scale");
    let before = vec![0f32; m * n];
    compare(
        "loaded",
        &place,
        &before,
        |c| got.run_f32(c, stage),
        |c| reference::run_f32(&expected, c, stage),
    );
}
