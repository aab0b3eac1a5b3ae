//! Sizes of the CPU's data caches.

#[cfg(target_arch = "x86_64")]
use crate::detect::is_amd;

/// Sizes of the data caches in bytes. Block sizes follow from `l2` alone; the others only inform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// First level, of one core. No block size depends on it today.
    pub l1d: usize,
    /// Second level. It decides the block sizes, each thread using all of it. The size is that of one cache, also
    /// where several cores share it.
    pub l2: usize,
    /// Third level, shared by cores; 0 if there is none. No block size depends on it today.
    pub l3: usize,
}

impl Caches {
    /// The sizes that are assumed where the CPU does not tell. They are small, so that blocks fit the caches of most
    /// CPUs.
    pub const DEFAULT: Caches = Caches { l1d: 32 << 10, l2: 512 << 10, l3: 4 << 20 };

    /// Asks the CPU on x86-64. Returns [`Caches::DEFAULT`] elsewhere, or if the CPU does not tell.
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

    /// Reads leaf 4 (Intel) or 0x8000001D (AMD), which list one cache per subleaf in the same format. `None` if the
    /// CPU has no such leaf, lists no first or second level, or tells a size beyond the address space.
    #[cfg(target_arch = "x86_64")]
    fn from_cpuid() -> Option<Self> {
        use core::arch::x86_64::{__cpuid, __cpuid_count};
        let leaf = if is_amd() {
            let has_leaf = __cpuid(0x8000_0000).eax >= 0x8000_001d && __cpuid(0x8000_0001).ecx >> 22 & 1 == 1;
            has_leaf.then_some(0x8000_001d)
        } else {
            (__cpuid(0).eax >= 4).then_some(4)
        }?;
        let mut found = Caches { l1d: 0, l2: 0, l3: 0 };
        for sub in 0..16 {
            let r = __cpuid_count(leaf, sub);
            let (kind, level) = (r.eax & 31, r.eax >> 5 & 7);
            if kind == 0 {
                break;
            }
            let (ways, partitions, line) = ((r.ebx >> 22) + 1, (r.ebx >> 12 & 1023) + 1, (r.ebx & 4095) + 1);
            let bytes = cache_bytes([ways, partitions, line], r.ecx)?;
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

/// The size of a cache of `last_set + 1` sets; `None` where it overflows, as a hypervisor's answer may.
#[cfg(target_arch = "x86_64")]
fn cache_bytes(bytes_of_a_set: [u32; 3], last_set: u32) -> Option<usize> {
    let sets = (last_set as usize).checked_add(1)?;
    bytes_of_a_set.into_iter().try_fold(sets, |bytes, factor| bytes.checked_mul(factor as usize))
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_the_address_space_are_refused() {
        assert_eq!(cache_bytes([8, 1, 64], 63), Some(32 << 10));
        assert_eq!(cache_bytes([1024, 1024, 4096], u32::MAX), None);
    }
}
