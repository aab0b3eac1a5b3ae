//! `qgemm quantize`: weights rounded to codes, compared with those computed here; and wrong arguments.

use crate::support::{Files, noise};

const K: usize = 70;
const N: usize = 11;

fn weights() -> Vec<f32> {
    // The last column is all positive, one group of the first is all zeros.
    let real = |(at, x): (usize, u32)| match (at % N, at / N / 32) {
        (0, 1) => 0.0,
        (10, _) => x as f32 / (1 << 24) as f32,
        _ => x as f32 / (1 << 23) as f32 - 1.0,
    };
    noise(9).take(K * N).enumerate().map(real).collect()
}

/// Codes, scales and zero points of weights.
type Quantized = (Vec<u8>, Vec<f32>, Vec<u8>);

fn expected(w: &[f32], bits: i32, group: usize, asymmetric: bool) -> Quantized {
    let groups = K.div_ceil(group);
    let (mut codes, mut scales, mut zeros) = (vec![0; K * N], vec![0.0; groups * N], vec![0; groups * N]);
    let (most, middle) = (f64::from((1 << bits) - 1), f64::from(1 << (bits - 1)));
    for g in 0..groups {
        for j in 0..N {
            let rows = || g * group..K.min((g + 1) * group);
            let values = rows().map(|k| f64::from(w[k * N + j]));
            let (lo, hi) = values.fold((0f64, 0f64), |(lo, hi), x| (lo.min(x), hi.max(x)));
            let scale = if asymmetric { (hi - lo) / most } else { hi.max(-lo) / (middle - 1.0) } as f32;
            let scale = if scale == 0.0 { 1.0 } else { scale };
            let steps = |x: f64| (x / f64::from(scale)).round_ties_even();
            let zero = if asymmetric { steps(-lo).clamp(0.0, most) } else { middle };
            let least = if asymmetric { 0.0 } else { 1.0 };
            (scales[g * N + j], zeros[g * N + j]) = (scale, zero as u8);
            for k in rows() {
                codes[k * N + j] = (steps(w[k * N + j].into()) + zero).clamp(least, most) as u8;
            }
        }
    }
    (codes, scales, zeros)
}

#[test]
fn codes_scales_and_zero_points() {
    let (files, w) = (Files::new(), weights());
    files.write("w.npy", &[K, N], &w);
    files.write_fortran("wf.npy", (K, N), &w.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    let outputs = "--out-values v.npy --out-scales s.npy";
    for (bits, group) in [(4, 32), (8, 32), (4, 16), (8, 100), (4, 70)] {
        let groups = K.div_ceil(group);
        for file in ["w.npy", "wf.npy"] {
            files.run(&format!("quantize --w {file} --bits {bits} --group {group} {outputs}")).ok();
            let (codes, scales, _) = expected(&w, bits, group, false);
            assert_eq!(files.read::<u8>("v.npy", (K, N)), codes);
            assert_eq!(files.read::<f32>("s.npy", (groups, N)), scales);
            assert!(!files.exists("z.npy"));
            let line = format!("quantize --w {file} --bits {bits} --group {group} {outputs}");
            files.run(&format!("{line} --asymmetric --out-zeros z.npy")).ok();
            let (codes, scales, zeros) = expected(&w, bits, group, true);
            assert_eq!(files.read::<u8>("v.npy", (K, N)), codes);
            assert_eq!(files.read::<f32>("s.npy", (groups, N)), scales);
            assert_eq!(files.read::<u8>("z.npy", (groups, N)), zeros);
            std::fs::remove_file(files.path("z.npy")).unwrap();
        }
    }
}

/// The written files are what `qgemm groupwise` reads, and their product is near that of the floats.
#[test]
fn quantized_weights_multiply() {
    let (files, w) = (Files::new(), weights());
    let a: Vec<f32> = noise(3).take(4 * K).map(|x| x as f32 / (1 << 23) as f32 - 1.0).collect();
    files.write("w.npy", &[K, N], &w);
    files.write("a.npy", &[4, K], &a);
    for (bits, most) in [(4, 0.8), (8, 0.06)] {
        for zeros in [false, true] {
            let (out_zeros, with_zeros) =
                if zeros { ("--asymmetric --out-zeros z.npy", "--zeros z.npy") } else { ("", "") };
            let shape = format!("--bits {bits} --group 16");
            files
                .run(&format!("quantize --w w.npy {shape} --out-values v.npy --out-scales s.npy {out_zeros}"))
                .ok();
            files
                .run(&format!(
                    "groupwise --a a.npy --b v.npy --scales s.npy {shape} {with_zeros} --out y.npy"
                ))
                .ok();
            for (at, y) in files.read::<f32>("y.npy", (4, N)).into_iter().enumerate() {
                let (i, j) = (at / N, at % N);
                let float: f32 = (0..K).map(|k| a[i * K + k] * w[k * N + j]).sum();
                assert!((y - float).abs() < most, "{bits} bits, row {i}, column {j}: {y} of {float}");
            }
        }
    }
}

#[test]
fn wrong_arguments() {
    let files = Files::new();
    files.write("w.npy", &[K, N], &weights());
    files.write("i.npy", &[2, 2], &[1i32; 4]);
    files.write("nan.npy", &[2, 1], &[1f32, f32::NAN]);
    files.write("large.npy", &[2, 1], &[1f64, 1e39]);
    files.write("vector.npy", &[4], &[1f32; 4]);
    let before = files.names();
    let values = "--out-values v.npy --out-scales s.npy";
    let line = format!("quantize --bits 4 --group 32 {values}");
    for w in ["i.npy", "nan.npy", "large.npy", "vector.npy", "none.npy"] {
        files.run(&format!("{line} --w {w}")).refused(&format!("--w: was '{w}'"));
    }
    for (bits, group, wrong) in [
        ("5", "32", "--bits: was '5', must be 4 or 8"),
        ("four", "32", "--bits: was 'four'"),
        ("4", "0", "--group: was '0', must be a multiple of 8 above 0, or at least K (70)"),
        ("4", "33", "--group: was '33'"),
        ("8", "-32", "--group: was '-32'"),
        ("8", "x", "--group: was 'x'"),
    ] {
        files.run(&format!("quantize --w w.npy --bits {bits} --group {group} {values}")).refused(wrong);
    }
    let message = files.run(&format!("{line} --w w.npy --asymmetric")).refused("--out-zeros");
    assert_eq!(message, "error: --out-zeros: was left out, must be given with --asymmetric");
    let message = files.run(&format!("{line} --w w.npy --out-zeros z.npy")).refused("--out-zeros");
    assert_eq!(message, "error: --out-zeros: was 'z.npy', must be left out without --asymmetric");
    let line = "quantize --w w.npy --bits 4 --group 32";
    for (outputs, wrong) in [
        ("--out-values v.npy --out-scales no/s.npy", "--out-scales: was 'no/s.npy'"),
        ("--out-values . --out-scales s.npy", "--out-values: was '.'"),
        (
            "--out-values v.npy --out-scales v.npy",
            "--out-scales: was 'v.npy', must be another file than --out-values",
        ),
        ("--out-values v.npy --out-scales ./v.npy", "--out-scales: was './v.npy'"),
        ("--out-values v.npy --out-scales s.npy --asymmetric --out-zeros s.npy", "--out-zeros: was 's.npy'"),
        (
            "--out-values v.npy --out-scales s.npy --asymmetric --out-zeros no/z.npy",
            "--out-zeros: was 'no/z.npy'",
        ),
    ] {
        files.run(&format!("{line} {outputs}")).refused(wrong);
    }
    files.run(&format!("{line} --out-values v.npy")).refused("--out-scales");
    assert_eq!(files.names(), before);
    // Files that exist are not changed.
    files.write_bytes("v.npy", b"precious");
    files.run(&format!("{line} --out-values v.npy --out-scales no/s.npy")).refused("--out-scales");
    assert_eq!(std::fs::read(files.path("v.npy")).unwrap(), b"precious");
}

/// A device takes what a file would hold. If it fails, no file is written.
#[cfg(target_os = "linux")]
#[test]
fn devices() {
    let files = Files::new();
    files.write("w.npy", &[K, N], &weights());
    let line = "quantize --w w.npy --bits 8 --group 32";
    files.run(&format!("{line} --out-values /dev/null --out-scales /dev/null")).ok();
    files.write_bytes("v.npy", b"precious");
    for (values, scales, wrong) in [
        ("v.npy", "/dev/full", "--out-scales: was '/dev/full'"),
        ("/dev/full", "s.npy", "--out-values: was '/dev/full'"),
    ] {
        files.run(&format!("{line} --out-values {values} --out-scales {scales}")).refused(wrong);
    }
    assert_eq!(files.names(), ["v.npy", "w.npy"]);
    assert_eq!(std::fs::read(files.path("v.npy")).unwrap(), b"precious");
}
