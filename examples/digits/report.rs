//! The text that the example and the command print about the network.

use crate::network::Digits;
use anyhow::Result;
use qgemm::Dispatch;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::Instant;

/// The number of held-out images, and of logits per image.
pub const SHAPE: (usize, usize) = (899, 10);
/// The largest difference in accuracy between float and int8, in percentage points.
const MAX_DIFFERENCE: f64 = 0.5;

/// Runs the network in float and, on every kernel, in int8. Prints accuracy, speed and digests. Returns the int8
/// logits, of shape `SHAPE`, and, if they are wrong, the reason in words.
pub fn report(out: &mut dyn Write) -> Result<(Vec<i8>, Option<&'static str>)> {
    let digits = Digits::load()?;
    let (pixels, floats) = (digits.held_out(), digits.held_out_floats());
    let (images, _) = SHAPE;
    writeln!(out, "Handwritten digits: 64 -> 128 -> 128 -> 10, {images} held-out images")?;

    let [_, _, logits] = digits.forward(&floats);
    let logits: Vec<f32> = logits.iter().copied().collect();
    let network = digits.quantize(Dispatch::auto()?)?;
    let mut buffers = network.buffers(images);
    network.forward(&pixels, &mut buffers)?;

    // Both run on one thread, so that the times compare the arithmetic alone.
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    let float_time = one_thread.install(|| {
        best_time(|| {
            std::hint::black_box(digits.forward(&floats));
            Ok(())
        })
    })?;
    let int8_time = one_thread.install(|| best_time(|| network.forward(&pixels, &mut buffers)))?;
    let percent = |correct: usize| 100.0 * correct as f64 / images as f64;
    let line = |name: &str, correct: usize, seconds: f64| {
        let share = percent(correct);
        format!(
            "  {name:<6} {correct} of {images} correct ({share:.2} %)  {:>10.0} images/s",
            images as f64 / seconds
        )
    };
    let correct = [digits.correct(&logits), digits.correct(&buffers.logits)];
    writeln!(out, "{}", line("float", correct[0], float_time))?;
    writeln!(out, "{}", line("int8", correct[1], int8_time))?;
    writeln!(out, "  (one thread; f32 products by ndarray and matrixmultiply)")?;

    writeln!(out, "Digest of the int8 logits on each kernel:")?;
    let mut kernels_agree = true;
    for kernel in Dispatch::available() {
        let network = digits.quantize(&Dispatch::named(kernel.name)?)?;
        let mut again = network.buffers(images);
        network.forward(&pixels, &mut again)?;
        writeln!(out, "  {:<22} {}", kernel.name, digest(&again.logits))?;
        kernels_agree &= again.logits == buffers.logits;
    }
    let close = (percent(correct[0]) - percent(correct[1])).abs() <= MAX_DIFFERENCE;
    let error = if !kernels_agree {
        Some("the kernels disagree on the digits")
    } else if !close {
        Some("int8 reads the digits more than half a point worse or better than float")
    } else {
        None
    };
    Ok((buffers.logits, error))
}

/// The first 8 bytes of the SHA-256 of the logits, in hexadecimal.
fn digest(logits: &[i8]) -> String {
    let bytes: Vec<u8> = logits.iter().map(|x| *x as u8).collect();
    Sha256::digest(bytes)[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The least time of a run in seconds, over at least 5 runs and 0.2 s.
fn best_time(mut run: impl FnMut() -> Result<(), qgemm::Error>) -> Result<f64, qgemm::Error> {
    let (start, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 5 || start.elapsed().as_secs_f64() < 0.2 {
        let begin = Instant::now();
        run()?;
        best = best.min(begin.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}
