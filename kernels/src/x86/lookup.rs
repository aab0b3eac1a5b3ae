//! Looks bytes up in a table of 256 bytes, which is kept in four registers. `vpermi2b` looks 64 bytes up in two of them
//! by the lower seven bits of each index; the eighth bit, which is the sign bit, selects one of the two results.

use crate::block::BlockMut;
use core::arch::x86_64::*;

/// Replaces each byte `c` of the matrix, whose rows are slices, by `table[c]`.
///
/// # Safety
/// - The CPU has AVX-512 F, BW and VBMI.
///
/// # Panics
/// If rows are not slices.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub unsafe fn look_up(c: &mut BlockMut<'_, u8>, table: &[u8; 256]) {
    // SAFETY: each load reads a quarter of the table, 64 of 256 bytes.
    let [t0, t1, t2, t3] =
        [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(table.as_ptr().add(at).cast()) });
    for i in 0..c.rows() {
        let row = c.row_mut(i).expect("rows are slices");
        for part in row.chunks_mut(64) {
            let mask = !0 >> (64 - part.len());
            let bytes = part.as_mut_ptr().cast();
            // SAFETY: a part has 1 to 64 bytes, and the mask keeps the load and the store to them.
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
