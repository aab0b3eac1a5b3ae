//! The floating-point mode of a thread: how sums and products are rounded, and whether subnormal numbers count as 0.
//!
//! A host may have changed it, and a thread inherits it from the one that starts it. Results would then be others, so
//! real numbers are computed in the mode that programs start in.

use core::hint::black_box;
use register::Mode;

/// Calls `f` in the default floating-point mode: it rounds to nearest even, keeps subnormal numbers and NaNs as they are,
/// and traps nothing. The caller's mode is there again when `f` has returned or panicked.
///
/// If the caller's mode is the default, this reads a register and calls `f`. On CPUs other than x86 and 64-bit Arm it
/// only calls `f`.
///
/// `f` should not wait for a thread pool: the thread may run other jobs of the pool meanwhile, which are to find their
/// own mode.
#[inline(always)]
pub fn in_default_float_mode<R>(f: impl FnOnce() -> R) -> R {
    let mode = Mode::current();
    if mode == mode.with_defaults() { f() } else { leave_for(mode, f) }
}

/// Calls `f` in the default mode, then returns to `mode`, the caller's.
#[cold]
#[inline(never)]
fn leave_for<F: FnOnce() -> R, R>(mode: Mode, f: F) -> R {
    /// Returns to a mode when it is dropped, also by a panic.
    struct Return(Mode);
    impl Drop for Return {
        fn drop(&mut self) {
            self.0.set();
        }
    }

    fn call<F: FnOnce() -> R, R>(f: F) -> R {
        f()
    }

    mode.with_defaults().set();
    let _return = Return(mode);
    // The compiler takes the mode for granted, so it may move a calculation past the instruction that sets it. It cannot
    // take one out of a function that it does not know, and this pointer hides the function from it.
    black_box(call as fn(F) -> R)(f)
}

#[cfg(all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse"))]
mod register {
    use core::arch::asm;

    /// The control register of SSE and AVX, and in 32 bits that of the x87 unit, which converts 64-bit integers there.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) struct Mode {
        mxcsr: u32,
        #[cfg(target_arch = "x86")]
        x87: u16,
    }

    /// Bits of MXCSR that record what happened. They change nothing.
    const RECORDS: u32 = 0x3f;
    /// All exceptions masked; rounding to nearest even, neither FTZ nor DAZ, which are 0.
    const DEFAULT: u32 = 0x1f80;
    /// Bits of the x87 control word that tell how it rounds; 0 is to nearest even. Its precision and its exceptions do
    /// not matter: a conversion from 64 bits is exact until it is stored.
    #[cfg(target_arch = "x86")]
    const X87_ROUNDING: u16 = 0xc00;

    impl Mode {
        #[inline(always)]
        pub(super) fn current() -> Self {
            let mut mxcsr = 0u32;
            // SAFETY: the target has SSE, and the instruction stores 4 bytes to a variable of 4 bytes.
            unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
            #[cfg(target_arch = "x86")]
            let mut x87 = 0u16;
            // SAFETY: the instruction stores 2 bytes to a variable of 2 bytes.
            #[cfg(target_arch = "x86")]
            unsafe {
                asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags));
            }
            Self {
                mxcsr,
                #[cfg(target_arch = "x86")]
                x87,
            }
        }

        /// The default mode, with the bits that change nothing as they are here.
        #[inline(always)]
        pub(super) fn with_defaults(self) -> Self {
            Self {
                mxcsr: self.mxcsr & RECORDS | DEFAULT,
                #[cfg(target_arch = "x86")]
                x87: self.x87 & !X87_ROUNDING,
            }
        }

        pub(super) fn set(self) {
            // SAFETY: the target has SSE, and the instruction loads 4 bytes of a variable of 4 bytes. The value was read
            // from the register, or is that with defined bits changed, so that no reserved bit is set.
            unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const self.mxcsr, options(nostack, preserves_flags)) };
            // SAFETY: the instruction loads 2 bytes of a variable of 2 bytes.
            #[cfg(target_arch = "x86")]
            unsafe {
                asm!("fldcw [{}]", in(reg) &raw const self.x87, options(nostack, preserves_flags));
            }
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use core::arch::asm;

    /// FPCR. All of its bits change results or trap, and all are 0 by default.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) struct Mode(u64);

    impl Mode {
        #[inline(always)]
        pub(super) fn current() -> Self {
            let fpcr;
            // SAFETY: every program may read FPCR, and reading it changes nothing.
            unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
            Self(fpcr)
        }

        #[inline(always)]
        pub(super) fn with_defaults(self) -> Self {
            Self(0)
        }

        pub(super) fn set(self) {
            // SAFETY: every program may write FPCR. The value is 0, or was read from it.
            unsafe { asm!("msr fpcr, {}", in(reg) self.0, options(nostack, preserves_flags)) };
        }
    }
}

#[cfg(not(any(
    all(any(target_arch = "x86", target_arch = "x86_64"), target_feature = "sse"),
    target_arch = "aarch64"
)))]
mod register {
    /// A mode that is not known here, and is left as it is.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(super) struct Mode;

    impl Mode {
        #[inline(always)]
        pub(super) fn current() -> Self {
            Self
        }

        #[inline(always)]
        pub(super) fn with_defaults(self) -> Self {
            self
        }

        pub(super) fn set(self) {}
    }
}
