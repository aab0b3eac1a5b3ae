//! Random matrices: layouts and values.

use crate::files::matrices::{Elements8, Matrix8};
use crate::verify::destination::{Destination, Layout};
use crate::verify::operands::MatrixF32;
use qgemm::ElementType::{self, I8, U8};
use qgemm::Gather;
use rand::rngs::Xoshiro256PlusPlus as Random;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};

pub fn element_type(rng: &mut Random) -> ElementType {
    if rng.random() { I8 } else { U8 }
}

/// The layout of an input, whose rows or columns may all be one and the same.
fn input_layout(rng: &mut Random, shape: (usize, usize)) -> Layout {
    layout(rng, shape, true)
}

/// The place of an output, whose elements must not overlap.
pub fn destination(rng: &mut Random, (rows, cols): (usize, usize)) -> Destination {
    Destination { rows, cols, layout: layout(rng, (rows, cols), false), fill: rng.random() }
}

/// Row-major or column-major, with gaps or without; with `may_repeat` also with a stride of 0.
fn layout(rng: &mut Random, (rows, cols): (usize, usize), may_repeat: bool) -> Layout {
    let gap = if rng.random_bool(0.4) { rng.random_range(1..=9) } else { 0 };
    let (row_stride, col_stride) = match rng.random_range(0..20) {
        0..12 => (cols + gap, 1),
        12..17 => (1, rows + gap),
        17 => (2 * cols + gap, 2),
        18 => (3, 3 * rows + gap),
        _ if may_repeat && rng.random() => (0, 1),
        _ if may_repeat => (1, 0),
        _ => (cols, 1),
    };
    let is_empty = rows == 0 || cols == 0;
    let needed = if is_empty { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
    // Up to two elements beyond the matrix, which no call may write.
    Layout { row_stride, col_stride, len: needed + rng.random_range(0..3) }
}

/// An 8-bit matrix that is constant, extreme, small or random.
pub fn matrix8(rng: &mut Random, element: ElementType, shape @ (rows, cols): (usize, usize)) -> Matrix8 {
    let layout = input_layout(rng, shape);
    let mut bits = vec![0u8; layout.len];
    // Bit patterns of the least and the greatest value.
    let (least, greatest) = if element == I8 { (0x80, 0x7f) } else { (0, 0xff) };
    // Sums over a long K exceed 32 bits with extreme values only; random ones average out.
    let kinds = if rows.max(cols) > 32_000 { 4 } else { 10 };
    match rng.random_range(0..kinds) {
        0 => bits.fill(least),
        1 => bits.fill(greatest),
        2 => bits.iter_mut().enumerate().for_each(|(i, x)| *x = if i % 2 == 0 { least } else { greatest }),
        3 => bits.iter_mut().for_each(|x| *x = if rng.random() { least } else { greatest }),
        // Small values, for kernels that need a proof of that. Half of the u8 matrices are small about 128, as
        // symmetric weights are in u8.
        4 | 5 => {
            let most = *[1, 8, 16, 32, 64].choose(rng).expect("not empty");
            let center = if element == U8 && rng.random() { 128 } else { 0 };
            bits.iter_mut().for_each(|x| *x = (center + rng.random_range(-most..=most)) as u8);
        }
        _ => rng.fill_bytes(&mut bits),
    }
    // Sometimes one row is extreme.
    if rows > 1 && rng.random_bool(0.2) {
        let row = rng.random_range(0..rows);
        for j in 0..cols {
            bits[row * layout.row_stride + j * layout.col_stride] = greatest;
        }
    }
    let strides = (layout.row_stride, layout.col_stride);
    Matrix8 { rows, cols, strides, data: Elements8::from_bits(element, bits) }
}

/// `count` numbers below `rows`, or `Gather::PADDING`.
pub fn gather_indices(rng: &mut Random, count: usize, rows: usize) -> Vec<u32> {
    let padding_share = if rng.random() { rng.random_range(0.0..1.0) } else { 0.0 };
    let consecutive = rng.random_bool(0.5);
    let mut indices: Vec<u32> = Vec::new();
    for _ in 0..count {
        indices.push(match indices.last() {
            _ if rng.random_bool(padding_share) => Gather::PADDING,
            // Consecutive rows, which are neighbours in an image, may be copied together.
            Some(&last) if consecutive && last != Gather::PADDING && (last as usize) < rows - 1 => last + 1,
            _ => rng.random_range(0..rows as u32),
        });
    }
    indices
}

/// A matrix of finite floats.
pub fn matrix_f32(rng: &mut Random, shape @ (rows, cols): (usize, usize)) -> MatrixF32 {
    let layout = input_layout(rng, shape);
    MatrixF32 { rows, cols, layout, data: float_values(rng, layout.len) }
}

/// Floats of one sign or two, of very different magnitudes, with many ties or zeros among them.
fn float_values(rng: &mut Random, len: usize) -> Vec<f32> {
    let most = *[1.0f32, 1.0, 1.0, 100.0, 100.0, 1e-30, 1e-41, 1e30].choose(rng).expect("not empty");
    let (lo, hi) = match rng.random_range(0..6) {
        0 => (0.0, most),
        1 => (-most, 0.0),
        2 => (0.9 * most, most),
        _ => (-most, most),
    };
    let kind = rng.random_range(0..8);
    let value = |i: usize| match kind {
        0 => hi,
        // Multiples of 1/254, many of which are ties between two quantized integers.
        1 => most * (rng.random_range(-254..=254) as f32 / 254.0),
        // Runs of 64 zeros: whole rows or columns of them.
        2 if i % 128 < 64 => 0.0,
        _ => lo + (hi - lo) * rng.random::<f32>(),
    };
    (0..len).map(value).collect()
}
