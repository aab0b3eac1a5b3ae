//! Convolutions: their products are what loops over pixels and taps compute, their indices are in the order that is
//! documented, and what cannot be is refused.

use crate::support::{Byte, Fill, Layout, Matrix, Random, config, each_kernel};
use proptest::prelude::*;
use qgemm::*;

/// One axis of a convolution.
#[derive(Clone, Copy, Debug)]
struct Axis {
    size: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
}

impl Axis {
    const PLAIN: Axis = Axis { size: 5, kernel: 3, stride: 1, dilation: 1, before: 0, after: 0 };

    /// The positions of the kernel, by trying them one after the other.
    fn outputs(self) -> usize {
        let padded = self.before + self.size + self.after;
        let last_tap = |output: usize| output * self.stride + (self.kernel - 1) * self.dilation;
        (0..).take_while(|output| last_tap(*output) < padded).count()
    }

    /// The pixel under a tap.
    fn pixel(self, output: usize, tap: usize) -> Option<usize> {
        let at = (output * self.stride + tap * self.dilation) as isize - self.before as isize;
        (0..self.size as isize).contains(&at).then_some(at as usize)
    }
}

#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    axes: [Axis; 2],
    channels: usize,
    outputs: usize,
    /// The value of padding, if it is not the zero point.
    padding: Option<u8>,
    signed: bool,
    kernel: usize,
    seed: u64,
}

impl Case {
    fn builder(&self) -> Conv2dBuilder {
        let [v, h] = self.axes;
        Conv2d::builder(self.batch, (v.size, h.size), (v.kernel, h.kernel))
            .stride(v.stride, h.stride)
            .dilation(v.dilation, h.dilation)
            .padding(v.before, h.before, v.after, h.after)
    }

    fn pixels(&self) -> usize {
        self.batch * self.axes[0].size * self.axes[1].size
    }

    fn taps(&self) -> usize {
        self.axes[0].kernel * self.axes[1].kernel
    }

    /// For each output pixel and each tap, in the documented order, the row of the source under it.
    fn rows_under_taps(&self) -> Vec<Option<usize>> {
        let [v, h] = self.axes;
        let mut rows = Vec::new();
        for b in 0..self.batch {
            for y in 0..v.outputs() {
                for x in 0..h.outputs() {
                    for ky in 0..v.kernel {
                        for kx in 0..h.kernel {
                            let pixel = v.pixel(y, ky).zip(h.pixel(x, kx));
                            rows.push(pixel.map(|(y, x)| b * v.size * h.size + y * h.size + x));
                        }
                    }
                }
            }
        }
        rows
    }

    /// The convolution by loops, a row for each output pixel. `weights` are [taps, channels, outputs].
    fn by_loops<T: Byte>(&self, source: &Matrix<T>, weights: &Matrix<i8>, zero: i32) -> Vec<i32> {
        let padding = self.padding.map_or(zero, |bits| T::from_bits(bits).to_i32());
        let mut sums = Vec::new();
        for rows in self.rows_under_taps().chunks(self.taps()) {
            for o in 0..self.outputs {
                let mut sum = 0;
                for (tap, row) in rows.iter().enumerate() {
                    for c in 0..self.channels {
                        let value = row.map_or(padding, |row| source.at(row, c).to_i32());
                        sum += (value - zero) * i32::from(weights.at(tap * self.channels + c, o));
                    }
                }
                sums.push(sum);
            }
        }
        sums
    }
}

fn axis() -> impl Strategy<Value = Axis> {
    let padding = (0..4usize, 0..4usize);
    // A kernel of one pixel, a small one, one as large as fits.
    let kernel = prop_oneof![1 => Just(1usize), 4 => 2..4usize, 1 => Just(usize::MAX)];
    (1..8usize, kernel, 1..4usize, 1..4usize, padding).prop_filter_map(
        "the kernel is larger than the padded image",
        |(size, kernel, stride, dilation, (before, after))| {
            let padded = size + before + after;
            let kernel = if kernel == usize::MAX { (padded - 1) / dilation + 1 } else { kernel };
            let fits = (kernel - 1) * dilation < padded;
            fits.then_some(Axis { size, kernel, stride, dilation, before, after })
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let shape = (0..3usize, axis(), axis(), 0..6usize, 1..7usize);
    let rest = (prop::option::of(any::<u8>()), any::<bool>(), 0..64usize, any::<u64>());
    (shape, rest).prop_map(|((batch, v, h, channels, outputs), (padding, signed, kernel, seed))| Case {
        batch,
        axes: [v, h],
        channels,
        outputs,
        padding,
        signed,
        kernel,
        seed,
    })
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn a_convolution_is_what_loops_over_pixels_compute(case in case()) {
        if case.signed { check::<i8>(&case) } else { check::<u8>(&case) }
    }
}

fn check<T: Byte>(case: &Case)
where
    for<'a> Operand<'a>: From<MatRef<'a, T>>,
{
    let conv = case.builder().build().unwrap();
    let [v, h] = case.axes;
    assert_eq!(conv.output_shape(), (case.batch, v.outputs(), h.outputs()));
    assert_eq!(conv.rows(), case.batch * v.outputs() * h.outputs());
    assert_eq!(conv.taps(), case.taps());
    let want: Vec<u32> =
        case.rows_under_taps().iter().map(|row| row.map_or(Gather::PADDING, |row| row as u32)).collect();
    assert_eq!(conv.indices(), want);

    let mut random = Random(case.seed);
    let source = Matrix::<T>::random(case.pixels(), case.channels, Layout::INNER, random.next());
    let k = case.taps() * case.channels;
    let weights = Matrix::<i8>::filled(k, case.outputs, Layout::ROWS, Fill::Random, random.next());
    let zero = T::from_bits(random.next() as u8).to_i32();
    let gather = Gather::conv2d(source.view(), &conv).unwrap();
    let gather = case.padding.map_or(gather, |bits| gather.padding(T::from_bits(bits).to_i32()).unwrap());
    let kernels = each_kernel();
    let (kernel, dispatch) = &kernels[case.kernel % kernels.len()];
    let gemm = Gemm::new(gather, weights.view()).a_zero(zero).dispatch(dispatch);
    let (mut ours, mut theirs) = (vec![7; conv.rows() * case.outputs], vec![8; conv.rows() * case.outputs]);
    gemm.run_i32(MatMut::row_major(&mut ours, conv.rows(), case.outputs).unwrap()).unwrap();
    reference::run_i32(&gemm, MatMut::row_major(&mut theirs, conv.rows(), case.outputs).unwrap()).unwrap();
    let want = case.by_loops(&source, &weights, zero);
    assert_eq!(ours, want, "{}", kernel.name);
    assert_eq!(theirs, want, "the reference");
}

/// Each group, as far as one channel for each, is a task of a batch: some columns of the source, some of the output.
#[test]
fn groups_are_tasks_that_write_side_by_side() {
    let axis = Axis { before: 1, after: 1, ..Axis::PLAIN };
    let all = 12;
    for groups in [1, 2, 4, 12] {
        let (channels, outputs) = (all / groups, 24 / groups);
        let (padding, signed, kernel, seed) = (None, false, 0, 0);
        let case = Case { batch: 2, axes: [axis; 2], channels, outputs, padding, signed, kernel, seed };
        let conv = case.builder().build().unwrap();
        let source = Matrix::<u8>::random(case.pixels(), all, Layout::ROWS, 1);
        let weights: Vec<_> = (0..groups as u64)
            .map(|seed| Matrix::<i8>::filled(9 * channels, outputs, Layout::ROWS, Fill::Random, seed))
            .collect();
        let mut c = vec![0i32; conv.rows() * 24];
        let columns = MatMut::row_major(&mut c, conv.rows(), 24).unwrap().col_chunks(outputs).unwrap();
        let sources = source.view().col_chunks(channels).unwrap();
        let mut tasks: Vec<_> = sources
            .zip(&weights)
            .zip(columns)
            .map(|((source, weights), c)| {
                let a = Gather::conv2d(source, &conv).unwrap();
                Task::i32(Gemm::new(a, weights.view()).a_zero(77), c).unwrap()
            })
            .collect();
        assert_eq!(tasks.len(), groups);
        run_batch_on(&mut tasks, Threads::ALL.eager()).unwrap();
        drop(tasks);
        for (group, weights) in weights.iter().enumerate() {
            let mut part = Matrix::<u8>::random(case.pixels(), channels, Layout::ROWS, 0);
            for (i, j) in (0..case.pixels()).flat_map(|i| (0..channels).map(move |j| (i, j))) {
                part.set(i, j, source.at(i, group * channels + j));
            }
            let want = case.by_loops(&part, weights, 77);
            for (i, want) in want.chunks(outputs).enumerate() {
                assert_eq!(&c[i * 24 + group * outputs..][..outputs], want, "{groups} groups, {group}, {i}");
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    const MAX: i64 = u32::MAX as i64;
    let plain = || Conv2d::builder(1, (5, 6), (3, 2));
    let range = |argument, got, min, max| Error::Range { argument, got, min, max };
    let huge = usize::MAX;
    let at_most = |number: i128| number.min(i64::MAX.into()) as i64;
    #[rustfmt::skip]
    let cases = [
        (Conv2d::builder(1, (0, 6), (1, 1)), range("height", 0, 1, i64::MAX)),
        (Conv2d::builder(1, (5, 0), (1, 1)), range("width", 0, 1, i64::MAX)),
        (Conv2d::builder(1, (5, 6), (0, 1)), range("kernel height", 0, 1, i64::MAX)),
        (Conv2d::builder(1, (5, 6), (1, 0)), range("kernel width", 0, 1, i64::MAX)),
        (plain().stride(0, 1), range("vertical stride", 0, 1, i64::MAX)),
        (plain().stride(1, 0), range("horizontal stride", 0, 1, i64::MAX)),
        (plain().dilation(0, 1), range("vertical dilation", 0, 1, i64::MAX)),
        (plain().dilation(1, 0), range("horizontal dilation", 0, 1, i64::MAX)),
        (plain().dilation(3, 1), range("dilated kernel height", 7, 1, 5)),
        (plain().dilation(3, 1).padding(1, 0, 0, 0), range("dilated kernel height", 7, 1, 6)),
        (plain().dilation(1, 6), range("dilated kernel width", 7, 1, 6)),
        (plain().dilation(1, huge), range("dilated kernel width", at_most(huge as i128 + 1), 1, 6)),
        (Conv2d::builder(1, (5, 6), (huge, 1)).dilation(huge, 1), range("dilated kernel height", i64::MAX, 1, 5)),
        (plain().padding(u32::MAX as usize - 5, 0, 1, 0), range("padded height", MAX + 1, 1, MAX)),
        (plain().padding(0, u32::MAX as usize - 6, 0, 1), range("padded width", MAX + 1, 1, MAX)),
        (Conv2d::builder(1 << 16, (1 << 8, 1 << 8), (1, 1)), range("pixels", MAX + 1, 0, MAX)),
        (Conv2d::builder(huge, (5, 6), (1, 1)), range("pixels", at_most(huge as i128 * 30), 0, MAX)),
        (Conv2d::builder(huge, (u32::MAX as usize, u32::MAX as usize), (1, 1)), range("pixels", i64::MAX, 0, MAX)),
    ];
    for (builder, want) in cases {
        assert_eq!(builder.build().unwrap_err(), want);
    }
    if usize::BITS == 64 {
        // 2^62 indices.
        let error = Conv2d::builder(1, (1, 1), (1, 1)).padding(1 << 31, 0, 0, 1 << 31).build().unwrap_err();
        assert!(matches!(error, Error::Memory { purpose: "indices of a convolution", .. }), "{error}");
        let text = "indices of a convolution: needs 18446744";
        assert!(error.to_string().starts_with(text), "{error}");
    }

    let conv = plain().build().unwrap();
    let data = [0i8; 31];
    for rows in [0, 29, 31] {
        let source = MatRef::row_major(&data, rows, 1).unwrap();
        let want = Error::Shape { argument: "source", got: (rows, 1), need: (30, 1) };
        assert_eq!(Gather::conv2d(source, &conv).unwrap_err(), want);
    }
    let endless = MatRef::new(&data, 30, usize::MAX / 40, 0, 0).unwrap();
    assert!(matches!(Gather::conv2d(endless, &conv), Err(Error::TooLarge { argument: "gathered a", .. })));
}

#[test]
fn a_batch_of_no_images_has_no_rows_and_debug_shows_no_indices() {
    let conv = Conv2d::builder(0, (5, 6), (3, 3)).build().unwrap();
    assert_eq!((conv.output_shape(), conv.rows(), conv.taps()), ((0, 3, 4), 0, 9));
    let none = Conv2d::builder(0, (u32::MAX as usize, u32::MAX as usize), (1, 1)).build().unwrap();
    assert_eq!((none.rows(), none.indices()), (0, &[][..]));
    let source = MatRef::row_major(&[] as &[u8], 0, 4).unwrap();
    let weights = [1i8; 36];
    let gemm = Gemm::new(Gather::conv2d(source, &conv).unwrap(), MatRef::row_major(&weights, 36, 1).unwrap());
    gemm.run_i32(MatMut::row_major(&mut [], 0, 1).unwrap()).unwrap();
    let conv = Conv2d::builder(3, (50, 60), (3, 3)).build().unwrap();
    let text = format!("{conv:?}");
    assert!(text.len() < 100 && text.contains("9000"), "{text}");
}

/// Padding without a value of its own is the zero point, which has to be an element; without padding it may be any.
#[test]
fn only_padded_convolutions_need_a_zero_point_that_is_an_element() {
    let (data, weights) = ([1u8; 30], [1i8; 9]);
    let source = MatRef::row_major(&data, 30, 1).unwrap();
    let b = MatRef::row_major(&weights, 9, 1).unwrap();
    for (pixels, refused) in [(0, false), (1, true)] {
        let conv = Conv2d::builder(1, (5, 6), (3, 3)).padding(0, pixels, 0, 0).build().unwrap();
        let mut c = vec![0i32; conv.rows()];
        let gemm = Gemm::new(Gather::conv2d(source, &conv).unwrap(), b).a_zero(-1);
        let result = gemm.run_i32(MatMut::row_major(&mut c, conv.rows(), 1).unwrap());
        assert_eq!(result.is_err(), refused, "{result:?}");
    }
}
