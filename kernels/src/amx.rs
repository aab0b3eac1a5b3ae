//! Whether the CPU has AMX, and the operating system lets this process use its tile registers.

use core::fmt;

/// Whether AMX can be used, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Amx {
    /// The CPU has AMX-TILE and AMX-INT8, and the operating system has granted them.
    Granted,
    /// The CPU has no AMX, or hides it.
    Missing,
    /// The operating system does not save tile registers: bits 17 and 18 of XCR0.
    NotSaved,
    /// Linux refused them, with this error number.
    Refused(i32),
    /// This operating system is not asked, nor is any without the feature `std`.
    NotAsked,
}

impl fmt::Display for Amx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Amx::Granted => f.write_str("granted"),
            Amx::Missing => f.write_str("the CPU has none, or hides it"),
            Amx::NotSaved => f.write_str("the operating system does not save its registers"),
            Amx::Refused(error) => write!(f, "the operating system refused its registers: error {error}"),
            Amx::NotAsked => f.write_str("this operating system is not asked for it"),
        }
    }
}

/// Up to this number of rows B is read no faster by tiles: from memory and the third-level cache vectors keep up with
/// it.
const MAX_VECTOR_ROWS: usize = 4;

/// Whether a kernel of AMX multiplies so many rows and values of k by tiles, if these lose `overhead` cycles in a
/// call: else by the vectors of AVX-512 VNNI. Cycles for 64 columns, by Intel's manual of optimization: `vpdpbusd`
/// multiplies 4 values of k of 16 columns, two of them a cycle; a product of tiles takes 16 cycles for 16 rows, 64
/// values of k (or what there is of them) and 16 columns, and to store its sums 16 more.
///
/// ```text
///   rows · k / 2   >   ceil(rows / 16) · (64 · ceil(k / 64) + 64) + overhead
/// ```
///
/// An overhead of 0 stands for tiles always, [`u32::MAX`] for never.
#[inline]
pub fn tiles_are_faster(rows: usize, k: usize, overhead: u32) -> bool {
    let vectors = rows.saturating_mul(k) / 2;
    let tiles = rows.div_ceil(16).saturating_mul(k.div_ceil(64).saturating_mul(64).saturating_add(64));
    let gain = vectors.saturating_sub(tiles);
    overhead == 0 || (rows > MAX_VECTOR_ROWS && overhead < u32::MAX && gain > overhead as usize)
}

/// Asks the CPU and the operating system, the latter once per process.
pub fn amx() -> Amx {
    // Tests that execute its instructions in software say so.
    #[cfg(qgemm_emulated_amx)]
    if std::env::var_os("QGEMM_EMULATED_AMX").is_some() {
        return Amx::Granted;
    }
    #[cfg(all(feature = "std", target_arch = "x86_64", target_pointer_width = "64", target_os = "linux"))]
    {
        static AMX: std::sync::OnceLock<Amx> = std::sync::OnceLock::new();
        return *AMX.get_or_init(linux::ask);
    }
    #[allow(unreachable_code)]
    Amx::NotAsked
}

#[cfg(all(feature = "std", target_arch = "x86_64", target_pointer_width = "64", target_os = "linux"))]
mod linux {
    use super::Amx;
    use core::arch::asm;
    use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    /// Linux lets a process use the 8 KiB of tile registers of each thread once it has asked for them: by
    /// `arch_prctl` with `ARCH_REQ_XCOMP_PERM` and the number of the state component, from Linux 5.16 on. It refuses
    /// where a thread's alternate stack for signals would be too small.
    pub(super) fn ask() -> Amx {
        let bit = |register: u32, bit: u32| register >> bit & 1 == 1;
        let has_leaf_7 = __cpuid(0).eax >= 7;
        if !has_leaf_7 || !bit(__cpuid_count(7, 0).edx, 24) || !bit(__cpuid_count(7, 0).edx, 25) {
            return Amx::Missing;
        }
        const OSXSAVE: u32 = 27;
        // SAFETY: the bit says that the instruction is enabled.
        if !bit(__cpuid(1).ecx, OSXSAVE) || unsafe { xcr0() } >> 17 & 3 != 3 {
            return Amx::NotSaved;
        }
        match request_tiles() {
            0 => Amx::Granted,
            error => Amx::Refused(-error as i32),
        }
    }

    /// # Safety
    /// The CPU has XSAVE, and the operating system has enabled it.
    #[target_feature(enable = "xsave")]
    unsafe fn xcr0() -> u64 {
        // SAFETY: register 0 exists where XSAVE is enabled.
        unsafe { _xgetbv(0) }
    }

    /// The result of the system call: 0, or a negative error number.
    fn request_tiles() -> i64 {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result;
        // SAFETY: the call changes what this process may use, and no memory; `syscall` overwrites the registers that
        // are declared.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    #[test]
    fn few_products_are_left_to_vectors() {
        assert!(!tiles_are_faster(4, 1 << 20, 384));
        // 16·k / 2 against 128 + 384; from 65 values of k on there is a second step.
        assert!(!tiles_are_faster(16, 64, 384) && tiles_are_faster(16, 64, 383));
        assert!(!tiles_are_faster(16, 72, 384) && tiles_are_faster(16, 73, 384));
        // One row more takes a second product.
        assert!(tiles_are_faster(16, 80, 440) && !tiles_are_faster(17, 80, 440));
        assert!(tiles_are_faster(1, 0, 0) && !tiles_are_faster(usize::MAX, usize::MAX, u32::MAX));
    }

    #[test]
    fn the_answer_stays_the_same_and_says_why() {
        assert_eq!(amx(), amx());
        assert_eq!(Amx::Refused(28).to_string(), "the operating system refused its registers: error 28");
    }
}
