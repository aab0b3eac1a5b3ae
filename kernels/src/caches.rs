//! Sizes of the CPU's data caches.

#[cfg(target_arch = "x86_64")]
use crate::detect::is_amd;

/// Sizes of the data caches in bytes. Block sizes follow from `l2` alone; the others only inform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// First level, of one core. No block size depends on it today.
    pub l1d: usize,
    /// Second level: the share of one core, where several cores share a cache. It decides the block sizes, each thread
    /// using all of it.
    pub l2: usize,
    /// Third level, shared by cores; 0 if there is none. No block size depends on it today.
    pub l3: usize,
}

impl Caches {
    /// The sizes that are assumed where the CPU does not tell. They are small, so that blocks fit the caches of most
    /// CPUs.
    pub const DEFAULT: Caches = Caches { l1d: 32 << 10, l2: 512 << 10, l3: 4 << 20 };

    /// Asks the CPU on x86-64. Where cores differ, as the performance and the efficient cores of a hybrid CPU do, the
    /// sizes are those of the core that runs this. Returns [`Caches::DEFAULT`] elsewhere, or if the CPU does not tell.
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
        let (leaf, core_type) = if is_amd() {
            let has_leaf = __cpuid(0x8000_0000).eax >= 0x8000_001d && __cpuid(0x8000_0001).ecx >> 22 & 1 == 1;
            (has_leaf.then_some(0x8000_001d), 0)
        } else {
            let greatest = __cpuid(0).eax;
            let core_type = if greatest >= 0x1a { __cpuid_count(0x1a, 0).eax >> 24 } else { 0 };
            ((greatest >= 4).then_some(4), core_type)
        };
        let leaf = leaf?;
        let subleaves = (0..16).map(|sub| __cpuid_count(leaf, sub)).map(|r| [r.eax, r.ebx, r.ecx]);
        Self::from_subleaves(subleaves, core_type)
    }

    /// The sizes from EAX, EBX and ECX of the subleaves, up to the first that lists no cache. `core_type` is that of
    /// leaf 0x1A; 0 if there is none.
    #[cfg(target_arch = "x86_64")]
    fn from_subleaves(subleaves: impl Iterator<Item = [u32; 3]>, core_type: u32) -> Option<Self> {
        let mut found = Caches { l1d: 0, l2: 0, l3: 0 };
        let (mut l1d_sharing, mut l2_sharing) = (1, 1);
        for [eax, ebx, ecx] in subleaves {
            let (kind, level, sharing) = (eax & 31, eax >> 5 & 7, (eax >> 14 & 4095) as usize + 1);
            if kind == 0 {
                break;
            }
            let (ways, partitions, line) = ((ebx >> 22) + 1, (ebx >> 12 & 1023) + 1, (ebx & 4095) + 1);
            let bytes = cache_bytes([ways, partitions, line], ecx)?;
            match (kind, level) {
                (1 | 3, 1) => (found.l1d, l1d_sharing) = (bytes, sharing),
                (1 | 3, 2) => (found.l2, l2_sharing) = (bytes, sharing),
                (1 | 3, 3) => found.l3 = bytes,
                _ => (),
            }
        }
        found.l2 /= cores_sharing_l2(l1d_sharing, l2_sharing, core_type);
        (found.l1d > 0 && found.l2 > 0).then_some(found)
    }
}

/// The cores that share a second-level cache, from the threads that share it and those that share the first level, which
/// are the threads of one core.
///
/// Intel counts the numbers that threads may have, not the threads. Those of its performance cores are spread in hybrid
/// CPUs: two threads have 8 numbers, as four efficient cores do. Leaf 0x1A tells the two apart, and performance cores
/// never share a second level.
#[cfg(target_arch = "x86_64")]
fn cores_sharing_l2(l1d_sharing: usize, l2_sharing: usize, core_type: u32) -> usize {
    const PERFORMANCE_CORE: u32 = 0x40;
    if core_type == PERFORMANCE_CORE { 1 } else { (l2_sharing / l1d_sharing).max(1) }
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
        let garbage = [[0x121, u32::MAX, u32::MAX], [0x143, u32::MAX, u32::MAX], [0; 3]];
        assert_eq!(Caches::from_subleaves(garbage.into_iter(), 0), None);
    }

    /// EAX, EBX and ECX as CPUs tell them.
    #[test]
    fn an_l2_that_cores_share_is_divided_among_them() {
        let kib =
            |l1d: usize, l2: usize, l3: usize| Some(Caches { l1d: l1d << 10, l2: l2 << 10, l3: l3 << 10 });
        let sizes = |l1d, l2, l3, core_type| {
            let l1i = [0xfc00_4122, 0x01c0_003f, 0x3f];
            Caches::from_subleaves([l1d, l1i, l2, l3, [0; 3], l1d].into_iter(), core_type)
        };
        // Zen 4: two threads of one core.
        let [l1d, l2, l3] =
            [[0x4121, 0x01c0_003f, 0x3f], [0x4143, 0x01c0_003f, 0x7ff], [0x3_c163, 0x03c0_003f, 0x7fff]];
        assert_eq!(sizes(l1d, l2, l3, 0), kib(32, 1024, 32 << 10));
        // Zen 4 without its second threads, as a virtual machine shows it.
        assert_eq!(sizes([0x121, l1d[1], l1d[2]], [0x143, l2[1], l2[2]], l3, 0), kib(32, 1024, 32 << 10));
        // Core i9-12900K: a performance core, then one of four efficient cores that share 2 MiB.
        let l3 = [0xfc1f_c163, 0x02c0_003f, 0x9fff];
        let performance = ([0xfc00_4121, 0x02c0_003f, 0x3f], [0xfc01_c143, 0x0240_003f, 0x7ff]);
        assert_eq!(sizes(performance.0, performance.1, l3, 0x40), kib(48, 1280, 30 << 10));
        let efficient = ([0xfc00_4121, 0x01c0_003f, 0x3f], [0xfc01_c143, 0x03c0_003f, 0x7ff]);
        assert_eq!(sizes(efficient.0, efficient.1, l3, 0x20), kib(32, 512, 30 << 10));
        // Pentium Gold G7400: performance cores only, and no leaf 0x1A.
        let l3 = [0x1c03_c163, 0x02c0_003f, 0x1fff];
        let pentium = ([0x1c00_4121, 0x02c0_003f, 0x3f], [0x1c00_4143, 0x0240_003f, 0x7ff]);
        assert_eq!(sizes(pentium.0, pentium.1, l3, 0), kib(48, 1280, 6 << 10));
        // One that says fewer threads share the second level than the first.
        assert_eq!(sizes(pentium.0, [0x143, 0x0240_003f, 0x7ff], l3, 0), kib(48, 1280, 6 << 10));
    }
}
