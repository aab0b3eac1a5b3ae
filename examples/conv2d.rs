//! A convolution without a copy of its input: the index list is made once, and the product gathers rows.

use qgemm::{Conv2d, Error, Gather, Gemm, MatMut, MatRef, PackedB, Requantize};

pub(crate) fn main() -> Result<(), Error> {
    // Data: images [batch, height, width, in] of u8 with zero point 7, weights [kernel y, kernel x, in, out].
    let (batch, height, width, channels, out) = (2, 15, 20, 8, 12);
    let image: Vec<u8> = (0..batch * height * width * channels).map(|i| (i * 37 % 256) as u8).collect();
    let weights: Vec<i8> = (0..9 * channels * out).map(|i| (i * 29 % 255) as u8 as i8).collect();
    let bias: Vec<i32> = (0..out as i32).map(|j| j * 100 - 500).collect();

    // Once: 3x3 taps, stride 2, one pixel of padding around each image.
    let conv = Conv2d::builder(batch, (height, width), (3, 3)).stride(2, 2).padding(1, 1, 1, 1).build()?;
    let packed = PackedB::pack(MatRef::row_major(&weights, 9 * channels, out)?)?;
    let output = Requantize::new(2e-3, 100)?.relu().into_owned()?;

    // For each input.
    let mut y = vec![0u8; conv.rows() * out];
    let pixels = MatRef::row_major(&image, batch * height * width, channels)?;
    let product = Gemm::new(Gather::conv2d(pixels, &conv)?, &packed).a_zero(7).bias(&bias);
    product.run_requantized(MatMut::row_major(&mut y, conv.rows(), out)?, &output)?;

    let (_, out_height, out_width) = conv.output_shape();
    println!("{batch} images of {height}x{width}x{channels} to {out_height}x{out_width}x{out}");
    for (at, got) in y.iter().enumerate() {
        let (pixel, j) = (at / out, at % out);
        let (b, y, x) = (pixel / (out_height * out_width), pixel / out_width % out_height, pixel % out_width);
        let mut sum = bias[j];
        for (dy, dx, c) in (0..9 * channels).map(|l| (l / channels / 3, l / channels % 3, l % channels)) {
            let (iy, ix) = ((2 * y + dy).wrapping_sub(1), (2 * x + dx).wrapping_sub(1));
            if iy < height && ix < width {
                let a = i32::from(image[((b * height + iy) * width + ix) * channels + c]) - 7;
                sum += a * i32::from(weights[((dy * 3 + dx) * channels + c) * out + j]);
            }
        }
        let naive = (sum as f32 * 2e-3).round_ties_even() + 100.0;
        assert_eq!(f32::from(*got), naive.clamp(100.0, 255.0));
    }
    println!("equal to the naive convolution, element by element");
    Ok(())
}
