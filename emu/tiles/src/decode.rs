//! From bytes to instructions.

/// Where the operand in memory begins, and the distance of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub start: u64,
    pub stride: u64,
}

/// An instruction; registers of tiles by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// `ldtilecfg`
    LoadConfiguration(Address),
    /// `tilerelease`
    Release,
    /// `tilezero`
    Zero(usize),
    /// `tileloadd`, `tileloaddt1`
    Load(usize, Address),
    /// `tilestored`
    Store(usize, Address),
    /// `tdpbuud` and its like: whether the bytes of `a` and of `b` have signs.
    Multiply { sums: usize, a: usize, b: usize, signs: (bool, bool) },
}

/// The bytes of the longest of these instructions: prefix 3, opcode, ModRM, SIB, displacement 4.
const LONGEST: usize = 10;

/// The instruction at `code`, and its length; `None` if it is not one of AMX. `registers` are rax, rcx, rdx, rbx,
/// rsp, rbp, rsi, rdi, r8 .. r15.
///
/// # Safety
/// There is an instruction at `code`: its bytes can be read.
pub unsafe fn decode(code: *const u8, registers: &[u64; 16]) -> Option<(Instruction, usize)> {
    // A byte at a time: those after a short instruction need not be there.
    // SAFETY: the caller's promise; each is read only if those before say that the instruction goes on.
    let byte = |at: usize| unsafe { *code.add(at) };
    if byte(0) != 0xc4 {
        return None;
    }
    let (inverted, rest, opcode) = (byte(1), byte(2), byte(3));
    // The map 0F38, W = 0, L = 0.
    if inverted & 0x1f != 2 || rest & 0x84 != 0 || !matches!(opcode, 0x49 | 0x4b | 0x5e) {
        return None;
    }
    let prefix = rest & 3;
    let extension = |bit: u32| usize::from(!inverted >> bit & 1) << 3;
    let (reg_high, index_high, base_high) = (extension(7), extension(6), extension(5));
    let other = usize::from(!rest >> 3 & 15);
    let modrm = byte(4);
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7) + reg_high, usize::from(modrm & 7));
    if mode == 3 {
        let instruction = match (opcode, prefix) {
            (0x49, 0) if modrm == 0xc0 => Instruction::Release,
            (0x49, 3) if rm == 0 && reg < 8 => Instruction::Zero(reg),
            (0x5e, _) if reg < 8 && rm + base_high < 8 && other < 8 => {
                // None: both without signs; 66: B has them; F3: A; F2: both.
                let signs = (prefix >= 2, prefix & 1 == 1);
                Instruction::Multiply { sums: reg, a: rm, b: other, signs }
            }
            _ => return None,
        };
        return Some((instruction, 5));
    }
    let (mut at, mut start, mut stride) = (5, 0u64, None);
    let mut relative = false;
    let mut displacement = if mode == 1 { 1 } else { 4 * usize::from(mode == 2) };
    if rm == 4 {
        let sib = byte(at);
        at += 1;
        let (scale, index, base) = (sib >> 6, usize::from(sib >> 3 & 7) + index_high, usize::from(sib & 7));
        // Without an index the rows lie all at one place.
        stride = Some(if index == 4 { 0 } else { registers[index] << scale });
        if base == 5 && mode == 0 {
            displacement = 4;
        } else {
            start = registers[base + base_high];
        }
    } else if rm == 5 && mode == 0 {
        (displacement, relative) = (4, true);
    } else {
        start = registers[rm + base_high];
    }
    let offset = match displacement {
        1 => i64::from(byte(at) as i8),
        4 => i64::from(i32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)])),
        _ => 0,
    };
    let length = at + displacement;
    debug_assert!(length <= LONGEST);
    start = start.wrapping_add_signed(offset);
    if relative {
        start = start.wrapping_add(code as u64 + length as u64);
    }
    let instruction = match (opcode, prefix, stride) {
        // An index is part of the one address here.
        (0x49, 0, _) if reg & 7 == 0 => {
            let start = start.wrapping_add(stride.unwrap_or(0));
            Instruction::LoadConfiguration(Address { start, stride: 0 })
        }
        (0x4b, 1 | 3, Some(stride)) if reg < 8 => Instruction::Load(reg, Address { start, stride }),
        (0x4b, 2, Some(stride)) if reg < 8 => Instruction::Store(reg, Address { start, stride }),
        _ => return None,
    };
    Some((instruction, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_assembler_makes_is_decoded() {
        let mut registers = core::array::from_fn(|i| 0x1000 * (i as u64 + 1));
        registers[7] = 0x8000;
        let at = |start, stride| Address { start, stride };
        let product = |sums, a, b, signs| Instruction::Multiply { sums, a, b, signs };
        // Bytes by GNU as 2.40.
        let cases: &[(&[u8], Instruction)] = &[
            (&[0xc4, 0xe2, 0x78, 0x49, 0x01], Instruction::LoadConfiguration(at(0x2000, 0))),
            // ldtilecfg [rsp + 16]
            (&[0xc4, 0xe2, 0x78, 0x49, 0x44, 0x24, 0x10], Instruction::LoadConfiguration(at(0x5010, 0))),
            (&[0xc4, 0xe2, 0x78, 0x49, 0xc0], Instruction::Release),
            (&[0xc4, 0xe2, 0x7b, 0x49, 0xf8], Instruction::Zero(7)),
            // tileloadd tmm4, [rdi + rdx]
            (&[0xc4, 0xe2, 0x7b, 0x4b, 0x24, 0x17], Instruction::Load(4, at(0x8000, 0x3000))),
            // tileloaddt1 tmm1, [r9 + 2*r15 - 64]
            (&[0xc4, 0x82, 0x79, 0x4b, 0x4c, 0x79, 0xc0], Instruction::Load(1, at(0xa000 - 64, 0x20000))),
            // tileloadd tmm5, [rbp + rax + 0x1400]
            (
                &[0xc4, 0xe2, 0x7b, 0x4b, 0xac, 0x05, 0x00, 0x14, 0x00, 0x00],
                Instruction::Load(5, at(0x6000 + 0x1400, 0x1000)),
            ),
            // tilestored [r8 + rdx], tmm0
            (&[0xc4, 0xc2, 0x7a, 0x4b, 0x04, 0x10], Instruction::Store(0, at(0x9000, 0x3000))),
            (&[0xc4, 0xe2, 0x48, 0x5e, 0xc4], product(0, 4, 6, (false, false))),
            (&[0xc4, 0xe2, 0x49, 0x5e, 0xc4], product(0, 4, 6, (false, true))),
            (&[0xc4, 0xe2, 0x42, 0x5e, 0xdd], product(3, 5, 7, (true, false))),
            (&[0xc4, 0xe2, 0x43, 0x5e, 0xdd], product(3, 5, 7, (true, true))),
        ];
        for (bytes, instruction) in cases {
            // SAFETY: the bytes are a whole instruction.
            let decoded = unsafe { decode(bytes.as_ptr(), &registers) };
            assert_eq!(decoded, Some((*instruction, bytes.len())), "{bytes:x?}");
        }
        // vpdpbusd zmm, ud2, andn: not of AMX.
        for other in
            [&[0x62, 0xf2, 0x7d, 0x48, 0x50, 0xc0][..], &[0x0f, 0x0b], &[0xc4, 0xe2, 0x70, 0xf2, 0xc0]]
        {
            // SAFETY: the bytes are a whole instruction.
            assert_eq!(unsafe { decode(other.as_ptr(), &registers) }, None, "{other:x?}");
        }
    }
}
