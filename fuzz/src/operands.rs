//! 8-bit operands that own their data: matrices, gathered rows, zero points, packed weights.

use crate::engines::dispatch;
use crate::input::Input;
use crate::place::{Elements, Place};
use crate::values::{Integers, Random};
use qgemm::{Dispatch, ElementType, Error, Gather, Lhs, Operand, PackedB, Rhs, ZeroPoint};

/// Either 8-bit type.
pub fn element_type(input: &mut Input<'_>) -> ElementType {
    if input.flag() { ElementType::I8 } else { ElementType::U8 }
}

/// A number that is mostly `right`.
pub fn length(input: &mut Input<'_>, right: usize) -> usize {
    match input.byte() {
        253 => right.saturating_sub(1),
        254 => right + 1,
        255 => 0,
        _ => right,
    }
}

/// A matrix of 8 bits, in a buffer of its own.
#[derive(Debug)]
pub struct Matrix8 {
    /// Its place in the buffer.
    pub place: Place,
    /// The type of its elements.
    pub element: ElementType,
    bits: Vec<u8>,
}

impl Matrix8 {
    /// Any matrix of this shape.
    pub fn read(input: &mut Input<'_>, shape: (usize, usize)) -> Self {
        let (element, place) = (element_type(input), Place::read(input, shape, Elements::Read));
        Self { place, element, bits: Integers::read(input).bytes(place.len) }
    }

    /// Makes all values codes of four bits: 0 to 15, or -8 to 7.
    pub fn narrow_to_four_bits(&mut self) {
        let narrow = |bits: u8| match self.element {
            ElementType::U8 => bits & 15,
            ElementType::I8 => ((bits << 4) as i8 >> 4) as u8,
        };
        self.bits.iter_mut().for_each(|bits| *bits = narrow(*bits));
    }

    /// Takes the same bits for another type.
    pub fn retype(&mut self, element: ElementType) {
        self.element = element;
    }

    /// A view of it.
    ///
    /// # Errors
    /// If the buffer is too short.
    pub fn operand(&self) -> Result<Operand<'_>, Error> {
        Ok(match self.element {
            ElementType::U8 => self.place.view(&self.bits)?.into(),
            ElementType::I8 => self.place.view::<i8>(bytemuck::cast_slice(&self.bits))?.into(),
        })
    }
}

/// Rows to be picked.
#[derive(Debug)]
pub struct Picks {
    /// The shape of the source.
    pub source: (usize, usize),
    /// `taps` of them for each row.
    pub indices: Vec<u32>,
    /// The rows of the source that each row is made of.
    pub taps: usize,
}

impl Picks {
    /// Picks that make M×K of a source, K rounded down to what the taps allow, and perhaps with wrong indices. Returns K too.
    pub fn read(input: &mut Input<'_>, m: usize, k: usize) -> (Self, usize) {
        let taps = if input.flag() { 1 } else { input.number(1..=9) };
        let channels = k / taps;
        let rows = input.number(1..=40);
        let len = length(input, m * taps);
        let mut random = Random::new(input.byte().into());
        let kind = input.byte() % 4;
        let mut indices: Vec<u32> = (0..len)
            .map(|at| match kind {
                // Neighbours, as an image has; padding here and there.
                0 => ((at / 3 + at % 3) % rows) as u32,
                1 if random.bits().is_multiple_of(4) => Gather::PADDING,
                _ => random.below(rows) as u32,
            })
            .collect();
        if input.one_in(64) && !indices.is_empty() {
            let at = input.number(0..=indices.len() - 1);
            indices[at] = input.one_of(&[rows as u32, u32::MAX - 1, u32::MAX]);
        }
        let taps = if input.one_in(128) { taps - 1 } else { taps };
        (Self { source: (rows, channels), indices, taps }, taps * channels)
    }
}

/// A of 8 bits.
#[derive(Debug)]
pub enum OwnedLhs {
    /// A matrix.
    Matrix(Matrix8),
    /// Rows of one, and the value of padding.
    Gathered(Matrix8, Picks, Option<i32>),
}

impl OwnedLhs {
    /// Any A of about M×K, and its K.
    pub fn read(input: &mut Input<'_>, m: usize, k: usize) -> (Self, usize) {
        if input.byte() % 4 != 3 {
            return (OwnedLhs::Matrix(Matrix8::read(input, (m, k))), k);
        }
        let (picks, k) = Picks::read(input, m, k);
        let source = Matrix8::read(input, picks.source);
        let padding = input.rarely(2, |input| i32::from(input.byte()) - if input.flag() { 128 } else { 0 });
        (OwnedLhs::Gathered(source, picks, padding), k)
    }

    /// The type of its elements.
    pub fn element(&self) -> ElementType {
        match self {
            OwnedLhs::Matrix(a) | OwnedLhs::Gathered(a, ..) => a.element,
        }
    }

    /// A as calls take it.
    ///
    /// # Errors
    /// If a buffer is too short, or an index or the padding wrong.
    pub fn lhs(&self) -> Result<Lhs<'_>, Error> {
        match self {
            OwnedLhs::Matrix(a) => Ok(a.operand()?.into()),
            OwnedLhs::Gathered(source, picks, padding) => {
                let gather = Gather::new(source.operand()?, &picks.indices, picks.taps)?;
                Ok(padding.map_or(Ok(gather), |value| gather.padding(value))?.into())
            }
        }
    }
}

/// B of 8 bits: a matrix, packed or not, and the kernels for it.
#[derive(Debug)]
pub struct OwnedRhs {
    /// The matrix.
    pub matrix: Matrix8,
    /// The kernels.
    pub dispatch: Dispatch,
    packed: Option<PackedB>,
}

impl OwnedRhs {
    /// Any B of K×N; `None` if its buffer is too short.
    pub fn read(input: &mut Input<'_>, k: usize, n: usize) -> Option<Self> {
        let (matrix, dispatch) = (Matrix8::read(input, (k, n)), dispatch(input));
        let operand = matrix.operand().ok()?;
        let packed = match input.byte() % 3 {
            0 => None,
            1 => Some(ElementType::U8),
            _ => Some(ElementType::I8),
        };
        let packed = packed.map(|activations| {
            let packed = PackedB::pack_with(&dispatch, operand, activations).expect("there is memory");
            check_packed(&packed, &operand);
            packed
        });
        Some(Self { matrix, dispatch, packed })
    }

    /// B as calls take it.
    pub fn rhs(&self) -> Rhs<'_> {
        match &self.packed {
            Some(packed) => packed.into(),
            None => self.matrix.operand().expect("it was viewed before").into(),
        }
    }
}

/// Panics unless packed elements are those of the matrix: some of them, as the reference reads all.
fn check_packed(packed: &PackedB, b: &Operand<'_>) {
    assert_eq!((packed.k(), packed.n()), (b.rows(), b.cols()));
    for at in 0..64.min(b.rows()) {
        let at = at * 37;
        let (row, col) = (at % b.rows(), at.checked_rem(b.cols()).unwrap_or(0));
        assert_eq!(packed.get(row, col), b.get(row, col), "row {row}, column {col}");
    }
    assert_eq!((packed.get(b.rows(), 0), packed.get(0, b.cols())), (None, None));
}

/// Zero points of every form.
#[derive(Debug)]
pub enum Zeros {
    /// One.
    One(i32),
    /// One for each row or column.
    Each(Vec<i32>),
    /// The same, of 8 bits.
    EachI8(Vec<i8>),
    /// The same, of 8 bits.
    EachU8(Vec<u8>),
}

impl Zeros {
    /// Any zero points of `len` rows or columns.
    pub fn read(input: &mut Input<'_>, len: usize) -> Self {
        match input.byte() % 10 {
            0..=2 => Zeros::One(0),
            3 | 4 => Zeros::One(i32::from(input.byte()) - if input.flag() { 128 } else { 0 }),
            5 => Zeros::One(Integers::read(input).integer()),
            6 | 7 => {
                let len = length(input, len);
                Zeros::Each(Integers::read(input).integers(len))
            }
            8 => {
                let len = length(input, len);
                Zeros::EachI8(Integers::read(input).bytes(len).iter().map(|&bits| bits as i8).collect())
            }
            _ => {
                let len = length(input, len);
                Zeros::EachU8(Integers::read(input).bytes(len))
            }
        }
    }

    /// The zero points as calls take them.
    pub fn borrow(&self) -> ZeroPoint<'_> {
        match self {
            Zeros::One(zero) => (*zero).into(),
            Zeros::Each(zeros) => zeros.into(),
            Zeros::EachI8(zeros) => zeros.into(),
            Zeros::EachU8(zeros) => zeros.into(),
        }
    }
}
