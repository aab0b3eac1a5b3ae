//! The order of sums that vectors can compute: 16 partial sums, joined by halves.

/// The number of partial sums. It is a part of the definition of every sum, whatever vectors a CPU has.
pub const LANES: usize = 16;

/// The sum of partial sums: the upper half is added to the lower one until one is left.
#[inline(always)]
pub fn join(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_joined_by_halves() {
        let mut sums = [0.0; LANES];
        // Added one after the other, the ones would be lost.
        (sums[0], sums[1], sums[9]) = (1.5 * (1u32 << 24) as f32, 1.0, 1.0);
        assert_eq!(join(sums), 1.5 * (1u32 << 24) as f32 + 2.0);
    }
}
