//! Tables of 256 bytes in four registers: `vpermi2b` looks up 64 bytes in two of them, by seven bits of an index;
//! the eighth, which is the sign bit, tells which two.

use crate::block::BlockMut;
use core::arch::x86_64::*;

/// Replaces each byte by the table's value for it; rows are slices.
///
/// # Safety
/// The CPU has AVX-512 F, BW and VBMI.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn look_up(c: &mut BlockMut<'_, u8>, table: &[u8; 256]) {
    // SAFETY: a quarter of the table each.
    let [t0, t1, t2, t3] =
        [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(table.as_ptr().add(at).cast()) });
    for i in 0..c.rows() {
        let row = c.row_mut(i).expect("rows are slices");
        for part in row.chunks_mut(64) {
            let mask = !0 >> (64 - part.len());
            let bytes = part.as_mut_ptr().cast();
            // SAFETY: the mask keeps to the part.
            unsafe {
                let index = _mm512_maskz_loadu_epi8(mask, bytes);
                let (low, high) =
                    (_mm512_permutex2var_epi8(t0, index, t1), _mm512_permutex2var_epi8(t2, index, t3));
                let value = _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(index), high);
                _mm512_mask_storeu_epi8(bytes, mask, value);
            }
        }
    }
}
