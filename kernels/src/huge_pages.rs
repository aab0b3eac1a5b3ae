//! Large matrices in huge pages: where one is read once per product, as for M = 1, the walks of the page
//! table and the prefetchers' stops at the end of each page cost a third of the bandwidth.

use core::mem::MaybeUninit;

/// Below so many bytes huge pages are not worth a system call: two of them may not even fit.
#[cfg(all(target_os = "linux", feature = "huge-pages"))]
const WORTHWHILE: usize = 4 << 20;

/// Asks the system to back memory that was not used yet by huge pages, as far as it has such: Linux with
/// transparent huge pages on `madvise` or `always`, and the feature `huge-pages`. Elsewhere nothing happens.
pub fn prefer_huge<T>(unused: &mut [MaybeUninit<T>]) {
    #[cfg(all(target_os = "linux", feature = "huge-pages"))]
    {
        let bytes = size_of_val(unused);
        if bytes < WORTHWHILE {
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
        // SAFETY: skipped + whole <= bytes, so the pages lie within `unused`. The advice changes neither what
        // they hold nor who may access them. That it is refused is no error.
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
