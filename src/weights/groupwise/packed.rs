//! Group-wise weights, packed once for many products.

use crate::dispatch::select::Dispatch;
use crate::element::{ElementType, Int8Element};
use crate::error::{Error, check_shape};
use crate::matrix::view::MatMut;
use crate::weights::groupwise::scales::PackedScales;
use crate::weights::storage::Storage;
use qgemm_kernels::{Caches, CodeBits, GroupReady, GroupShape, GroupWeights, Line, in_default_float_mode};
use std::fmt;
use std::ops::Range;

/// B, a K×N matrix of codes of 4 or 8 bits with a scale for each column and group of rows, in the layout that kernels read.
///
/// ```text
/// B[k,n] = scale[g,n] · (code[k,n] - zero[g,n])  (+ minimum[g,n])        where g = k / group
/// ```
///
/// Group g is the rows from `g·group` on, the last one what is left. Scales keep the type that they come in: f32, f16 or
/// bf16. Zero points are integers of the codes' type, one for all or one for each scale.
///
/// Packed once by a [builder](Self::builder), or from the tensors of a format, and used by any number of products
/// ([`GroupwiseGemm`](crate::GroupwiseGemm)) and threads. It takes the bits of the codes, the scales and, where zero points
/// differ, those; K is rounded up to 8 values for 4 bits and to 4 for 8 bits. The layout is the same on every CPU.
#[derive(Clone)]
pub struct GroupwiseB {
    pub(crate) shape: GroupShape,
    pub(crate) element: ElementType,
    pub(crate) lines: Storage<Line>,
    pub(crate) scales: PackedScales,
    pub(crate) minimums: Option<PackedScales>,
    pub(crate) zeros: Zeros,
    pub(crate) kernel: GroupReady,
    pub(crate) caches: Caches,
}

/// Stored zero points.
#[derive(Clone)]
pub(crate) enum Zeros {
    One(u8),
    /// In the order of panels.
    Each(Storage<u8>),
}

impl fmt::Debug for GroupwiseB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupwiseB")
            .field("k", &self.k())
            .field("n", &self.n())
            .field("bits", &self.bits())
            .field("group", &self.group())
            .field("element_type", &self.element)
            .field("kernel", &self.kernel_name())
            .finish_non_exhaustive()
    }
}

impl GroupwiseB {
    /// K, the number of rows.
    pub fn k(&self) -> usize {
        self.shape.k()
    }

    /// N, the number of columns.
    pub fn n(&self) -> usize {
        self.shape.n()
    }

    /// The bits of a code.
    pub fn bits(&self) -> CodeBits {
        self.shape.bits()
    }

    /// The rows of a group; the last one may have less.
    pub fn group(&self) -> usize {
        self.shape.group()
    }

    /// The number of groups.
    pub fn groups(&self) -> usize {
        self.shape.groups()
    }

    /// The type of codes and zero points.
    pub fn element_type(&self) -> ElementType {
        self.element
    }

    /// The name of the kernel that multiplies it.
    pub fn kernel_name(&self) -> &'static str {
        self.kernel.name
    }

    /// Chooses a kernel of `dispatch`, instead of the best of this CPU. Nothing is packed again.
    #[must_use]
    pub fn with_dispatch(self, dispatch: &Dispatch) -> Self {
        Self { kernel: dispatch.groupwise(self.shape.longest_group()), caches: dispatch.caches(), ..self }
    }

    /// The memory that it takes, in bytes, with what it shares.
    pub fn bytes(&self) -> usize {
        let zeros = if let Zeros::Each(zeros) = &self.zeros { zeros.len() } else { 0 };
        let minimums = self.minimums.as_ref().map_or(0, PackedScales::bytes);
        self.lines.len() * size_of::<Line>() + self.scales.bytes() + minimums + zeros
    }

    /// The value that storing adds to codes and zero points.
    fn shift(&self) -> i32 {
        shift(self.element, self.bits())
    }

    /// The code of element (k, j); `None` if there is none.
    pub fn code(&self, k: usize, j: usize) -> Option<i32> {
        let exists = k < self.k() && j < self.n();
        exists.then(|| {
            i32::from(self.stored(self.shape.code_at(k, j), bytemuck::cast_slice(&self.lines))) - self.shift()
        })
    }

    /// The scale of group `g` and column `j`; `None` if there is none.
    pub fn scale(&self, g: usize, j: usize) -> Option<f32> {
        (g < self.groups() && j < self.n()).then(|| self.scales.at(self.shape.scale_at(g, j)))
    }

    /// The minimum of group `g` and column `j`; `None` if there is none.
    pub fn minimum(&self, g: usize, j: usize) -> Option<f32> {
        let minimums = self.minimums.as_ref()?;
        (g < self.groups() && j < self.n()).then(|| minimums.at(self.shape.scale_at(g, j)))
    }

    /// The zero point of group `g` and column `j`; `None` if there is none.
    pub fn zero(&self, g: usize, j: usize) -> Option<i32> {
        let exists = g < self.groups() && j < self.n();
        exists.then(|| {
            let stored = match &self.zeros {
                Zeros::One(zero) => *zero,
                Zeros::Each(zeros) => self.stored(self.shape.zero_at(g, j), zeros),
            };
            i32::from(stored) - self.shift()
        })
    }

    fn stored(&self, (byte, high): (usize, bool), bytes: &[u8]) -> u8 {
        match self.bits() {
            CodeBits::Eight => bytes[byte],
            CodeBits::Four => bytes[byte] >> if high { 4 } else { 0 } & 15,
        }
    }

    /// The stored zero point of all groups and columns, if they have one.
    pub(crate) fn one_zero(&self) -> Option<u8> {
        if let Zeros::One(zero) = self.zeros { Some(zero) } else { None }
    }

    /// Whether there are minimums.
    pub(crate) fn has_minimums(&self) -> bool {
        self.minimums.is_some()
    }

    /// Writes the codes to `out` (K×N).
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another shape, [`Error::Element`] if the codes are of the other type.
    pub fn unpack<T: Int8Element>(&self, mut out: MatMut<'_, T>) -> Result<(), Error> {
        check_shape("out", (out.rows(), out.cols()), (self.k(), self.n()))?;
        if T::TYPE != self.element {
            return Err(Error::Element { argument: "out", got: T::TYPE, need: self.element });
        }
        for k in self.rows() {
            for j in 0..self.n() {
                if let (Some(out), Some(code)) = (out.get_mut(k, j), self.code(k, j)) {
                    *out = T::from_bits(code as u8);
                }
            }
        }
        Ok(())
    }

    /// Writes the values to `out` (K×N): `scale · f32(code - zero)`, then plus the minimum if there is one, each rounded to
    /// nearest even by itself.
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another shape.
    pub fn dequantize(&self, mut out: MatMut<'_, f32>) -> Result<(), Error> {
        check_shape("out", (out.rows(), out.cols()), (self.k(), self.n()))?;
        in_default_float_mode(|| {
            for k in self.rows() {
                for j in 0..self.n() {
                    if let (Some(out), Some(value)) = (out.get_mut(k, j), self.get(k, j)) {
                        *out = value;
                    }
                }
            }
        });
        Ok(())
    }

    /// The indices of rows that have elements.
    fn rows(&self) -> Range<usize> {
        if self.n() == 0 { 0..0 } else { 0..self.k() }
    }

    /// The value of element (k, j), as [`dequantize`](Self::dequantize) computes it in the thread's floating-point mode.
    fn get(&self, k: usize, j: usize) -> Option<f32> {
        let g = k / self.group();
        let value = self.scale(g, j)? * (self.code(k, j)? - self.zero(g, j)?) as f32;
        Some(self.minimum(g, j).map_or(value, |minimum| value + minimum))
    }

    /// The weights in the form that kernels read.
    pub(crate) fn for_kernel(&self) -> GroupWeights<'_> {
        GroupWeights {
            shape: self.shape,
            codes: bytemuck::cast_slice(&self.lines),
            scales: self.scales.for_kernel(),
            minimums: self.minimums.as_ref().map(PackedScales::for_kernel),
            zeros: if let Zeros::Each(zeros) = &self.zeros { Some(zeros) } else { None },
        }
    }
}

/// The value that storing adds to codes and zero points of a type.
pub(super) fn shift(element: ElementType, bits: CodeBits) -> i32 {
    match element {
        ElementType::U8 => 0,
        ElementType::I8 => 1 << (bits.bits() - 1),
    }
}
