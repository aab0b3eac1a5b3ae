//! Runs the self-test on every kernel that this CPU can run, with guard pages around its arena.

use qgemm_kernels::{Features, GROUP_TABLE, Isa, Kernel, TABLE, Variant, selftest};
use std::fs::File;
use std::io::Write;
#[cfg(qgemm_emulated_amx)]
use tiles_handler as _;

/// Memory with an inaccessible page before and after it (see `new` for the exception).
#[cfg(unix)]
struct Guarded {
    map: *mut libc::c_void,
    len: usize,
    page: usize,
}

#[cfg(unix)]
impl Guarded {
    fn new(len: usize) -> Self {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        assert_eq!(len % page, 0);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // QGEMM_NO_GUARD=1 leaves the guard pages accessible, for qemu-user: its masked loads touch bytes that the mask
        // leaves out. CPUs and Bochs do not.
        let outer = match std::env::var_os("QGEMM_NO_GUARD") {
            Some(_) => libc::PROT_READ | libc::PROT_WRITE,
            None => libc::PROT_NONE,
        };
        // SAFETY: the mapping is new, so nothing else refers to it; its inner part becomes accessible.
        unsafe {
            let map = libc::mmap(std::ptr::null_mut(), len + 2 * page, outer, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            let inner = map.byte_add(page);
            assert_eq!(libc::mprotect(inner, len, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self { map, len, page }
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `len` accessible bytes, zeroed by the system, that `self` owns.
        unsafe { std::slice::from_raw_parts_mut(self.map.byte_add(self.page).cast(), self.len) }
    }
}

#[cfg(unix)]
impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: this is the whole mapping that `new` made, and no borrow of it outlives `self`.
        unsafe { libc::munmap(self.map, self.len + 2 * self.page) };
    }
}

#[cfg(unix)]
fn arena() -> Guarded {
    Guarded::new(selftest::ARENA)
}

#[cfg(not(unix))]
struct Heap(Vec<qgemm_kernels::Line>);

#[cfg(not(unix))]
impl Heap {
    fn bytes(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

#[cfg(not(unix))]
fn arena() -> Heap {
    Heap(vec![qgemm_kernels::Line([0; 64]); selftest::ARENA / 64])
}

/// Prints a line that scripts read, as the bare-metal rig does. Where output is captured, they name a file for it:
/// `QGEMM_KERNEL_LOG`.
fn record(line: &str) {
    println!("{line}");
    if let Some(path) = std::env::var_os("QGEMM_KERNEL_LOG") {
        let mut log =
            File::options().append(true).create(true).open(path).expect("QGEMM_KERNEL_LOG is a file");
        // One write, so that lines of tests that run at the same time do not mix.
        log.write_all(format!("{line}\n").as_bytes()).expect("the log takes a line");
    }
}

#[test]
fn every_kernel_of_this_cpu_is_exact() {
    let features = Features::detect();
    let mut failed = 0;
    for kernel in TABLE {
        let Some(ready) = kernel.ready(&features) else {
            record(&format!("KERNEL {} not on this CPU", kernel.name));
            continue;
        };
        let mut report = String::new();
        let outcome = selftest::run(ready, arena().bytes(), &mut report);
        println!("\n{report}");
        record(&format!("KERNEL {} passed={} failed={}", kernel.name, outcome.passed, outcome.failed));
        assert!(outcome.passed + outcome.failed > 250, "{}: too few cases ran", kernel.name);
        failed += outcome.failed;
    }
    assert_eq!(failed, 0, "cases failed, see above");
}

#[test]
fn every_groupwise_kernel_of_this_cpu_is_exact() {
    let features = Features::detect();
    let mut failed = 0;
    for kernel in GROUP_TABLE {
        let Some(ready) = kernel.ready(&features) else {
            record(&format!("KERNEL {} not on this CPU", kernel.name));
            continue;
        };
        let mut report = String::new();
        let outcome = selftest::run_groupwise(ready, arena().bytes(), &mut report);
        println!("\n{report}");
        record(&format!("KERNEL {} passed={} failed={}", kernel.name, outcome.passed, outcome.failed));
        assert!(outcome.passed + outcome.failed > 250, "{}: too few cases ran", kernel.name);
        failed += outcome.failed;
    }
    assert_eq!(failed, 0, "cases failed, see above");
}

/// `QGEMM_REQUIRE_ISA=avx2,!avx512vnni` lists instruction sets whose kernels must have run above, or must not (`!`).
#[test]
fn the_required_instruction_sets_ran() {
    let features = Features::detect();
    let required = std::env::var("QGEMM_REQUIRE_ISA").unwrap_or_default();
    for word in required.split(',').filter(|word| !word.is_empty()) {
        let (name, wanted) = word.strip_prefix('!').map_or((word, true), |name| (name, false));
        let isa = Isa::ALL.iter().find(|isa| isa.name() == name);
        let isa = isa.unwrap_or_else(|| panic!("QGEMM_REQUIRE_ISA: there is no instruction set '{name}'"));
        let ran = TABLE.iter().any(|kernel| kernel.isa == *isa && kernel.ready(&features).is_some());
        assert_eq!(ran, wanted, "QGEMM_REQUIRE_ISA is '{required}', but for {name} this CPU differs");
    }
}

/// The rows of the README's tables that are for this target are those of `TABLE` and `GROUP_TABLE`, in the same order.
#[test]
fn the_readme_lists_the_table() {
    let rows = include_str!("../README.md").lines().filter_map(|line| line.strip_prefix("| `"));
    let mut listed = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [name, _, types, targets] = cells[..] else { panic!("a row of other columns: {row}") };
        if targets == "all" || targets == std::env::consts::ARCH {
            listed.push((name.trim_end_matches('`').to_string(), types.to_string()));
        }
    }
    let types = |kernel: &Kernel| {
        let pair = |v: &Variant| format!("{:?} x {:?}", v.a, v.b).to_lowercase();
        kernel.variants.iter().map(pair).collect::<Vec<_>>().join(", ")
    };
    let table: Vec<_> = TABLE.iter().map(|kernel| (kernel.name.to_string(), types(kernel))).collect();
    let groupwise = listed.split_off(table.len());
    assert_eq!(listed, table);
    let listed: Vec<_> = groupwise.iter().map(|(name, _)| name.as_str()).collect();
    let table: Vec<_> = GROUP_TABLE.iter().map(|kernel| kernel.name).collect();
    assert_eq!(listed, table);
}
