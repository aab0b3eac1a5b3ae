//! What moves rows: convolutions as indices, rows added by index.

use crate::compare::{assert_equal, compare};
use crate::float_lhs::FloatMatrix;
use crate::input::Input;
use crate::operands::{Matrix8, length};
use crate::place::{Elements, Place};
use crate::values::{Integers, Random, Reals};
use qgemm::{Conv2d, Error, Gather, GatherF32, Gemm, MatRef, reference, scatter_add_f32, scatter_add_i32};

/// One axis of images and kernel.
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
    fn read(input: &mut Input<'_>) -> Self {
        Self {
            size: input.number(0..=9),
            kernel: input.number(0..=4),
            stride: input.number(0..=3),
            dilation: input.number(0..=3),
            before: input.number(0..=3),
            after: input.number(0..=3),
        }
    }

    /// One of the numbers becomes any other.
    fn spoil(&mut self, input: &mut Input<'_>) {
        let value = match input.byte() % 4 {
            0 => input.long() as usize,
            1 => usize::MAX - usize::from(input.byte()),
            _ => 1 << input.number(0..=40),
        };
        let Self { size, kernel, stride, dilation, before, after } = self;
        *match input.byte() % 6 {
            0 => stride,
            1 => dilation,
            2 => before,
            3 => after,
            4 => kernel,
            _ => size,
        } = value;
    }

    /// The number of output pixels; `None` if there are none, or more than 32 bits tell apart.
    fn outputs(&self) -> Option<usize> {
        let [size, kernel, stride, dilation, before, after] =
            [self.size, self.kernel, self.stride, self.dilation, self.before, self.after].map(|x| x as u128);
        if [size, kernel, stride, dilation].contains(&0) {
            return None;
        }
        let (padded, dilated) = (before + size + after, (kernel - 1).checked_mul(dilation)? + 1);
        let fits = dilated <= padded && padded <= u128::from(u32::MAX);
        fits.then(|| ((padded - dilated) / stride + 1) as usize)
    }

    /// The pixel under a tap of an output pixel.
    fn pixel(&self, output: usize, tap: usize) -> Option<usize> {
        (output * self.stride + tap * self.dilation).checked_sub(self.before).filter(|at| *at < self.size)
    }
}

/// The most indices that are made.
const MOST: usize = 1 << 16;

/// The indices of a convolution are those of its definition, and a product of them that of the reference.
pub fn convolution(input: &mut Input<'_>) {
    let (batch, mut y, mut x) = (input.number(0..=3), Axis::read(input), Axis::read(input));
    if input.one_in(8) {
        if input.flag() { y.spoil(input) } else { x.spoil(input) }
    }
    let (outputs, pixels) = (y.outputs().zip(x.outputs()), (batch as u128) * y.size as u128 * x.size as u128);
    let expected = outputs.filter(|_| pixels <= u128::from(u32::MAX));
    let count = expected.map_or(0, |(h, w)| {
        [h, w, y.kernel, x.kernel].into_iter().fold(batch, |count, size| count.saturating_mul(size))
    });
    if count > MOST {
        return;
    }
    let made = Conv2d::builder(batch, (y.size, x.size), (y.kernel, x.kernel))
        .stride(y.stride, x.stride)
        .dilation(y.dilation, x.dilation)
        .padding(y.before, x.before, y.after, x.after)
        .build();
    let Some((height, width)) = expected else {
        assert!(matches!(made, Err(Error::Range { .. })), "{made:?} of {y:?}, {x:?}");
        return;
    };
    let conv = made.expect("all numbers are right");
    assert_eq!((conv.output_shape(), conv.taps()), ((batch, height, width), y.kernel * x.kernel));
    let mut indices = conv.indices().iter();
    for (image, row, col) in (0..batch)
        .flat_map(|image| (0..height).flat_map(move |row| (0..width).map(move |col| (image, row, col))))
    {
        for (ky, kx) in (0..y.kernel).flat_map(|ky| (0..x.kernel).map(move |kx| (ky, kx))) {
            let pixel = y.pixel(row, ky).zip(x.pixel(col, kx));
            let expected =
                pixel.map_or(Gather::PADDING, |(row, col)| ((image * y.size + row) * x.size + col) as u32);
            assert_eq!(indices.next(), Some(&expected));
        }
    }
    assert_eq!(indices.next(), None);
    product(input, &conv, pixels as usize);
}

fn product(input: &mut Input<'_>, conv: &Conv2d, pixels: usize) -> Option<()> {
    let (channels, n) = (input.number(0..=5), input.number(0..=9));
    if pixels * channels > MOST || conv.rows() * conv.taps() * channels * n > 1 << 18 {
        return None;
    }
    let rows = length(input, pixels);
    let source = Matrix8::read(input, (rows, channels));
    let k = conv.taps() * channels;
    let weights = Integers::read(input).bytes(k * n);
    let zero = i32::from(input.byte()) - 64;
    let gathered = Gather::conv2d(source.operand().ok()?, conv);
    let floats = FloatMatrix::read(input, (source.place.rows, channels));
    let float_gathered = GatherF32::conv2d(floats.view().ok()?, conv);
    assert_eq!(
        (gathered.is_ok(), float_gathered.is_ok()),
        (source.place.rows == pixels, source.place.rows == pixels)
    );
    let gemm = Gemm::new(gathered.ok()?, MatRef::row_major(&weights, k, n).ok()?).a_zero(zero);
    let place = Place::row_major(conv.rows(), n);
    let before = vec![1; place.len];
    compare("convolution", &place, &before, |c| gemm.run_i32(c), |c| reference::run_i32(&gemm, c))?;
    Some(())
}

/// Rows that are added by index are those of plain loops.
pub fn scattering(input: &mut Input<'_>) {
    let (m, l, n) = (input.number(0..=20), input.number(0..=40), input.number(0..=70));
    let mut random = Random::new(input.byte().into());
    let mut indices: Vec<u32> = (0..length(input, l)).map(|_| random.below(m.max(1)) as u32).collect();
    if let (Some(index), true) = (indices.last_mut(), input.one_in(16)) {
        *index = input.word();
    }
    let cols = length(input, n);
    let place = Place::read(input, (m, cols), Elements::Written);
    if input.flag() {
        integers(input, (l, n), &indices, &place);
    } else {
        floats(input, (l, n), &indices, &place);
    }
}

/// Whether all is right but the lengths of weights.
fn is_right((l, n): (usize, usize), indices: &[u32], place: &Place) -> bool {
    indices.len() == l && place.cols == n && indices.iter().all(|&index| (index as usize) < place.rows)
}

fn integers(input: &mut Input<'_>, (l, n): (usize, usize), indices: &[u32], place: &Place) -> Option<()> {
    let rows_place = Place::read(input, (l, n), Elements::Read);
    let rows = Integers::read(input).integers(rows_place.len);
    let before = Integers::read(input).integers(place.len);
    let rows = rows_place.view(&rows).ok()?;
    let is_right = is_right((l, n), indices, place);
    let mut got = before.clone();
    let result = scatter_add_i32(rows, indices, place.view_mut(&mut got).ok()?);
    assert_eq!(result.is_ok(), is_right, "{result:?}");
    if !is_right {
        assert_equal("refused", &got, &before);
        return None;
    }
    let mut expected = before;
    let mut c = place.view_mut(&mut expected).ok()?;
    for (i, &index) in indices.iter().enumerate() {
        for j in 0..n {
            let sum = c.get_mut(index as usize, j)?;
            *sum = sum.wrapping_add(*rows.get(i, j)?);
        }
    }
    assert_equal("rows added", &got, &expected);
    Some(())
}

fn floats(input: &mut Input<'_>, (l, n): (usize, usize), indices: &[u32], place: &Place) -> Option<()> {
    let rows = FloatMatrix::read(input, (l, n));
    let before = Reals::read(input).reals(place.len);
    let weights = input.rarely(2, |input| {
        let len = length(input, l);
        Reals::read(input).reals(len)
    });
    let rows = rows.view().ok()?;
    let weights_fit = weights.as_ref().is_none_or(|weights| weights.len() == l);
    let is_right = is_right((l, n), indices, place) && weights_fit;
    let mut got = before.clone();
    let result = scatter_add_f32(rows, indices, weights.as_deref(), place.view_mut(&mut got).ok()?);
    assert_eq!(result.is_ok(), is_right, "{result:?}");
    if !is_right {
        assert_equal("refused", &got, &before);
        return None;
    }
    let mut expected = before;
    let mut c = place.view_mut(&mut expected).ok()?;
    for (i, &index) in indices.iter().enumerate() {
        for j in 0..n {
            let (sum, x) = (c.get_mut(index as usize, j)?, *rows.get(i, j)?);
            *sum += weights.as_ref().map_or(x, |weights| weights[i] * x);
        }
    }
    assert_equal("rows added", &got, &expected);
    Some(())
}
