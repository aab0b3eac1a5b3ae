//! CPUs that lack a kernel's instructions.

use qgemm_kernels::{Features, GROUP_TABLE, Isa, TABLE};

/// Features of a CPU that has nothing but `isa`.
fn only(isa: Isa) -> Features {
    // SAFETY: no kernel runs by these features.
    unsafe { Features::assume(|other| other == isa) }
}

#[test]
fn a_kernel_is_ready_where_its_instructions_are() {
    for isa in Isa::ALL {
        let features = only(isa);
        for kernel in TABLE {
            assert_eq!(kernel.ready(&features).is_some(), kernel.isa == isa, "{} {isa}", kernel.name);
        }
        // SAFETY: no kernel runs by these features.
        let with_fma = unsafe { features.with_fma() };
        for kernel in GROUP_TABLE {
            let (without, with) = (kernel.ready(&features), kernel.ready(&with_fma));
            // Those of 256 bits need FMA and F16C, which AVX-512 includes.
            let needs_fma = matches!(kernel.isa, Isa::Avx2 | Isa::AvxVnni);
            assert_eq!(with.is_some(), kernel.isa == isa, "{} {isa}", kernel.name);
            assert_eq!(without.is_some(), kernel.isa == isa && !needs_fma, "{} {isa}", kernel.name);
        }
    }
}

#[test]
fn a_witness_is_that_of_its_kernel() {
    let features = Features::detect();
    let ready: Vec<_> = TABLE.iter().filter_map(|kernel| kernel.ready(&features)).collect();
    for (i, one) in ready.iter().enumerate() {
        assert_eq!(format!("{:?}", one.table_row()), one.name);
        assert!(ready.iter().enumerate().all(|(j, other)| (one == other) == (i == j)), "{}", one.name);
    }
    let ready: Vec<_> = GROUP_TABLE.iter().filter_map(|kernel| kernel.ready(&features)).collect();
    for (i, one) in ready.iter().enumerate() {
        assert!(ready.iter().enumerate().all(|(j, other)| (one == other) == (i == j)), "{}", one.name);
    }
}
