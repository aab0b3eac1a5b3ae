//! `qgemm groupwise`: products of group-wise weights, compared bit by bit with those computed here.

use crate::support::{Files, header, noise};
use qgemm::half::f16;

const M: usize = 7;
const K: usize = 70;
const N: usize = 35;

/// Activations and weights in files.
struct Product {
    files: Files,
    a: Vec<f32>,
    /// K x N values.
    b: Vec<i32>,
    bits: u32,
    group: usize,
    /// groups x N.
    scales: Vec<f32>,
    zeros: Vec<i32>,
    bias: Vec<f32>,
}

/// The ways in which activations are quantized.
#[derive(Clone, Copy)]
enum Per {
    Group,
    Row,
    RowAsymmetric,
}

const WAYS: [(&str, Per); 3] =
    [("group", Per::Group), ("row", Per::Row), ("row-asymmetric", Per::RowAsymmetric)];

fn reals(seed: u32, len: usize, most: f32) -> Vec<f32> {
    noise(seed).map(|x| (x as f32 / (1 << 23) as f32 - 1.0) * most).take(len).collect()
}

impl Product {
    /// Weights of `bits` bits in uint8, in groups of `group` rows, all in files.
    fn new(bits: u32, group: usize) -> Self {
        let groups = K.div_ceil(group);
        let codes =
            |seed, len| -> Vec<i32> { noise(seed).map(|x| (x % (1 << bits)) as i32).take(len).collect() };
        let p = Self {
            files: Files::new(),
            a: reals(1, M * K, 3.0),
            b: codes(2, K * N),
            bits,
            group,
            scales: reals(3, groups * N, 0.25),
            zeros: codes(4, groups * N),
            bias: reals(5, N, 2.0),
        };
        p.files.write("a.npy", &[M, K], &p.a);
        p.files.write("b.npy", &[K, N], &bytes(&p.b));
        p.files.write("scales.npy", &[groups, N], &p.scales);
        p.files.write("zeros.npy", &[groups, N], &bytes(&p.zeros));
        p.files.write("bias.npy", &[N], &p.bias);
        p
    }

    fn run(&self, rest: &str) -> Vec<u32> {
        let Self { bits, group, .. } = self;
        let line = format!("groupwise --a a.npy --bits {bits} --group {group} --out y.npy {rest}");
        self.files.run(&line).ok();
        self.files.read::<f32>("y.npy", (M, N)).into_iter().map(f32::to_bits).collect()
    }

    /// Y by its definition.
    fn expected(&self, per: Per, zero: impl Fn(usize, usize) -> i32, with_bias: bool) -> Vec<u32> {
        let mut y = Vec::new();
        for a in self.a.chunks(K) {
            let part = if let Per::Group = per { self.group } else { K };
            let parts: Vec<_> = a.chunks(part).map(|part| quantize(part, per)).collect();
            let scale = |k: usize| parts[k / part].0;
            let q: Vec<i64> = parts.iter().flat_map(|(_, q)| q).copied().collect();
            for j in 0..N {
                let mut sum = 0f32;
                for first in (0..K).step_by(self.group) {
                    let g = first / self.group;
                    let rows = first..K.min(first + self.group);
                    let exact: i64 = rows.map(|k| q[k] * i64::from(self.b[k * N + j] - zero(g, j))).sum();
                    let of_b = self.scales[g * N + j];
                    let factor = if let Per::Group = per { scale(first) * of_b } else { of_b };
                    sum = (exact as f32).mul_add(factor, sum);
                }
                if !matches!(per, Per::Group) {
                    sum *= scale(0);
                }
                y.push(if with_bias { sum + self.bias[j] } else { sum }.to_bits());
            }
        }
        y
    }
}

fn bytes(values: &[i32]) -> Vec<u8> {
    values.iter().map(|&x| x as u8).collect()
}

/// The scale of some activations, and their integers less the zero point.
fn quantize(x: &[f32], per: Per) -> (f32, Vec<i64>) {
    let (lo, hi) = x.iter().fold((0f32, 0f32), |(lo, hi), &x| (lo.min(x), hi.max(x)));
    let (scale, range) = match per {
        Per::RowAsymmetric => ((hi - lo) / 255.0, (0, 255)),
        _ => (hi.max(-lo) / 127.0, (-127, 127)),
    };
    let zero = if let Per::RowAsymmetric = per { (-lo / scale).round_ties_even() as i64 } else { 0 };
    let integer = |x: &f32| ((x / scale).round_ties_even() as i64 + zero).clamp(range.0, range.1) - zero;
    (scale, x.iter().map(integer).collect())
}

#[test]
fn products() {
    for (bits, group) in [(4, 32), (8, 16), (4, 64), (8, 200), (4, 8)] {
        let p = Product::new(bits, group);
        for (name, per) in WAYS {
            let got = p.run(&format!("--b b.npy --scales scales.npy --activations {name}"));
            let middle = 1 << (bits - 1);
            assert_eq!(got, p.expected(per, |_, _| middle, false), "{bits} bits, {group}, {name}");
            let rest = format!(
                "--b b.npy --scales scales.npy --zeros zeros.npy --bias bias.npy --threads 2 --activations {name}"
            );
            let got = p.run(&rest);
            assert_eq!(got, p.expected(per, |g, j| p.zeros[g * N + j], true), "{bits} bits, {group}, {name}");
        }
        // Scales per row and group are the default.
        let got = p.run("--b b.npy --scales scales.npy");
        assert_eq!(got, p.expected(Per::Group, |_, _| 1 << (bits - 1), false));
    }
}

/// Values of int8 have the zero point 0 if none is given.
#[test]
fn signed_values() {
    for bits in [4, 8] {
        let mut p = Product::new(bits, 32);
        let middle = 1 << (bits - 1);
        p.b.iter_mut().chain(&mut p.zeros).for_each(|x| *x -= middle);
        let signed = |values: &[i32]| values.iter().map(|&x| x as i8).collect::<Vec<_>>();
        p.files.write("b.npy", &[K, N], &signed(&p.b));
        p.files.write("zeros.npy", &[K.div_ceil(32), N], &signed(&p.zeros));
        let got = p.run("--b b.npy --scales scales.npy");
        assert_eq!(got, p.expected(Per::Group, |_, _| 0, false));
        let got = p.run("--b b.npy --scales scales.npy --zeros zeros.npy");
        assert_eq!(got, p.expected(Per::Group, |g, j| p.zeros[g * N + j], false));
    }
}

#[test]
fn half_precision_scales() {
    let mut p = Product::new(4, 32);
    let halves: Vec<f16> = p.scales.iter().map(|&x| f16::from_f32(x)).collect();
    p.scales = halves.iter().map(|x| x.to_f32()).collect();
    let (groups, expected) = (K.div_ceil(32), p.expected(Per::Group, |_, _| 8, false));
    let little: Vec<u8> = halves.iter().flat_map(|x| x.to_le_bytes()).collect();
    p.files.write_raw("half.npy", &header("<f2", false, &[groups, N]), &little);
    assert_eq!(p.run("--b b.npy --scales half.npy"), expected);
    let big: Vec<u8> = halves.iter().flat_map(|x| x.to_be_bytes()).collect();
    p.files.write_raw("half.npy", &header(">f2", false, &[groups, N]), &big);
    assert_eq!(p.run("--b b.npy --scales half.npy"), expected);
}

/// Files that hold columns one after another, as numpy writes a transpose, and activations of float64.
#[test]
fn other_layouts() {
    let p = Product::new(4, 32);
    let groups = K.div_ceil(32);
    p.files.write_fortran("bf.npy", (K, N), &bytes(&p.b));
    p.files.write_fortran("sf.npy", (groups, N), &p.scales);
    p.files.write_fortran("zf.npy", (groups, N), &bytes(&p.zeros));
    let wide: Vec<f64> = p.a.iter().map(|&x| x.into()).collect();
    p.files.write_fortran("a.npy", (M, K), &wide);
    let got = p.run("--b bf.npy --scales sf.npy --zeros zf.npy");
    assert_eq!(got, p.expected(Per::Group, |g, j| p.zeros[g * N + j], false));
}

#[test]
fn kernels_by_name() {
    let p = Product::new(4, 32);
    let expected = p.expected(Per::Group, |_, _| 8, false);
    let info: serde_json::Value = serde_json::from_str(&p.files.run("info --json").ok()).unwrap();
    let names = |list: &str| -> Vec<String> {
        let kernels = info[list].as_array().unwrap().iter();
        kernels
            .flat_map(|kernel| [&kernel["name"], &kernel["isa"]])
            .map(|x| x.as_str().unwrap().into())
            .collect()
    };
    for name in names("kernels").into_iter().chain(names("groupwise_kernels")) {
        assert_eq!(p.run(&format!("--b b.npy --scales scales.npy --kernel {name}")), expected, "{name}");
    }
}

#[test]
fn empty_matrices() {
    let files = Files::new();
    for (m, k, n) in [(0, 32, 4), (3, 0, 4), (3, 32, 0), (0, 0, 0)] {
        files.write::<f32>("a.npy", &[m, k], &vec![1.0; m * k]);
        files.write::<u8>("b.npy", &[k, n], &vec![9; k * n]);
        files.write::<f32>("s.npy", &[k.div_ceil(16), n], &vec![1.0; k.div_ceil(16) * n]);
        files.write::<f32>("bias.npy", &[n], &vec![2.5; n]);
        let line =
            "groupwise --a a.npy --b b.npy --bits 4 --group 16 --scales s.npy --bias bias.npy --out y.npy";
        files.run(line).ok();
        assert_eq!(files.read::<f32>("y.npy", (m, n)), vec![2.5; m * n]);
    }
}
