//! Floating-point modes other than the default, as a host may have set them. None on other CPUs than x86 and 64-bit Arm.

use std::hint::black_box;

/// The control registers of floating point, without the bits that only record what happened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mode(u64);

impl std::fmt::Debug for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "mode {:#x}", self.0)
    }
}

impl Mode {
    /// The calling thread's.
    pub fn current() -> Self {
        Self(register::get())
    }

    /// Every mode that this CPU has: the four roundings, subnormal numbers kept or not, exceptions masked or trapped.
    pub fn each() -> Vec<Self> {
        let modes: Vec<Self> = register::each().into_iter().map(Self).collect();
        modes.into_iter().filter(|mode| mode.exists()).collect()
    }

    /// Whether the CPU takes the mode.
    fn exists(self) -> bool {
        let back = Self::current();
        self.set();
        let read = Self::current();
        back.set();
        assert!(read == self || register::is_optional(self.0), "the CPU makes {self:?} {read:?}");
        read == self
    }

    /// Makes this the calling thread's mode.
    pub fn set(self) {
        register::set(self.0);
    }

    /// Calls `f` in this mode, which it must leave as it is, and returns to the present one. `f` may compute real numbers
    /// in the library only: the compiler takes the default mode for granted.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> R {
        struct Return(Mode);
        impl Drop for Return {
            fn drop(&mut self) {
                self.0.set();
            }
        }
        fn call<F: FnOnce() -> R, R>(f: F) -> R {
            f()
        }
        /// A function that the compiler does not know: it moves nothing out of it.
        fn hidden<F: FnOnce() -> R, R>(_: &F) -> fn(F) -> R {
            black_box(call::<F, R> as fn(F) -> R)
        }
        let back = Return(Self::current());
        let call = hidden(&f);
        self.set();
        let result = call(f);
        let after = Self::current();
        drop(back);
        assert_eq!(after, self, "the mode after the call");
        result
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
mod register {
    use std::arch::asm;

    /// Whether a CPU may lack the mode.
    pub fn is_optional(_: u64) -> bool {
        false
    }

    /// MXCSR; in 32 bits also the control word of the x87 unit, above it.
    pub fn get() -> u64 {
        let (mut mxcsr, mut x87) = (0u32, 0u16);
        // SAFETY: the instruction stores 4 bytes to a variable of 4 bytes.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr, options(nostack, preserves_flags)) };
        if cfg!(target_arch = "x86") {
            // SAFETY: the instruction stores 2 bytes to a variable of 2 bytes.
            unsafe { asm!("fnstcw [{}]", in(reg) &raw mut x87, options(nostack, preserves_flags)) };
        }
        u64::from(mxcsr & !0x3f) | u64::from(x87) << 32
    }

    pub fn set(bits: u64) {
        let (mxcsr, x87) = (bits as u32, (bits >> 32) as u16);
        // SAFETY: the instruction loads 4 bytes of a variable of 4 bytes, which has no reserved bit set. To trap or to
        // round otherwise is what the tests are about: they compute no real numbers themselves before they return.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, preserves_flags)) };
        if cfg!(target_arch = "x86") {
            // SAFETY: the instruction loads 2 bytes of a variable of 2 bytes.
            unsafe { asm!("fldcw [{}]", in(reg) &raw const x87, options(nostack, preserves_flags)) };
        }
    }

    pub fn each() -> Vec<u64> {
        const MASKS: u64 = 0x1f80;
        let mut modes = Vec::new();
        for rounding in 0..4 {
            for subnormal in [0, 1 << 6, 1 << 15, 1 << 15 | 1 << 6] {
                for masks in [MASKS, 0] {
                    let mxcsr = masks | rounding << 13 | subnormal;
                    let x87 =
                        if cfg!(target_arch = "x86") { get() >> 32 & !0xc00 | rounding << 10 } else { 0 };
                    modes.push(mxcsr | x87 << 32);
                }
            }
        }
        modes
    }
}

#[cfg(target_arch = "aarch64")]
mod register {
    use std::arch::asm;

    /// AH and FIZ.
    const ALTERNATIVES: u64 = 0b11;
    const TRAPS: u64 = 0x1f << 8;

    /// Whether a CPU may lack the mode.
    pub fn is_optional(bits: u64) -> bool {
        bits & (ALTERNATIVES | TRAPS) != 0
    }

    /// FPCR.
    pub fn get() -> u64 {
        let fpcr;
        // SAFETY: every program may read FPCR.
        unsafe { asm!("mrs {}, fpcr", out(reg) fpcr, options(nomem, nostack, preserves_flags)) };
        fpcr
    }

    pub fn set(bits: u64) {
        // SAFETY: every program may write FPCR. To trap or to round otherwise is what the tests are about: they compute
        // no real numbers themselves before they return.
        unsafe { asm!("msr fpcr, {}", in(reg) bits, options(nostack, preserves_flags)) };
    }

    pub fn each() -> Vec<u64> {
        const FZ: u64 = 1 << 24;
        const DEFAULT_NAN: u64 = 1 << 25;
        let mut modes = Vec::new();
        for rounding in 0..4 {
            for subnormal in [0, FZ] {
                for other in [0, DEFAULT_NAN, ALTERNATIVES, TRAPS] {
                    modes.push(rounding << 22 | subnormal | other);
                }
            }
        }
        modes
    }
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
mod register {
    pub fn is_optional(_: u64) -> bool {
        true
    }

    pub fn get() -> u64 {
        0
    }

    pub fn set(_: u64) {}

    pub fn each() -> Vec<u64> {
        Vec::new()
    }
}
