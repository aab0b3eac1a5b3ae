//! oneDNN's products against plain loops, if the system has the library. With the environment variable
//! QGEMM_REQUIRE_ONEDNN it must have it.

use qgemm_onednn::{Elements, Error, OneDnn, Output, Problem, Product};

const M: usize = 5;
const K: usize = 70;
const N: usize = 19;

/// oneDNN; `None`, said aloud, where there is none.
fn onednn() -> Option<OneDnn> {
    match OneDnn::load() {
        Ok(library) => Some(library),
        Err(error @ Error::NotFound(_)) if std::env::var_os("QGEMM_REQUIRE_ONEDNN").is_none() => {
            println!("not tested: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Small values, whose products no instruction saturates.
fn operands() -> (Vec<u8>, Vec<i8>) {
    let a = (0..M * K).map(|i| (i * 37 % 101) as u8).collect();
    let b = (0..K * N).map(|i| (i * 91 % 113) as i8 - 56).collect();
    (a, b)
}

/// The exact sum of row i and column j, of A less its zero point.
fn sum(a: &[u8], b: &[i8], a_zero: i32, i: usize, j: usize) -> i32 {
    (0..K).map(|p| (i32::from(a[i * K + p]) - a_zero) * i32::from(b[p * N + j])).sum()
}

#[test]
fn sums() {
    let Some(mut library) = onednn() else { return };
    library.set_threads(1);
    let (a, b) = operands();
    let signed: Vec<i8> = a.iter().map(|a| *a as i8).collect();
    for a_of_type in [Elements::U8(&a), Elements::I8(&signed)] {
        let problem = Problem { m: M, k: K, n: N, a: a_of_type, b: &b, output: None };
        let mut product = Product::new(&library, &problem).unwrap();
        // Twice, as it is measured.
        for _ in 0..2 {
            product.run().unwrap();
            for i in 0..M {
                for j in 0..N {
                    assert_eq!(product.sums()[i * N + j], sum(&a, &b, 0, i, j), "{i}, {j}");
                }
            }
        }
        assert!(!product.implementation().is_empty());
    }
    assert!(library.version().starts_with(['2', '3']));
}

#[test]
fn outputs_of_8_bits() {
    let Some(library) = onednn() else { return };
    let (a, b) = operands();
    // Powers of two, so that scales round nothing.
    let scales: Vec<f32> = (0..N).map(|j| if j % 2 == 0 { 1.0 / 256.0 } else { 1.0 / 1024.0 }).collect();
    let (a_zero, c_zero) = (3, 100);
    let output = Output { scales: &scales, a_zero, c_zero };
    let problem = Problem { m: M, k: K, n: N, a: Elements::U8(&a), b: &b, output: Some(output) };
    let mut product = Product::new(&library, &problem).unwrap();
    product.run().unwrap();
    let got = product.bytes();
    assert_eq!(got.len(), M * N);
    for i in 0..M {
        for j in 0..N {
            let scaled = sum(&a, &b, a_zero, i, j) as f32 * scales[j];
            let want = (scaled.round_ties_even() as i32 + c_zero).clamp(0, 255);
            assert_eq!(i32::from(got[i * N + j]), want, "{i}, {j}");
        }
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let Some(library) = onednn() else { return };
    let (a, b) = operands();
    let right = Problem { m: M, k: K, n: N, a: Elements::U8(&a), b: &b, output: None };
    let output = Some(Output { scales: &[1.0], a_zero: 0, c_zero: 0 });
    for (name, wrong) in [
        ("a", Problem { a: Elements::U8(&a[1..]), ..right }),
        ("b", Problem { b: &b[1..], ..right }),
        ("scales", Problem { output, ..right }),
    ] {
        let error = Product::new(&library, &wrong).err().unwrap();
        assert!(matches!(error, Error::Length(of) if of == name), "{name}: {error}");
    }
}
