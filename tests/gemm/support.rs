//! Matrices in every layout, filled from a seed, and the number of cases.

use qgemm::{Dispatch, KernelInfo, MatMut, MatRef};

/// Rows of a B that no memory holds once it is packed, eight columns wide at least: 2^55 bytes, which are refused
/// when they are asked for; in 32 bits, 2^31, which nobody may ask for.
pub const ENDLESS: usize = if usize::BITS == 64 { 1 << (usize::BITS - 12) } else { 1 << (usize::BITS - 4) };

/// `QGEMM_TEST_SCALE`: how many percent of the cases to run.
pub fn scale() -> usize {
    match std::env::var("QGEMM_TEST_SCALE") {
        Ok(percent) => percent.parse().expect("QGEMM_TEST_SCALE must be a whole number of percent"),
        Err(_) => 100,
    }
}

/// That many cases at 100 percent, at least one.
pub fn cases(full: usize) -> usize {
    (full * scale() / 100).max(1)
}

/// Proptest with that many cases. A failure prints its whole case, so no file remembers it.
pub fn config(full: usize) -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        cases: cases(full) as u32,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}

/// Every kernel that runs here, as a dispatch of its own.
pub fn each_kernel() -> Vec<(KernelInfo, Dispatch)> {
    let alone = |kernel: KernelInfo| (kernel, Dispatch::named(kernel.name).expect("it is available"));
    Dispatch::available().into_iter().map(alone).collect()
}

/// The same, for products that take an emulator seconds: there the best one is enough.
pub fn each_kernel_or_best() -> Vec<(KernelInfo, Dispatch)> {
    let mut kernels = each_kernel();
    if scale() < 10 {
        kernels.drain(..kernels.len() - 1);
    }
    kernels
}

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// What an element can be: i8 and u8 as operands, those and i32 and f32 as outputs.
pub trait Element: Copy + PartialEq + std::fmt::Debug {
    /// From the low bits of a random number.
    fn from_random(bits: u64) -> Self;
    /// Whether it is the same, bit for bit; all NaNs are alike.
    fn same(self, other: Self) -> bool {
        self == other
    }
}

impl Element for i8 {
    fn from_random(bits: u64) -> Self {
        bits as i8
    }
}

impl Element for u8 {
    fn from_random(bits: u64) -> Self {
        bits as u8
    }
}

impl Element for i32 {
    fn from_random(bits: u64) -> Self {
        bits as i32
    }
}

impl Element for f32 {
    fn from_random(bits: u64) -> Self {
        bits as i16 as f32
    }
    fn same(self, other: Self) -> bool {
        self.to_bits() == other.to_bits() || self.is_nan() && other.is_nan()
    }
}

/// An operand's element, and the extremes of its type.
pub trait Byte: Element + qgemm::Int8Element + Into<i64> {
    const MIN: Self;
    const MAX: Self;
}

impl Byte for i8 {
    const MIN: Self = i8::MIN;
    const MAX: Self = i8::MAX;
}

impl Byte for u8 {
    const MIN: Self = u8::MIN;
    const MAX: Self = u8::MAX;
}

/// What a matrix is filled with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    Random,
    Min,
    Max,
    /// The two extremes in turn.
    Alternating,
    /// At most this far from the middle of the type.
    Within(u8),
    /// As far from the middle as this, up or down.
    Level(u8),
    /// Each column within bounds of its own.
    Mixed,
}

impl Fill {
    fn value<T: Byte>(self, (i, j): (usize, usize), random: &mut Random) -> T {
        // From the middle of the type: 128 is the 0 of u8.
        let off = |distance: i32| {
            let middle = if T::MIN == T::from_bits(0) { 128 } else { 0 };
            T::from_bits((middle + distance.clamp(-128, 127)) as u8)
        };
        let mut within = |most: u8| off(random.below(2 * usize::from(most) + 1) as i32 - i32::from(most));
        match self {
            Fill::Random => T::from_random(random.next()),
            Fill::Min => T::MIN,
            Fill::Max => T::MAX,
            Fill::Alternating if (i + j).is_multiple_of(2) => T::MIN,
            Fill::Alternating => T::MAX,
            Fill::Within(most) => within(most),
            // Runs of one sign along k, whichever of the two dimensions that is.
            Fill::Level(level) if (i / 19 + j / 19).is_multiple_of(2) => off(level.into()),
            Fill::Level(level) => off(-i32::from(level)),
            Fill::Mixed => within([8, 128, 32, 16, 64, 3][j / 16 % 6]),
        }
    }
}

/// Which elements of an input coincide.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Repeat {
    No,
    /// All rows are one.
    Rows,
    /// All columns are one.
    Cols,
}

/// How a matrix lies in its slice: it is part of a larger one, which has `pad` more rows above, columns
/// to the left, rows below and columns to the right, and `step` elements from one to the next.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub column_major: bool,
    pub step: usize,
    pub pad: [usize; 4],
    /// Whether the view is made as the transposed one's transpose.
    pub transposed: bool,
    pub repeat: Repeat,
}

impl Layout {
    pub const ROWS: Layout =
        Layout { column_major: false, step: 1, pad: [0; 4], transposed: false, repeat: Repeat::No };
    pub const COLS: Layout = Layout { column_major: true, ..Self::ROWS };
    /// Row-major, part of a larger matrix.
    pub const INNER: Layout = Layout { pad: [1, 2, 3, 4], ..Self::ROWS };
    /// Neither rows nor columns are slices.
    pub const LOOSE: Layout = Layout { step: 2, pad: [1, 1, 1, 3], ..Self::ROWS };
}

/// Where the elements of a matrix are: worked out here, not by the library.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The larger matrix.
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    len: usize,
}

fn place(layout: Layout, rows: usize, cols: usize) -> Place {
    let (rows, cols) = (rows + layout.pad[0] + layout.pad[2], cols + layout.pad[1] + layout.pad[3]);
    let step = layout.step;
    let (row_stride, col_stride) =
        if layout.column_major { (step, rows * step) } else { (cols * step, step) };
    let (row_stride, col_stride) = match layout.repeat {
        Repeat::No => (row_stride, col_stride),
        Repeat::Rows => (0, col_stride),
        Repeat::Cols => (row_stride, 0),
    };
    let empty = rows == 0 || cols == 0;
    // Not one element more than needed: what reads past the end must notice.
    let len = if empty { 0 } else { (rows - 1) * row_stride + (cols - 1) * col_stride + 1 };
    Place { rows, cols, row_stride, col_stride, len }
}

/// A matrix and the slice that it lies in.
#[derive(Clone, Debug)]
pub struct Matrix<T> {
    pub data: Vec<T>,
    pub rows: usize,
    pub cols: usize,
    layout: Layout,
    place: Place,
}

impl<T: Element> Matrix<T> {
    fn with(rows: usize, cols: usize, layout: Layout, value: impl FnMut(usize) -> T) -> Self {
        let place = place(layout, rows, cols);
        Self { data: (0..place.len).map(value).collect(), rows, cols, layout, place }
    }

    /// All of the slice random, between the elements too.
    pub fn random(rows: usize, cols: usize, layout: Layout, seed: u64) -> Self {
        let mut random = Random(seed);
        Self::with(rows, cols, layout, |_| T::from_random(random.next()))
    }

    /// Where element (i, j) is.
    pub fn index(&self, i: usize, j: usize) -> usize {
        let (i, j) = (i + self.layout.pad[0], j + self.layout.pad[1]);
        i * self.place.row_stride + j * self.place.col_stride
    }

    pub fn at(&self, i: usize, j: usize) -> T {
        self.data[self.index(i, j)]
    }

    pub fn set(&mut self, i: usize, j: usize, value: T) {
        let index = self.index(i, j);
        self.data[index] = value;
    }

    /// The matrix, by the constructor that fits its layout.
    pub fn view(&self) -> MatRef<'_, T> {
        let Place { rows, cols, row_stride, col_stride, .. } = self.place;
        let packed = self.layout.step == 1 && self.layout.repeat == Repeat::No;
        let whole = match (packed, self.layout.column_major, self.layout.transposed) {
            (true, false, false) => MatRef::row_major(&self.data, rows, cols),
            (true, false, true) => MatRef::col_major(&self.data, cols, rows).map(MatRef::transpose),
            (true, true, false) => MatRef::col_major(&self.data, rows, cols),
            (true, true, true) => MatRef::row_major(&self.data, cols, rows).map(MatRef::transpose),
            (false, _, false) => MatRef::new(&self.data, rows, cols, row_stride, col_stride),
            (false, _, true) => {
                MatRef::new(&self.data, cols, rows, col_stride, row_stride).map(MatRef::transpose)
            }
        };
        let (top, left) = (self.layout.pad[0], self.layout.pad[1]);
        whole.unwrap().submatrix(top..top + self.rows, left..left + self.cols).unwrap()
    }

    /// Calls `f` with the matrix as an output.
    pub fn with_mut<R>(&mut self, f: impl FnOnce(MatMut<'_, T>) -> R) -> R {
        let Place { rows, cols, row_stride, col_stride, .. } = self.place;
        let data = &mut self.data[..];
        let packed = self.layout.step == 1;
        let whole = match (packed, self.layout.column_major, self.layout.transposed) {
            (true, false, false) => MatMut::row_major(data, rows, cols),
            (true, false, true) => MatMut::col_major(data, cols, rows).map(MatMut::transpose),
            (true, true, false) => MatMut::col_major(data, rows, cols),
            (true, true, true) => MatMut::row_major(data, cols, rows).map(MatMut::transpose),
            (false, _, false) => MatMut::new(data, rows, cols, row_stride, col_stride),
            (false, _, true) => MatMut::new(data, cols, rows, col_stride, row_stride).map(MatMut::transpose),
        };
        let (top, left) = (self.layout.pad[0], self.layout.pad[1]);
        let mut whole = whole.unwrap();
        f(whole.submatrix(top..top + self.rows, left..left + self.cols).unwrap())
    }

    /// That every element of the slice, in the matrix or between, is the other's.
    #[track_caller]
    pub fn assert_same(&self, want: &Self, what: &str) {
        if let Some(at) = (0..self.data.len()).find(|&at| !self.data[at].same(want.data[at])) {
            let hit = |(i, j): &(usize, usize)| self.index(*i, *j) == at;
            let mut elements = (0..self.rows).flat_map(|i| (0..self.cols).map(move |j| (i, j)));
            let place = elements.find(hit).map_or("a gap".to_string(), |at| format!("{at:?}"));
            panic!("{what}: {place} holds {:?}, not {:?}", self.data[at], want.data[at]);
        }
    }
}

impl<T: Byte> Matrix<T> {
    /// An operand.
    pub fn filled(rows: usize, cols: usize, layout: Layout, fill: Fill, seed: u64) -> Self {
        let mut filled = Self::random(rows, cols, layout, seed);
        let mut random = Random(!seed);
        for at in (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))) {
            filled.set(at.0, at.1, fill.value(at, &mut random));
        }
        filled
    }
}
