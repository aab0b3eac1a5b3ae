//! The tile registers of AMX: their configuration, and products in them alone.

use core::arch::asm;

/// The rows of a tile register.
pub const ROWS: usize = 16;
/// The most rows of A: two registers.
pub const MAX_ROWS: usize = 2 * ROWS;
/// The values of k in a row of a tile register.
pub const DEPTH: usize = 64;

/// The configuration of the tile registers, in memory: "palette 1".
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    /// For so many rows of A, at most [`MAX_ROWS`].
    const fn new(rows: usize) -> Self {
        let first = if rows < ROWS { rows } else { ROWS } as u8;
        let second = rows as u8 - first;
        let (mut of_rows, mut row_bytes) = ([0; 16], [0; 16]);
        let heights = [first, first, second, second, first, second, ROWS as u8, ROWS as u8];
        let mut i = 0;
        while i < heights.len() {
            of_rows[i] = heights[i];
            // A register without rows has no bytes either.
            row_bytes[i] = if heights[i] > 0 { DEPTH as u16 } else { 0 };
            i += 1;
        }
        Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows: of_rows }
    }
}

/// Tile registers that are configured, until this is dropped.
///
/// No code of a compiler touches them, or their configuration, unless it is compiled for AMX, and nothing in this
/// crate is: what lies between the assembly of two tiles leaves them as they are. The operating system keeps them for
/// each thread.
pub struct Configured(());

impl Configured {
    /// For so many rows of A, from 1 to [`MAX_ROWS`].
    ///
    /// # Safety
    /// The CPU has AMX-TILE, and the operating system lets this thread use it.
    #[inline(always)]
    pub unsafe fn for_rows(rows: usize) -> Self {
        // SAFETY: the caller's promise. A palette of 1 and heights and widths within it are what the instruction takes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &CONFIGURATIONS[rows - 1], options(nostack, preserves_flags, readonly),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _);
        }
        Self(())
    }
}

impl Drop for Configured {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the registers were configured, so the CPU has AMX-TILE.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// By the number of rows, from 1 on.
static CONFIGURATIONS: [Configuration; MAX_ROWS] = {
    let mut all = [const { Configuration::new(MAX_ROWS) }; MAX_ROWS];
    let mut i = 0;
    while i < MAX_ROWS {
        all[i] = Configuration::new(i + 1);
        i += 1;
    }
    all
};

/// Multiplies whole tiles four times a turn, for the rate of the instruction: with four registers of sums a product
/// is done before its sums are needed again. At least one turn.
///
/// # Safety
/// The CPU has AMX-TILE and AMX-INT8, and the operating system lets this thread use them.
pub unsafe fn products_alone(turns: u32) {
    // SAFETY: the caller's promise; the code changes declared registers only, and ends after `turns` turns.
    unsafe {
        let configured = Configured::for_rows(MAX_ROWS);
        asm!(
            "2:",
            "tdpbusd tmm0, tmm4, tmm6",
            "tdpbusd tmm1, tmm4, tmm7",
            "tdpbusd tmm2, tmm5, tmm6",
            "tdpbusd tmm3, tmm5, tmm7",
            "dec {turns:e}",
            "jnz 2b",
            turns = inout(reg) turns.max(1) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nomem, nostack),
        );
        drop(configured);
    }
}
