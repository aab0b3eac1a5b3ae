//! Probes of the multiply-add instructions alone: no kernel exceeds the rate of its instruction.
//!
//! Each probe repeats a kernel's multiply-add on registers, in 12 independent chains, which is more than latency times
//! throughput on any CPU so far. A turn of the loop has 24 of them, no load and no store.

use crate::detect::{Features, Isa};

/// Vectors of multiply-adds in one turn of the loop, each done by an instruction or a few.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const VECTORS_PER_TURN: u64 = 24;

/// The instruction that the kernels of `isa` multiply with, and its width in bits; `None` if there is no probe for it.
pub fn instruction(isa: Isa) -> Option<&'static str> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Portable => Some("pmaddwd-128"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => Some("vpmaddwd-256"),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => Some("vpdpbusd-256"),
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnniInt8 => Some("vpdpbssd-256"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bw => Some("vpmaddwd-512"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => Some("vpdpbusd-512"),
        #[cfg(target_arch = "x86_64")]
        Isa::AmxInt8 => Some("tdpbusd"),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => Some("smlal-128"),
        #[cfg(target_arch = "aarch64")]
        Isa::Dotprod => Some("sdot-128"),
        // One of its two kernels; `usdot` of the other one does half as much.
        #[cfg(target_arch = "aarch64")]
        Isa::I8mm => Some("smmla-128"),
        _ => None,
    }
}

/// Runs a probe for `iterations` turns (at least one) and returns the number of multiply-adds that it did; the caller
/// takes the time. `None` if there is no probe for `isa` or the CPU lacks it.
pub fn run(features: &Features, isa: Isa, iterations: u32) -> Option<u64> {
    if !features.has(isa) {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let turns = iterations.max(1);
        let macs = match isa {
            Isa::Portable => {
                pmaddwd_128(turns);
                8
            }
            Isa::Avx2 => {
                // SAFETY: `features` prove that the CPU has AVX2: asked above.
                unsafe { vpmaddwd_256(turns) };
                16
            }
            Isa::AvxVnni => {
                // SAFETY: `features` prove that the CPU has AVX-VNNI: asked above.
                unsafe { vpdpbusd_256(turns) };
                32
            }
            Isa::AvxVnniInt8 => {
                // SAFETY: `features` prove that the CPU has AVX-VNNI-INT8: asked above.
                unsafe { vpdpbssd_256(turns) };
                32
            }
            Isa::Avx512Bw => {
                // SAFETY: `features` prove that the CPU has AVX-512 BW: asked above.
                unsafe { vpmaddwd_512(turns) };
                32
            }
            Isa::Avx512Vnni => {
                // SAFETY: `features` prove that the CPU has AVX-512 VNNI: asked above.
                unsafe { vpdpbusd_512(turns) };
                64
            }
            Isa::AmxInt8 => {
                // SAFETY: `features` prove that the CPU has AMX, and that the operating system lets it be used: asked above.
                unsafe { crate::x86::tile::tile_registers::products_alone(turns) };
                // Four products of 16 x 64 bytes times 64 x 16.
                return Some(4 * 16 * 64 * 16 * u64::from(turns));
            }
            _ => return None,
        };
        Some(macs * VECTORS_PER_TURN * u64::from(turns))
    }
    #[cfg(target_arch = "aarch64")]
    {
        let turns = iterations.max(1);
        let macs = match isa {
            Isa::Neon => {
                // SAFETY: `features` prove that the CPU has NEON: asked above.
                unsafe { smlal_128(turns) };
                4
            }
            Isa::Dotprod => {
                // SAFETY: `features` prove that the CPU has the dot product: asked above.
                unsafe { sdot_128(turns) };
                16
            }
            Isa::I8mm => {
                // SAFETY: `features` prove that the CPU has the matrix product: asked above.
                unsafe { smmla_128(turns) };
                32
            }
            _ => return None,
        };
        Some(macs * VECTORS_PER_TURN * u64::from(turns))
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = iterations;
        None
    }
}

/// `asm!` of a loop that repeats `$line` for the registers 0..12, twice a turn; `\i` is the register.
#[cfg(target_arch = "x86_64")]
macro_rules! repeat {
    ($turns:expr, $($line:literal)+, $($register:tt)+) => {
        core::arch::asm!(
            "2:",
            ".irp i, 0,1,2,3,4,5,6,7,8,9,10,11,0,1,2,3,4,5,6,7,8,9,10,11",
            $($line,)+
            ".endr",
            "dec {turns:e}",
            "jnz 2b",
            turns = inout(reg) $turns => _,
            $(out($register) _,)+
            options(nomem, nostack),
        )
    };
}

/// Needs no check, because SSE2 is part of x86-64. It has no three-operand form, so kernels have the copy too.
#[cfg(target_arch = "x86_64")]
fn pmaddwd_128(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe {
        repeat!(turns,
            "movdqa xmm12, xmm14" "pmaddwd xmm12, xmm15" "paddd xmm\\i, xmm12",
            "xmm0" "xmm1" "xmm2" "xmm3" "xmm4" "xmm5" "xmm6" "xmm7" "xmm8" "xmm9" "xmm10" "xmm11" "xmm12");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn vpmaddwd_256(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe {
        repeat!(turns,
            "vpmaddwd ymm12, ymm15, ymm14" "vpaddd ymm\\i, ymm\\i, ymm12",
            "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11" "ymm12");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avxvnni")]
fn vpdpbusd_256(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends. `{vex}`: the
    // other encoding is AVX-512's.
    unsafe {
        repeat!(turns,
            "{{vex}} vpdpbusd ymm\\i, ymm15, ymm14",
            "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,avxvnniint8")]
fn vpdpbssd_256(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe {
        repeat!(turns,
            "vpdpbssd ymm\\i, ymm15, ymm14",
            "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm9" "ymm10" "ymm11");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw")]
fn vpmaddwd_512(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe {
        repeat!(turns,
            "vpmaddwd zmm12, zmm31, zmm30" "vpaddd zmm\\i, zmm\\i, zmm12",
            "zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11" "zmm12");
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn vpdpbusd_512(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe {
        repeat!(turns,
            "vpdpbusd zmm\\i, zmm31, zmm30",
            "zmm0" "zmm1" "zmm2" "zmm3" "zmm4" "zmm5" "zmm6" "zmm7" "zmm8" "zmm9" "zmm10" "zmm11");
    }
}

/// `asm!` of a loop for 64-bit Arm that repeats `$line` for 12 registers, twice a turn; `\\()` ends the name `i`.
#[cfg(target_arch = "aarch64")]
macro_rules! repeat {
    ($turns:expr, $line:literal) => {
        core::arch::asm!(
            "2:",
            ".irp i, 0,1,2,3,4,5,6,7,16,17,18,19,0,1,2,3,4,5,6,7,16,17,18,19",
            $line,
            ".endr",
            "subs {turns:w}, {turns:w}, #1",
            "b.ne 2b",
            turns = inout(reg) $turns => _,
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _,
            out("v6") _, out("v7") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _,
            options(nomem, nostack),
        )
    };
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
fn smlal_128(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe { repeat!(turns, "smlal v\\i\\().4s, v31.4h, v30.4h") }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,dotprod")]
fn sdot_128(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe { repeat!(turns, "sdot v\\i\\().4s, v31.16b, v30.16b") }
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon,i8mm")]
fn smmla_128(turns: u32) {
    // SAFETY: the code changes declared registers only; `turns` is at least 1, so the loop ends.
    unsafe { repeat!(turns, "smmla v\\i\\().4s, v31.16b, v30.16b") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_it_runs() {
        let features = Features::detect();
        for isa in Isa::ALL {
            let ran = run(&features, isa, 10);
            assert_eq!(ran.is_some(), instruction(isa).is_some() && features.has(isa), "{isa}");
            assert_eq!(run(&features, isa, 20), ran.map(|macs| 2 * macs));
        }
    }
}
