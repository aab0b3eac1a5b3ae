//! The promise in one number: the same integers in give the same integers out, everywhere.
//!
//! 200 seeded cases of every output type, hashed. The digest is committed: each kernel on each CPU, with
//! any number of threads, has to arrive at it, and so has the oracle.

use qgemm::{
    Caches, Dequantize, Dispatch, ElementType, Gemm, MatMut, MatRef, Operand, PackedB, Requantize, reference,
};
use sha2::{Digest, Sha256};

const CASES: u32 = 200;
const DIGEST: &str = "c49631291016b4e60779d73511b38256ab87666aaae23dfd7df971eb84e3f1d6";

/// Numbers from a seed, the same on every machine.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    pub fn below(&mut self, n: u32) -> usize {
        (self.next() % n) as usize
    }

    pub fn flip(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn zeros(&mut self, len: usize) -> Vec<i32> {
        let wide = self.flip();
        (0..len).map(|_| if wide { self.next() as i32 >> 6 } else { self.below(512) as i32 - 256 }).collect()
    }
}

/// What multiplies: a packed B of this dispatch, or the oracle.
#[derive(Clone, Copy)]
pub enum With<'a> {
    Kernels(&'a Dispatch),
    Reference,
}

fn hash_case(seed: u32, with: With<'_>, hash: &mut Sha256) {
    let r = &mut Numbers(u64::from(seed) * 7919 + 1);
    // Every fourth case has a dimension beyond a block of the widest tile.
    let limit = if seed.is_multiple_of(4) { 150 } else { 40 };
    let (m, k, n) = (r.below(limit), r.below(limit), r.below(limit));
    // Some weights are small, so that kernels which need a proof run.
    let span = [256, 256, 128, 32, 8][r.below(5)];
    let a: Vec<u8> = (0..m * k).map(|_| r.next() as u8).collect();
    let b: Vec<u8> =
        (0..k * n).map(|_| (r.next() % span) as u8).map(|w| w.wrapping_sub(span as u8 / 2)).collect();
    let signed = [r.flip(), r.flip()];
    let [a, b] =
        [(&a, m, k, signed[0]), (&b, k, n, signed[1])].map(|(bits, rows, cols, signed)| -> Operand<'_> {
            match signed {
                true => MatRef::row_major(bytemuck::cast_slice::<u8, i8>(bits), rows, cols).unwrap().into(),
                false => MatRef::row_major(bits.as_slice(), rows, cols).unwrap().into(),
            }
        });
    let packed;
    let product = match with {
        With::Reference => Gemm::new(a, b),
        With::Kernels(dispatch) => {
            let activations = if r.flip() { ElementType::I8 } else { ElementType::U8 };
            packed = PackedB::pack_with(dispatch, b, activations).unwrap();
            Gemm::new(a, &packed).threads(qgemm::Threads::ALL.eager())
        }
    };
    let r = &mut Numbers(u64::from(seed) * 104_729 + 3);
    let (a_zeros, b_zeros, bias) = (r.zeros(m), r.zeros(n), r.zeros(n));
    let product = match r.below(4) {
        0 => product,
        1 => product.a_zero(r.next() as i32 % 1000).b_zero(-300),
        2 => product.a_zero(&a_zeros).b_zero(7),
        _ => product.a_zero(&a_zeros).b_zero(&b_zeros),
    };
    let product = if r.flip() { product.bias(&bias) } else { product };
    let scales: Vec<f32> = (0..n).map(|_| (8 + r.below(8)) as f32 / (1 << r.below(24)) as f32).collect();
    let zero = r.below(300) as i32 - 150;
    let requantize = if r.flip() { Requantize::new(&scales, zero) } else { Requantize::new(0.01, zero) };
    let requantize = requantize.unwrap().clamp_to(-100, 200);
    let bias: Vec<f32> = bias.iter().map(|&b| b as f32 / 64.0).collect();
    let dequantize = Dequantize::new(&scales).unwrap();
    let dequantize = if r.flip() { dequantize.bias(&bias) } else { dequantize };

    let (mut sums, mut bytes, mut signed, mut reals) =
        (vec![0x0123_4567i32; m * n], vec![0u8; m * n], vec![0i8; m * n], vec![0f32; m * n]);
    let c = MatMut::row_major(&mut sums, m, n).unwrap();
    let done = match (with, seed % 5) {
        (With::Kernels(_), 0) => product.run_i32(c),
        (With::Kernels(_), 1) => product.accumulate_i32(c),
        (With::Kernels(_), 2) => {
            product.run_requantized(MatMut::row_major(&mut bytes, m, n).unwrap(), requantize)
        }
        (With::Kernels(_), 3) => {
            product.run_requantized(MatMut::row_major(&mut signed, m, n).unwrap(), requantize)
        }
        (With::Kernels(_), _) => product.run_f32(MatMut::row_major(&mut reals, m, n).unwrap(), dequantize),
        (With::Reference, 0) => reference::run_i32(&product, c),
        (With::Reference, 1) => reference::accumulate_i32(&product, c),
        (With::Reference, 2) => {
            reference::run_requantized(&product, MatMut::row_major(&mut bytes, m, n).unwrap(), requantize)
        }
        (With::Reference, 3) => {
            reference::run_requantized(&product, MatMut::row_major(&mut signed, m, n).unwrap(), requantize)
        }
        (With::Reference, _) => {
            reference::run_f32(&product, MatMut::row_major(&mut reals, m, n).unwrap(), dequantize)
        }
    };
    done.unwrap();
    for sum in &sums {
        hash.update(sum.to_le_bytes());
    }
    hash.update(&bytes);
    hash.update(bytemuck::cast_slice::<i8, u8>(&signed));
    for real in &reals {
        hash.update(real.to_bits().to_le_bytes());
    }
}

fn digest(with: With<'_>) -> String {
    let mut hash = Sha256::new();
    (0..CASES).for_each(|seed| hash_case(seed, with, &mut hash));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_oracle_has_the_committed_digest() {
    assert_eq!(digest(With::Reference), DIGEST);
}

#[test]
fn every_kernel_has_the_committed_digest() {
    for kernel in Dispatch::available() {
        let dispatch = Dispatch::named(kernel.name).unwrap();
        assert_eq!(digest(With::Kernels(&dispatch)), DIGEST, "{}", kernel.name);
        println!("\nDIGEST {} {DIGEST}", kernel.name);
    }
}

#[test]
fn every_size_of_caches_has_the_committed_digest() {
    for (l1d, l2, l3) in [(1, 1, 0), (usize::MAX, usize::MAX, usize::MAX)] {
        let dispatch = Dispatch::auto().unwrap().clone().with_caches(Caches { l1d, l2, l3 });
        assert_eq!(dispatch.caches().l2, l2);
        assert_eq!(digest(With::Kernels(&dispatch)), DIGEST, "{l2}");
    }
}

#[cfg(feature = "rayon")]
#[test]
fn every_number_of_threads_has_the_committed_digest() {
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let digest = pool.install(|| digest(With::Kernels(Dispatch::auto().unwrap())));
        assert_eq!(digest, DIGEST, "{threads} threads");
    }
}
