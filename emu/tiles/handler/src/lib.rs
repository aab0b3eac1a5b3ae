//! Linked into a program, it executes the instructions of AMX that the CPU lacks, in a handler for the signal of
//! invalid opcodes. Each thread has its registers.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use libc::{SA_ONSTACK, SA_RESTART, SA_SIGINFO, SIGILL, c_int, c_void, siginfo_t, ucontext_t};
use std::cell::UnsafeCell;
use tiles::Machine;

thread_local! {
    static MACHINE: UnsafeCell<Machine> = const { UnsafeCell::new(Machine::new()) };
}

/// Run before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static INSTALL: extern "C" fn() = install;

extern "C" fn install() {
    // SAFETY: the structure is valid as zeros, and the handler has the type that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
        libc::sigaction(SIGILL, &action, std::ptr::null_mut());
    }
}

/// The general registers of a context in the order of their numbers in instructions.
const ORDER: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// # Safety
/// Called by the operating system, with the context of the thread that stopped at an invalid instruction.
unsafe extern "C" fn handle(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the context is the thread's, and nobody else uses it. The machine is this thread's, which is here and
    // nowhere else: the handler executes no instruction of AMX itself. The program meant to execute the instruction.
    unsafe {
        let general = &mut (*context.cast::<ucontext_t>()).uc_mcontext.gregs;
        let registers = ORDER.map(|register| general[register as usize] as u64);
        let instruction = &mut general[libc::REG_RIP as usize];
        let executed =
            MACHINE.with(|machine| (*machine.get()).execute(*instruction as *const u8, &registers));
        match executed {
            Some(Ok(length)) => *instruction += length as i64,
            // The signal comes again, and ends the program.
            Some(Err(_)) | None => {
                libc::signal(SIGILL, libc::SIG_DFL);
            }
        }
    }
}
