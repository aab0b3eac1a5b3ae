//! Sizes of the CPU's data caches.

#[cfg(target_arch = "x86_64")]
use crate::detect::is_amd;

/// Sizes of the data caches in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// First level, of one core.
    pub l1d: usize,
    /// Second level, of one core.
    pub l2: usize,
    /// Third level, shared; 0 if there is none.
    pub l3: usize,
}

impl Caches {
    /// What is assumed of a CPU that does not tell: small ones.
    pub const DEFAULT: Caches = Caches { l1d: 32 << 10, l2: 512 << 10, l3: 4 << 20 };

    /// Asks the CPU (x86-64), else [`Caches::DEFAULT`].
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            Self::from_cpuid().unwrap_or(Self::DEFAULT)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            Self::DEFAULT
        }
    }

    /// Leaf 4 (Intel) or 0x8000001D (AMD), which list one cache per subleaf in the same format.
    #[cfg(target_arch = "x86_64")]
    fn from_cpuid() -> Option<Self> {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        let leaf = match is_amd() {
            true if __cpuid(0x8000_0000).eax >= 0x8000_001d && __cpuid(0x8000_0001).ecx >> 22 & 1 == 1 => {
                0x8000_001d
            }
            false if __cpuid(0).eax >= 4 => 4,
            _ => return None,
        };
        let mut found = Caches { l1d: 0, l2: 0, l3: 0 };
        for sub in 0..16 {
            let r = __cpuid_count(leaf, sub);
            let (kind, level) = (r.eax & 31, r.eax >> 5 & 7);
            if kind == 0 {
                break;
            }
            let (ways, partitions, line) = ((r.ebx >> 22) + 1, (r.ebx >> 12 & 1023) + 1, (r.ebx & 4095) + 1);
            let bytes = ways as usize * partitions as usize * line as usize * (r.ecx as usize + 1);
            match (kind, level) {
                (1 | 3, 1) => found.l1d = bytes,
                (1 | 3, 2) => found.l2 = bytes,
                (1 | 3, 3) => found.l3 = bytes,
                _ => (),
            }
        }
        (found.l1d > 0 && found.l2 > 0).then_some(found)
    }
}
