//! A row of the table of group-wise kernels, and the witness that this CPU can run it.

use crate::detect::{Features, Isa};
use crate::groupwise::args::GroupArgs;
use crate::groupwise::layout::CodeBits;

/// A group-wise kernel.
#[derive(Debug)]
pub struct GroupKernel {
    /// Instruction set, `g`, MR, `x`, columns of a tile.
    pub name: &'static str,
    /// The instruction set.
    pub isa: Isa,
    /// Whether it needs AVX2's companions FMA and F16C too.
    pub(crate) needs_fma: bool,
    /// The most rows of a tile.
    pub mr: usize,
    /// Whether it reads A as words where codes have 8 bits.
    pub words: bool,
    /// Whether it takes codes of 8 bits as i8, which are 128 less. Starts are then made for zero points that are 128 less, by
    /// [`start_for_one`](Self::start_for_one).
    pub(crate) signed_codes: bool,
    /// Whether it is exact for groups of any length, not only up to
    /// [`MAX_VECTOR_GROUP`](crate::groupwise::layout::MAX_VECTOR_GROUP).
    pub any_group: bool,
    pub(crate) run: GroupFn,
}

/// The code of a group-wise kernel.
///
/// # Safety
/// The CPU has the instructions, and the arguments keep the contract of [`GroupArgs`].
pub(crate) type GroupFn = unsafe fn(&GroupArgs);

/// A group-wise kernel that this CPU can run.
#[derive(Clone, Copy, Debug)]
pub struct GroupReady {
    kernel: &'static GroupKernel,
}

impl PartialEq for GroupReady {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.kernel, other.kernel)
    }
}

impl core::ops::Deref for GroupReady {
    type Target = GroupKernel;
    #[inline]
    fn deref(&self) -> &GroupKernel {
        self.kernel
    }
}

impl GroupReady {
    /// The row of the table.
    pub fn table_row(&self) -> &'static GroupKernel {
        self.kernel
    }
}

impl GroupKernel {
    /// The witness that a CPU with these features can run the kernel; `None` if it cannot.
    pub fn ready(&'static self, features: &Features) -> Option<GroupReady> {
        let has = features.has(self.isa) && (!self.needs_fma || features.has_fma());
        has.then_some(GroupReady { kernel: self })
    }

    /// The start of a sum of A's codes for zero points that are all one, and codes of a size.
    #[inline]
    pub fn start_for_one(&self, bits: CodeBits, sum: i32, zero: u8) -> i32 {
        let shift = if self.signed_codes && bits == CodeBits::Eight { 128 } else { 0 };
        sum.wrapping_mul(shift - i32::from(zero))
    }
}
