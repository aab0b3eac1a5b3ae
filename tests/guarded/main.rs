//! Every operand of every call between inaccessible pages: flush against one at its end, then against one at its start. A byte
//! outside an operand that is read or written ends the process.
#![cfg(unix)]

mod formats;
mod memory;
mod products;
mod values;

use memory::Side;

/// `QGEMM_TEST_SCALE`: how many percent of the cases to run.
fn cases(full: usize) -> usize {
    let percent = match std::env::var("QGEMM_TEST_SCALE") {
        Ok(percent) => percent.parse().expect("QGEMM_TEST_SCALE must be a whole number of percent"),
        Err(_) => 100,
    };
    (full * percent / 100).max(1)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn values<T>(&mut self, count: usize, value: impl Fn(u64) -> T) -> Vec<T> {
        (0..count).map(|_| value(self.next())).collect()
    }
}

/// Numbers of rows, columns and values of k around the sizes of tiles, vectors and k-groups.
fn shape(random: &mut Random) -> (usize, usize, usize) {
    let m = random.pick(&[1, 2, 3, 4, 5, 6, 7, 12, 13, 25]);
    let k = random.pick(&[1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 129, 260]);
    let n = random.pick(&[1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 48, 63, 64, 65, 97]);
    (m, k, n)
}

const SIDES: [Side; 2] = [Side::End, Side::Start];
