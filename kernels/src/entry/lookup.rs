//! Functions of a byte as tables of their 256 values.

use crate::block::BlockMut;

/// Replaces each byte `c` of the matrix by `table[c]`.
pub fn look_up(c: &mut BlockMut<'_, u8>, table: &[u8; 256]) {
    #[cfg(target_arch = "x86_64")]
    if crate::detect::vbmi() && c.rows_are_slices() {
        // SAFETY: the CPU has AVX-512 F, BW and VBMI, as `vbmi` says.
        return unsafe { crate::x86::lookup::look_up(c, table) };
    }
    for i in 0..c.rows() {
        match c.row_mut(i) {
            Some(row) => row.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]),
            None => {
                for j in 0..c.cols() {
                    let byte = c.get_mut(i, j).expect("the block has this shape");
                    *byte = table[usize::from(*byte)];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_byte_is_replaced_and_nothing_else() {
        // A permutation without fixed points.
        let table: [u8; 256] = core::array::from_fn(|x| (x as u8).wrapping_mul(5).wrapping_add(3) ^ 0x5a);
        for (rows, cols) in (1..140).map(|cols| (4, cols)).chain([(0, 5), (5, 0), (1, 1000)]) {
            for (row_stride, col_stride) in [(cols, 1), (cols + 3, 1), (1, rows), (2 * cols + 1, 2)] {
                let len = crate::layout::extent(rows, cols, row_stride, col_stride).unwrap() + 7;
                let before: Vec<u8> = (0..len).map(|at| (at * 7 + cols) as u8).collect();
                let (mut got, mut want) = (before.clone(), before);
                for i in 0..rows {
                    for j in 0..cols {
                        let at = i * row_stride + j * col_stride;
                        want[at] = table[usize::from(want[at])];
                    }
                }
                let mut c = BlockMut::new(&mut got, rows, cols, row_stride, col_stride).unwrap();
                look_up(&mut c, &table);
                assert_eq!(got, want, "{rows}x{cols}, strides {row_stride} and {col_stride}");
            }
        }
        let mut all: Vec<u8> = (0..=255).collect();
        look_up(&mut BlockMut::new(&mut all, 1, 256, 256, 1).unwrap(), &table);
        assert_eq!(all, table);
    }
}
