//! Products of every path, made ahead.

use qgemm::*;

/// The types of outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Output {
    I32,
    Accumulate,
    Bytes,
    F32,
}

pub const OUTPUTS: [Output; 4] = [Output::I32, Output::Accumulate, Output::Bytes, Output::F32];

/// Which paths a product takes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    /// M, N and K.
    pub shape: (usize, usize, usize),
    /// A of the type that B was not packed for: kernels of 8-bit operands convert it.
    pub other_type: bool,
    /// Sums of more than 32 bits.
    pub wide: bool,
    /// A zero point per row and column.
    pub each: bool,
    /// B as it comes.
    pub one_shot: bool,
    /// Column-major A and C: gathered, and stored through a buffer.
    pub columns: bool,
    /// Rows of A gathered, here in reverse order.
    pub gathered: bool,
}

pub fn paths(shape: (usize, usize, usize), deep: (usize, usize, usize)) -> Vec<Path> {
    let plain = Path { shape, ..Path::default() };
    let split = Path { shape: deep, ..plain };
    vec![
        plain,
        Path { other_type: true, each: true, ..plain },
        Path { wide: true, ..plain },
        Path { each: true, columns: true, ..plain },
        Path { one_shot: true, ..plain },
        Path { one_shot: true, columns: true, each: true, wide: true, ..plain },
        split,
        Path { other_type: true, wide: true, each: true, ..split },
        Path { columns: true, ..split },
        Path { gathered: true, other_type: true, ..plain },
        Path { gathered: true, ..split },
    ]
}

/// All that a product needs, made ahead.
pub struct Product {
    pub path: Path,
    pub a: Vec<u8>,
    /// The numbers of its rows, in reverse order.
    pub reversed: Vec<u32>,
    pub a_zero: Vec<i32>,
    pub b: Vec<i8>,
    pub b_zero: Vec<i32>,
    pub packed: PackedB,
    pub dispatch: Dispatch,
}

/// The outputs of a product: one for each thread that runs it.
pub struct Stores {
    pub sums: Vec<i32>,
    pub bytes: Vec<i8>,
    pub reals: Vec<f32>,
}

impl Product {
    pub fn new(kernel: KernelInfo, path: Path) -> Self {
        let (m, n, k) = path.shape;
        let value = |i: usize| (i.wrapping_mul(2_654_435_761) >> 16) as u8;
        let dispatch = Dispatch::named(kernel.name).unwrap();
        let b: Vec<i8> = (0..k * n).map(|i| value(i) as i8).collect();
        let view = MatRef::row_major(&b, k, n).unwrap();
        let packed_for = if path.other_type { ElementType::I8 } else { ElementType::U8 };
        let packed = PackedB::pack_with(&dispatch, view, packed_for).unwrap();
        let far = if path.wide { i32::MIN } else { 100 };
        Self {
            path,
            a: (0..m * k).map(|i| value(i + 7)).collect(),
            reversed: (0..m as u32).rev().collect(),
            a_zero: (0..m as i32).map(|i| i.wrapping_add(far)).collect(),
            b_zero: (0..n as i32).collect(),
            b,
            packed,
            dispatch,
        }
    }

    pub fn stores(&self) -> Stores {
        let len = self.path.shape.0 * self.path.shape.1;
        Stores { sums: vec![0; len], bytes: vec![0; len], reals: vec![0.0; len] }
    }

    pub fn run(&self, output: Output, stores: &mut Stores) {
        let Path { shape: (m, n, k), each, one_shot, columns, gathered, .. } = self.path;
        let a = if columns { MatRef::col_major(&self.a, m, k) } else { MatRef::row_major(&self.a, m, k) };
        let a = match gathered {
            true => Gather::new(a.unwrap(), &self.reversed, 1).unwrap().into(),
            false => Lhs::from(a.unwrap()),
        };
        let b = MatRef::row_major(&self.b, k, n).unwrap();
        let b = if one_shot { Rhs::from(b) } else { Rhs::from(&self.packed) };
        let gemm = Gemm::new(a, b).dispatch(&self.dispatch).threads(Threads::ALL.eager());
        let gemm = match each {
            true => gemm.a_zero(&self.a_zero).b_zero(&self.b_zero),
            false => gemm.a_zero(self.a_zero[0]).b_zero(3),
        };
        fn view<T>(c: &mut [T], m: usize, n: usize, columns: bool) -> MatMut<'_, T> {
            if columns { MatMut::col_major(c, m, n) } else { MatMut::row_major(c, m, n) }.unwrap()
        }
        match output {
            Output::I32 => gemm.run_i32(view(&mut stores.sums, m, n, columns)),
            Output::Accumulate => gemm.accumulate_i32(view(&mut stores.sums, m, n, columns)),
            Output::Bytes => {
                let stage = Requantize::new(1e-4, 3).unwrap();
                gemm.run_requantized(view(&mut stores.bytes, m, n, columns), stage)
            }
            Output::F32 => {
                gemm.run_f32(view(&mut stores.reals, m, n, columns), Dequantize::new(0.1).unwrap())
            }
        }
        .unwrap();
    }
}

/// All kernels of this CPU; at a small `QGEMM_TEST_SCALE`, one of each kind: 16-bit, and the best.
pub fn kernels() -> Vec<KernelInfo> {
    let mut kernels = Dispatch::available();
    let scale = std::env::var("QGEMM_TEST_SCALE").map_or(100, |percent| percent.parse().unwrap());
    let best = kernels.last().unwrap().name;
    kernels.retain(|kernel| scale >= 50 || kernel.isa == Isa::Portable || kernel.name == best);
    kernels
}
