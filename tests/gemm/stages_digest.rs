//! The promise of `digest` for the rest of the output stage: scales by row, fixed point, tables (and with them
//! the library's own exp, tanh and erfc), residuals, clamped f32. 200 seeded cases and one committed digest.

use crate::digest::{Numbers, With};
use qgemm::{
    Activation, Dequantize, Dispatch, ElementType, Gemm, Int8Element, MatMut, MatRef, Multiplier,
    Multipliers, PackedB, QuantParams, Requantize, Rounding, Scale, Table, reference,
};
use sha2::{Digest, Sha256};

const CASES: u32 = 200;
const DIGEST: &str = "13cbdf2d3d5e82d04061bb13f91983836d04cb66e66ae3ca0922af4c18ea36e2";

fn scale<'a>(r: &mut Numbers, rows: &'a [f32], columns: &'a [f32]) -> Scale<'a> {
    match r.below(3) {
        0 => Scale::PerRow(rows),
        1 => Scale::RowsByColumns { rows, columns },
        _ => Scale::PerColumn(columns),
    }
}

fn table<T: Int8Element>(r: &mut Numbers) -> Table<T> {
    let activation = Activation::ALL[r.below(6)];
    let mut params = |scale: f32| {
        let scale = scale * (1 + r.below(1000)) as f32 / 1000.0;
        QuantParams { scale, zero_point: r.below(100) as i32 - 50 }
    };
    Table::activation(activation, params(0.1), params(0.05)).unwrap()
}

/// 8-bit results of type T, hashed.
fn hash_bytes<T: Int8Element + Default>(
    r: &mut Numbers,
    product: &Gemm<'_>,
    (m, n): (usize, usize),
    scale: Scale<'_>,
    with: With<'_>,
    hash: &mut Sha256,
) {
    let zero = r.below(300) as i32 - 150;
    let spread = 12 + r.below(6) as i32;
    let multipliers: Vec<_> = (0..n)
        .map(|_| {
            Multiplier::new(1 << 30 | r.next() as i32 & 0x3fff_ffff, r.below(6) as i32 - spread).unwrap()
        })
        .collect();
    let far = Multiplier::from_real(f64::from(r.below(1 << 20) as u32)).unwrap();
    let rounding = [Rounding::Gemmlowp, Rounding::Ruy, Rounding::Single, Rounding::Reference][r.below(4)];
    let residual: Vec<u8> = (0..m * n).map(|_| r.next() as u8).collect();
    let signed: &[i8] = bytemuck::cast_slice(&residual);
    let output = match r.below(4) {
        0 => Requantize::new(scale, zero),
        1 => Requantize::fixed_point(&multipliers, rounding, zero),
        2 => Requantize::fixed_point(Multipliers::PerTensor(far), rounding, zero),
        _ => {
            let output = Requantize::new(scale, zero).unwrap();
            let factor = r.below(2000) as f32 / 1000.0;
            if r.flip() {
                Ok(output.residual(MatRef::row_major(&residual, m, n).unwrap(), factor, 130))
            } else {
                Ok(output.residual(MatRef::col_major(signed, m, n).unwrap(), factor, -9))
            }
        }
    };
    let output = output.unwrap().clamp_to(-120, 250);
    let table = table::<T>(r);
    let output = if r.flip() { output.table(&table) } else { output };
    let mut c = vec![T::default(); m * n];
    let view = MatMut::row_major(&mut c, m, n).unwrap();
    match with {
        With::Kernels(_) => product.run_requantized(view, output).unwrap(),
        With::Reference => reference::run_requantized(product, view, output).unwrap(),
    }
    hash.update(c.iter().map(|c| c.to_bits()).collect::<Vec<_>>());
}

fn hash_case(seed: u32, with: With<'_>, hash: &mut Sha256) {
    let r = &mut Numbers(u64::from(seed) * 15_485_863 + 5);
    let limit = if seed.is_multiple_of(4) { 150 } else { 40 };
    let (m, k, n) = (r.below(limit), r.below(limit), r.below(limit));
    let a: Vec<u8> = (0..m * k).map(|_| r.next() as u8).collect();
    let b: Vec<i8> = (0..k * n).map(|_| r.next() as i8).collect();
    let (a_zeros, bias) = (r.zeros(m), r.zeros(n));
    let (a, b) = (MatRef::row_major(&a, m, k).unwrap(), MatRef::row_major(&b, k, n).unwrap());
    let packed;
    let product = match with {
        With::Reference => Gemm::new(a, b),
        With::Kernels(dispatch) => {
            packed = PackedB::pack_with(dispatch, b, ElementType::U8).unwrap();
            Gemm::new(a, &packed).threads(qgemm::Threads::ALL.eager())
        }
    };
    let product = if r.flip() { product.a_zero(&a_zeros).b_zero(3) } else { product.a_zero(120) };
    let product = if r.flip() { product.bias(&bias) } else { product };
    let mut factors = |len| -> Vec<f32> {
        (0..len).map(|_| (1000 + r.below(1000)) as f32 / (1 << (9 + r.below(5))) as f32 / 100.0).collect()
    };
    let (rows, columns) = (factors(m), factors(n));
    let scale = scale(r, &rows, &columns);
    match seed % 5 {
        0 => {
            let limits = (-(r.below(5000) as f32), r.below(5000) as f32 / 7.0);
            let output = Dequantize::new(scale).unwrap().bias(&columns).clamp_to(limits.0, limits.1);
            let mut c = vec![0f32; m * n];
            let view = MatMut::row_major(&mut c, m, n).unwrap();
            match with {
                With::Kernels(_) => product.run_f32(view, output).unwrap(),
                With::Reference => reference::run_f32(&product, view, output).unwrap(),
            }
            c.iter().for_each(|real| hash.update(real.to_bits().to_le_bytes()));
        }
        1 | 2 => hash_bytes::<i8>(r, &product, (m, n), scale, with, hash),
        _ => hash_bytes::<u8>(r, &product, (m, n), scale, with, hash),
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
