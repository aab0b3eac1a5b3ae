//! The memory of a case: pieces of the arena, one of which ends where the arena does.

use crate::contract::limits::MAX_NR;

/// The arena that suffices for every case, in bytes.
pub const ARENA: usize = 1 << 20;

/// Elements between the rows of A in half of the cases, and between the rows of C. They must stay unread, and
/// untouched.
pub(super) const GAP: usize = 3;
/// The most rows of a case.
pub(super) const MAX_M: usize = 160;
/// The most columns of a case.
pub(super) const MAX_N: usize = 4 * MAX_NR;

/// Cuts the arena into pieces of `lens` bytes. Each is aligned to 64 bytes but for the one of index `last`, which ends
/// where the arena does.
pub(super) fn carve<const N: usize>(arena: &mut [u8], lens: [usize; N], last: usize) -> [&mut [u8]; N] {
    let end = arena.len();
    let (mut front, tail) = arena.split_at_mut(end - lens[last]);
    let mut tail = Some(tail);
    core::array::from_fn(|i| match tail.take_if(|_| i == last) {
        Some(tail) => tail,
        None => {
            let (piece, rest) = core::mem::take(&mut front).split_at_mut(lens[i].next_multiple_of(64));
            front = rest;
            &mut piece[..lens[i]]
        }
    })
}
