//! Gathered rows: a product with them is that with the matrix that they make up, on every kernel, to every
//! output, by the reference too.

use crate::support::{
    Byte, Element, Fill, Layout, Matrix, Random, Repeat, config, each_kernel, each_kernel_or_best,
};
use proptest::prelude::*;
use qgemm::*;

/// What every row of A is made of.
struct Gathered<T> {
    source: Matrix<T>,
    indices: Vec<u32>,
    taps: usize,
    /// The value of padding, if it is not the zero point.
    padding: Option<i32>,
}

impl<T: Byte> Gathered<T> {
    /// Every third index or so is padding.
    fn new(source: Matrix<T>, rows: usize, taps: usize, random: &mut Random) -> Self {
        let index = |_| match random.below(3) {
            0 => Gather::PADDING,
            _ if source.rows == 0 => Gather::PADDING,
            _ => random.below(source.rows) as u32,
        };
        let indices = (0..rows * taps).map(index).collect();
        Self { source, indices, taps, padding: None }
    }

    fn rows(&self) -> usize {
        self.indices.len() / self.taps
    }

    fn cols(&self) -> usize {
        self.taps * self.source.cols
    }

    fn gather(&self) -> Gather<'_>
    where
        for<'a> Operand<'a>: From<MatRef<'a, T>>,
    {
        let gather = Gather::new(self.source.view(), &self.indices, self.taps).unwrap();
        self.padding.map_or(gather, |value| gather.padding(value).unwrap())
    }

    /// The matrix itself.
    fn stored(&self, zero: impl Fn(usize) -> i32) -> Matrix<T> {
        let mut stored = Matrix::random(self.rows(), self.cols(), Layout::ROWS, 0);
        for (i, k) in (0..self.rows()).flat_map(|i| (0..self.cols()).map(move |k| (i, k))) {
            let value = match self.indices[i * self.taps + k / self.source.cols] {
                Gather::PADDING => T::from_bits(self.padding.unwrap_or_else(|| zero(i)) as u8),
                row => self.source.at(row as usize, k % self.source.cols),
            };
            stored.set(i, k, value);
        }
        stored
    }
}

type Run<'r, T> = &'r dyn Fn(MatMut<'_, T>) -> Result<(), Error>;

/// Runs `gemm` and the reference into every kind of output: the values of the stored matrix's product.
#[track_caller]
fn compare(gemm: &Gemm<'_>, stored: &Gemm<'_>, (m, n): (usize, usize), what: &str) {
    #[track_caller]
    fn to<T: Element>((m, n): (usize, usize), what: &str, runs: [Run<'_, T>; 3]) {
        let c = Matrix::random(m, n, Layout::INNER, 5);
        let [want, ours, theirs] = runs.map(|run| {
            let mut c = c.clone();
            c.with_mut(run).unwrap();
            c
        });
        theirs.assert_same(&want, &format!("the reference, {what}"));
        ours.assert_same(&want, what);
    }
    let bytes = Requantize::new(0.01, 3).unwrap();
    let reals = Dequantize::new(0.1).unwrap();
    to::<i32>(
        (m, n),
        what,
        [&|c| reference::accumulate_i32(stored, c), &|c| gemm.accumulate_i32(c), &|c| {
            reference::accumulate_i32(gemm, c)
        }],
    );
    to::<i32>(
        (m, n),
        what,
        [&|c| reference::run_i32(stored, c), &|c| gemm.run_i32(c), &|c| reference::run_i32(gemm, c)],
    );
    to::<u8>(
        (m, n),
        what,
        [&|c| reference::run_requantized(stored, c, bytes), &|c| gemm.run_requantized(c, bytes), &|c| {
            reference::run_requantized(gemm, c, bytes)
        }],
    );
    to::<f32>(
        (m, n),
        what,
        [&|c| reference::run_f32(stored, c, reals), &|c| gemm.run_f32(c, reals), &|c| {
            reference::run_f32(gemm, c, reals)
        }],
    );
}

#[derive(Clone, Debug)]
struct Case {
    signed: bool,
    rows: usize,
    n: usize,
    taps: usize,
    source: (usize, usize),
    layout: Layout,
    padding: Option<u8>,
    /// A zero point per row.
    each: bool,
    /// Far from 0, so that sums are 64 bits wide; then padding needs a value of its own.
    far: bool,
    b_zero: i32,
    packed_for: Option<ElementType>,
    kernel: usize,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let layout = (any::<bool>(), 1..3usize, prop::array::uniform4(0..3usize), 0..3usize).prop_map(
        |(column_major, step, pad, repeat)| Layout {
            column_major,
            step,
            pad,
            transposed: false,
            repeat: [Repeat::No, Repeat::Rows, Repeat::Cols][repeat],
        },
    );
    let shape = (0..70usize, 0..40usize, 1..12usize, (0..30usize, 0..40usize));
    let packed_for = prop_oneof![Just(None), Just(Some(ElementType::I8)), Just(Some(ElementType::U8))];
    let zeros = (prop::option::of(any::<u8>()), any::<bool>(), prop::bool::weighted(0.2), -3..3i32);
    (any::<bool>(), shape, layout, zeros, packed_for, 0..64usize, any::<u64>()).prop_map(
        |(
            signed,
            (rows, n, taps, source),
            layout,
            (padding, each, far, b_zero),
            packed_for,
            kernel,
            seed,
        )| Case {
            signed,
            rows,
            n,
            taps,
            source,
            layout,
            padding,
            each,
            far,
            b_zero,
            packed_for,
            kernel,
            seed,
        },
    )
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn a_gathered_product_is_that_of_the_stored_matrix(case in case()) {
        if case.signed { check::<i8>(&case) } else { check::<u8>(&case) }
    }
}

fn check<T: Byte>(case: &Case)
where
    for<'a> Operand<'a>: From<MatRef<'a, T>>,
{
    let mut random = Random(case.seed);
    let (rows, cols) = case.source;
    let source = Matrix::filled(rows, cols, case.layout, Fill::Random, random.next());
    let mut gathered = Gathered::<T>::new(source, case.rows, case.taps, &mut random);
    let padding = case.padding.map(|bits| T::from_bits(bits).to_i32());
    gathered.padding = padding.or(case.far.then_some(1));
    let zero = |i: usize| match case.far {
        true => i32::MIN + i as i32,
        false => T::from_bits((77 + 31 * i) as u8).to_i32(),
    };
    let zeros: Vec<i32> = (0..case.rows).map(zero).collect();
    let a_zero = if case.each { ZeroPoint::PerAxis(&zeros) } else { ZeroPoint::PerTensor(zero(0)) };
    let stored = gathered.stored(|i| zero(if case.each { i } else { 0 }));

    let b = Matrix::<i8>::filled(gathered.cols(), case.n, Layout::ROWS, Fill::Mixed, random.next());
    let kernels = each_kernel();
    let (kernel, dispatch) = &kernels[case.kernel % kernels.len()];
    let packed = case.packed_for.map(|element| PackedB::pack_with(dispatch, b.view(), element).unwrap());
    let rhs = packed.as_ref().map_or(Rhs::from(b.view()), Rhs::from);
    let gemm = Gemm::new(gathered.gather(), rhs).a_zero(a_zero).b_zero(case.b_zero).dispatch(dispatch);
    let stored = Gemm::new(stored.view(), rhs).a_zero(a_zero).b_zero(case.b_zero);
    compare(&gemm, &stored, (case.rows, case.n), kernel.name);
}

/// On each kernel: rows of several blocks and steps, K in several blocks, taps that are no whole step.
#[test]
fn large_gathers_are_right_on_every_kernel() {
    for (kernel, dispatch) in each_kernel_or_best() {
        for (rows, taps, source, n) in
            [(1100, 1, (300, 70), 9), (37, 9, (50, 130), 70), (5, 3, (4, 3000), 17), (3, 2, (3, 20_000), 5)]
        {
            let mut random = Random(rows as u64);
            let source = Matrix::<i8>::filled(source.0, source.1, Layout::INNER, Fill::Random, 3);
            let gathered = Gathered::new(source, rows, taps, &mut random);
            let zeros: Vec<i32> = (0..rows as i32).map(|i| i % 256 - 128).collect();
            let stored = gathered.stored(|i| zeros[i]);
            let b = Matrix::<i8>::filled(gathered.cols(), n, Layout::ROWS, Fill::Mixed, 4);
            // For the other type a kernel of 8-bit operands converts A.
            for packed_for in [ElementType::I8, ElementType::U8] {
                let packed = PackedB::pack_with(&dispatch, b.view(), packed_for).unwrap();
                let gemm = Gemm::new(gathered.gather(), &packed).a_zero(&zeros).b_zero(2);
                let stored = Gemm::new(stored.view(), &packed).a_zero(&zeros).b_zero(2);
                compare(&gemm, &stored, (rows, n), kernel.name);
            }
        }
    }
}

#[test]
fn rows_of_padding_alone_are_the_bias() {
    let source = MatRef::row_major(&[] as &[u8], 0, 300).unwrap();
    let indices = [Gather::PADDING; 8];
    let weights = Matrix::<i8>::filled(1200, 3, Layout::ROWS, Fill::Random, 1);
    let gather = Gather::new(source, &indices, 4).unwrap();
    for (_, dispatch) in each_kernel() {
        let mut c = [0i32; 6];
        let gemm = Gemm::new(gather, weights.view()).a_zero(255).b_zero(7).bias(&[5, -6, 7]);
        gemm.dispatch(&dispatch).run_i32(MatMut::row_major(&mut c, 2, 3).unwrap()).unwrap();
        assert_eq!(c, [5, -6, 7, 5, -6, 7]);
    }
}

#[test]
fn results_do_not_depend_on_threads() {
    let mut random = Random(9);
    let source = Matrix::<u8>::filled(400, 48, Layout::ROWS, Fill::Random, 1);
    let gathered = Gathered::new(source, 500, 9, &mut random);
    let b = Matrix::<i8>::filled(432, 33, Layout::ROWS, Fill::Random, 2);
    let packed = PackedB::pack_for(b.view(), ElementType::U8).unwrap();
    let stored = gathered.stored(|_| 9);
    let gemm =
        Gemm::new(gathered.gather(), &packed).a_zero(9).b_zero(-1).threads(qgemm::Threads::ALL.eager());
    let stored = Gemm::new(stored.view(), &packed).a_zero(9).b_zero(-1).threads(qgemm::Threads::ALL.eager());
    let threads = |_n: usize| compare(&gemm, &stored, (500, 33), "threads");
    #[cfg(feature = "rayon")]
    let threads = |n: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| threads(n));
    };
    [1, 2, 4].into_iter().for_each(threads);
}

#[test]
fn what_does_not_fit_is_refused_at_the_door() {
    let data = [0u8; 12];
    let source = MatRef::row_major(&data, 4, 3).unwrap();
    let refused = |indices: &[u32], taps| Gather::new(source, indices, taps).unwrap_err();
    assert_eq!(refused(&[0, 4], 1), Error::Index { position: 1, got: 4, rows: 4, padding: true });
    assert_eq!(
        refused(&[0, 1, Gather::PADDING - 1], 3).to_string(),
        "indices: value 2 was 4294967294, must be below 4, or that of padding"
    );
    assert_eq!(refused(&[0; 7], 3), Error::Multiple { argument: "indices", got: 7, of: 3 });
    assert!(matches!(refused(&[], 0), Error::Range { argument: "taps", got: 0, .. }));
    let endless = MatRef::new(&data, 1, usize::MAX / 2, 0, 0).unwrap();
    assert!(matches!(Gather::new(endless, &[0; 3], 3), Err(Error::TooLarge { .. })));
    assert!(matches!(Gather::new(endless, &[0; 3], 1), Err(Error::TooLarge { .. })));
    let gather = Gather::new(source, &[0, Gather::PADDING], 2).unwrap();
    let range = Error::Range { argument: "padding", got: 256, min: 0, max: 255 };
    assert_eq!(gather.padding(256).unwrap_err(), range);
    assert!(gather.padding(-1).is_err() && gather.padding(255).is_ok());

    // Padding that is to be the zero point has to be an element; without padding any zero point will do.
    let b = MatRef::row_major(&[1i8; 6], 6, 1).unwrap();
    for zero in [-1, 256, i32::MIN, i32::MAX] {
        let zeros = [zero];
        for zero in [ZeroPoint::PerTensor(zero), ZeroPoint::PerAxis(&zeros)] {
            let run = |gather: Gather<'_>| {
                let mut c = [7i32];
                let gemm = Gemm::new(gather, b).a_zero(zero);
                let result = gemm.run_i32(MatMut::row_major(&mut c, 1, 1).unwrap());
                let mut d = [7i32];
                let theirs = reference::run_i32(&gemm, MatMut::row_major(&mut d, 1, 1).unwrap());
                assert_eq!((&result, c), (&theirs, d));
                result.map(|()| assert_ne!(c, [7]))
            };
            assert!(matches!(run(gather), Err(Error::Range { argument: "a_zero, of padded rows", .. })));
            assert_eq!(run(gather.padding(3).unwrap()), Ok(()));
            assert_eq!(run(Gather::new(source, &[0, 3], 2).unwrap()), Ok(()));
        }
    }
    // K is that of the gathered rows.
    let gemm = Gemm::new(gather, MatRef::row_major(&[1i8; 5], 5, 1).unwrap());
    let error = gemm.run_i32(MatMut::row_major(&mut [0], 1, 1).unwrap()).unwrap_err();
    assert_eq!(error, Error::InnerDimension { a_cols: 6, b_rows: 5 });
}

#[test]
fn a_gather_without_rows_or_columns_is_an_empty_matrix() {
    let source = MatRef::row_major(&[] as &[i8], 3, 0).unwrap();
    let gather = Gather::new(source, &[0, 2, Gather::PADDING, 1], 2).unwrap();
    let b = MatRef::row_major(&[] as &[i8], 0, 2).unwrap();
    let mut c = [9i32; 4];
    let gemm = Gemm::new(gather, b).bias(&[1, 2]).b_zero(3);
    gemm.run_i32(MatMut::row_major(&mut c, 2, 2).unwrap()).unwrap();
    assert_eq!(c, [1, 2, 1, 2]);
    let none = Gather::new(source, &[], 2).unwrap();
    Gemm::new(none, b).run_i32(MatMut::row_major(&mut [], 0, 2).unwrap()).unwrap();
}
