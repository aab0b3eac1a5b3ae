//! A vector register of 32-bit lanes: what tiles and their epilogues take of it, so that they are written once for 256
//! and 512 bits.

use crate::contract::args::Args;
use core::arch::x86_64::__m128i;

/// A vector of i32.
///
/// Whole vectors are loaded without `ptr::read_unaligned` and the intrinsics made of it: where debug assertions are on,
/// it asserts at each load that the copy does not overlap, and the image of the bare-metal rig would be a fifth larger.
///
/// # Safety
/// The contract of each method: the CPU has the instructions of the width (AVX2; AVX-512 F, BW and VL), the method is
/// inlined into code that is compiled for them, and pointers are valid for [`LANES`](Self::LANES) elements, as many
/// as a mask lets through, or as many as the method says. No method asks for alignment. Implementations access no other memory.
pub unsafe trait Vector: Copy {
    /// The number of lanes.
    const LANES: usize;
    /// Whether tiles multiply and store only the lower half of a last vector that holds no column in the upper one.
    const HALVES: bool;
    /// A vector of as many f32.
    type Floats: Copy;
    /// The first few lanes, one at least.
    type Mask: Copy;
    /// The conversion of rows of such vectors to bytes.
    type Narrow: Narrow<Self>;

    unsafe fn zero() -> Self;
    unsafe fn splat(value: i32) -> Self;
    unsafe fn load(from: *const i32) -> Self;
    unsafe fn store(self, to: *mut i32);
    /// One byte per half lane, widened to i16: reads 2·LANES bytes.
    unsafe fn load_i8_as_i16(from: *const u8) -> Self;
    /// [`load_i8_as_i16`](Self::load_i8_as_i16), of u8.
    unsafe fn load_u8_as_i16(from: *const u8) -> Self;
    /// The first `len` bytes, less than 4·LANES, XORed with those of `flips`; the others are 0. `follows`: a whole vector
    /// may be read before them.
    unsafe fn load_part(from: *const u8, len: usize, follows: bool, flips: Self) -> Self;
    /// [`load_i8_as_i16`](Self::load_i8_as_i16) of the first `len` bytes, less than 2·LANES; the others are 0.
    /// `follows`: as many bytes as a vector holds i16 may be read before them.
    unsafe fn load_part_i8_as_i16(from: *const u8, len: usize, follows: bool) -> Self;
    /// [`load_part_i8_as_i16`](Self::load_part_i8_as_i16), of u8.
    unsafe fn load_part_u8_as_i16(from: *const u8, len: usize, follows: bool) -> Self;
    /// The sum of the lanes of each vector.
    unsafe fn sums_of_lanes(of: [Self; 4]) -> __m128i;
    /// The lanes of `low`, those of `high`, and 0 in the others.
    unsafe fn from_fours(low: __m128i, high: __m128i) -> Self;
    unsafe fn first_lane(self) -> i32;
    unsafe fn xor(self, other: Self) -> Self;
    /// Sums, differences and products are modulo 2^32.
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;

    /// The first `lanes` lanes, 1 to LANES.
    unsafe fn mask(lanes: usize) -> Self::Mask;
    unsafe fn load_masked(from: *const i32, mask: Self::Mask) -> Self;
    unsafe fn store_masked(self, to: *mut i32, mask: Self::Mask);
    /// [`store_masked`](Self::store_masked) for a mask of no more than the lower half of the lanes.
    unsafe fn store_low_masked(self, to: *mut i32, mask: Self::Mask);
    unsafe fn store_floats_masked(x: Self::Floats, to: *mut f32, mask: Self::Mask);

    unsafe fn splat_float(value: f32) -> Self::Floats;
    unsafe fn load_floats(from: *const f32) -> Self::Floats;
    unsafe fn store_floats(x: Self::Floats, to: *mut f32);
    /// Rounds to nearest even.
    unsafe fn to_floats(self) -> Self::Floats;
    /// The lanes' bits as numbers.
    unsafe fn bits_as_floats(self) -> Self::Floats;
    /// The sums of the lanes, `col` (a value per lane) and `row`, in f64, rounded to f32 at the end.
    unsafe fn to_floats_with_terms(self, col: *const f64, row: Option<f64>) -> Self::Floats;
    unsafe fn add_floats(x: Self::Floats, y: Self::Floats) -> Self::Floats;
    unsafe fn mul_floats(x: Self::Floats, y: Self::Floats) -> Self::Floats;
    /// `x`, or the bound if x is beyond it; a NaN in x stays.
    unsafe fn at_least(x: Self::Floats, bound: Self::Floats) -> Self::Floats;
    unsafe fn at_most(x: Self::Floats, bound: Self::Floats) -> Self::Floats;
    /// Rounds to nearest even. A value that i32 does not hold becomes i32::MIN.
    unsafe fn round(x: Self::Floats) -> Self;

    /// The odd lanes, moved to the even ones.
    unsafe fn odd(self) -> Self;
    /// The even lanes, and 0 in the odd ones.
    unsafe fn even(self) -> Self;
    /// The even lanes of `self`, the odd ones of `odd`.
    unsafe fn with_odd(self, odd: Self) -> Self;
    /// The products of the even lanes, of 64 bits.
    unsafe fn mul_even(self, other: Self) -> Self;
    /// The sums of lanes of 64 bits.
    unsafe fn add_64(self, other: Self) -> Self;
    /// -1 where a lane of 64 bits is negative, else 0.
    unsafe fn sign_64(self) -> Self;
    /// Shifts lanes of 64 bits by 31 to the right, and zeros in.
    unsafe fn shift_right_31(self) -> Self;
    /// Shifts lanes of 64 bits by 1 to the left.
    unsafe fn shift_left_1(self) -> Self;
    /// Shifts each lane to the right by as many bits as `by` says, 0 to 31, and the sign in.
    unsafe fn shift_right_each(self, by: Self) -> Self;
    /// `self - other` where `self` is negative, else `self`.
    unsafe fn sub_if_negative(self, other: Self) -> Self;

    /// Calls `epilogue_rare::finish` in a function of its own that has the instructions, with the sums of `t.rows` rows
    /// of V vectors, which it may overwrite.
    ///
    /// # Safety
    /// The contract of [`Args`], with V = ceil(cols / LANES); the CPU has the instructions; `sums` is valid for the
    /// rows.
    unsafe fn finish_rare<const V: usize>(t: &Args<'_>, sums: *mut i32);
}

/// The conversion of rounded values to 8 bits: clamped to i16, a zero point added, clamped to a range.
///
/// # Safety
/// The contract of each method is that of [`Vector`]. [`new`](Self::new) gets the number of columns, V vectors; rows of
/// bytes are valid for as many. Implementations access no other memory.
pub unsafe trait Narrow<X: Vector> {
    unsafe fn new(zero_point: i32, range: (i32, i32), cols: usize) -> Self;

    /// The rows of so many vectors that are converted together, 1 to 4.
    fn rows_at_once(vectors: usize) -> usize;

    /// Stores the first `rows` of `y`, at most [`rows_at_once`](Self::rows_at_once), at `c` and every `ldc` bytes after
    /// it.
    unsafe fn store_rows<const V: usize>(&self, y: [[X; V]; 4], rows: usize, c: *mut u8, ldc: usize);

    /// Stores a row.
    unsafe fn store<const V: usize>(&self, y: [X; V], c: *mut u8);

    /// Loads a row of bytes, XORed with `flip`, as u8; beyond the columns lanes have any value.
    unsafe fn load_row<const V: usize>(&self, from: *const u8, flip: u8) -> [X; V];
}
