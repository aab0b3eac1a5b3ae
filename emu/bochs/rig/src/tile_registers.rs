//! The instructions of AMX: executed in software where the CPU lacks them, and compared with those of a CPU that has
//! them.

use core::arch::asm;
use core::fmt::Write;
use tiles::{Address, Instruction, Machine};

/// The registers of programs on a CPU without AMX.
static mut MACHINE: Machine = Machine::new();

/// Executes the instruction at which the CPU stopped, if it is one of AMX. `frame` begins with the instruction's
/// address.
///
/// # Safety
/// Called by boot.s alone, with what it saved.
#[unsafe(no_mangle)]
unsafe extern "C" fn execute(registers: &[u64; 16], frame: *mut u64) -> bool {
    // SAFETY: there is one thread, and the handler executes no instruction of AMX, so that it does not call itself.
    // The program meant to execute the instruction. The frame is the CPU's.
    unsafe {
        let machine = &mut *(&raw mut MACHINE);
        match machine.execute(*frame as *const u8, registers) {
            Some(Ok(length)) => {
                *frame += length as u64;
                true
            }
            Some(Err(fault)) => {
                let _ = writeln!(crate::Serial, "an instruction of AMX: {fault:?}");
                false
            }
            None => false,
        }
    }
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 16
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Memory for 16 rows that lie up to 100 bytes apart.
type Memory = [u8; 1600];

const PAIRS_OF_SIGNS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// Compares the CPU's loads, stores and products of tiles with those of [`Machine`], on random shapes, strides and
/// bytes. Returns how many cases were equal, and how many not.
///
/// Bochs 3.0 multiplies all bytes as if they had no sign. So must the machine then; what it makes of signs is
/// compared where no byte with a sign is negative, in half of the cases.
pub fn compare() -> (u32, u32) {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut right, mut wrong) = (0, 0);
    for case in 0..4000 {
        let signs = PAIRS_OF_SIGNS[case % 4];
        let negative = case % 8 < 4;
        let (rows, groups, columns) =
            (1 + numbers.below(16) as u8, 1 + numbers.below(16) as u8, 1 + numbers.below(16) as u8);
        // Sums, A and B, and one that is only loaded and stored.
        let shapes = [
            (rows, 4 * u16::from(columns)),
            (rows, 4 * u16::from(groups)),
            (groups, 4 * u16::from(columns)),
            (1 + numbers.below(16) as u8, 4 + 4 * numbers.below(16) as u16),
        ];
        let mut configuration = [0u8; 64];
        configuration[0] = 1;
        for (i, (rows, bytes)) in shapes.into_iter().enumerate() {
            configuration[48 + i] = rows;
            configuration[16 + 2 * i..18 + 2 * i].copy_from_slice(&bytes.to_le_bytes());
        }
        let strides: [u64; 4] = core::array::from_fn(|_| numbers.below(101));
        let mut memory = [[0u8; 1600]; 4];
        for (i, bytes) in memory.iter_mut().enumerate() {
            let limit = match (i, negative) {
                (1, false) if signs.0 => 128,
                (2, false) if signs.1 => 128,
                _ => 256,
            };
            bytes.fill_with(|| numbers.below(limit) as u8);
        }
        let (mut by_cpu, mut by_machine) = (memory, memory);
        // SAFETY: the configuration is allowed, and rows of at most 64 bytes lie within 1600 bytes.
        unsafe {
            run_on_cpu(signs, &configuration, &strides, &mut by_cpu);
            let signs = if negative { (false, false) } else { signs };
            run_in_software(signs, &configuration, &strides, &mut by_machine);
        }
        if by_cpu == by_machine {
            right += 1;
        } else {
            wrong += 1;
            let _ = writeln!(crate::Serial, "different: case {case} {shapes:?} {strides:?} {signs:?}");
        }
    }
    (right, wrong)
}

/// Loads four tiles, adds the product of the second and third to the first, and stores the first and fourth.
///
/// # Safety
/// The CPU has AMX; the configuration is allowed; rows lie within the memory.
unsafe fn run_on_cpu(
    signs: (bool, bool),
    configuration: &[u8; 64],
    strides: &[u64; 4],
    memory: &mut [Memory; 4],
) {
    macro_rules! product {
        ($product:literal) => {
            asm!(
                "ldtilecfg [{configuration}]",
                "tileloadd tmm0, [{m0} + {s0}]",
                "tileloaddt1 tmm1, [{m1} + {s1}]",
                "tileloadd tmm2, [{m2} + {s2}]",
                "tileloadd tmm3, [{m3} + {s3}]",
                $product,
                "tilestored [{m0} + {s0}], tmm0",
                "tilezero tmm0",
                "tilestored [{m1} + {s3}], tmm3",
                "tilerelease",
                configuration = in(reg) configuration,
                m0 = in(reg) &raw mut memory[0], m1 = in(reg) &raw mut memory[1],
                m2 = in(reg) &raw mut memory[2], m3 = in(reg) &raw mut memory[3],
                s0 = in(reg) strides[0], s1 = in(reg) strides[1],
                s2 = in(reg) strides[2], s3 = in(reg) strides[3],
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack),
            )
        };
    }
    // SAFETY: the caller's promise; what is changed is declared.
    unsafe {
        match signs {
            (false, false) => product!("tdpbuud tmm0, tmm1, tmm2"),
            (false, true) => product!("tdpbusd tmm0, tmm1, tmm2"),
            (true, false) => product!("tdpbsud tmm0, tmm1, tmm2"),
            (true, true) => product!("tdpbssd tmm0, tmm1, tmm2"),
        }
    }
}

/// The same, by [`Machine`].
///
/// # Safety
/// As above.
unsafe fn run_in_software(
    signs: (bool, bool),
    configuration: &[u8; 64],
    strides: &[u64; 4],
    memory: &mut [Memory; 4],
) {
    let address = |start: *const u8, stride| Address { start: start as u64, stride };
    let at = memory.each_mut().map(|bytes| bytes.as_mut_ptr());
    let load = |tile| Instruction::Load(tile, address(at[tile], strides[tile]));
    let instructions = [
        Instruction::LoadConfiguration(address(configuration.as_ptr(), 0)),
        load(0),
        load(1),
        load(2),
        load(3),
        Instruction::Multiply { sums: 0, a: 1, b: 2, signs },
        Instruction::Store(0, address(at[0], strides[0])),
        Instruction::Zero(0),
        Instruction::Store(3, address(at[1], strides[3])),
        Instruction::Release,
    ];
    let mut machine = Machine::new();
    for instruction in instructions {
        // SAFETY: the caller's promise. Memory is written through addresses of it while nobody else refers to it.
        unsafe { machine.run(instruction) }.expect("it is allowed");
    }
}
