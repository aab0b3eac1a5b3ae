//! Memory that C programs own: values at addresses, which calls read and write.

use crate::input::Input;
use qgemm_c::matrix::{
    QGEMM_BF16, QGEMM_F16, QGEMM_F32, QGEMM_I8, QGEMM_I32, QGEMM_U8, qgemm_matrix, qgemm_matrix_mut,
    qgemm_type,
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Some bytes, which end where their allocation ends, so that an access beyond them is noticed. They are cells, since
/// calls write to them by address.
struct Piece {
    words: Box<[Cell<u64>]>,
    first: usize,
    len: usize,
}

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        let words = bytes.len().div_ceil(8);
        let first = 8 * words - bytes.len();
        let mut all = vec![0xa5; first];
        all.extend_from_slice(bytes);
        let word = |chunk: &[u8]| Cell::new(u64::from_ne_bytes(chunk.try_into().expect("eight bytes")));
        Self { words: all.chunks_exact(8).map(word).collect(), first, len: bytes.len() }
    }

    fn start(&self) -> *const u8 {
        self.words.as_ptr().cast::<u8>().wrapping_add(self.first)
    }

    fn all(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.get().to_ne_bytes()).collect()
    }
}

/// All memory of a case. It lives as long as the case.
#[derive(Default)]
pub struct Memory {
    pieces: RefCell<Vec<Rc<Piece>>>,
}

impl Memory {
    /// The address of a copy of some values, for reading and writing.
    pub fn put<T: bytemuck::Pod>(&self, values: &[T]) -> *mut T {
        let piece = Piece::new(bytemuck::cast_slice(values));
        let start = piece.start();
        self.pieces.borrow_mut().push(Rc::new(piece));
        start.cast::<T>().cast_mut()
    }

    /// The memory from an address on: its piece, and the place in it.
    fn find(&self, address: usize, bytes: usize) -> Option<(Rc<Piece>, usize)> {
        let pieces = self.pieces.borrow();
        let found = pieces.iter().find(|piece| {
            let start = piece.start().addr();
            address >= start && bytes <= piece.len && address - start <= piece.len - bytes
        })?;
        Some((Rc::clone(found), found.first + (address - found.start().addr())))
    }

    /// Whether so many bytes are there.
    pub fn holds(&self, address: usize, bytes: usize) -> bool {
        self.find(address, bytes).is_some()
    }

    /// A copy of what lies at an address.
    ///
    /// # Panics
    /// If it is not there.
    pub fn get<T: bytemuck::Pod>(&self, first: *const T, len: usize) -> Vec<T> {
        if len == 0 {
            return Vec::new();
        }
        let bytes = len * size_of::<T>();
        let (piece, at) = self.find(first.addr(), bytes).expect("it is there");
        piece.all()[at..at + bytes].chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
    }

    /// All bytes, to be compared with those after a call.
    pub fn snapshot(&self) -> Vec<Vec<u8>> {
        self.pieces.borrow().iter().map(|piece| piece.all()).collect()
    }

    /// Panics unless what is there is as it was, but for `written` bytes at addresses, which do not overlap.
    pub fn assert_as_before(&self, what: &str, before: &[Vec<u8>], written: &[(usize, usize)]) {
        let mut written = written.to_vec();
        written.sort_unstable();
        let is_allowed = |address: usize| {
            let at = written.partition_point(|&(start, _)| start <= address);
            at > 0 && address - written[at - 1].0 < written[at - 1].1
        };
        for (piece, before) in self.pieces.borrow().iter().zip(before) {
            let (base, now) = (piece.words.as_ptr().addr(), piece.all());
            for (at, (now, before)) in now.iter().zip(before).enumerate() {
                let is_right = now == before || is_allowed(base + at);
                assert!(is_right, "{what}: byte {at} of {} was written", piece.len);
            }
        }
    }
}

/// The bytes of an element; `None` for what is no type.
pub fn bytes_of(element: qgemm_type) -> Option<usize> {
    match element {
        QGEMM_I8 | QGEMM_U8 => Some(1),
        QGEMM_F16 | QGEMM_BF16 => Some(2),
        QGEMM_I32 | QGEMM_F32 => Some(4),
        _ => None,
    }
}

/// A matrix as C describes it, either to be read or to be written.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// The address of its first element.
    pub data: *mut u8,
    /// Its rows and columns.
    pub shape: (usize, usize),
    /// In elements.
    pub strides: (isize, isize),
    /// The type of its elements, or what is none.
    pub element: qgemm_type,
}

/// No matrix.
pub const ABSENT: Matrix = Matrix { data: std::ptr::null_mut(), shape: (0, 0), strides: (0, 0), element: 0 };

impl Matrix {
    /// To be read.
    pub fn read(&self) -> qgemm_matrix {
        let (Self { data, element, .. }, (rows, cols), (row_stride, col_stride)) =
            (*self, self.shape, self.strides);
        qgemm_matrix { data: data.cast(), rows, cols, row_stride, col_stride, r#type: element }
    }

    /// To be written.
    pub fn written(&self) -> qgemm_matrix_mut {
        let qgemm_matrix { rows, cols, row_stride, col_stride, r#type, .. } = self.read();
        qgemm_matrix_mut { data: self.data.cast(), rows, cols, row_stride, col_stride, r#type }
    }

    /// The matrix that a description is of.
    pub fn of(raw: &qgemm_matrix) -> Self {
        let strides = (raw.row_stride, raw.col_stride);
        Self { data: raw.data.cast_mut().cast(), shape: (raw.rows, raw.cols), strides, element: raw.r#type }
    }

    /// The bytes from the first to the last element; `None` if they overflow the address space.
    pub fn extent(&self) -> Option<usize> {
        let ((rows, cols), (down, right)) = (self.shape, self.strides);
        if rows == 0 || cols == 0 {
            return Some(0);
        }
        let (down, right) = (usize::try_from(down).ok()?, usize::try_from(right).ok()?);
        // A stride that no element is reached by counts nothing.
        let last = (rows - 1).checked_mul(down)?.checked_add((cols - 1).checked_mul(right)?)?;
        let bytes = last.checked_add(1)?.checked_mul(bytes_of(self.element)?)?;
        isize::try_from(bytes).is_ok().then_some(bytes)
    }

    /// The places of all elements in bytes after the first, row by row.
    pub fn offsets(&self) -> impl Iterator<Item = usize> + use<> {
        let ((rows, cols), (down, right), size) =
            (self.shape, self.strides, bytes_of(self.element).unwrap_or(1));
        (0..rows).flat_map(move |i| (0..cols).map(move |j| (i * down as usize + j * right as usize) * size))
    }

    /// The addresses and lengths of all elements.
    pub fn elements(&self) -> Vec<(usize, usize)> {
        let (data, size) = (self.data.addr(), bytes_of(self.element).unwrap_or(1));
        self.offsets().map(|at| (data + at, size)).collect()
    }

    /// The values, row by row.
    pub fn values<T: bytemuck::Pod>(&self, memory: &Memory) -> Vec<T> {
        let bytes = memory.get(self.data.cast_const(), self.extent().expect("it fits"));
        self.offsets().map(|at| bytemuck::pod_read_unaligned(&bytes[at..at + size_of::<T>()])).collect()
    }

    /// A matrix of values in memory of its own, with room between its lines or none, or as a transpose.
    pub fn place<T: bytemuck::Pod>(
        input: &mut Input<'_>,
        memory: &Memory,
        shape: (usize, usize),
        element: qgemm_type,
        mut next: impl FnMut(usize) -> Vec<T>,
    ) -> Self {
        let ((rows, cols), gap) = (shape, usize::from(input.byte()).saturating_sub(200) % 9);
        let strides = if input.one_in(4) { (1, rows + gap) } else { (cols + gap, 1) };
        let strides = (strides.0 as isize, strides.1 as isize);
        let matrix = Self { data: std::ptr::null_mut(), shape, strides, element };
        let len = matrix.extent().expect("it fits") / size_of::<T>();
        Self { data: memory.put(&next(len)).cast(), ..matrix }
    }
}
