//! Detects the emulated CPU's instruction sets without an operating system.

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use qgemm_kernels::Isa;

/// Whether the CPU has the extensions that [`Isa`] documents for `isa`, and boot.s has enabled their registers.
pub fn has(isa: Isa) -> bool {
    let leaf1 = __cpuid(1);
    if leaf1.ecx >> 27 & 1 == 0 || __cpuid(0).eax < 7 {
        return matches!(isa, Isa::Scalar | Isa::Portable); // no OSXSAVE
    }
    // SAFETY: OSXSAVE is set.
    let xcr0 = unsafe { xcr0() };
    let (ymm, zmm) = (xcr0 & 6 == 6, xcr0 & 0xe6 == 0xe6);
    let leaf7 = __cpuid_count(7, 0);
    let (leaf71, leaf71d) = match leaf7.eax {
        0 => (0, 0),
        _ => (__cpuid_count(7, 1).eax, __cpuid_count(7, 1).edx),
    };
    let bit = |register: u32, bit: u32| register >> bit & 1 == 1;
    let avx2 = bit(leaf7.ebx, 5);
    let (fma, f16c) = (bit(leaf1.ecx, 12), bit(leaf1.ecx, 29));
    let (avx512f, avx512bw, avx512vl) = (bit(leaf7.ebx, 16), bit(leaf7.ebx, 30), bit(leaf7.ebx, 31));
    let avx512 = zmm && avx2 && fma && f16c && avx512f && avx512bw && avx512vl;
    match isa {
        Isa::Scalar | Isa::Portable => true,
        Isa::Avx2 => ymm && avx2,
        Isa::AvxVnni => ymm && avx2 && bit(leaf71, 4),
        Isa::AvxVnniInt8 => ymm && avx2 && bit(leaf71d, 4),
        Isa::Avx512Bw => avx512,
        Isa::Avx512Vnni => avx512 && bit(leaf7.ecx, 11),
        Isa::AmxInt8 => {
            let tiles = xcr0 >> 17 & 3 == 3 && bit(leaf7.edx, 24) && bit(leaf7.edx, 25);
            has(Isa::Avx512Vnni) && tiles
        }
        Isa::Neon | Isa::Dotprod | Isa::I8mm => false,
        _ => panic!("the CPUID bits of {isa} are not known here"),
    }
}

/// Whether the CPU has FMA and F16C, beside AVX2.
pub fn has_fma() -> bool {
    let leaf1 = __cpuid(1).ecx;
    has(Isa::Avx2) && leaf1 >> 12 & 1 == 1 && leaf1 >> 29 & 1 == 1
}

/// # Safety
/// The operating system, here boot.s, has set OSXSAVE.
#[target_feature(enable = "xsave")]
unsafe fn xcr0() -> u64 {
    // SAFETY: register 0 exists where OSXSAVE is set.
    unsafe { _xgetbv(0) }
}
