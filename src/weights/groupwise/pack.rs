//! Packing of group-wise weights from any source of codes.

use crate::buffer;
use crate::dispatch::select::Dispatch;
use crate::element::ElementType;
use crate::error::Error;
use crate::trace::{self, Call};
use crate::weights::groupwise::packed::{GroupwiseB, Zeros};
use crate::weights::groupwise::scales::{PURPOSE, PackedScales, groups_with_columns};
use crate::weights::storage::Storage;
use qgemm_kernels::{CodeBits, GroupShape, Line, MAX_VECTOR_GROUP, prefer_huge};
use std::ops::Range;

/// The rows of a column that are asked for at a time: whole steps.
const ROWS: usize = 512;

/// Writes the codes of some rows of a column.
pub(super) type Codes<'a> = dyn Fn(Range<usize>, usize, &mut [u8]) -> Result<(), Error> + 'a;

/// Group-wise weights to be packed. Codes and zero points are stored: i8 values less the least of their bits.
pub(super) struct GroupSource<'a> {
    pub(super) shape: GroupShape,
    /// The type that values have to users.
    pub(super) element: ElementType,
    pub(super) scales: PackedScales,
    pub(super) minimums: Option<PackedScales>,
    /// Writes the codes of some rows of a column.
    pub(super) codes: &'a Codes<'a>,
    /// The zero point of a group and column.
    pub(super) zeros: &'a dyn Fn(usize, usize) -> Result<u8, Error>,
}

/// The code of so many bits at a place of packed bytes, the lowest first.
pub(super) fn unpack(bytes: &[u8], at: usize, bits: CodeBits) -> u8 {
    match bits {
        CodeBits::Eight => bytes[at],
        CodeBits::Four => bytes[at / 2] >> if at.is_multiple_of(2) { 0 } else { 4 } & 15,
    }
}

/// A product of sizes, for lengths that are compared: one that overflows is never reached.
pub(super) fn times(x: usize, y: usize) -> usize {
    x.saturating_mul(y)
}

/// The shape of weights.
///
/// # Errors
/// [`Error::Group`], [`Error::Range`] if groups are too long, or [`Error::Memory`] if no address space holds them.
pub(crate) fn shape(k: usize, n: usize, group: usize, bits: CodeBits) -> Result<GroupShape, Error> {
    if group == 0 || (group < k && !group.is_multiple_of(8)) {
        return Err(Error::Group { got: group, k });
    }
    /// Sums of the codes of longer groups would not fit 32 bits.
    const MAX_GROUP: usize = 1 << 23;
    let shape =
        GroupShape::new(k, n, group, bits).ok_or(Error::Memory { purpose: PURPOSE, bytes: usize::MAX })?;
    if shape.longest_group() > MAX_GROUP {
        let (got, max) = (shape.longest_group() as i64, MAX_GROUP as i64);
        return Err(Error::Range { argument: "group", got, min: 1, max });
    }
    Ok(shape)
}

/// # Errors
/// Those of the source, [`Error::Memory`], [`Error::Kernel`] or [`Error::Variable`].
pub(super) fn pack(source: GroupSource<'_>) -> Result<GroupwiseB, Error> {
    if trace::is_silent() || !trace::is_heard()? {
        return pack_codes(source);
    }
    trace::tell(packing(&source.shape), || pack_codes(source))
}

fn pack_codes(source: GroupSource<'_>) -> Result<GroupwiseB, Error> {
    let dispatch = Dispatch::auto()?;
    let GroupSource { shape, element, scales, minimums, codes, zeros } = source;
    let zeros = pack_zeros(&shape, zeros)?;
    let (mut lines, count) = (Vec::new(), shape.codes_len().div_ceil(size_of::<Line>()));
    buffer::reserve(&mut lines, count, PURPOSE)?;
    prefer_huge(lines.spare_capacity_mut());
    lines.resize(count, Line([0; 64]));
    let packed: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
    let mut column = [0; ROWS];
    // Columns without rows have no codes, however many there are.
    let columns = if shape.k() == 0 { 0 } else { shape.n() };
    for j in 0..columns {
        for start in (0..shape.k()).step_by(ROWS) {
            let rows = start..shape.k().min(start + ROWS);
            let column = &mut column[..rows.len()];
            codes(rows, j, column)?;
            put_column(packed, &shape, start, j, column);
        }
    }
    Ok(GroupwiseB {
        shape,
        element,
        lines: Storage::Own(lines),
        scales,
        minimums,
        zeros,
        kernel: dispatch.groupwise(shape.longest_group()),
        caches: dispatch.caches(),
    })
}

/// Packing, in words.
fn packing(shape: &GroupShape) -> Call {
    Call {
        kind: "pack",
        a: String::new(),
        b: format!("{}-bit {}x{} groups of {}", shape.bits().bits(), shape.k(), shape.n(), shape.group()),
        c: "panels".into(),
        stage: String::new(),
        kernel: Dispatch::auto().map_or("", |dispatch| dispatch.groupwise(shape.longest_group()).name),
        blocks: String::new(),
        threads: None,
    }
}

/// Packs codes of a column, from row `start`, with which a step begins.
fn put_column(packed: &mut [u8], shape: &GroupShape, start: usize, j: usize, codes: &[u8]) {
    let (first, _) = shape.code_at(start, j);
    let distance = shape.step_distance(j);
    for (at, step) in codes.chunks(shape.bits().step()).enumerate() {
        let to = &mut packed[first + at * distance..][..4];
        match shape.bits() {
            CodeBits::Eight => to[..step.len()].copy_from_slice(step),
            CodeBits::Four => {
                for (k, code) in step.iter().enumerate() {
                    to[k % 4] |= code << if k < 4 { 0 } else { 4 };
                }
            }
        }
    }
}

fn pack_zeros(shape: &GroupShape, zeros: &dyn Fn(usize, usize) -> Result<u8, Error>) -> Result<Zeros, Error> {
    // The scalar kernel, which multiplies longer groups, subtracts zero points itself.
    let each = shape.longest_group() > MAX_VECTOR_GROUP;
    let places = || (0..groups_with_columns(shape)).flat_map(|g| (0..shape.n()).map(move |j| (g, j)));
    let mut packed = Vec::new();
    let mut one = None;
    for (g, j) in places() {
        let zero = zeros(g, j)?;
        if packed.is_empty() {
            if *one.get_or_insert(zero) == zero && !each {
                continue;
            }
            // All before this one are equal.
            buffer::refill(&mut packed, shape.zeros_len(), 0, PURPOSE)?;
            for (g, j) in places().take_while(|place| *place != (g, j)) {
                put_zero(&mut packed, shape.zero_at(g, j), one.unwrap_or(0));
            }
        }
        put_zero(&mut packed, shape.zero_at(g, j), zero);
    }
    Ok(if packed.is_empty() { Zeros::One(one.unwrap_or(0)) } else { Zeros::Each(Storage::Own(packed)) })
}

/// Puts a zero point where 0 is.
fn put_zero(packed: &mut [u8], (byte, high): (usize, bool), zero: u8) {
    packed[byte] |= zero << if high { 4 } else { 0 };
}
