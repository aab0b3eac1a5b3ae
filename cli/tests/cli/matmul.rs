//! `qgemm matmul`: sums, zero points and layouts, compared with sums computed here.

use crate::product::{K, M, N, Product, each};
use crate::support::Files;

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
