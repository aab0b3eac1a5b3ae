//! The registers, and what the instructions do with them.

use crate::decode::{Address, Instruction, decode};

const TILES: usize = 8;
const ROWS: usize = 16;
const BYTES: usize = 64;

/// The shape of a register: rows, and bytes of a row. A register without rows is not configured.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    rows: usize,
    bytes: usize,
}

/// Eight tile registers and their configuration.
#[derive(Clone)]
pub struct Machine {
    shapes: [Shape; TILES],
    tiles: [[[u8; BYTES]; ROWS]; TILES],
}

/// What a CPU would report instead of executing an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Invalid opcode: a register that is not configured, or shapes that do not fit each other.
    InvalidOpcode,
    /// General protection: a configuration that is not allowed.
    GeneralProtection,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// No register is configured.
    pub const fn new() -> Self {
        let none = Shape { rows: 0, bytes: 0 };
        Self { shapes: [none; TILES], tiles: [[[0; BYTES]; ROWS]; TILES] }
    }

    /// Executes the instruction at `code` and returns its length; `None` if it is not one of AMX. `registers` are
    /// those of [`decode`].
    ///
    /// # Safety
    /// The program that stopped at `code` may execute it: its operands in memory can be read or written.
    pub unsafe fn execute(&mut self, code: *const u8, registers: &[u64; 16]) -> Option<Result<usize, Fault>> {
        // SAFETY: the caller's promise.
        let (instruction, length) = unsafe { decode(code, registers) }?;
        // SAFETY: the caller's promise.
        Some(unsafe { self.run(instruction) }.map(|()| length))
    }

    /// Executes an instruction.
    ///
    /// # Safety
    /// Its operand in memory can be read or written.
    pub unsafe fn run(&mut self, instruction: Instruction) -> Result<(), Fault> {
        match instruction {
            Instruction::LoadConfiguration(Address { start, .. }) => {
                // SAFETY: the caller's promise: a configuration has 64 bytes.
                let bytes = unsafe { (start as *const [u8; 64]).read_unaligned() };
                self.configure(&bytes)?;
            }
            Instruction::Release => *self = Self::new(),
            Instruction::Zero(tile) => {
                self.shape(tile)?;
                self.tiles[tile] = [[0; BYTES]; ROWS];
            }
            Instruction::Load(tile, Address { start, stride }) => {
                let shape = self.shape(tile)?;
                let mut loaded = [[0; BYTES]; ROWS];
                for (row, to) in loaded[..shape.rows].iter_mut().enumerate() {
                    let from = start.wrapping_add(stride.wrapping_mul(row as u64)) as *const u8;
                    // SAFETY: the caller's promise: each row can be read.
                    unsafe { from.copy_to_nonoverlapping(to.as_mut_ptr(), shape.bytes) };
                }
                self.tiles[tile] = loaded;
            }
            Instruction::Store(tile, Address { start, stride }) => {
                let shape = self.shape(tile)?;
                for (row, from) in self.tiles[tile][..shape.rows].iter().enumerate() {
                    let to = start.wrapping_add(stride.wrapping_mul(row as u64)) as *mut u8;
                    // SAFETY: the caller's promise: each row can be written.
                    unsafe { from.as_ptr().copy_to_nonoverlapping(to, shape.bytes) };
                }
            }
            Instruction::Multiply { sums, a, b, signs } => self.multiply(sums, a, b, signs)?,
        }
        Ok(())
    }

    fn configure(&mut self, bytes: &[u8; 64]) -> Result<(), Fault> {
        let mut new = Self::new();
        match bytes[0] {
            0 => {}
            1 => {
                let row_bytes = |i: usize| u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]]);
                let reserved = bytes[2..16].iter().chain(&bytes[32..48]).chain(&bytes[56..]);
                if bytes[1] != 0 || reserved.into_iter().any(|byte| *byte != 0) {
                    return Err(Fault::GeneralProtection);
                }
                for i in 0..TILES {
                    let shape = Shape { rows: bytes[48 + i].into(), bytes: row_bytes(i).into() };
                    let none_or_both = (shape.rows == 0) == (shape.bytes == 0);
                    if shape.rows > ROWS || shape.bytes > BYTES || !none_or_both {
                        return Err(Fault::GeneralProtection);
                    }
                    new.shapes[i] = shape;
                }
            }
            _ => return Err(Fault::GeneralProtection),
        }
        *self = new;
        Ok(())
    }

    fn shape(&self, tile: usize) -> Result<Shape, Fault> {
        let shape = self.shapes[tile];
        if shape.rows == 0 { Err(Fault::InvalidOpcode) } else { Ok(shape) }
    }

    fn multiply(&mut self, sums: usize, a: usize, b: usize, signs: (bool, bool)) -> Result<(), Fault> {
        let (of_sums, of_a, of_b) = (self.shape(sums)?, self.shape(a)?, self.shape(b)?);
        let distinct = sums != a && sums != b && a != b;
        let whole = [of_sums, of_a, of_b].iter().all(|shape| shape.bytes % 4 == 0);
        let fit = of_sums.rows == of_a.rows && of_sums.bytes == of_b.bytes && of_a.bytes / 4 == of_b.rows;
        if !(distinct && whole && fit) {
            return Err(Fault::InvalidOpcode);
        }
        let value = |byte: u8, signed: bool| if signed { i32::from(byte as i8) } else { i32::from(byte) };
        for m in 0..of_sums.rows {
            for n in 0..of_sums.bytes / 4 {
                let at = 4 * n..4 * n + 4;
                let mut sum =
                    i32::from_le_bytes(self.tiles[sums][m][at.clone()].try_into().unwrap_or([0; 4]));
                for k in 0..of_a.bytes {
                    let x = value(self.tiles[a][m][k], signs.0);
                    let y = value(self.tiles[b][k / 4][4 * n + k % 4], signs.1);
                    sum = sum.wrapping_add(x * y);
                }
                self.tiles[sums][m][at].copy_from_slice(&sum.to_le_bytes());
            }
            self.tiles[sums][m][of_sums.bytes..].fill(0);
        }
        self.tiles[sums][of_sums.rows..].fill([0; BYTES]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(shapes: [(u8, u16); 8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for (i, (rows, row_bytes)) in shapes.into_iter().enumerate() {
            bytes[48 + i] = rows;
            bytes[16 + 2 * i..18 + 2 * i].copy_from_slice(&row_bytes.to_le_bytes());
        }
        bytes
    }

    /// A small product by hand: 1 x 8 times 8 x 2.
    #[test]
    fn a_product_is_right_for_each_pair_of_signs() {
        let a: [u8; 8] = [1, 2, 255, 3, 128, 0, 5, 127];
        // Rows of B are groups of 4 values of k of two columns.
        let b: [[u8; 8]; 2] = [[1, 1, 1, 1, 255, 2, 128, 0], [2, 0, 0, 1, 128, 128, 1, 255]];
        let by = |signs: (bool, bool)| {
            let mut machine = Machine::new();
            let shapes = [(1, 8), (1, 8), (2, 8), (0, 0), (0, 0), (0, 0), (0, 0), (0, 0)];
            machine.configure(&configuration(shapes)).unwrap();
            let address = |start: *const u8, stride| Address { start: start as u64, stride };
            let mut c = [10i32, i32::MAX];
            // SAFETY: the operands have the rows that the configuration says.
            unsafe {
                machine.run(Instruction::Load(0, address(c.as_ptr().cast(), 0))).unwrap();
                machine.run(Instruction::Load(1, address(a.as_ptr(), 0))).unwrap();
                machine.run(Instruction::Load(2, address(b.as_ptr().cast(), 8))).unwrap();
                machine.run(Instruction::Multiply { sums: 0, a: 1, b: 2, signs }).unwrap();
                machine.run(Instruction::Store(0, address(c.as_mut_ptr().cast(), 0))).unwrap();
            }
            c
        };
        let value = |byte: u8, signed: bool| if signed { i32::from(byte as i8) } else { i32::from(byte) };
        for signs in [(false, false), (false, true), (true, false), (true, true)] {
            let sum = |n: usize| {
                (0..8).map(|k| value(a[k], signs.0) * value(b[k / 4][4 * n + k % 4], signs.1)).sum::<i32>()
            };
            assert_eq!(by(signs), [10 + sum(0), i32::MAX.wrapping_add(sum(1))], "{signs:?}");
        }
        // Two of them in numbers: 1 + 2 - 1 + 3 + 2·(-128) + 127, and its like without signs.
        assert_eq!(by((true, true))[0], 10 - 124);
        assert_eq!(by((false, false))[0], 10 + 1 + 2 + 255 + 3 + 256 + 127);
    }

    #[test]
    fn what_is_not_allowed_is_a_fault() {
        let whole = [(16, 64); 8];
        let mut machine = Machine::new();
        assert_eq!(machine.shape(0).err(), Some(Fault::InvalidOpcode));
        for wrong in [(17, 64), (16, 65), (0, 64), (16, 0)] {
            let mut shapes = whole;
            shapes[3] = wrong;
            let wrong = machine.configure(&configuration(shapes));
            assert_eq!(wrong.err(), Some(Fault::GeneralProtection));
        }
        for reserved in [1, 2, 15, 32, 47, 56, 63] {
            let mut bytes = configuration(whole);
            bytes[reserved] = 1;
            assert_eq!(machine.configure(&bytes).err(), Some(Fault::GeneralProtection), "{reserved}");
        }
        machine.configure(&configuration(whole)).unwrap();
        assert_eq!(machine.multiply(0, 1, 2, (true, true)), Ok(()));
        for (sums, a, b) in [(0, 0, 1), (0, 1, 0), (0, 1, 1)] {
            assert_eq!(machine.multiply(sums, a, b, (true, true)).err(), Some(Fault::InvalidOpcode));
        }
        for (tile, shape) in [(0, (15, 64)), (0, (16, 60)), (1, (16, 60)), (2, (15, 64)), (1, (16, 62))] {
            let mut shapes = whole;
            shapes[tile] = shape;
            machine.configure(&configuration(shapes)).unwrap();
            assert_eq!(
                machine.multiply(0, 1, 2, (true, true)).err(),
                Some(Fault::InvalidOpcode),
                "{shape:?}"
            );
        }
    }
}
