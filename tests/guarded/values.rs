//! Quantization, biases, ranges and sums of rows, between pages.

use crate::memory::{Guarded, Side};
use crate::{Random, SIDES, cases};
use qgemm::{
    Activation, CodeBits, Error, GroupScheme, MatMut, MatRef, Observer, QuantParams, dequantize,
    dynamic_quantize_linear, fold_bias, product_scales, quantize, quantize_bias, quantize_columns,
    quantize_groups, quantize_rows, requantize_scales, scatter_add_f32, scatter_add_i32,
};

fn floats(count: usize, side: Side, r: &mut Random) -> Guarded<f32> {
    Guarded::new(&r.values(count, |x| x as i16 as f32 * 0.01), side)
}

fn zeros<T: bytemuck::Pod>(count: usize, side: Side) -> Guarded<T> {
    Guarded::new(&vec![T::zeroed(); count], side)
}

fn slices(len: usize, side: Side, r: &mut Random) -> Result<(), Error> {
    let params = QuantParams { scale: 0.7, zero_point: 3 };
    let x = floats(len, side, r);
    let (mut q, mut u, mut back) = (zeros::<i8>(len, side), zeros::<u8>(len, side), zeros::<f32>(len, side));
    quantize(&x, params, &mut q)?;
    dequantize(&q, params, &mut back)?;
    let far = x.iter().zip(back.iter()).filter(|(x, back)| (**x - **back).abs() > 0.36 && x.abs() < 80.0);
    assert_eq!(far.count(), 0);
    dynamic_quantize_linear(&x, &mut u)?;
    QuantParams::from_data(&x, -128, 127)?;
    let mut observer = Observer::percentile(99.0)?;
    observer.observe(&x)?;
    let scales: Vec<f32> = x.iter().map(|x| x.abs() + 0.1).collect();
    let scales = Guarded::new(&scales, side);
    let mut bias = zeros::<i32>(len, side);
    quantize_bias(&x, 0.5, &*scales, &mut bias)?;
    fold_bias(&q, params, 0.5, 0.25, &mut bias)?;
    requantize_scales(0.5, &scales, 2.0, &mut back)?;
    product_scales(0.5, &scales, &mut back)?;
    for activation in Activation::ALL {
        activation.apply(x.first().copied().unwrap_or(0.0));
    }
    Ok(())
}

fn matrices((rows, cols): (usize, usize), side: Side, r: &mut Random) -> Result<(), Error> {
    let (x, by_columns) = (floats(rows * cols, side, r), r.below(2) == 0);
    let x = if by_columns { MatRef::col_major(&x, rows, cols)? } else { MatRef::row_major(&x, rows, cols)? };
    let mut q = zeros::<i8>(rows * cols, side);
    let (mut of_rows, mut of_columns) = (zeros::<f32>(rows, side), zeros::<f32>(cols, side));
    quantize_rows(x, MatMut::row_major(&mut q, rows, cols)?, &mut of_rows)?;
    quantize_columns(x, MatMut::col_major(&mut q, rows, cols)?, &mut of_columns)?;
    quantize_groups(x, CodeBits::Four, 16, GroupScheme::Asymmetric)?;

    let to = 1 + r.below(9);
    let indices = Guarded::new(&r.values(rows, |x| (x % to as u64) as u32), side);
    let weights = floats(rows, side, r);
    let mut sums = zeros::<f32>(to * cols, side);
    scatter_add_f32(x, &indices, Some(&weights), MatMut::row_major(&mut sums, to, cols)?)?;
    let integers = Guarded::new(&r.values(rows * cols, |x| x as i16 as i32), side);
    let mut sums = zeros::<i32>(to * cols, side);
    scatter_add_i32(
        MatRef::row_major(&integers, rows, cols)?,
        &indices,
        MatMut::row_major(&mut sums, to, cols)?,
    )?;
    let total: i32 = integers.iter().sum();
    assert_eq!(sums.iter().sum::<i32>(), total);
    Ok(())
}

#[test]
fn values_and_matrices() {
    let mut r = Random(21);
    for side in SIDES {
        for len in (0..70).chain([127, 128, 129, 1000]) {
            slices(len, side, &mut r).unwrap();
        }
        for _ in 0..cases(150) {
            let shape = (1 + r.below(70), 1 + r.below(140));
            matrices(shape, side, &mut r).unwrap();
        }
    }
}
