//! Activations of 16-bit floats give what f32 activations of the same values give.

use crate::support::{Random, cases};
use qgemm::half::{bf16, f16};
use qgemm::{
    Activations, CodeBits, Dequantize, DynamicGemm, Error, FloatLhs, GroupScheme, GroupwiseB, GroupwiseGemm,
    MatMut, MatRef, quantize_groups, reference,
};

/// Elements of a matrix in some layout, and its strides.
struct Stored<T> {
    data: Vec<T>,
    strides: (usize, usize),
}

/// Layouts: row-major, with padding, column-major, and with gaps in both directions.
const LAYOUTS: usize = 4;

fn stored<T: Copy>(values: &[T], (rows, cols): (usize, usize), layout: usize, gap: T) -> Stored<T> {
    let strides = [(cols, 1), (cols + 3, 1), (1, rows), (2 * cols + 1, 2)][layout];
    let mut data = vec![gap; rows * cols * 2 + rows * 4];
    for (i, row) in values.chunks_exact(cols.max(1)).enumerate() {
        for (j, value) in row.iter().enumerate() {
            data[i * strides.0 + j * strides.1] = *value;
        }
    }
    Stored { data, strides }
}

impl<T> Stored<T> {
    fn view(&self, (rows, cols): (usize, usize)) -> MatRef<'_, T> {
        MatRef::new(&self.data, rows, cols, self.strides.0, self.strides.1).unwrap()
    }
}

/// The bits of a dynamic product: by rows, by all of A, both kinds of schemes; by the reference too.
fn dynamic<'a>(
    a: impl Into<FloatLhs<'a>>,
    b: MatRef<'_, i8>,
    per_tensor: bool,
    asymmetric: bool,
) -> Vec<u32> {
    let a = a.into();
    let gemm = DynamicGemm::new(a, b);
    let gemm = if per_tensor { gemm.per_tensor() } else { gemm };
    let gemm = if asymmetric { gemm.asymmetric() } else { gemm };
    let (m, n, output) = (a.rows(), b.cols(), Dequantize::dynamic(0.5).unwrap());
    let mut c = vec![0f32; m * n];
    gemm.run_f32(MatMut::row_major(&mut c, m, n).unwrap(), output).unwrap();
    let mut expected = vec![1f32; m * n];
    reference::run_dynamic_f32(&gemm, MatMut::row_major(&mut expected, m, n).unwrap(), output).unwrap();
    assert_eq!(c, expected);
    c.into_iter().map(f32::to_bits).collect()
}

fn groupwise<'a>(a: impl Into<FloatLhs<'a>>, b: &GroupwiseB, activations: Activations) -> Vec<u32> {
    let a = a.into();
    let mut c = vec![0f32; a.rows() * b.n()];
    let c_view = MatMut::row_major(&mut c, a.rows(), b.n()).unwrap();
    GroupwiseGemm::new(a, b).activations(activations).run_f32(c_view, Dequantize::groupwise()).unwrap();
    c.into_iter().map(f32::to_bits).collect()
}

#[test]
fn sixteen_bits_are_their_values_in_f32() {
    let mut random = Random(21);
    for case in 0..cases(60) {
        let (m, k, n) = match case % 10 {
            9 => (70 + random.below(200), 300 + random.below(300), 40),
            _ => (1 + random.below(20), 1 + random.below(100), 1 + random.below(20)),
        };
        let layout = random.below(LAYOUTS);
        let mut value = || (random.next() as i32) as f32 * 2f32.powi(random.below(30) as i32 - 45);
        let values: Vec<f32> = (0..m * k).map(|_| value()).collect();
        let w: Vec<f32> = (0..k * n).map(|_| value()).collect();
        let b: Vec<i8> = (0..k * n).map(|_| random.next() as i8).collect();
        let b = MatRef::row_major(&b, k, n).unwrap();
        let group = if k > 32 { 32 } else { k };
        let w = quantize_groups(
            MatRef::row_major(&w, k, n).unwrap(),
            CodeBits::Four,
            group,
            GroupScheme::Symmetric,
        );
        let w = w.unwrap().pack().unwrap();

        let f16s: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        let bf16s: Vec<bf16> = values.iter().map(|value| bf16::from_f32(*value)).collect();
        let wide16: Vec<f32> = f16s.iter().map(|value| value.to_f32()).collect();
        let wide_b16: Vec<f32> = bf16s.iter().map(|value| value.to_f32()).collect();
        let (f16s, bf16s) =
            (stored(&f16s, (m, k), layout, f16::NAN), stored(&bf16s, (m, k), layout, bf16::NAN));
        let (f16s, bf16s) = (f16s.view((m, k)), bf16s.view((m, k)));
        let (wide16, wide_b16) =
            (MatRef::row_major(&wide16, m, k).unwrap(), MatRef::row_major(&wide_b16, m, k).unwrap());
        for (per_tensor, asymmetric) in [(false, false), (true, false), (false, true), (true, true)] {
            let run = |a: FloatLhs<'_>| dynamic(a, b, per_tensor, asymmetric);
            assert_eq!(run(f16s.into()), run(wide16.into()), "f16 {m} {k} {n} {layout}");
            assert_eq!(run(bf16s.into()), run(wide_b16.into()), "bf16 {m} {k} {n} {layout}");
        }
        for activations in [Activations::PerRowAndGroup, Activations::PerRow, Activations::PerRowAsymmetric] {
            let run = |a: FloatLhs<'_>| groupwise(a, &w, activations);
            assert_eq!(run(f16s.into()), run(wide16.into()), "f16 {m} {k} {n} {layout}");
            assert_eq!(run(bf16s.into()), run(wide_b16.into()), "bf16 {m} {k} {n} {layout}");
        }
    }
}

/// Every finite value, denormal ones too.
#[test]
fn every_value_is_read() {
    let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).filter(|value| value.is_finite()).collect();
    let wide: Vec<f32> = all.iter().map(|value| value.to_f32()).collect();
    let brain: Vec<bf16> = (0..=u16::MAX).map(bf16::from_bits).filter(|value| value.is_finite()).collect();
    let wide_brain: Vec<f32> = brain.iter().map(|value| value.to_f32()).collect();
    let one = [1i8];
    let b = MatRef::row_major(&one, 1, 1).unwrap();
    // A row, and so a scale, for each value.
    let of_f16 = dynamic(MatRef::row_major(&all, all.len(), 1).unwrap(), b, false, false);
    assert_eq!(of_f16, dynamic(MatRef::row_major(&wide, all.len(), 1).unwrap(), b, false, false));
    let of_brain = dynamic(MatRef::row_major(&brain, brain.len(), 1).unwrap(), b, false, false);
    assert_eq!(of_brain, dynamic(MatRef::row_major(&wide_brain, brain.len(), 1).unwrap(), b, false, false));
    // They are no constant.
    assert!(of_f16.iter().collect::<std::collections::HashSet<_>>().len() > all.len() / 2);
}

#[test]
fn what_is_not_finite_is_refused_with_its_place() {
    let (b, w) = ([1i8; 5], [1f32; 5]);
    let b = MatRef::row_major(&b, 5, 1).unwrap();
    let w = quantize_groups(MatRef::row_major(&w, 5, 1).unwrap(), CodeBits::Eight, 5, GroupScheme::Symmetric);
    let w = w.unwrap().pack().unwrap();
    for value in [f16::NAN, f16::INFINITY, f16::NEG_INFINITY] {
        for layout in 0..LAYOUTS {
            let mut values = [f16::ONE; 15];
            values[2 * 5 + 3] = value;
            let a = stored(&values, (3, 5), layout, f16::ONE);
            let a = a.view((3, 5));
            let mut c = [7f32; 3];
            let mut refused = |run: &dyn Fn(MatMut<'_, f32>) -> Result<(), Error>| {
                let error = run(MatMut::row_major(&mut c, 3, 1).unwrap()).unwrap_err();
                let place = matches!(error, Error::NotFinite { argument: "a", row: 2, column: 3, got }
                    if got.to_bits() == value.to_f32().to_bits());
                assert!(place, "{error:?}");
                assert_eq!(c, [7.0; 3], "written although refused");
            };
            let output = Dequantize::dynamic(1.0).unwrap();
            refused(&|c| DynamicGemm::new(a, b).run_f32(c, output));
            refused(&|c| DynamicGemm::new(a, b).per_tensor().run_f32(c, output));
            refused(&|c| GroupwiseGemm::new(a, &w).run_f32(c, Dequantize::groupwise()));
        }
    }
}

/// More rows than are widened at a time, of which the last block has fewer.
#[test]
fn many_rows_of_halves_are_what_rows_of_f32_are() {
    let (m, k, n) = (100, 700, 3);
    let mut random = Random(8);
    let values: Vec<f16> =
        (0..m * k).map(|_| f16::from_f32(random.below(4001) as f32 / 100.0 - 20.0)).collect();
    let floats: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
    let b: Vec<i8> = (0..k * n).map(|_| random.next() as i8).collect();
    let b = MatRef::row_major(&b, k, n).unwrap();
    for (per_tensor, asymmetric) in [(false, false), (false, true), (true, false), (true, true)] {
        let want = dynamic(MatRef::row_major(&floats, m, k).unwrap(), b, per_tensor, asymmetric);
        for layout in 0..LAYOUTS {
            let a = stored(&values, (m, k), layout, f16::NAN);
            assert!(dynamic(a.view((m, k)), b, per_tensor, asymmetric) == want, "{layout}");
        }
    }
}
