//! Vectors of columns, as the tile needs them.

/// The next step: of rows of A, and of the columns of a tile.
pub struct NextStep {
    pub a: *const u8,
    pub a_stride: usize,
    pub codes: *const u8,
    /// Bytes from the codes of one step to those of the next.
    pub step_bytes: usize,
}

/// Vectors of [`LANES`](Self::LANES) columns: integers, real numbers, and the multiply-add of four values of k.
///
/// # Safety
/// All functions use registers only, besides the memory that their safety section names, and no instructions but those
/// of the kernel's instruction set; they compute what they say.
pub unsafe trait GroupVector {
    /// i32 in each lane, or the 4 bytes of each column of a step.
    type Int: Copy;
    /// f32 in each lane.
    type Real: Copy;
    /// Sums of a run of k-groups, wherever they are kept.
    type Partial: Copy;
    /// The columns of a vector: [`PANEL`](crate::groupwise::layout::PANEL) is a multiple of it.
    const LANES: usize;
    /// The k-groups of codes of 4 bits that a partial sum holds at most, an even number.
    const RUN_4: usize;
    /// The k-groups of codes of 8 bits that a partial sum holds at most.
    const RUN_8: usize;
    /// Whether A is words where codes have 8 bits.
    const WORDS: bool;
    /// Whether low nibbles are multiplied by all rows before high ones, which takes less registers: 16 are too few else.
    const NIBBLES_APART: bool;

    /// # Safety
    /// The CPU has the instructions; so it is for all functions here.
    unsafe fn splat(value: i32) -> Self::Int;
    /// # Safety
    /// The lanes' i32 lie at `from`.
    unsafe fn load(from: *const i32) -> Self::Int;
    /// # Safety
    /// There is room for the lanes' i32 at `to`.
    unsafe fn store(x: Self::Int, to: *mut i32);
    /// `acc + x·y` modulo 2^32.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn multiply_add(acc: Self::Int, x: Self::Int, y: Self::Int) -> Self::Int;
    /// The start of a sum: the pairs of 16 bits of `start` times (zero, 128·zero), for zero points in the lanes.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn start(start: i32, zeros: Self::Int) -> Self::Int;
    /// A byte for each lane.
    ///
    /// # Safety
    /// As many bytes lie at `from`.
    unsafe fn load_bytes(from: *const u8) -> Self::Int;
    /// Zero points of 8-bit codes for each lane, 128 less if the kernel takes such codes 128 less.
    ///
    /// # Safety
    /// As many bytes lie at `from`.
    #[inline(always)]
    unsafe fn load_zeros_8(from: *const u8) -> Self::Int {
        // SAFETY: the caller's promise.
        unsafe { Self::load_bytes(from) }
    }
    /// The low nibble of the lanes' lowest byte, or the high one, in lanes that are below 256.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn nibble(x: Self::Int, high: bool) -> Self::Int;

    /// The codes of a step: 4 bytes of each column.
    ///
    /// # Safety
    /// They lie at `from`.
    unsafe fn load_codes(from: *const u8) -> Self::Int;
    /// The low nibble of every byte, and the high one.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn nibbles(codes: Self::Int) -> (Self::Int, Self::Int);

    /// A partial sum that continues from `acc`, or starts at 0 if `acc` is added in the end.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn begin(acc: Self::Int) -> Self::Partial;
    /// A partial sum that starts at 0 and is added by [`join`](Self::join).
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn begin_beside() -> Self::Partial;
    /// The sum of two partial sums that hold half a run each.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn join(x: Self::Partial, y: Self::Partial) -> Self::Partial;
    /// `acc` with a partial sum of [`dot_4`](Self::dot_4) that [`begin`](Self::begin) made from it.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn finish_4(acc: Self::Int, partial: Self::Partial) -> Self::Int;
    /// `acc` with a partial sum of [`dot_8`](Self::dot_8) that [`begin`](Self::begin) made from it.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn finish_8(acc: Self::Int, partial: Self::Partial) -> Self::Int;
    /// Adds the products of 4 codes of each column, of 0 to 15, and 4 i8 at `a`.
    ///
    /// # Safety
    /// 4 bytes lie at `a`.
    unsafe fn dot_4(partial: Self::Partial, codes: Self::Int, a: *const u8) -> Self::Partial;
    /// Adds the products of 4 codes of each column and 4 values of A: i8, or words in the order 0 2 1 3.
    ///
    /// # Safety
    /// 4 bytes lie at `a`, or 8 if [`WORDS`](Self::WORDS).
    unsafe fn dot_8(partial: Self::Partial, codes: Self::Int, a: *const u8) -> Self::Partial;
    /// Adds the products of `count` steps to the sums of H rows and V vectors of columns, and moves `next` behind them. 8-bit
    /// codes if `EIGHT`.
    ///
    /// # Safety
    /// `count` steps of H rows and V vectors lie there, at most as many as a partial sum may hold.
    #[inline(always)]
    unsafe fn add_products<const H: usize, const V: usize, const EIGHT: bool>(
        next: &mut NextStep,
        count: usize,
        acc: &mut [[Self::Int; V]; H],
    ) where
        Self: Sized,
    {
        // SAFETY: the caller's promise.
        unsafe { add_products_by_row::<Self, H, V, EIGHT>(next, count, acc) }
    }

    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn zero() -> Self::Real;
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn splat_real(value: f32) -> Self::Real;
    /// # Safety
    /// The lanes' f32 lie at `from`.
    unsafe fn load_real(from: *const f32) -> Self::Real;
    /// # Safety
    /// The lanes' half-precision numbers lie at `from`.
    unsafe fn load_f16(from: *const u16) -> Self::Real;
    /// # Safety
    /// The lanes' bfloat16 lie at `from`.
    unsafe fn load_bf16(from: *const u16) -> Self::Real;
    /// # Safety
    /// There is room for the lanes' f32 at `to`.
    unsafe fn store_real(x: Self::Real, to: *mut f32);
    /// Rounded to nearest even.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn to_real(x: Self::Int) -> Self::Real;
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn multiply(x: Self::Real, y: Self::Real) -> Self::Real;
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn add(x: Self::Real, y: Self::Real) -> Self::Real;
    /// `x·y + z`, rounded once.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn fused(x: Self::Real, y: Self::Real, z: Self::Real) -> Self::Real;
    /// `lo` where x < lo, else `hi` where x > hi, else x. NaN becomes the NaN of bits 0x7fc00000.
    ///
    /// # Safety
    /// See [`splat`](Self::splat).
    unsafe fn clamp(x: Self::Real, lo: Self::Real, hi: Self::Real) -> Self::Real;
}

/// Adds the products of high nibbles and a row.
///
/// # Safety
/// 8 bytes lie at `row`.
#[inline(always)]
unsafe fn add_high<X: GroupVector, const V: usize>(
    sums: &mut [X::Partial; V],
    high: &[X::Int; V],
    row: *const u8,
) {
    for v in 0..V {
        // SAFETY: the caller's promise.
        sums[v] = unsafe { X::dot_4(sums[v], high[v], row.add(4)) };
    }
}

/// Adds the products of steps, a row at a time: 4 values of A in all lanes times each vector of codes.
///
/// # Safety
/// See [`GroupVector::add_products`].
#[inline(always)]
pub unsafe fn add_products_by_row<X: GroupVector, const H: usize, const V: usize, const EIGHT: bool>(
    next: &mut NextStep,
    count: usize,
    acc: &mut [[X::Int; V]; H],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut partial = [[X::begin_beside(); V]; H];
        for i in 0..H {
            for v in 0..V {
                partial[i][v] = X::begin(acc[i][v]);
            }
        }
        // Few sums would wait for themselves: the high nibbles get others.
        let two_sums = !EIGHT && H * V <= 4;
        let mut beside = [[X::begin_beside(); V]; H];
        for _ in 0..count {
            let mut low = [X::splat(0); V];
            let mut high = low;
            for v in 0..V {
                let loaded = X::load_codes(next.codes.add(4 * v * X::LANES));
                (low[v], high[v]) = if EIGHT { (loaded, loaded) } else { X::nibbles(loaded) };
            }
            for i in 0..H {
                let row = next.a.add(i * next.a_stride);
                for v in 0..V {
                    partial[i][v] = if EIGHT {
                        X::dot_8(partial[i][v], low[v], row)
                    } else {
                        X::dot_4(partial[i][v], low[v], row)
                    };
                }
                if !EIGHT && !X::NIBBLES_APART {
                    let sums = if two_sums { &mut beside[i] } else { &mut partial[i] };
                    add_high::<X, V>(sums, &high, row);
                }
            }
            if !EIGHT && X::NIBBLES_APART {
                for i in 0..H {
                    let sums = if two_sums { &mut beside[i] } else { &mut partial[i] };
                    add_high::<X, V>(sums, &high, next.a.add(i * next.a_stride));
                }
            }
            next.a = next.a.add(if !EIGHT || X::WORDS { 8 } else { 4 });
            next.codes = next.codes.add(next.step_bytes);
        }
        for i in 0..H {
            for v in 0..V {
                let sum = if two_sums { X::join(partial[i][v], beside[i][v]) } else { partial[i][v] };
                acc[i][v] = if EIGHT { X::finish_8(acc[i][v], sum) } else { X::finish_4(acc[i][v], sum) };
            }
        }
    }
}
