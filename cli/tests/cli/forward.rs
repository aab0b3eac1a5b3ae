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

#[test]
fn without_files() {
    worked_example(&Files::new().run("forward").ok());
}

#[test]
fn without_a_command() {
    let out = Files::new().run("").ok();
    worked_example(&out);
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
    files.run("forward --x x.npy --w w.npy --out y.npy").refused("--bias");
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
