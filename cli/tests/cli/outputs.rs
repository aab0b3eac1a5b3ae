//! `qgemm matmul`: output stages, compared with their definition computed here.

use crate::product::{M, N, Product, each, round};
use crate::support::noise;

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

/// ReLU is a clamp at the zero point of the output, and holds together with `--clamp`.
#[test]
fn relu_of_bytes() {
    let p = Product::new();
    let value = |i, j, zero: i64, (lo, hi): (i64, i64)| {
        (round(p.sum(i, j, 128, 0) as f32 * 0.001) + zero).clamp(lo, hi)
    };
    let common = "--a-zero 128 --scale 0.001";
    p.run(&format!("{common} --out-type i8 --out-zero -10 --activation relu"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, -10, (-10, 127)) as i8);
    p.run(&format!("{common} --out-type u8 --out-zero 100 --activation relu --clamp -50,180"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, 100, (100, 180)) as u8);
    p.run(&format!("{common} --out-type u8 --out-zero 100 --activation relu --clamp 120,300"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, 100, (120, 255)) as u8);
    // A zero point below the type leaves nothing to limit.
    p.run(&format!("{common} --out-type u8 --out-zero -3 --activation relu"));
    each(&p.files.read::<u8>("y.npy", (M, N)), |i, j| value(i, j, -3, (0, 255)) as u8);
    // 6 / 0.08 is 75 steps.
    let relu6 = "--activation relu6 --activation-out 0.08,-10";
    p.run(&format!("{common} --out-type i8 --out-zero -10 {relu6}"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, -10, (-10, 65)) as i8);
    p.run(&format!("{common} --out-type i8 --out-zero -10 --clamp 0,90 {relu6}"));
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| value(i, j, -10, (0, 65)) as i8);
    // In any rounding: 0.75 * 2^-9 by an integer multiplier, half up.
    p.run("--a-zero 128 --out-type i8 --rounding single --scale 0.00146484375 --activation relu");
    each(&p.files.read::<i8>("y.npy", (M, N)), |i, j| {
        ((3 * p.sum(i, j, 128, 0) + 1024) >> 11).clamp(0, 127) as i8
    });
}

#[test]
fn activations_of_floats() {
    let p = Product::new();
    let common = "--a-zero 128 --out-type f32 --scale 0.0001";
    let x = |i, j| p.sum(i, j, 128, 0) as f32 * 0.0001;
    p.run(&format!("{common} --activation relu"));
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| if x(i, j) < 0.0 { 0.0 } else { x(i, j) });
    p.run(&format!("{common} --activation relu --clamp -1,2.5"));
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| x(i, j).clamp(0.0, 2.5));
    p.run(&format!("{common} --activation relu6 --clamp 0.5,inf"));
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| x(i, j).clamp(0.5, 6.0));
    for (name, f) in [
        ("gelu", qgemm::Activation::Gelu),
        ("gelu-tanh", qgemm::Activation::GeluTanh),
        ("silu", qgemm::Activation::Silu),
        ("sigmoid", qgemm::Activation::Sigmoid),
        ("tanh", qgemm::Activation::Tanh),
        ("hard-swish", qgemm::Activation::HardSwish),
    ] {
        p.run(&format!("{common} --activation {name} --clamp -3,9"));
        each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| f.apply(x(i, j).clamp(-3.0, 9.0)));
    }
}

#[test]
fn residuals_of_floats() {
    let p = Product::new();
    let residual: Vec<f32> = noise(9).map(|x| x as f32 / 1e6 - 8.0).take(M * N).collect();
    let bias: Vec<f32> = (0..N).map(|j| 0.1 * j as f32).collect();
    p.files.write("r.npy", &[M, N], &residual);
    p.files.write_fortran("rf.npy", (M, N), &residual.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    p.files.write("bias.npy", &[N], &bias);
    let common = "--a-zero 128 --out-type f32 --scale 0.0007";
    let scaled = |i, j| p.sum(i, j, 128, 0) as f32 * 0.0007;
    p.run(&format!("{common} --residual r.npy"));
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| scaled(i, j) + residual[i * N + j]);
    p.run(&format!("{common} --residual rf.npy --bias bias.npy --activation relu"));
    each(&p.files.read::<f32>("y.npy", (M, N)), |i, j| {
        (scaled(i, j) + bias[j] + residual[i * N + j]).clamp(0.0, f32::INFINITY)
    });
}
