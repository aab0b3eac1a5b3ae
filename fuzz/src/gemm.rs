//! Target `gemm`: products of 8-bit matrices, with every output.

use crate::byte_stage::ByteStage;
use crate::compare::{Element, compare};
use crate::engines::Crew;
use crate::float_stage::FloatStage;
use crate::input::Input;
use crate::operands::{OwnedLhs, OwnedRhs, Zeros, length};
use crate::place::{Elements, Place};
use crate::shape::Shape;
use crate::values::{Integers, Reals};
use qgemm::{Gemm, Int8Element, Lhs, MatMut, reference};

/// A product, as data.
#[derive(Debug)]
pub struct GemmCase {
    /// Rows and columns that the output has to have.
    pub shape: (usize, usize),
    a: OwnedLhs,
    b: OwnedRhs,
    a_zero: Zeros,
    b_zero: Zeros,
    bias: Option<Vec<i32>>,
    /// Who works.
    pub crew: Crew,
}

impl GemmCase {
    /// Any product of this size; `None` if there is no B.
    pub fn read(input: &mut Input<'_>, Shape { m, n, k }: Shape) -> Option<Self> {
        let (a, k) = OwnedLhs::read(input, m, k);
        let k = if input.one_in(128) { k + 1 } else { k };
        let b = OwnedRhs::read(input, k, n)?;
        let (a_zero, b_zero) = (Zeros::read(input, m), Zeros::read(input, n));
        let bias = input.rarely(3, |input| {
            let len = length(input, n);
            Integers::read(input).integers(len)
        });
        Some(Self { shape: (m, n), a, b, a_zero, b_zero, bias, crew: Crew::read(input) })
    }

    /// A as calls take it; `None` if it is refused.
    pub fn lhs(&self) -> Option<Lhs<'_>> {
        self.a.lhs().ok()
    }

    /// The product.
    pub fn gemm<'a>(&'a self, a: Lhs<'a>) -> Gemm<'a> {
        let gemm = Gemm::new(a, self.b.rhs()).a_zero(self.a_zero.borrow()).b_zero(self.b_zero.borrow());
        let gemm = gemm.dispatch(&self.b.dispatch).threads(self.crew.threads());
        self.bias.as_ref().map_or(gemm, |bias| gemm.bias(bias))
    }
}

/// An output of about the right shape, mostly of the right one.
pub fn output_place(input: &mut Input<'_>, (m, n): (usize, usize)) -> Place {
    let shape = if input.one_in(128) { (length(input, m), n + 1) } else { (m, n) };
    Place::read(input, shape, Elements::Written)
}

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let shape = Shape::read(&mut input);
    let output = input.byte() % 8;
    let Some(case) = GemmCase::read(&mut input, shape) else { return };
    match output {
        0 | 1 => i32_output(&mut input, &case, output == 1),
        2 | 3 => byte_output::<i8>(&mut input, &case),
        4 | 5 => byte_output::<u8>(&mut input, &case),
        _ => f32_output(&mut input, &case),
    };
}

/// `None` if there was no product.
type Done = Option<()>;

fn i32_output(input: &mut Input<'_>, case: &GemmCase, accumulate: bool) -> Done {
    let place = output_place(input, case.shape);
    let before = Integers::read(input).integers(place.len);
    let gemm = case.gemm(case.lhs()?);
    let (what, before) = (if accumulate { "accumulated" } else { "i32" }, &before);
    compare(
        what,
        &place,
        before,
        |c| case.crew.run(|| if accumulate { gemm.accumulate_i32(c) } else { gemm.run_i32(c) }),
        |c| if accumulate { reference::accumulate_i32(&gemm, c) } else { reference::run_i32(&gemm, c) },
    )?;
    Some(())
}

/// The bytes that an output holds before the call.
pub fn bytes_before<T: Int8Element>(input: &mut Input<'_>, len: usize) -> Vec<T> {
    let mut values = Integers::read(input);
    (0..len).map(|_| T::from_bits(values.byte())).collect()
}

fn byte_output<T: Int8Element + Element>(input: &mut Input<'_>, case: &GemmCase) -> Done {
    let place = output_place(input, case.shape);
    let before = bytes_before::<T>(input, place.len);
    let owned = ByteStage::<T>::read(input, case.shape, false);
    let gemm = case.gemm(case.lhs()?);
    let stage = owned.build().ok()?;
    let run =
        |c: MatMut<'_, T>| owned.run_kept(&stage, |stage| case.crew.run(|| gemm.run_requantized(c, stage)));
    compare("8 bits", &place, &before, run, |c| reference::run_requantized(&gemm, c, stage))?;
    Some(())
}

fn f32_output(input: &mut Input<'_>, case: &GemmCase) -> Done {
    let place = output_place(input, case.shape);
    let before = Reals::read(input).reals(place.len);
    let owned = FloatStage::read(input, case.shape, false);
    let gemm = case.gemm(case.lhs()?);
    let stage = owned.build().ok()?;
    let run = |c: MatMut<'_, f32>| owned.run_kept(&stage, |stage| case.crew.run(|| gemm.run_f32(c, stage)));
    compare("f32", &place, &before, run, |c| reference::run_f32(&gemm, c, stage))?;
    Some(())
}
