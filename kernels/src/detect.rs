//! Detects the instruction sets of the CPU.

#[cfg(target_arch = "x86_64")]
use crate::amx::{Amx, amx};
use core::fmt;

/// The instruction sets that kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Isa {
    /// Plain Rust, the specification.
    Scalar,
    /// 128-bit vectors through the `wide` crate: SSE2, NEON or wasm simd128.
    Portable,
    /// AVX2 (x86-64).
    Avx2,
    /// AVX2 and AVX-VNNI (x86-64).
    AvxVnni,
    /// AVX2 and AVX-VNNI-INT8 (x86-64).
    AvxVnniInt8,
    /// AVX2, FMA, F16C and AVX-512 F, BW and VL (x86-64).
    Avx512Bw,
    /// AVX2, FMA, F16C and AVX-512 F, BW, VL and VNNI (x86-64).
    Avx512Vnni,
    /// All of [`Avx512Vnni`](Self::Avx512Vnni), AMX-TILE and AMX-INT8, whose registers the operating system lets the process use
    /// (x86-64).
    AmxInt8,
    /// NEON (64-bit Arm).
    Neon,
    /// NEON and the dot product extension (64-bit Arm).
    Dotprod,
    /// NEON and the 8-bit matrix extension (64-bit Arm).
    I8mm,
}

impl Isa {
    /// All instruction sets, the narrowest of each architecture first.
    pub const ALL: [Isa; 11] = [
        Isa::Scalar,
        Isa::Portable,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::AvxVnniInt8,
        Isa::Avx512Bw,
        Isa::Avx512Vnni,
        Isa::AmxInt8,
        Isa::Neon,
        Isa::Dotprod,
        Isa::I8mm,
    ];

    /// The name, as in the names of kernels and in `QGEMM_ISA`.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::AvxVnniInt8 => "avxvnniint8",
            Isa::Avx512Bw => "avx512bw",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::AmxInt8 => "amxint8",
            Isa::Neon => "neon",
            Isa::Dotprod => "dotprod",
            Isa::I8mm => "i8mm",
        }
    }

    /// Whether a CPU that has this instruction set has AVX2: [`Features`] hold it only together with AVX2. Code for
    /// AVX2 relies on it, so it is false unless the instruction set's documentation above says AVX2.
    #[cfg(any(target_arch = "x86_64", test))]
    pub(crate) const fn includes_avx2(self) -> bool {
        match self {
            Isa::Avx2 | Isa::AvxVnni | Isa::AvxVnniInt8 | Isa::Avx512Bw | Isa::Avx512Vnni | Isa::AmxInt8 => {
                true
            }
            Isa::Scalar | Isa::Portable | Isa::Neon | Isa::Dotprod | Isa::I8mm => false,
        }
    }

    /// Whether a CPU that has this instruction set has what the documentation of
    /// [`Avx512Vnni`](Self::Avx512Vnni) lists.
    pub const fn includes_avx512_vnni(self) -> bool {
        matches!(self, Isa::Avx512Vnni | Isa::AmxInt8)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// [`Features::amx_overhead`] where nobody says otherwise: `x86/amx_int8.rs` has its parts.
const AMX_OVERHEAD: u32 = 320;

/// The instruction sets that the CPU has, and how fast it stores. A value of this type proves that the CPU has them:
/// it comes from detection or from a caller's `unsafe` promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    has: [bool; Isa::ALL.len()],
    fma: bool,
    slow_stores: bool,
    amx_overhead: u32,
}

impl Features {
    /// Asks the CPU and the operating system. Without the feature `std` it finds only the instruction sets that the
    /// compilation target guarantees.
    pub fn detect() -> Self {
        // SAFETY: `detected` is true only for instruction sets that the CPU and the operating system report.
        let features = unsafe { Self::assume(detected) };
        #[cfg(target_arch = "x86_64")]
        return Self { fma: fma(), slow_stores: is_zen_4(), ..features };
        #[cfg(not(target_arch = "x86_64"))]
        features
    }

    /// Takes the caller's word, for bare metal, where nothing can be asked.
    ///
    /// # Safety
    /// The CPU has every extension that the documentation of [`Isa`] lists for each instruction set for which `has`
    /// returns true, and the operating system, if any, saves the registers that it uses.
    pub unsafe fn assume(has: impl Fn(Isa) -> bool) -> Self {
        Self { has: Isa::ALL.map(has), fma: false, slow_stores: false, amx_overhead: AMX_OVERHEAD }
    }

    /// These features and, on x86-64, FMA and F16C, which come with AVX2 on all CPUs but are not part of it.
    ///
    /// # Safety
    /// The CPU has them, and AVX2.
    pub unsafe fn with_fma(self) -> Self {
        Self { fma: true, ..self }
    }

    /// Whether the CPU has AVX2, FMA and F16C.
    pub fn has_fma(&self) -> bool {
        self.fma
    }

    /// Whether the CPU has `isa`.
    pub fn has(&self, isa: Isa) -> bool {
        self.has[isa as usize]
    }

    /// Whether a store of 512 bits takes two cycles, as on Zen 4. It changes how kernels store, not their results.
    pub fn slow_stores(&self) -> bool {
        self.slow_stores
    }

    /// The cycles that a kernel of AMX is taken to lose in a call before and after its products, by which it chooses between
    /// tiles and vectors; 0 means tiles always, [`u32::MAX`] never. It changes how kernels multiply, not their results.
    pub fn amx_overhead(&self) -> u32 {
        self.amx_overhead
    }
}

/// Whether the CPU has all the target features: asked at run time with `std`, else known at compile time.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has {
    ($($feature:tt)*) => {{
        #[cfg(all(feature = "std", target_arch = "x86_64"))]
        let has = true $(&& std::arch::is_x86_feature_detected!($feature))*;
        #[cfg(all(feature = "std", target_arch = "aarch64"))]
        let has = true $(&& std::arch::is_aarch64_feature_detected!($feature))*;
        #[cfg(not(feature = "std"))]
        let has = true $(&& cfg!(target_feature = $feature))*;
        has
    }};
}

/// Whether the CPU has `isa` and the operating system supports it.
pub(crate) fn detected(isa: Isa) -> bool {
    match isa {
        Isa::Scalar | Isa::Portable => true,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => has!("avx2"),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => has!("avx2" "avxvnni"),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnniInt8 => has!("avx2" "avxvnniint8"),
        #[cfg(target_arch = "x86_64")]
        // To the compiler, AVX-512 F includes FMA and F16C.
        Isa::Avx512Bw => has!("avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => has!("avx2" "fma" "f16c" "avx512f" "avx512bw" "avx512vl" "avx512vnni"),
        #[cfg(target_arch = "x86_64")]
        Isa::AmxInt8 => detected(Isa::Avx512Vnni) && amx() == Amx::Granted,
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => has!("neon"),
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod => has!("neon" "dotprod"),
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm => has!("neon" "i8mm"),
        // Instruction sets of other architectures.
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

/// Whether the CPU has AVX2, FMA and F16C.
#[cfg(target_arch = "x86_64")]
fn fma() -> bool {
    has!("avx2" "fma" "f16c")
}

/// Whether the vendor is AMD, or Hygon, whose CPUs are Zen and answer CPUID as AMD's do.
#[cfg(target_arch = "x86_64")]
pub(crate) fn is_amd() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0).ecx;
    vendor == u32::from_le_bytes(*b"cAMD") || vendor == u32::from_le_bytes(*b"uine")
}

/// Whether the CPU is of AMD's family 0x19, which is Zen 3 and Zen 4. Zen 3 has no stores of 512 bits, so that its
/// answer does not matter.
#[cfg(target_arch = "x86_64")]
fn is_zen_4() -> bool {
    let signature = core::arch::x86_64::__cpuid(1).eax;
    is_amd() && (signature >> 8 & 15) + (signature >> 20 & 255) == 0x19
}

/// Whether the CPU has AVX-512 VBMI, next to F and BW.
#[cfg(target_arch = "x86_64")]
pub(crate) fn vbmi() -> bool {
    has!("avx512f" "avx512bw" "avx512vbmi")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instruction_sets_that_include_avx2_are_detected_with_it_only() {
        for isa in Isa::ALL {
            assert!(!(isa.includes_avx2() && detected(isa)) || detected(Isa::Avx2), "{isa}");
        }
    }
}
