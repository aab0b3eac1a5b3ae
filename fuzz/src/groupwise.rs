//! Target `groupwise`: weights with a scale per group, from every source, and products with them.

use crate::compare::{assert_equal, compare};
use crate::engines::{Crew, dispatch};
use crate::float_lhs::OwnedFloatLhs;
use crate::float_stage::FloatStage;
use crate::gemm::output_place;
use crate::group_formats::weights;
use crate::input::Input;
use crate::operands::{OwnedLhs, Zeros};
use crate::shape::Shape;
use crate::values::Reals;
use qgemm::{Activations, ElementType, Error, GroupwiseB, GroupwiseGemm, Int8Element, MatMut, reference};

/// A of a product.
#[derive(Debug)]
enum Lhs {
    Float(OwnedFloatLhs, Activations),
    Quantized(OwnedLhs, Zeros),
}

/// A product, as data.
#[derive(Debug)]
pub struct GroupwiseCase {
    /// Rows and columns that the output has to have.
    pub shape: (usize, usize),
    a: Lhs,
    b: GroupwiseB,
    /// Who works.
    pub crew: Crew,
}

impl GroupwiseCase {
    /// Any product of about this size; `None` if its weights are refused.
    pub fn read(input: &mut Input<'_>, Shape { m, n, k }: Shape) -> Option<Self> {
        let b = weights(input, k, n)?.with_dispatch(&dispatch(input));
        Some(Self::with_weights(input, b, m))
    }

    /// Any product of M rows with these weights.
    pub fn with_weights(input: &mut Input<'_>, b: GroupwiseB, m: usize) -> Self {
        let a = if input.byte() % 3 == 2 {
            let (a, _) = OwnedLhs::read(input, m, b.k());
            let zeros = Zeros::read(input, m);
            Lhs::Quantized(a, zeros)
        } else {
            let (a, _) = OwnedFloatLhs::read(input, m, b.k());
            let ways = [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric];
            Lhs::Float(a, input.one_of(&ways))
        };
        Self { shape: (m, b.n()), a, b, crew: Crew::read(input) }
    }

    /// Whether a call finds the scales of A.
    pub fn finds_scale(&self) -> bool {
        matches!(self.a, Lhs::Float(..))
    }

    /// The product; `None` if its A is refused.
    pub fn gemm(&self) -> Option<GroupwiseGemm<'_>> {
        self.gemm_of(OwnedFloatLhs::lhs)
    }

    /// The product of an A of f32 with the same values; `None` if it is refused.
    fn in_f32(&self) -> Option<GroupwiseGemm<'_>> {
        self.gemm_of(OwnedFloatLhs::in_f32)
    }

    fn gemm_of<'a>(
        &'a self,
        float: impl FnOnce(&'a OwnedFloatLhs) -> Result<qgemm::FloatLhs<'a>, Error>,
    ) -> Option<GroupwiseGemm<'a>> {
        let gemm = match &self.a {
            Lhs::Float(a, activations) => {
                GroupwiseGemm::new(float(a).ok()?, &self.b).activations(*activations)
            }
            Lhs::Quantized(a, zeros) => {
                GroupwiseGemm::quantized(a.lhs().ok()?, &self.b).a_zero(zeros.borrow())
            }
        };
        Some(gemm.threads(self.crew.threads()))
    }

    /// Compares a product with the reference.
    pub fn compare(&self, input: &mut Input<'_>) -> Option<()> {
        let place = output_place(input, self.shape);
        let before = Reals::read(input).reals(place.len);
        let owned = FloatStage::read(input, self.shape, self.finds_scale());
        let (gemm, in_f32) = (self.gemm()?, self.in_f32()?);
        let stage = owned.build().ok()?;
        let run =
            |c: MatMut<'_, f32>| owned.run_kept(&stage, |stage| self.crew.run(|| gemm.run_f32(c, stage)));
        let c =
            compare("group-wise", &place, &before, run, |c| reference::run_groupwise_f32(&in_f32, c, stage))?;
        let c = place.view(&c).expect("it was viewed before");
        for (i, j) in (0..c.rows()).flat_map(|i| (0..c.cols()).map(move |j| (i, j))) {
            let is_one_nan = c.get(i, j).is_none_or(|x| !x.is_nan() || x.to_bits() == 0x7fc0_0000);
            assert!(
                is_one_nan || owned.has_activation(),
                "row {i}, column {j}: not the NaN of the documentation"
            );
        }
        Some(())
    }
}

/// Panics unless weights give back what [`GroupwiseB::code`] and its siblings say.
fn check_unpacked(b: &GroupwiseB) {
    match b.element_type() {
        ElementType::U8 => check_codes::<u8, i8>(b),
        ElementType::I8 => check_codes::<i8, u8>(b),
    }
    let (k, n) = (b.k(), b.n());
    let mut values = vec![0f32; k * n];
    b.dequantize(MatMut::row_major(&mut values, k, n).expect("it fits")).expect("the shape is right");
    let expected: Vec<f32> = (0..k * n)
        .map(|at| {
            let (row, j) = (at / n, at % n);
            let g = row / b.group();
            let exists = "it is an element";
            let steps = b.code(row, j).expect(exists) - b.zero(g, j).expect(exists);
            let value = b.scale(g, j).expect(exists) * steps as f32;
            b.minimum(g, j).map_or(value, |minimum| value + minimum)
        })
        .collect();
    assert_equal("dequantized", &values, &expected);
}

fn check_codes<T: Int8Element + crate::compare::Element, Other: Int8Element>(b: &GroupwiseB) {
    let (k, n) = (b.k(), b.n());
    let mut codes = vec![T::from_bits(77); k * n];
    b.unpack(MatMut::row_major(&mut codes, k, n).expect("it fits")).expect("type and shape are right");
    let code = |at: usize| T::from_bits(b.code(at / n, at % n).expect("it is an element") as u8);
    let expected: Vec<T> = (0..k * n).map(code).collect();
    assert_equal("unpacked", &codes, &expected);
    let mut others = vec![Other::from_bits(77); k * n];
    let result = b.unpack(MatMut::row_major(&mut others, k, n).expect("it fits"));
    assert!(matches!(result, Err(Error::Element { argument: "out", .. })), "{result:?}");
}

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let shape = Shape::read(&mut input);
    let Some(case) = GroupwiseCase::read(&mut input, shape) else { return };
    check_unpacked(&case.b);
    case.compare(&mut input);
}
