//! Rows of 8 bits as group-wise kernels read them.

use multiversion::multiversion;
use qgemm_kernels::word_place;

/// How a row is written for a kernel.
#[derive(Clone, Copy)]
pub(super) struct Format {
    /// Whether sign bits are inverted, which makes i8 of u8 by subtracting 128.
    pub(super) flip: bool,
    /// Whether values become i16, in the order k0 k2 k1 k3 of each four.
    pub(super) words: bool,
    /// The values of a group.
    pub(super) group: usize,
}

/// Writes a row of 8-bit values to `out`, zeros behind them, and the sum of each group, as it is written, to `sums`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
pub(super) fn spread(row: &[u8], format: Format, out: &mut [u8], sums: &mut [i32]) {
    let Format { flip, words, group } = format;
    let mask = if flip { 0x80 } else { 0 };
    for (values, sum) in row.chunks(group).zip(sums) {
        // Sums of up to 256 values fit 16 bits, in which vectors have more lanes.
        *sum = values
            .chunks(256)
            .map(|values| {
                i32::from(values.iter().fold(0i16, |sum, x| sum.wrapping_add(i16::from((x ^ mask) as i8))))
            })
            .sum();
    }
    if words {
        let (whole, rest) = row.split_at(row.len() / 4 * 4);
        let (to, to_rest) = out.split_at_mut(2 * whole.len());
        for (values, to) in whole.chunks_exact(4).zip(to.chunks_exact_mut(8)) {
            let word = |k: usize| i16::from((values[k] ^ mask) as i8).to_ne_bytes();
            let ([a, b], [c, d], [e, f], [g, h]) = (word(0), word(2), word(1), word(3));
            to.copy_from_slice(&[a, b, c, d, e, f, g, h]);
        }
        to_rest.fill(0);
        for (k, value) in rest.iter().enumerate() {
            let at = 2 * word_place(k);
            to_rest[at..at + 2].copy_from_slice(&i16::from((value ^ mask) as i8).to_ne_bytes());
        }
    } else {
        let (to, rest) = out.split_at_mut(row.len());
        to.iter_mut().zip(row).for_each(|(to, value)| *to = value ^ mask);
        rest.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_copied_flipped_widened_and_summed() {
        let row: Vec<u8> = (0..77u32).map(|k| (k * 91 + 250) as u8).collect();
        for (flip, words) in [(false, false), (true, false), (false, true), (true, true)] {
            for group in [8, 24, 300] {
                let value = |k: usize| i32::from((row[k] ^ if flip { 0x80 } else { 0 }) as i8);
                let mut out = vec![0xff; if words { 160 } else { 80 }];
                let mut sums = vec![-1; 77usize.div_ceil(group)];
                spread(&row, Format { flip, words, group }, &mut out, &mut sums);
                for k in 0..80 {
                    let want = if k < 77 { value(k) } else { 0 };
                    let got = if words {
                        let at = 2 * (k & !3 | [0, 2, 1, 3][k & 3]);
                        i32::from(i16::from_ne_bytes([out[at], out[at + 1]]))
                    } else {
                        i32::from(out[k] as i8)
                    };
                    assert_eq!(got, want, "{k}");
                }
                for (g, sum) in sums.iter().enumerate() {
                    assert_eq!(*sum, (g * group..77.min((g + 1) * group)).map(value).sum::<i32>());
                }
            }
        }
        let mut sums = [0];
        spread(&[0x80; 1000], Format { flip: false, words: false, group: 1000 }, &mut [0; 1000], &mut sums);
        assert_eq!(sums, [-128_000]);
    }
}
