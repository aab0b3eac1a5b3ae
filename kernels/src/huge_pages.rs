//! Huge pages for large matrices. Where a matrix is read once per product, as with M = 1, page-table walks and the
//! prefetchers' stops at the end of each small page cost a third of the bandwidth.

use core::mem::MaybeUninit;

/// The least size in bytes that is worth a system call: a smaller buffer may not contain two aligned pages of 2 MiB.
#[cfg(all(target_os = "linux", feature = "huge-pages"))]
const MIN_BYTES: usize = 4 << 20;

/// Asks the system to back memory that has not been used yet by huge pages. This has an effect with the feature
/// `huge-pages` on Linux whose transparent huge pages are on `madvise` or `always`; elsewhere nothing happens.
pub fn prefer_huge<T>(unused: &mut [MaybeUninit<T>]) {
    #[cfg(all(target_os = "linux", feature = "huge-pages"))]
    {
        let bytes = size_of_val(unused);
        if bytes < MIN_BYTES {
            return;
        }
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        let Some(page) = usize::try_from(page).ok().filter(|page| page.is_power_of_two()) else { return };
        let start = unused.as_mut_ptr().cast::<u8>();
        let skipped = start.align_offset(page);
        if skipped >= bytes {
            return;
        }
        let whole = (bytes - skipped) / page * page;
        // SAFETY: skipped + whole <= bytes, so the pages lie within `unused`. The advice changes neither their contents
        // nor who may access them. A refusal is no error.
        unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_HUGEPAGE) };
    }
    #[cfg(not(all(target_os = "linux", feature = "huge-pages")))]
    let _ = unused;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_usable() {
        for len in [0, 1, (4 << 20) - 1, 4 << 20, (9 << 20) + 5] {
            let mut bytes = std::vec::Vec::<u8>::with_capacity(len);
            prefer_huge(bytes.spare_capacity_mut());
            bytes.resize(len, 7);
            assert!(bytes.iter().all(|byte| *byte == 7));
        }
    }
}
