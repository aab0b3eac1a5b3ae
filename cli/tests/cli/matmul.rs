//! `qgemm matmul`, compared with sums computed here.

use crate::support::{Files, noise};

const M: usize = 13;
const K: usize = 70;
const N: usize = 67;

/// Random u8 and i8 matrices in files, of more than a tile in each dimension.
struct Product {
    files: Files,
    a: Vec<u8>,
    b: Vec<i8>,
}

impl Product {
    fn new() -> Self {
        let a: Vec<u8> = noise(1).map(|x| x as u8).take(M * K).collect();
        let b: Vec<i8> = noise(2).map(|x| x as i8).take(K * N).collect();
        let files = Files::new();
        files.write("a.npy", &[M, K], &a);
        files.write("b.npy", &[K, N], &b);
        Self { files, a, b }
    }

    fn run(&self, rest: &str) {
        self.files.run(&format!("matmul --a a.npy --b b.npy --out y.npy {rest}")).ok();
    }

    /// The sum of (a - za)(b - zb) for row i and column j.
    fn sum(&self, i: usize, j: usize, za: i64, zb: i64) -> i64 {
        let term = |k: usize| (i64::from(self.a[i * K + k]) - za) * (i64::from(self.b[k * N + j]) - zb);
        // A sum with extreme zero points exceeds i64. It wraps around modulo 2^64, which leaves its low 32 bits exact.
        (0..K).map(term).fold(0, i64::wrapping_add)
    }
}

/// Checks every element of a matrix.
fn each<T: PartialEq + std::fmt::Debug>(y: &[T], expected: impl Fn(usize, usize) -> T) {
    for i in 0..M {
        for j in 0..N {
            assert_eq!(y[i * N + j], expected(i, j), "row {i}, column {j}");
        }
    }
}

/// Rounds half to even, as the library does in f32.
fn round(x: f32) -> i64 {
    x.round_ties_even() as i64
}

#[test]
fn sums() {
    let p = Product::new();
    p.run("");
    each(&p.files.read::<i32>("y.npy", (M, N)), |i, j| p.sum(i, j, 0, 0) as i32);
    // Negative zero points far outside of 8 bits, as `--option=value` and as `--option value`.
    for zeros in ["--a-zero=-190 --b-zero=-254", "--a-zero -190 --b-zero -254"] {
        p.run(zeros);
        each(&p.files.read::<i32>("y.npy", (M, N)), |i, j| p.sum(i, j, -190, -254) as i32);
    }
    p.run("--out-type i32 --a-zero 2147483647 --b-zero=-2147483648 --threads 3");
    let wrapped = |i, j| p.sum(i, j, 2147483647, -2147483648) as i32;
    each(&p.files.read::<i32>("y.npy", (M, N)), wrapped);
}

#[test]
fn zero_point_files() {
    let p = Product::new();
    let rows: Vec<i64> = (0..M as i64).map(|i| 7 * i - 40).collect();
    let columns: Vec<i64> = (0..N as i64).map(|j| 300 - 9 * j).collect();
    let narrow = |values: &[i64]| values.iter().map(|&x| x as i16).collect::<Vec<_>>();
    p.files.write("rows.npy", &[M], &rows);
    p.files.write("column.npy", &[M, 1], &narrow(&rows));
    p.files.write("columns.npy", &[N], &columns.iter().map(|&x| x as i32).collect::<Vec<_>>());
    p.files.write("row.npy", &[1, N], &narrow(&columns));
    for (za, zb) in [("rows", "columns"), ("column", "row")] {
        p.run(&format!("--a-zero {za}.npy --b-zero {zb}.npy"));
        let expected = |i: usize, j: usize| p.sum(i, j, rows[i], columns[j]) as i32;
        each(&p.files.read::<i32>("y.npy", (M, N)), expected);
    }
    // Files of one value, of other types; as a vector, a matrix and a scalar.
    p.files.write("i8.npy", &[1], &[-7i8]);
    p.files.write("u8.npy", &[1, 1], &[200u8]);
    p.files.write("u16.npy", &[], &[60000u16]);
    p.files.write("u32.npy", &[1], &[2147483647u32]);
    p.files.write("u64.npy", &[1], &[5u64]);
    for (file, za) in [("i8", -7), ("u8", 200), ("u16", 60000), ("u32", 2147483647), ("u64", 5)] {
        p.run(&format!("--a-zero {file}.npy --b-zero {file}.npy"));
        each(&p.files.read::<i32>("y.npy", (M, N)), |i, j| p.sum(i, j, za, za) as i32);
    }
}

#[test]
fn bytes() {
    let p = Product::new();
    let bias: Vec<i32> = (0..N as i32).map(|j| 1000 * (j - 30)).collect();
    let scales: Vec<f32> = (0..N).map(|j| 0.0005 + 0.00001 * j as f32).collect();
    p.files.write("bias.npy", &[N], &bias);
    p.files.write("scales.npy", &[N], &scales.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    let value = |i: usize, j: usize, scale: f32, zero: i64, (lo, hi): (i64, i64)| {
        let acc = p.sum(i, j, 131, 3) + i64::from(bias[j]);
        (round(acc as f32 * scale) + zero).clamp(lo, hi)
    };
    let common = "--a-zero 131 --b-zero 3 --bias bias.npy";
    p.run(&format!("{common} --out-type i8 --scale scales.npy --out-zero -5"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, scales[j], -5, (-128, 127)) as i8);
    p.run(&format!("{common} --out-type u8 --scale 0.0004 --out-zero 128 --clamp 100,200"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, 0.0004, 128, (100, 200)) as u8);
    p.run(&format!("{common} --out-type i8 --scale 0.0004 --clamp=-20,-10"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, 0.0004, 0, (-20, -10)) as i8);
}

#[test]
fn floats() {
    let p = Product::new();
    let integers: Vec<i64> = (0..N as i64).map(|j| 12345 * j).collect();
    let floats: Vec<f32> = (0..N).map(|j| 0.1 * j as f32 - 2.0).collect();
    p.files.write("integers.npy", &[N], &integers);
    p.files.write("floats.npy", &[1, N], &floats);
    p.run("--out-type f32 --scale 0.125 --a-zero 9");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| p.sum(i, j, 9, 0) as f32 * 0.125);
    // Integers are added to the sums, floats to the scaled sums.
    p.run("--out-type f32 --scale 0.3 --a-zero 9 --bias integers.npy");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| (p.sum(i, j, 9, 0) + integers[j]) as f32 * 0.3);
    p.run("--out-type f32 --scale 0.3 --a-zero 9 --bias floats.npy");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| p.sum(i, j, 9, 0) as f32 * 0.3 + floats[j]);
}

#[test]
fn float_limits() {
    let p = Product::new();
    p.run("--out-type f32 --scale 0.125 --clamp -100,2.5");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| (p.sum(i, j, 0, 0) as f32 * 0.125).clamp(-100.0, 2.5));
    p.run("--out-type f32 --scale 0.125 --clamp -inf,0");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| (p.sum(i, j, 0, 0) as f32 * 0.125).min(0.0));
}

#[test]
fn scales_of_rows() {
    let p = Product::new();
    let rows: Vec<f32> = (0..M).map(|i| 0.0003 + 0.00007 * i as f32).collect();
    let columns: Vec<f32> = (0..N).map(|j| 0.5 + 0.013 * j as f32).collect();
    p.files.write("rows.npy", &[M, 1], &rows);
    p.files.write("columns.npy", &[N], &columns);
    let sum = |i, j| p.sum(i, j, 128, 0) as f32;
    let byte = |x: f32| (round(x) + 3).clamp(-128, 127) as i8;
    p.run("--a-zero 128 --out-type f32 --row-scale rows.npy");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| sum(i, j) * rows[i]);
    p.run("--a-zero 128 --out-type f32 --row-scale rows.npy --scale columns.npy");
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| sum(i, j) * (rows[i] * columns[j]));
    p.run("--a-zero 128 --out-type i8 --out-zero 3 --row-scale rows.npy --scale columns.npy");
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| byte(sum(i, j) * (rows[i] * columns[j])));
    p.run("--a-zero 128 --out-type i8 --out-zero 3 --row-scale rows.npy --scale 0.3");
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| byte(sum(i, j) * (rows[i] * 0.3)));
}

/// Fixed-point rounding, computed in i128 from the published definitions: half up, or half away from zero.
#[test]
fn fixed_point() {
    let p = Product::new();
    let m: Vec<i32> = (0..N as i32).map(|j| (1 << 30) + 12_345_678 * j).collect();
    let shifts: Vec<i8> = (0..N).map(|j| -9 - (j % 3) as i8).collect();
    p.files.write("m.npy", &[N], &m);
    p.files.write("shifts.npy", &[1, N], &shifts);
    let exact = |i, j, m: i32, shift: i8, away_from_zero: bool| {
        let product = i128::from(p.sum(i, j, 128, 0)) * i128::from(m);
        let (half, by) = (1i128 << (30 - shift), 31 - shift);
        let y =
            if away_from_zero && product < 0 { -((-product + half) >> by) } else { (product + half) >> by };
        (y - 7).clamp(-50, 127) as i8
    };
    let common = "--a-zero 128 --out-type i8 --out-zero -7 --clamp -50,127";
    for (name, away) in [("single", false), ("reference", true)] {
        p.run(&format!("{common} --rounding {name} --multiplier m.npy --shift shifts.npy"));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| exact(i, j, m[j], shifts[j], away));
        p.run(&format!("{common} --rounding {name} --multiplier 1500000000 --shift shifts.npy"));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| exact(i, j, 1_500_000_000, shifts[j], away));
        p.run(&format!("{common} --rounding {name} --multiplier m.npy --shift -10"));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| exact(i, j, m[j], -10, away));
        // 0.75 * 2^-9 is 3 * 2^29 and a shift of -9.
        p.run(&format!("{common} --rounding {name} --scale 0.00146484375"));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| exact(i, j, 3 << 29, -9, away));
    }
    // These two round twice. The high half of the doubled product is rounded half up first.
    for (name, away) in [("gemmlowp", true), ("ruy", false)] {
        p.run(&format!("{common} --rounding {name} --multiplier 1073741824 --shift -9"));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| {
            let high = (p.sum(i, j, 128, 0) + 1) >> 1;
            let y = if away && high < 0 { -((-high + 256) >> 9) } else { (high + 256) >> 9 };
            (y - 7).clamp(-50, 127) as i8
        });
    }
}

#[test]
fn real_factors() {
    let p = Product::new();
    let factors: Vec<f64> = (0..N).map(|j| 0.0005 + 0.000_013 * j as f64).collect();
    p.files.write("factors.npy", &[N], &factors);
    let value =
        |i, j, factor: f64| ((p.sum(i, j, 0, 5) as f64 * factor).round() + 99.0).clamp(0.0, 255.0) as u8;
    let common = "--b-zero 5 --out-type u8 --out-zero 99 --rounding real";
    p.run(&format!("{common} --scale factors.npy"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, factors[j]));
    // With a power of two as factor many products are ties, which are rounded away from zero.
    p.run(&format!("{common} --scale 0.00390625"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, 0.003_906_25));
}

#[test]
fn residuals() {
    let p = Product::new();
    let residual: Vec<u8> = noise(9).map(|x| x as u8).take(M * N).collect();
    p.files.write("r.npy", &[M, N], &residual);
    p.files.write_fortran("rf.npy", (M, N), &residual);
    let value = |i: usize, j: usize, zero: i32| {
        let r = (i32::from(residual[i * N + j]) - zero) as f32 * 0.3;
        (round(p.sum(i, j, 128, 0) as f32 * 0.0007 + r) + 4).clamp(-128, 127) as i8
    };
    let common = "--a-zero 128 --out-type i8 --out-zero 4 --scale 0.0007 --residual-scale 0.3";
    p.run(&format!("{common} --residual r.npy"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, 0));
    p.run(&format!("{common} --residual rf.npy --residual-zero 140"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, 140));
}

#[test]
fn activations() {
    let p = Product::new();
    let common = "--a-zero 128 --out-type i8 --scale 0.001 --out-zero -10";
    let before = |i, j| (round(p.sum(i, j, 128, 0) as f32 * 0.001) - 10).clamp(-128, 127);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let functions: [(&str, &dyn Fn(f64) -> f64); 4] = [
        ("silu", &|x| x * sigmoid(x)),
        ("sigmoid", &sigmoid),
        ("tanh", &f64::tanh),
        ("hard-swish", &|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0),
    ];
    for (name, f) in functions {
        p.run(&format!(
            "{common} --activation {name} --activation-in 0.05,-10 --activation-out 0.0234375,-20"
        ));
        each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| {
            let y = f(0.05 * (before(i, j) + 10) as f64) / 0.023_437_5;
            (y.round_ties_even() as i64 - 20).clamp(-128, 127) as i8
        });
    }
    // gelu(1) is 0.8413, and its approximation by tanh is 0.8412. Both are told apart with a scale of 1/10000.
    p.files.write("a.npy", &[1, 1], &[1u8]);
    p.files.write("b.npy", &[1, 1], &[1i8]);
    for (name, value) in [("gelu", 13), ("gelu-tanh", 12)] {
        let params = "--activation-in 1,0 --activation-out 0.0001,-8400";
        p.run(&format!("--out-type u8 --scale 1 --activation {name} {params}"));
        assert_eq!(p.files.read::<u8>("y.npy", (1, 1)), [value]);
    }
}

#[test]
fn functions_from_files() {
    let p = Product::new();
    let common = "--a-zero 128 --scale 0.001 --clamp -90,300";
    let before = |i, j, lo, hi| round(p.sum(i, j, 128, 0) as f32 * 0.001).clamp(-90, 300).clamp(lo, hi);
    let squares = |x: i64| x * x % 127;
    p.files.write("i8.npy", &[256], &(-128..128).map(|x| squares(x) as i8).collect::<Vec<_>>());
    p.files.write("u8.npy", &[256], &(0..256).map(|x| squares(x) as u8).collect::<Vec<_>>());
    p.run(&format!("{common} --out-type i8 --activation i8.npy"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| squares(before(i, j, -128, 127)) as i8);
    p.run(&format!("{common} --out-type u8 --activation u8.npy"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| squares(before(i, j, 0, 255)) as u8);
}

#[test]
fn fortran_order() {
    let p = Product::new();
    p.run("--a-zero 4");
    let expected = p.files.read::<i32>("y.npy", (M, N));
    p.files.write_fortran("af.npy", (M, K), &p.a);
    p.files.write_fortran("bf.npy", (K, N), &p.b);
    for (a, b) in [("af", "b"), ("a", "bf"), ("af", "bf")] {
        p.files.run(&format!("matmul --a {a}.npy --b {b}.npy --a-zero 4 --out y.npy")).ok();
        assert_eq!(p.files.read::<i32>("y.npy", (M, N)), expected);
    }
}

#[test]
fn signs() {
    let p = Product::new();
    let signed: Vec<i8> = p.a.iter().map(|&x| x as i8).collect();
    let unsigned: Vec<u8> = p.b.iter().map(|&x| x as u8).collect();
    p.files.write("ai.npy", &[M, K], &signed);
    p.files.write("bu.npy", &[K, N], &unsigned);
    let wide = |x: &[i8], y: &[u8]| -> (Vec<i32>, Vec<i32>) {
        (x.iter().map(|&x| x.into()).collect(), y.iter().map(|&y| y.into()).collect())
    };
    let (ai, au) = wide(&signed, &p.a);
    let (bi, bu) = wide(&p.b, &unsigned);
    for (a_name, a) in [("a", &au), ("ai", &ai)] {
        for (b_name, b) in [("b", &bi), ("bu", &bu)] {
            p.files.run(&format!("matmul --a {a_name}.npy --b {b_name}.npy --out y.npy")).ok();
            let sum = |i: usize, j: usize| (0..K).map(|k| a[i * K + k] * b[k * N + j]).sum();
            each(&p.files.read::<i32>("y.npy", (M, N)), sum);
        }
    }
}

#[test]
fn empty_matrices() {
    let files = Files::new();
    for (m, k, n) in [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0), (0, 0, 5), (5, 0, 0)] {
        files.write::<i8>("a.npy", &[m, k], &vec![1; m * k]);
        files.write::<u8>("b.npy", &[k, n], &vec![1; k * n]);
        files.write::<i32>("bias.npy", &[n], &vec![9; n]);
        files.run("matmul --a a.npy --b b.npy --bias bias.npy --a-zero 3 --out y.npy").ok();
        assert_eq!(files.read::<i32>("y.npy", (m, n)), vec![9; m * n]);
        files.run("matmul --a a.npy --b b.npy --bias bias.npy --out-type u8 --scale 2 --out y.npy").ok();
        assert_eq!(files.read::<u8>("y.npy", (m, n)), vec![18; m * n]);
        files.write_fortran::<i8>("a.npy", (m, k), &vec![1; m * k]);
        files.run("matmul --a a.npy --b b.npy --bias bias.npy --out-type f32 --scale 0.5 --out y.npy").ok();
        assert_eq!(files.read::<f32>("y.npy", (m, n)), vec![4.5; m * n]);
    }
}

#[test]
fn kernels_by_name() {
    let p = Product::new();
    let info: serde_json::Value = serde_json::from_str(&p.files.run("info --json").ok()).unwrap();
    for kernel in info["kernels"].as_array().unwrap() {
        for name in [&kernel["name"], &kernel["isa"]] {
            p.run(&format!("--a-zero 77 --kernel {}", name.as_str().unwrap()));
            each(&p.files.read::<i32>("y.npy", (M, N)), |i, j| p.sum(i, j, 77, 0) as i32);
        }
    }
}

/// Uncommon arguments that are right: more threads than cores, headers of version 2 and 3, big-endian vectors, an
/// output file that exists.
#[test]
fn uncommon_but_right() {
    let p = Product::new();
    p.run("--threads 64");
    let expected = p.files.read::<i32>("y.npy", (M, N));
    let v1 = std::fs::read(p.files.path("a.npy")).unwrap();
    for version in [2u8, 3] {
        let mut file = v1[..6].to_vec();
        file.extend([version, 0, v1[8], v1[9], 0, 0]);
        file.extend(&v1[10..]);
        p.files.write_bytes("a2.npy", &file);
        p.files.run("matmul --a a2.npy --b b.npy --out y.npy").ok();
        assert_eq!(p.files.read::<i32>("y.npy", (M, N)), expected);
    }
    p.files.write_raw(
        "big.npy",
        "{'shape': (1,), 'descr': '>i4', 'fortran_order': False}",
        &[0xff, 0xff, 0xff, 0x42],
    );
    p.run("--a-zero big.npy");
    each(&p.files.read::<i32>("y.npy", (M, N)), |i, j| p.sum(i, j, -190, 0) as i32);
    assert_eq!(p.files.names(), ["a.npy", "a2.npy", "b.npy", "big.npy", "y.npy"]);
}
