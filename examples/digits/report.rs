//! The text that the example and the command print about the network.

use crate::four_bit::{FloatBuffers, FourBitNetwork, GROUP};
use crate::network::{Buffers, Digits, Network};
use anyhow::Result;
use qgemm::{Dispatch, Error};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Instant;

/// The number of held-out images, and of logits per image.
pub const SHAPE: (usize, usize) = (899, 10);
/// The largest difference in accuracy between float and int8, in percentage points.
const MAX_INT8_DIFFERENCE: f64 = 0.5;
/// The largest difference in accuracy between float and weights of 4 bits, in percentage points.
const MAX_INT4_DIFFERENCE: f64 = 1.0;

/// Runs the network in float and, on every kernel, in int8 and with weights of 4 bits. Prints accuracy, speed and digests.
/// Returns the int8 logits, of shape `SHAPE`, and, if results are wrong, the reason in words.
pub fn report(out: &mut dyn Write) -> Result<(Vec<i8>, Option<&'static str>)> {
    let digits = Digits::load()?;
    let (pixels, floats) = (digits.held_out(), digits.held_out_floats());
    let float_pixels: Vec<f32> = floats.iter().copied().collect();
    let (images, _) = SHAPE;
    writeln!(out, "Handwritten digits: 64 -> 128 -> 128 -> 10, {images} held-out images")?;

    let [_, _, logits] = digits.forward(&floats);
    let logits: Vec<f32> = logits.iter().copied().collect();
    let dispatch = Dispatch::auto()?;
    let int8 = |dispatch: &Dispatch| -> Result<(Network, Buffers), Error> {
        let network = digits.quantize(dispatch)?;
        let mut buffers = network.buffers(images);
        network.forward(&pixels, &mut buffers)?;
        Ok((network, buffers))
    };
    let int4 = |dispatch: &Dispatch| -> Result<(FourBitNetwork, FloatBuffers), Error> {
        let network = FourBitNetwork::quantize(&digits, dispatch)?;
        let mut buffers = network.buffers(images);
        network.forward(&float_pixels, &mut buffers)?;
        Ok((network, buffers))
    };
    let (network, mut buffers) = int8(dispatch)?;
    let (four_bit, mut float_buffers) = int4(dispatch)?;

    // All run on one thread, so that the times compare the arithmetic alone.
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let times = one_thread.install(|| -> Result<[f64; 3], Error> {
        let float = best_time(|| {
            std::hint::black_box(digits.forward(&floats));
            Ok(())
        })?;
        let int8 = best_time(|| network.forward(&pixels, &mut buffers))?;
        Ok([float, int8, best_time(|| four_bit.forward(&float_pixels, &mut float_buffers))?])
    })?;
    let correct =
        [digits.correct(&logits), digits.correct(&buffers.logits), digits.correct(&float_buffers.logits)];
    let percent = |correct: usize| 100.0 * correct as f64 / images as f64;
    for ((name, correct), seconds) in ["float", "int8", "int4"].into_iter().zip(correct).zip(times) {
        let (share, speed) = (percent(correct), images as f64 / seconds);
        writeln!(out, "  {name:<6} {correct} of {images} correct ({share:.2} %)  {speed:>10.0} images/s")?;
    }
    writeln!(
        out,
        "  (one thread; f32 products by ndarray and matrixmultiply; int4: weights of 4 bits in groups of {GROUP},"
    )?;
    writeln!(out, "  f32 inputs of each layer)")?;

    let mut kernels_agree = true;
    writeln!(out, "Digest of the int8 logits on each kernel:")?;
    for kernel in Dispatch::available() {
        let (_, again) = int8(&Dispatch::named(kernel.name)?)?;
        let bytes = again.logits.iter().map(|x| *x as u8);
        writeln!(out, "  {:<22} {}", kernel.name, digest(bytes.collect()))?;
        kernels_agree &= again.logits == buffers.logits;
    }
    writeln!(out, "Digest of the int4 logits, which are f32, on each group-wise kernel:")?;
    for kernel in Dispatch::available_groupwise() {
        let (_, again) = int4(&Dispatch::named(kernel)?)?;
        let bits = |logits: &[f32]| logits.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
        writeln!(out, "  {kernel:<22} {}", digest(bits(&again.logits)))?;
        kernels_agree &= bits(&again.logits) == bits(&float_buffers.logits);
    }
    let is_close = |other: usize, most: f64| (percent(correct[0]) - percent(other)).abs() <= most;
    let error = if !kernels_agree {
        Some("the kernels disagree on the digits")
    } else if !is_close(correct[1], MAX_INT8_DIFFERENCE) {
        Some("int8 reads the digits more than half a point worse or better than float")
    } else if !is_close(correct[2], MAX_INT4_DIFFERENCE) {
        Some("int4 reads the digits more than a point worse or better than float")
    } else {
        None
    };
    Ok((buffers.logits, error))
}

/// The first 8 bytes of the SHA-256 of some bytes, in hexadecimal.
fn digest(bytes: Vec<u8>) -> String {
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The least time of a run in seconds, over at least 5 runs and 0.2 s.
fn best_time(mut run: impl FnMut() -> Result<(), Error>) -> Result<f64, Error> {
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 5 || start.elapsed().as_secs_f64() < 0.2 {
        let begin = Instant::now();
        run()?;
        best = best.min(begin.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}
