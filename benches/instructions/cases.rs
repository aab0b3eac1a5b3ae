//! The calls that are counted, all on AVX2 kernels: valgrind knows no wider instruction set.

use qgemm::{Dispatch, ElementType, Error, Gemm, MatMut, MatRef, PackedB, Requantize, reference};

/// A call with its shape: M, K and N of a product, K and N of packing.
#[derive(Clone, Copy)]
pub enum Case {
    /// u8 x i8 with i32 output.
    Sums([usize; 3]),
    /// u8 x i8 with u8 output by scales per column, with zero points.
    Requantize([usize; 3]),
    /// Packing of a row-major B.
    Pack([usize; 2]),
    /// Packing of a B given as its transpose.
    PackTransposed([usize; 2]),
}

/// Products so small that the overhead of the call shows; packing of small and large matrices.
pub const CASES: [Case; 8] = [
    Case::Sums([1, 16, 16]),
    Case::Sums([16, 16, 16]),
    Case::Requantize([16, 16, 16]),
    Case::Sums([64, 64, 64]),
    Case::Pack([64, 64]),
    Case::PackTransposed([64, 64]),
    Case::Pack([768, 768]),
    Case::PackTransposed([768, 768]),
];

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Case::Sums([m, k, n]) => write!(f, "u8s8s32/{m}x{k}x{n}"),
            Case::Requantize([m, k, n]) => write!(f, "u8s8u8_zp/{m}x{k}x{n}"),
            Case::Pack([k, n]) => write!(f, "pack/{k}x{n}"),
            Case::PackTransposed([k, n]) => write!(f, "pack_transposed/{k}x{n}"),
        }
    }
}

impl Case {
    /// Makes the call once, makes it again through `counted`, and checks the result.
    ///
    /// # Errors
    /// Those of the library.
    ///
    /// # Panics
    /// If the result is wrong.
    pub fn run(self, counted: fn(&mut dyn FnMut())) -> Result<(), Error> {
        let dispatch = Dispatch::named("avx2")?;
        let [m, k, n] = match self {
            Case::Sums(shape) | Case::Requantize(shape) => shape,
            Case::Pack([k, n]) | Case::PackTransposed([k, n]) => [1, k, n],
        };
        // Values over the full range. The counts hardly depend on them.
        let a: Vec<u8> = (0..m * k).map(|i| (i * 89 % 256) as u8).collect();
        let b: Vec<i8> = (0..k * n).map(|i| (i * 97 % 251) as u8 as i8).collect();
        let view = match self {
            Case::PackTransposed(_) => MatRef::col_major(&b, k, n)?,
            _ => MatRef::row_major(&b, k, n)?,
        };
        let pack = || PackedB::pack_with(&dispatch, view, ElementType::U8);
        let packed = pack()?;
        let product = Gemm::new(MatRef::row_major(&a, m, k)?, &packed);
        match self {
            Case::Sums(_) => {
                let (mut c, mut want) = (vec![0i32; m * n], vec![0i32; m * n]);
                reference::run_i32(&product, MatMut::row_major(&mut want, m, n)?)?;
                let mut run = || product.run_i32(MatMut::row_major(&mut c, m, n)?);
                run()?;
                counted(&mut || run().expect("the first run succeeded"));
                assert!(c == want, "{self}: a wrong result");
            }
            Case::Requantize(_) => {
                let (mut c, mut want) = (vec![0u8; m * n], vec![0u8; m * n]);
                let scales: Vec<f32> = (0..n).map(|j| 1e-3 + j as f32 * 1e-5).collect();
                let (product, stage) = (product.a_zero(110), Requantize::new(&scales, 128)?);
                reference::run_requantized(&product, MatMut::row_major(&mut want, m, n)?, stage)?;
                let mut run = || product.run_requantized(MatMut::row_major(&mut c, m, n)?, stage);
                run()?;
                counted(&mut || run().expect("the first run succeeded"));
                assert!(c == want, "{self}: a wrong result");
            }
            Case::Pack(_) | Case::PackTransposed(_) => {
                for (i, j) in (0..k).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    assert_eq!(packed.get(i, j), view.get(i, j).map(|&b| b.into()), "{self}: ({i}, {j})");
                }
                counted(&mut || drop(pack().expect("the first run succeeded")));
            }
        }
        Ok(())
    }
}
