//! Products, against the reference.

use crate::memory::{Guarded, Side};
use crate::{Random, SIDES, cases, shape};
use bytemuck::Pod;
use qgemm::half::f16;
use qgemm::{
    Activation, Activations, CodeBits, Dequantize, Dispatch, DynamicGemm, ElementType, Error, FloatLhs,
    Gather, GatherF32, Gemm, GroupwiseB, GroupwiseGemm, Int8Element, Lhs, MatMut, MatRef, Multiplier,
    Multipliers, OtherLayout, PackedB, QuantParams, Requantize, Rhs, Rounding, Table, reference,
};

/// A matrix as it lies: row-major or column-major, without gaps or with some between rows or columns, but none behind the last.
#[derive(Clone, Copy, Debug)]
struct Lie {
    column_major: bool,
    gap: usize,
}

impl Lie {
    fn draw(random: &mut Random) -> Self {
        Self { column_major: random.below(3) == 0, gap: random.pick(&[0, 0, 1, 5]) }
    }

    fn strides(self, (rows, cols): (usize, usize)) -> (usize, usize) {
        if self.column_major { (1, rows + self.gap) } else { (cols + self.gap, 1) }
    }

    /// Elements from the first to the last.
    fn len(self, (rows, cols): (usize, usize)) -> usize {
        let (down, right) = self.strides((rows, cols));
        if rows * cols == 0 { 0 } else { (rows - 1) * down + (cols - 1) * right + 1 }
    }
}

/// A matrix between pages.
struct Matrix<T> {
    memory: Guarded<T>,
    shape: (usize, usize),
    lie: Lie,
}

impl<T: Pod> Matrix<T> {
    fn new(shape: (usize, usize), side: Side, random: &mut Random, value: impl Fn(u64) -> T) -> Self {
        let lie = Lie::draw(random);
        Self { memory: Guarded::new(&random.values(lie.len(shape), value), side), shape, lie }
    }

    fn view(&self) -> MatRef<'_, T> {
        let (down, right) = self.lie.strides(self.shape);
        MatRef::new(&self.memory, self.shape.0, self.shape.1, down, right).unwrap()
    }

    fn view_mut(&mut self) -> MatMut<'_, T> {
        let (down, right) = self.lie.strides(self.shape);
        MatMut::new(&mut self.memory, self.shape.0, self.shape.1, down, right).unwrap()
    }
}

/// Runs a product into a matrix between pages and its reference into another: all their bytes are equal, gaps too.
fn compare<T: Pod + PartialEq + std::fmt::Debug>(
    c: &Matrix<T>,
    side: Side,
    run: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
    expected: impl FnOnce(MatMut<'_, T>) -> Result<(), Error>,
) {
    let mut got = Matrix { memory: Guarded::new(&c.memory, side), ..*c };
    run(got.view_mut()).unwrap();
    let mut want = Matrix { memory: Guarded::new(&c.memory, side), ..*c };
    expected(want.view_mut()).unwrap();
    assert!(bytemuck::cast_slice::<T, u8>(&got.memory) == bytemuck::cast_slice::<T, u8>(&want.memory));
}

/// A number that is no NaN, from the low bits.
fn real(bits: u64) -> f32 {
    (bits as i16) as f32 * 0.37
}

fn positive(bits: u64) -> f32 {
    ((bits % 1000) + 1) as f32 * 1e-5
}

/// All outputs of a product of 8-bit matrices.
fn outputs<T: Int8Element + PartialEq + std::fmt::Debug>(
    gemm: Gemm<'_>,
    (m, n): (usize, usize),
    side: Side,
    r: &mut Random,
) {
    let (a_zeros, b_zeros) = (
        Guarded::new(&r.values(m, |x| x as i16 as i32), side),
        Guarded::new(&r.values(n, |x| x as i8 as i32), side),
    );
    let bias = Guarded::new(&r.values(n, |x| x as i16 as i32), side);
    let gemm = match r.below(3) {
        0 => gemm,
        1 => gemm.a_zero(3).bias(&bias),
        _ => gemm.a_zero(&*a_zeros).b_zero(&*b_zeros).bias(&bias),
    };
    let c = Matrix::new((m, n), side, r, |x| x as i32);
    compare(&c, side, |c| gemm.run_i32(c), |c| reference::run_i32(&gemm, c));
    compare(&c, side, |c| gemm.accumulate_i32(c), |c| reference::accumulate_i32(&gemm, c));

    let scales = Guarded::new(&r.values(n, positive), side);
    let row_scales = Guarded::new(&r.values(m, positive), side);
    let factors: Vec<f64> = scales.iter().map(|scale| f64::from(*scale)).collect();
    let factors = Guarded::new(&factors, side);
    let multipliers: Vec<Multiplier> =
        factors.iter().map(|real| Multiplier::from_real(*real).unwrap()).collect();
    let residual = Matrix::new((m, n), side, r, |x| T::from_bits(x as u8));
    let table = Table::<T>::activation(
        Activation::Silu,
        QuantParams { scale: 0.1, zero_point: 0 },
        QuantParams { scale: 0.05, zero_point: 3 },
    );
    let table = table.unwrap();
    let stages = [
        Requantize::new(&*scales, 1).unwrap(),
        Requantize::new(0.001, -2).unwrap().residual(residual.view(), 0.5, 1),
        Requantize::new(qgemm::Scale::PerRow(&row_scales), 0).unwrap().table(&table),
        Requantize::new(qgemm::Scale::RowsByColumns { rows: &row_scales, columns: &scales }, 0)
            .unwrap()
            .clamp_to(-9, 90),
        Requantize::fixed_point(Multipliers::PerAxis(&multipliers), Rounding::Ruy, 0).unwrap(),
        Requantize::in_f64(&*factors, 0).unwrap(),
        Requantize::new(0.01, 0).unwrap().residual_in_place(1.5, 2),
    ];
    let c = Matrix::new((m, n), side, r, |x| T::from_bits(x as u8));
    let stage = r.pick(&stages);
    compare(&c, side, |c| gemm.run_requantized(c, stage), |c| reference::run_requantized(&gemm, c, stage));

    let (c, stage_bias) = (Matrix::new((m, n), side, r, real), Guarded::new(&r.values(n, real), side));
    let residual = Matrix::new((m, n), side, r, real);
    let stages = [
        Dequantize::new(&*scales).unwrap().bias(&stage_bias),
        Dequantize::new(qgemm::Scale::PerRow(&row_scales)).unwrap().residual(residual.view()).relu(),
        Dequantize::new(0.01).unwrap().residual_in_place().activation(Activation::Gelu),
    ];
    let stage = r.pick(&stages);
    compare(&c, side, |c| gemm.run_f32(c, stage), |c| reference::run_f32(&gemm, c, stage));
}

/// A product of types A and B: a matrix or picked rows, times a B that is packed, packed from a file that is mapped, or not packed.
fn product<A: Int8Element, B: Int8Element, C: Int8Element + PartialEq + std::fmt::Debug>(
    dispatch: &Dispatch,
    side: Side,
    r: &mut Random,
) {
    let (m, k, n) = shape(r);
    let b = Matrix::new((k, n), side, r, |x| B::from_bits(x as u8));
    let packed_for = r.pick(&[ElementType::U8, ElementType::I8]);
    let packed = PackedB::pack_with(dispatch, b.view(), packed_for).unwrap();
    let mut saved = Vec::new();
    packed.save(&mut saved).unwrap();
    let mapped = PackedB::map(Guarded::new(&saved, side), dispatch, OtherLayout::Refuse).unwrap();
    let b = r.pick(&[Rhs::from(&packed), (&mapped).into(), b.view().into()]);
    if r.below(3) > 0 {
        let a = Matrix::new((m, k), side, r, |x| A::from_bits(x as u8));
        let gemm = Gemm::new(a.view(), b).dispatch(dispatch).threads(r.pick(&[1, 2]));
        return outputs::<C>(gemm, (m, n), side, r);
    }
    let taps = if k.is_multiple_of(3) { 3 } else { 1 };
    let source = Matrix::new((1 + r.below(9), k / taps), side, r, |x| A::from_bits(x as u8));
    let rows = source.shape.0 as u64;
    let indices = r.values(m * taps, |x| if x % 7 == 0 { Gather::PADDING } else { (x % rows) as u32 });
    let indices = Guarded::new(&indices, side);
    let a: Lhs<'_> = Gather::new(source.view(), &indices, taps).unwrap().padding(1).unwrap().into();
    outputs::<C>(Gemm::new(a, b).dispatch(dispatch), (m, n), side, r);
}

#[test]
fn products_of_8_bits() {
    let mut r = Random(1);
    for kernel in Dispatch::available() {
        let dispatch = Dispatch::named(kernel.name).unwrap();
        for side in SIDES {
            for _ in 0..cases(60) {
                match r.below(4) {
                    0 => product::<u8, i8, u8>(&dispatch, side, &mut r),
                    1 => product::<i8, i8, i8>(&dispatch, side, &mut r),
                    2 => product::<u8, u8, i8>(&dispatch, side, &mut r),
                    _ => product::<i8, u8, u8>(&dispatch, side, &mut r),
                }
            }
        }
    }
}

/// A of floats: a matrix of f32 or f16, or picked rows.
fn with_floats(k: usize, m: usize, side: Side, r: &mut Random, f: impl FnOnce(FloatLhs<'_>, &mut Random)) {
    match r.below(3) {
        0 => {
            let a = Matrix::new((m, k), side, r, real);
            f(a.view().into(), r);
        }
        1 => {
            let a = Matrix::new((m, k), side, r, |x| f16::from_f32(real(x)));
            f(a.view().into(), r);
        }
        _ => {
            let taps = if k.is_multiple_of(3) { 3 } else { 1 };
            let source = Matrix::new((1 + r.below(9), k / taps), side, r, real);
            let rows = source.shape.0 as u64;
            let indices =
                r.values(m * taps, |x| if x % 7 == 0 { GatherF32::PADDING } else { (x % rows) as u32 });
            let indices = Guarded::new(&indices, side);
            f(GatherF32::new(source.view(), &indices, taps).unwrap().into(), r);
        }
    }
}

#[test]
fn products_of_floats() {
    let mut r = Random(2);
    for kernel in Dispatch::available() {
        let dispatch = Dispatch::named(kernel.name).unwrap();
        for side in SIDES {
            for _ in 0..cases(40) {
                let (m, k, n) = shape(&mut r);
                let b = Matrix::new((k, n), side, &mut r, |x| x as i8);
                let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::I8).unwrap();
                let scales = Guarded::new(&r.values(n, positive), side);
                with_floats(k, m, side, &mut r, |a, r| {
                    let b = r.pick(&[Rhs::from(&packed), b.view().into()]);
                    let gemm = DynamicGemm::new(a, b).dispatch(&dispatch);
                    let gemm = if r.below(2) == 0 { gemm.asymmetric() } else { gemm };
                    let gemm = if r.below(2) == 0 { gemm.per_tensor() } else { gemm };
                    let c = Matrix::new((m, n), side, r, real);
                    let output = Dequantize::dynamic(&*scales).unwrap();
                    compare(
                        &c,
                        side,
                        |c| gemm.run_f32(c, output),
                        |c| reference::run_dynamic_f32(&gemm, c, output),
                    );
                    let c = Matrix::new((m, n), side, r, |x| x as i8);
                    let output = Requantize::dynamic(&*scales, 1).unwrap();
                    compare(
                        &c,
                        side,
                        |c| gemm.run_requantized(c, output),
                        |c| reference::run_dynamic_requantized(&gemm, c, output),
                    );
                });
            }
        }
    }
}

#[test]
fn products_with_groups() {
    let mut r = Random(3);
    let names: Vec<&str> = Dispatch::available_groupwise().collect();
    for name in names {
        let dispatch = Dispatch::named(name).unwrap();
        for side in SIDES {
            for _ in 0..cases(40) {
                let (m, k, n) = shape(&mut r);
                let group = r.pick(&[8, 16, 32, 64]);
                let bits = r.pick(&[CodeBits::Four, CodeBits::Eight]);
                let groups = k.div_ceil(group);
                let codes = Matrix::new((k, n), side, &mut r, |x| x as u8 & bits.max());
                let zeros = Matrix::new((groups, n), side, &mut r, |x| x as u8 & bits.max());
                let scales = Matrix::new((groups, n), side, &mut r, |x| f16::from_f32(positive(x)));
                let minimums = Matrix::new((groups, n), side, &mut r, real);
                let builder = GroupwiseB::builder(bits, group);
                let builder = if r.below(2) == 0 { builder.zeros(zeros.view()) } else { builder };
                let builder = if r.below(2) == 0 { builder.minimums(minimums.view()) } else { builder };
                let packed = builder.pack(codes.view(), scales.view()).unwrap();
                let mut saved = Vec::new();
                packed.save(&mut saved).unwrap();
                let mapped = GroupwiseB::map(Guarded::new(&saved, side)).unwrap();
                let b = if r.below(2) == 0 { packed } else { mapped };
                let b = b.with_dispatch(&dispatch);
                with_floats(k, m, side, &mut r, |a, r| {
                    let activations = r.pick(&[
                        Activations::PerRowAndGroup,
                        Activations::PerRow,
                        Activations::PerRowAsymmetric,
                    ]);
                    let gemm = GroupwiseGemm::new(a, &b).activations(activations).threads(r.pick(&[1, 2]));
                    let c = Matrix::new((m, n), side, r, real);
                    let bias = Guarded::new(&r.values(n, real), side);
                    let output = Dequantize::groupwise().bias(&bias);
                    compare(
                        &c,
                        side,
                        |c| gemm.run_f32(c, output),
                        |c| reference::run_groupwise_f32(&gemm, c, output),
                    );
                });
                let a = Matrix::new((m, k), side, &mut r, |x| x as u8);
                let zeros = Guarded::new(&r.values(m, |x| x as u8 as i32), side);
                let gemm = GroupwiseGemm::quantized(a.view(), &b).a_zero(&*zeros);
                let c = Matrix::new((m, n), side, &mut r, real);
                let output = Dequantize::new(0.01).unwrap();
                compare(
                    &c,
                    side,
                    |c| gemm.run_f32(c, output),
                    |c| reference::run_groupwise_f32(&gemm, c, output),
                );
            }
        }
    }
}
