//! Runs the kernels' self-test on a bare (emulated) x86-64 machine and reports on the serial port. `../boot.s` calls
//! `kernel_main` in 64-bit mode.
#![no_std]
#![no_main]

mod cpu;
mod mem;
mod tile_registers;

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use qgemm_kernels::{Features, GROUP_TABLE, Isa, TABLE, selftest};

global_asm!(include_str!("../boot.s"), options(att_syntax));

unsafe extern "C" {
    static trap_stubs: u8;
    static __args: [u8; 4096];
    static mut __arena_start: u8;
    static mut __arena_end: u8;
}

const COM1: u16 = 0x3f8;

fn outb(port: u16, byte: u8) {
    // SAFETY: the ports written to are those of the serial line and of the emulator's shutdown.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack)) }
}

fn inb(port: u16) -> u8 {
    let byte;
    // SAFETY: reading the serial line's status changes nothing in memory.
    unsafe { asm!("in al, dx", in("dx") port, out("al") byte, options(nomem, nostack)) }
    byte
}

struct Serial;

impl Write for Serial {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            while inb(COM1 + 5) & 0x20 == 0 {} // transmitter holding register empty
            outb(COM1, byte);
        }
        Ok(())
    }
}

/// Reports the end and switches the machine off. `run.sh` judges by the lines `KERNEL` and `DONE` alone.
fn finish(passed: u32, failed: u32) -> ! {
    let _ = writeln!(Serial, "DONE passed={passed} failed={failed}");
    while inb(COM1 + 5) & 0x40 == 0 {} // until the last bit is out
    b"Shutdown".iter().for_each(|&b| outb(0x8900, b)); // Bochs: end the simulation
    // SAFETY: nothing runs after it. Elsewhere (QEMU with -no-reboot) a triple fault ends it.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &[0u64; 2], options(noreturn)) }
}

#[unsafe(no_mangle)]
extern "C" fn kernel_main() -> ! {
    outb(COM1 + 3, 0x80); // divisor latch: 115200 baud, 8N1
    outb(COM1, 1);
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    install_traps();

    // `run.sh --int8` leaves a word here: the CPU runs AVX-VNNI-INT8 but does not report it. So does `run.sh --tiles`: this
    // program runs AMX in software.
    // SAFETY: `bochsrc` loads the file there, and boot.s maps the page.
    let args = unsafe { (&raw const __args).read_volatile() };
    let (told_int8, told_tiles) = (args.starts_with(b"avxvnniint8"), args.starts_with(b"tiles"));
    let has = |isa| match isa {
        Isa::AvxVnniInt8 if told_int8 => true,
        Isa::AmxInt8 if told_tiles => cpu::has(Isa::Avx512Vnni),
        // Bochs multiplies bytes with signs as if they had none: see below.
        Isa::AmxInt8 => false,
        isa => cpu::has(isa),
    };
    // SAFETY: cpuid and xcr0 say that the CPU has them, and boot.s turned on the registers. If run.sh is wrong about
    // AVX-VNNI-INT8, the instruction traps; those of AMX do, and `execute` runs them.
    let features = unsafe { Features::assume(has) };
    // SAFETY: cpuid says that the CPU has FMA, F16C and AVX2, and xcr0 that their registers are on.
    let features = if cpu::has_fma() { unsafe { features.with_fma() } } else { features };
    // SAFETY: link.ld reserves this memory, and nothing else refers to it.
    let arena = unsafe {
        let start = &raw mut __arena_start;
        core::slice::from_raw_parts_mut(start, &raw mut __arena_end as usize - start as usize)
    };
    // The last part of the arena is used, because the memory after it is not mapped.
    let start = arena.len() - selftest::ARENA;
    let (mut passed, mut failed) = (0, 0);
    let mut report = |name: &str, outcome: selftest::Outcome| {
        let _ = writeln!(Serial, "KERNEL {name} passed={} failed={}", outcome.passed, outcome.failed);
        passed += outcome.passed;
        failed += outcome.failed;
    };
    if cpu::has(Isa::AmxInt8) {
        let (right, wrong) = tile_registers::compare();
        report("tiles-in-software", selftest::Outcome { passed: right, failed: wrong });
        // The kernel as this CPU runs it. The tables hold no such kernel, so that nobody else can.
        // SAFETY: as above, and the CPU has AMX.
        let features = unsafe { Features::assume(cpu::has) };
        let kernel = &selftest::AMX_WITHOUT_SIGNS;
        let ready = kernel.ready(&features).expect("the CPU has AMX").with_amx_overhead(0);
        report(kernel.name, selftest::run(ready, &mut arena[start..], &mut Serial));
        finish(passed, failed)
    }
    for kernel in TABLE {
        let Some(ready) = kernel.ready(&features) else { continue };
        report(kernel.name, selftest::run(ready, &mut arena[start..], &mut Serial));
    }
    for kernel in GROUP_TABLE {
        let Some(ready) = kernel.ready(&features) else { continue };
        report(kernel.name, selftest::run_groupwise(ready, &mut arena[start..], &mut Serial));
    }
    finish(passed, failed)
}

/// Makes exceptions end in a report, rather than in a silent triple fault.
fn install_traps() {
    static mut IDT: [[u64; 2]; 32] = [[0; 2]; 32];
    // SAFETY: there is one thread, which calls this once; the table lives as long as the machine.
    unsafe {
        let idt = &raw mut IDT;
        for i in 0..32 {
            let stub = &raw const trap_stubs as u64 + 16 * i;
            let gate = 0x8e00_u64 << 32 | 0x18 << 16; // present interrupt gate, 64-bit code
            (*idt)[i as usize] = [stub & 0xffff | gate | (stub >> 16 & 0xffff) << 48, stub >> 32];
        }
        let mut idtr = [0u16; 5];
        idtr[0] = 32 * 16 - 1;
        for i in 0..4 {
            idtr[1 + i] = (idt as u64 >> (16 * i)) as u16;
        }
        asm!("lidt [{}]", in(reg) &idtr, options(nostack));
    }
}

/// # Safety
/// Called by boot.s alone, with the vector and the frame that the CPU pushed.
#[unsafe(no_mangle)]
unsafe extern "C" fn trap(vector: u64, frame: *const u64) -> ! {
    let has_code = matches!(vector, 8 | 10..=14 | 17 | 21 | 29 | 30);
    // SAFETY: the frame holds at least the instruction pointer, after the error code if there is one.
    let rip = unsafe { *frame.add(has_code as usize) };
    let cr2: u64;
    // SAFETY: reading a control register changes nothing.
    unsafe { asm!("mov {}, cr2", out(reg) cr2, options(nomem, nostack)) }
    let name = match vector {
        6 => "invalid opcode",
        13 => "general protection",
        14 => "page fault",
        _ => "exception",
    };
    let _ = writeln!(Serial, "TRAP {vector} ({name}) rip={rip:#x} cr2={cr2:#x}");
    finish(0, 1)
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let _ = writeln!(Serial, "PANIC {info}");
    finish(0, 1)
}
