//! The witness that this CPU can run a kernel.

use crate::contract::kernel::Kernel;
use crate::detect::Features;

/// A kernel that this CPU can run. Only [`Kernel::ready`] makes one, from features that include the kernel's, and only
/// [`Ready::run`] runs a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    kernel: &'static Kernel,
    slow_stores: bool,
    amx_overhead: u32,
}

impl PartialEq for Ready {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.kernel, other.kernel)
    }
}

impl core::ops::Deref for Ready {
    type Target = Kernel;
    #[inline]
    fn deref(&self) -> &Kernel {
        self.kernel
    }
}

impl Ready {
    /// The row of the table.
    pub fn table_row(&self) -> &'static Kernel {
        self.kernel
    }

    /// [`Features::slow_stores`] of the features it was made of.
    #[inline]
    pub fn slow_stores(&self) -> bool {
        self.slow_stores
    }

    /// This witness, with another answer to [`Features::slow_stores`]. It decides the order of a kernel's work, not its
    /// results.
    pub fn with_slow_stores(self, slow_stores: bool) -> Self {
        Self { slow_stores, ..self }
    }

    /// [`Features::amx_overhead`] of the features it was made of.
    #[inline]
    pub fn amx_overhead(&self) -> u32 {
        self.amx_overhead
    }

    /// This witness, with another answer to [`Features::amx_overhead`]. It decides by which instructions a kernel multiplies,
    /// not its results.
    pub fn with_amx_overhead(self, amx_overhead: u32) -> Self {
        Self { amx_overhead, ..self }
    }
}

impl Kernel {
    /// The witness that a CPU with these features can run the kernel; `None` if it cannot.
    pub fn ready(&'static self, features: &Features) -> Option<Ready> {
        features.has(self.isa).then_some(Ready {
            kernel: self,
            slow_stores: features.slow_stores(),
            amx_overhead: features.amx_overhead(),
        })
    }
}
