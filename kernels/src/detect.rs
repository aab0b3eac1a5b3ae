//! What this CPU can do.

use core::fmt;

/// The instruction sets that kernels are written for, by the names that users give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// AVX-512 F, BW and VL (x86-64).
    Avx512Bw,
    /// AVX-512 F, BW, VL and VNNI (x86-64).
    Avx512Vnni,
    /// NEON (64-bit Arm).
    Neon,
    /// NEON and the dot product extension (64-bit Arm).
    Dotprod,
    /// NEON and the 8-bit matrix extension (64-bit Arm).
    I8mm,
}

impl Isa {
    /// All of them, the narrowest first.
    pub const ALL: [Isa; 10] = [
        Isa::Scalar,
        Isa::Portable,
        Isa::Avx2,
        Isa::AvxVnni,
        Isa::AvxVnniInt8,
        Isa::Avx512Bw,
        Isa::Avx512Vnni,
        Isa::Neon,
        Isa::Dotprod,
        Isa::I8mm,
    ];

    /// The name that users give.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::AvxVnniInt8 => "avxvnniint8",
            Isa::Avx512Bw => "avx512bw",
            Isa::Avx512Vnni => "avx512vnni",
            Isa::Neon => "neon",
            Isa::Dotprod => "dotprod",
            Isa::I8mm => "i8mm",
        }
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The instruction sets that the CPU has, of which a value of this type is proof, and what else decides how
/// kernels work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    has: [bool; Isa::ALL.len()],
    slow_stores: bool,
}

impl Features {
    /// Asks the CPU and the operating system. Without the feature `std` only what the target itself
    /// guarantees is found.
    pub fn detect() -> Self {
        // SAFETY: `detected` tells the truth.
        let features = unsafe { Self::assume(detected) };
        #[cfg(target_arch = "x86_64")]
        return Self { slow_stores: is_zen_4(), ..features };
        #[cfg(not(target_arch = "x86_64"))]
        features
    }

    /// Takes the caller's word, for bare metal.
    ///
    /// # Safety
    /// The CPU has each instruction set for which `has` returns true, and the operating system, if
    /// any, keeps its registers.
    pub unsafe fn assume(has: impl Fn(Isa) -> bool) -> Self {
        Self { has: Isa::ALL.map(has), slow_stores: false }
    }

    /// Whether the CPU has `isa`.
    pub fn has(&self, isa: Isa) -> bool {
        self.has[isa as usize]
    }

    /// Whether a store of 512 bits takes two cycles: on Zen 4.
    pub fn slow_stores(&self) -> bool {
        self.slow_stores
    }
}

/// Whether all the features of the target are there: at run time with `std`, else at compile time.
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

/// Whether the CPU has `isa`.
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
        Isa::Avx512Bw => has!("avx512f" "avx512bw" "avx512vl"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => has!("avx512f" "avx512bw" "avx512vl" "avx512vnni"),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => has!("neon"),
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod => has!("neon" "dotprod"),
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm => has!("neon" "i8mm"),
        // Of another architecture.
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn is_amd() -> bool {
    let vendor = core::arch::x86_64::__cpuid(0).ecx;
    vendor == u32::from_le_bytes(*b"cAMD") || vendor == u32::from_le_bytes(*b"uine")
}

/// Zen 3 and 4, of which only the latter has stores of 512 bits.
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
