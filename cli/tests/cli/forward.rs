//! `qgemm forward`: the worked example, and data from files.

use crate::support::{Files, noise};

/// The rows of numbers that follow the line which starts with `name`.
fn rows(out: &str, name: &str) -> Vec<Vec<f64>> {
    let lines = out.lines().skip_while(|line| !line.starts_with(name)).skip(1);
    let numbers =
        |line: &str| line.split_whitespace().map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>();
    lines.map_while(numbers).filter(|row| !row.is_empty()).collect()
}

fn close(got: &[Vec<f64>], expected: &[[f64; 4]]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
        assert!((got - expected).abs() < 1e-4 * expected.abs(), "{got} {expected}");
    }
}

fn worked_example(out: &str) {
    assert_eq!(rows(out, "Xq"), [[-21., 56., -126., -50.], [-89., -103., -79., -39.]]);
    let wq =
        [[-26., 10., -21., 47.], [-75., 96., -120., 43.], [-21., 15., -91., -77.], [76., 119., -47., 49.]];
    assert_eq!(rows(out, "Wq"), wq);
    assert_eq!(rows(out, "bq"), [[96., 100., -105., -117.]]);
    assert_eq!(rows(out, "Yq"), [[30., 111., -52., 40.], [18., 61., -61., -10.]]);
    let float = [[67.915344, 103.332146, 32.277443, 72.36381], [62.98207, 81.28353, 28.644968, 50.78653]];
    close(&rows(out, "Y, float"), &float);
    let sy = 110.0 / 254.0;
    let dequantized = [[157., 238., 75., 167.], [145., 188., 66., 117.]].map(|row| row.map(|q| q * sy));
    close(&rows(out, "Y, dequantized"), &dequantized);
    assert!(out.contains("0.2613"), "{out}");
    for parameter in ["zx -190", "zw -127", "zb -254", "zy -127"] {
        assert!(out.contains(parameter), "{parameter}: {out}");
    }
    for (scale, value) in
        [("sx ", 0.15748031), ("sw ", 0.003937008), ("sb ", 0.07874016), ("sy ", 0.43307087)]
    {
        let text = out.split(scale).nth(1).unwrap().split_whitespace().next().unwrap();
        assert!((text.parse::<f64>().unwrap() / value - 1.0).abs() < 1e-6, "{scale}{text}");
    }
}

/// The second example, computed here in plain loops from the same floats.
fn typical_layer(out: &str) {
    let (_, out) = out.split_once("as networks have it").expect("the second example follows the first");
    let x = [[0.4f32, -1.0, -0.2, 2.8], [0.2, 1.0, 0.4, 3.0]];
    let w = [[0.5f32, -0.6, 0.03], [0.25, 0.8, -0.01], [-0.75, 0.4, 0.02], [0.1, 0.3, 0.04]];
    let bias = [0.1f32, -0.2, 0.05];
    let (sx, sy) = ((4.0 / 255.0) as f32, (2.0 / 255.0) as f32);
    // 1 / 4 of 255, the place of 0 in -1 to 3, is 63.75.
    let xq = x.map(|row| row.map(|x| (x / sx).round_ties_even() + 64.0));
    let sw: [f32; 3] = std::array::from_fn(|j| w.iter().fold(0f32, |max, row| max.max(row[j].abs())) / 127.0);
    let wq = w.map(|row| std::array::from_fn::<f32, 3, _>(|j| (row[j] / sw[j]).round_ties_even()));
    let bq: [f64; 3] =
        std::array::from_fn(|j| (f64::from(bias[j]) / (f64::from(sx) * f64::from(sw[j]))).round_ties_even());
    let y = |i: usize, j: usize| {
        let acc = (0..4).map(|k| f64::from((xq[i][k] - 64.0) * wq[k][j])).sum::<f64>() + bq[j];
        f64::from((acc as f32 * (sx * sw[j] / sy)).round_ties_even().clamp(0.0, 255.0))
    };
    let wide = |row: [f32; 4]| row.map(f64::from).to_vec();
    assert_eq!(rows(out, "Xq"), xq.map(wide));
    assert_eq!(rows(out, "Wq"), wq.map(|row| row.map(f64::from).to_vec()));
    assert_eq!(rows(out, "bq"), [bq]);
    assert_eq!(rows(out, "Yq"), [[61., 0., 23.], [58., 197., 22.]]);
    assert_eq!(rows(out, "Yq"), [0, 1].map(|i| [0, 1, 2].map(|j| y(i, j))));
    let float = rows(out, "Y, float");
    let mut largest = 0f64;
    for (i, row) in rows(out, "Y, dequantized").into_iter().enumerate() {
        for (j, got) in row.into_iter().enumerate() {
            assert!((got - y(i, j) * f64::from(sy)).abs() < 1e-6, "{out}");
            let exact =
                (0..4).map(|k| f64::from(x[i][k]) * f64::from(w[k][j])).sum::<f64>() + f64::from(bias[j]);
            assert!((float[i][j] - exact.max(0.0)).abs() < 1e-6, "{out}");
            largest = largest.max((got - exact.max(0.0)).abs());
        }
    }
    let line = format!("largest error {largest:.4} ({:.2} of a step)", largest / f64::from(sy));
    assert!(out.contains(&line) && out.contains("largest error 0.0051 (0.65 of a step)"), "{line}: {out}");
    assert!(out.contains("zx 64\n") && out.contains("zy 0\n") && !out.contains("beyond"), "{out}");
}

#[test]
fn without_files() {
    let out = Files::new().run("forward").ok();
    worked_example(&out);
    typical_layer(&out);
    // Two zero points of the first example lie outside of 8 bits, and a line says why.
    assert_eq!(
        out.matches("(a zero point beyond [-127, 127] is that of a range that does not hold 0)").count(),
        1
    );
}

#[test]
fn without_a_command() {
    let out = Files::new().run("").ok();
    worked_example(&out);
    typical_layer(&out);
    assert!(out.contains("Handwritten digits"), "{out}");
}

fn example_files(files: &Files) {
    let x = [26.68088, 38.81298, 10.004575, 22.093304, 15.870235, 13.693543, 17.450409, 23.82243f32];
    let w: [f64; 16] = [
        0.39676747, 0.53881675, 0.41919452, 0.6852195, 0.20445225, 0.87811744, 0.02738759, 0.6704675,
        0.4173048, 0.55868983, 0.14038694, 0.19810149, 0.8007446, 0.9682616, 0.31342417, 0.6923226,
    ];
    files.write("x.npy", &[2, 4], &x);
    files.write_fortran("w.npy", (4, 4), &w);
    files.write("b.npy", &[4], &[27.527782, 27.892134, 11.700884, 10.7810955f32]);
}

#[test]
fn with_files() {
    let files = Files::new();
    example_files(&files);
    let line = "forward --x x.npy --w w.npy --bias b.npy --out y.npy";
    let out =
        files.run(&format!("{line} --x-range 10,50 --w-range 0,1 --bias-range 10,30 --y-range 0,110")).ok();
    worked_example(&out);
    assert!(out.contains("time"), "{out}");
    let y = files.read::<f32>("y.npy", (2, 4));
    let printed = rows(&out, "Y, dequantized").concat();
    assert!(y.iter().zip(printed).all(|(&y, printed)| f64::from(y) == printed as f32 as f64), "{y:?} {out}");
    // Without ranges, those of the data are quantized.
    let out = files.run(line).ok();
    assert!(out.contains("sx 0.113418") && out.contains("zx -215"), "{out}"); // (38.81298 - 10.004575) / 254
    assert_eq!(files.names(), ["b.npy", "w.npy", "x.npy", "y.npy"]);
    assert!(!out.contains("as networks have it"), "{out}");
    // Ranges that hold 0 have zero points within them, and nothing needs to be said.
    let ranges = "--x-range 0,50 --w-range 0,1 --bias-range 0,30 --y-range 0,110";
    let out = files.run(&format!("{line} {ranges}")).ok();
    assert!(out.contains("zx -127") && !out.contains("beyond"), "{out}");
}

#[test]
fn without_bias() {
    let files = Files::new();
    example_files(&files);
    let line = "forward --x x.npy --w w.npy --out y.npy --x-range 0,40 --w-range 0,1 --y-range 0,90";
    let out = files.run(line).ok();
    assert!(out.starts_with("Y = X·W in int8, M = 2, K = 4, N = 4\n"), "{out}");
    assert!(!out.contains("bq") && !out.contains("sb ") && !out.contains("zb "), "{out}");
    let bias = [27.527782, 27.892134, 11.700884, 10.7810955];
    let with_bias = [[67.915344, 103.332146, 32.277443, 72.36381], [62.98207, 81.28353, 28.644968, 50.78653]];
    let float = with_bias.map(|row| [0, 1, 2, 3].map(|j| row[j] - bias[j]));
    close(&rows(&out, "Y, float"), &float);
    let y = files.read::<f32>("y.npy", (2, 4));
    let step = 90.0 / 254.0;
    assert!(
        y.iter().zip(float.as_flattened()).all(|(&y, float)| (f64::from(y) - float).abs() < 2.0 * step),
        "{y:?}"
    );
    // A bias of 0 adds nothing.
    files.write("zeros.npy", &[4], &[0f32; 4]);
    files.run(&format!("{line} --bias zeros.npy")).ok();
    assert_eq!(files.read::<f32>("y.npy", (2, 4)), y);
}

/// The product of two scales may be so small that f32 holds it badly, 1.55e-45 here, or not at all.
#[test]
fn tiny_scales() {
    let files = Files::new();
    files.write("x.npy", &[1, 1], &[1e-20f32]);
    let line = "forward --x x.npy --w x.npy --x-range 0,1e-20 --w-range 0,1e-20";
    for (y_range, yq) in [("0,1e-40", 127.0), ("0,5e-40", -76.0), ("0,1", -127.0)] {
        let out = files.run(&format!("{line} --y-range {y_range}")).ok();
        assert_eq!(rows(&out, "Yq"), [[yq]], "{out}");
    }
    files.run(&format!("{line} --y-range 0,1e-44")).refused("--y-range: was '0,");
    files.run("forward --x x.npy --w x.npy --x-range 0,1e-50").refused("--x-range: was '0,");
}

#[test]
fn large_files() {
    let files = Files::new();
    let (m, k, n) = (70, 90, 110);
    let data =
        |seed, len| noise(seed).map(|x| (x % 2001) as f32 / 1000.0 - 1.0).take(len).collect::<Vec<_>>();
    let (x, w, b) = (data(1, m * k), data(2, k * n), data(3, n));
    files.write("x.npy", &[m, k], &x);
    files.write("w.npy", &[k, n], &w);
    files.write("b.npy", &[n], &b);
    let out = files.run("forward --x x.npy --w w.npy --bias b.npy --out y.npy").ok();
    assert!(out.lines().count() < 80, "{out}");
    assert_eq!(rows(&out, "Xq").len(), 8);
    let y = files.read::<f32>("y.npy", (m, n));
    let mut worst = 0.0f32;
    for i in 0..m {
        for j in 0..n {
            let float = (0..k).map(|l| x[i * k + l] * w[l * n + j]).sum::<f32>() + b[j];
            worst = worst.max((float - y[i * n + j]).abs());
        }
    }
    assert!(worst < 0.3, "{worst}");
}

/// Constant, zero and empty data have parameters too; values beyond a given range saturate.
#[test]
fn degenerate_data() {
    let files = Files::new();
    let line = "forward --x x.npy --w w.npy --bias b.npy --out y.npy";
    for (m, k, n) in [(2, 3, 4), (0, 3, 4), (2, 0, 4), (2, 3, 0)] {
        for value in [0.0f32, 2.5, -1.0] {
            files.write("x.npy", &[m, k], &vec![value; m * k]);
            files.write("w.npy", &[k, n], &vec![value; k * n]);
            files.write("b.npy", &[n], &vec![0.0f32; n]);
            files.run(line).ok();
            let expected = value * value * k as f32;
            for y in files.read::<f32>("y.npy", (m, n)) {
                assert!((y - expected).abs() <= 1e-5 * expected, "{y} {expected}");
            }
        }
    }
    files.write("x.npy", &[1, 2], &[-1e6f32, 1e6]);
    files.write("w.npy", &[2, 1], &[1.0, 0.0f32]);
    files.write("b.npy", &[1], &[0.0f32]);
    let out = files.run(&format!("{line} --x-range -1,1")).ok();
    assert_eq!(rows(&out, "Xq"), [[-127., 127.]]);
}

#[test]
fn wrong_input() {
    let files = Files::new();
    example_files(&files);
    let all = "forward --x x.npy --w w.npy --bias b.npy --out y.npy";
    files.run("forward --bias b.npy --out y.npy").refused("--x");
    files.run("forward --x x.npy --w w.npy --bias-range 1,2 --out y.npy").refused("--bias");
    files.run("forward --x x.npy --out y.npy").refused("--w");
    files.run("forward --x-range 1,2").refused("--x");
    for range in ["2,1", "1,1", "nan,1", "0,inf", "1", "a,b", ""] {
        files.run(&format!("{all} --x-range={range}")).refused("--x-range");
        files.run(&format!("{all} --y-range={range}")).refused("--y-range");
    }
    files.write("x.npy", &[1, 4], &[f64::NAN; 4]);
    files.run(all).refused("--x");
    files.write("x.npy", &[1, 4], &[1u8; 4]);
    files.run(all).refused("--x");
    files.write("x.npy", &[1, 3], &[1f32; 3]);
    files.run(all).refused("--w");
    files.write("x.npy", &[1, 4], &[1f32; 4]);
    files.write("b.npy", &[5], &[1f32; 5]);
    files.run(all).refused("--bias");
    assert!(!files.exists("y.npy"));
}
