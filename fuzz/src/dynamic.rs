//! Target `dynamic`: products of float matrices that the call quantizes.

use crate::byte_stage::ByteStage;
use crate::compare::{Element, compare};
use crate::engines::Crew;
use crate::float_lhs::OwnedFloatLhs;
use crate::float_stage::FloatStage;
use crate::gemm::{bytes_before, output_place};
use crate::input::Input;
use crate::operands::{OwnedRhs, Zeros, length};
use crate::shape::Shape;
use crate::values::Reals;
use qgemm::{DynamicGemm, Error, FloatLhs, Int8Element, MatMut, MatRef, QuantParams, reference};

/// A product, as data.
#[derive(Debug)]
pub struct DynamicCase {
    /// Rows and columns that the output has to have.
    pub shape: (usize, usize),
    a: OwnedFloatLhs,
    b: OwnedRhs,
    b_zero: Zeros,
    asymmetric: bool,
    per_tensor: bool,
    /// Who works.
    pub crew: Crew,
}

impl DynamicCase {
    /// Any product of this size; `None` if there is no B.
    pub fn read(input: &mut Input<'_>, Shape { m, n, k }: Shape) -> Option<Self> {
        let (a, k) = OwnedFloatLhs::read(input, m, k);
        let k = if input.one_in(128) { k + 1 } else { k };
        let b = OwnedRhs::read(input, k, n)?;
        let b_zero = Zeros::read(input, n);
        let (asymmetric, per_tensor) = (input.flag(), input.one_in(3));
        Some(Self { shape: (m, n), a, b, b_zero, asymmetric, per_tensor, crew: Crew::read(input) })
    }

    /// The product; `None` if its A is refused.
    pub fn gemm(&self) -> Option<DynamicGemm<'_>> {
        Some(self.gemm_of(self.a.lhs().ok()?))
    }

    fn gemm_of<'a>(&'a self, a: FloatLhs<'a>) -> DynamicGemm<'a> {
        let gemm = DynamicGemm::new(a, self.b.rhs()).b_zero(self.b_zero.borrow());
        let gemm = gemm.dispatch(&self.b.dispatch).threads(self.crew.threads());
        let gemm = if self.asymmetric { gemm.asymmetric() } else { gemm };
        if self.per_tensor { gemm.per_tensor() } else { gemm }
    }

    /// Places for the parameters, mostly as many as there have to be.
    fn params(&self, input: &mut Input<'_>) -> Option<Vec<QuantParams>> {
        input.rarely(2, |input| {
            let right = if self.per_tensor { 1 } else { self.shape.0 };
            vec![UNSET; length(input, right)]
        })
    }

    /// Panics unless parameters that a call handed back are those of A.
    fn check_params(&self, params: &[QuantParams]) {
        let (m, n) = self.shape;
        if m == 0 || n == 0 {
            assert!(params.iter().all(|params| *params == UNSET), "written for an empty output");
            return;
        }
        let Some(a) = self.a.matrix() else { return };
        for (i, got) in params.iter().enumerate() {
            let rows = if self.per_tensor { 0..m } else { i..i + 1 };
            let expected = by_definition(&a, rows, self.asymmetric);
            assert_eq!(
                (got.scale.to_bits(), got.zero_point),
                (expected.scale.to_bits(), expected.zero_point)
            );
        }
    }
}

const UNSET: QuantParams = QuantParams { scale: -1.0, zero_point: -1 };

/// The scale and the zero point of some rows, all of which are finite.
fn by_definition(a: &MatRef<'_, f32>, rows: std::ops::Range<usize>, asymmetric: bool) -> QuantParams {
    let (mut lo, mut hi) = (0f32, 0f32);
    for i in rows {
        for l in 0..a.cols() {
            let value = *a.get(i, l).expect("it is an element");
            (lo, hi) = (lo.min(value), hi.max(value));
        }
    }
    let quotient = if asymmetric { (hi - lo) / 255.0 } else { hi.max(-lo) / 127.0 };
    let scale = if quotient == 0.0 { 1.0 } else { quotient };
    let zero = (-lo / scale).round_ties_even().clamp(0.0, 255.0) as i32;
    QuantParams { scale, zero_point: if asymmetric && quotient != 0.0 { zero } else { 0 } }
}

/// The error for a wrong number of parameters, which the reference does not take.
fn wrong_length(params: Option<&[QuantParams]>, case: &DynamicCase) -> Option<Error> {
    let (got, need) = (params?.len(), if case.per_tensor { 1 } else { case.shape.0 });
    (got != need).then_some(Error::Length { argument: "params", got, need })
}

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let shape = Shape::read(&mut input);
    let output = input.byte() % 4;
    let Some(case) = DynamicCase::read(&mut input, shape) else { return };
    match output {
        0 => byte_output::<i8>(&mut input, &case),
        1 => byte_output::<u8>(&mut input, &case),
        _ => f32_output(&mut input, &case),
    };
}

fn f32_output(input: &mut Input<'_>, case: &DynamicCase) -> Option<()> {
    let place = output_place(input, case.shape);
    let before = Reals::read(input).reals(place.len);
    let owned = FloatStage::read(input, case.shape, true);
    let mut params = case.params(input);
    let (gemm, in_f32) = (case.gemm()?, case.gemm_of(case.a.in_f32().ok()?));
    let stage = owned.build().ok()?;
    if let Some(wrong) = wrong_length(params.as_deref(), case) {
        return refuses_params(&wrong, params?, |params| {
            let mut c = before.clone();
            let result = gemm.run_f32_with_params(place.view_mut(&mut c).ok()?, stage, params);
            crate::compare::assert_equal("f32, refused", &c, &before);
            Some(result)
        });
    }
    let run = |c: MatMut<'_, f32>| {
        owned.run_kept(&stage, |stage| {
            case.crew.run(|| match &mut params {
                Some(params) => gemm.run_f32_with_params(c, stage, params),
                None => gemm.run_f32(c, stage),
            })
        })
    };
    let done = compare("f32", &place, &before, run, |c| reference::run_dynamic_f32(&in_f32, c, stage));
    checked(case, done.is_some(), params)
}

fn byte_output<T: Int8Element + Element>(input: &mut Input<'_>, case: &DynamicCase) -> Option<()> {
    let place = output_place(input, case.shape);
    let before = bytes_before::<T>(input, place.len);
    let owned = ByteStage::<T>::read(input, case.shape, true);
    let mut params = case.params(input);
    let (gemm, in_f32) = (case.gemm()?, case.gemm_of(case.a.in_f32().ok()?));
    let stage = owned.build().ok()?;
    if let Some(wrong) = wrong_length(params.as_deref(), case) {
        return refuses_params(&wrong, params?, |params| {
            let mut c = before.clone();
            let result = gemm.run_requantized_with_params(place.view_mut(&mut c).ok()?, stage, params);
            crate::compare::assert_equal("8 bits, refused", &c, &before);
            Some(result)
        });
    }
    let run = |c: MatMut<'_, T>| {
        owned.run_kept(&stage, |stage| {
            case.crew.run(|| match &mut params {
                Some(params) => gemm.run_requantized_with_params(c, stage, params),
                None => gemm.run_requantized(c, stage),
            })
        })
    };
    let done =
        compare("8 bits", &place, &before, run, |c| reference::run_dynamic_requantized(&in_f32, c, stage));
    checked(case, done.is_some(), params)
}

/// Panics unless a call that is given too few or too many parameters is refused, for that or for something before it.
fn refuses_params(
    wrong: &Error,
    mut params: Vec<QuantParams>,
    call: impl FnOnce(&mut [QuantParams]) -> Option<Result<(), Error>>,
) -> Option<()> {
    let result = call(&mut params)?;
    let depends_on_a = matches!(result, Err(Error::NotFinite { .. } | Error::QuantizationRange { .. }));
    assert!(
        result.is_err() && !depends_on_a,
        "{result:?}, must be {wrong:?} or another that does not depend on A"
    );
    assert!(params.iter().all(|params| *params == UNSET));
    Some(())
}

fn checked(case: &DynamicCase, done: bool, params: Option<Vec<QuantParams>>) -> Option<()> {
    let params = params?;
    if done {
        case.check_params(&params);
    } else {
        assert!(params.iter().all(|params| *params == UNSET), "written, and the call was refused");
    }
    Some(())
}
