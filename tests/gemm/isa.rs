//! Which kernels run: all of this CPU's, those that are named, and what `QGEMM_ISA` says.

use crate::spec;
use crate::support::{Fill, Layout, Matrix, scale};
use qgemm::{
    CodeBits, Dispatch, ElementType, Error, Gemm, GroupwiseB, Isa, KernelInfo, MatMut, MatRef, PackedB,
};
use std::process::Command;

const VARIABLE: &str = "QGEMM_ISA";

/// What the message for a wrong name has to offer.
fn offered() -> Vec<&'static str> {
    let all = Dispatch::available();
    let mut names: Vec<_> = Isa::ALL.iter().map(|isa| isa.name()).collect();
    names.retain(|name| all.iter().any(|kernel| kernel.isa.name() == *name));
    names.extend(all.iter().map(|kernel| kernel.name));
    names.extend(Dispatch::available_groupwise());
    names
}

/// The kernels that a name stands for, in order of their names. One that needs a proof for each panel
/// comes with those of its instruction set that need none; a group-wise one with all of its instruction set; AMX with the
/// vectors' kernel for few columns.
fn meant(name: &str) -> Vec<&'static str> {
    let all = Dispatch::available();
    let groupwise = Dispatch::available_groupwise().any(|kernel| kernel == name);
    let name = if groupwise { name.split('-').next().unwrap_or(name) } else { name };
    let proven =
        all.iter().find(|kernel| kernel.name == name && kernel.i16_groups > 0).map(|kernel| kernel.isa);
    let amx = name == "amxint8" && all.iter().any(|kernel| kernel.isa == Isa::AmxInt8);
    let beside = |kernel: &KernelInfo| Some(kernel.isa) == proven && kernel.i16_groups == 0;
    let mut names: Vec<_> = all
        .iter()
        .filter(|kernel| kernel.name == name || kernel.isa.name() == name || beside(kernel))
        .chain(all.iter().filter(|kernel| amx && kernel.name == "avx512vnni-4x8c64"))
        .map(|kernel| kernel.name)
        .collect();
    names.sort_unstable();
    names
}

fn names(dispatch: &Dispatch) -> Vec<&str> {
    let mut names: Vec<_> = dispatch.kernels().map(|kernel| kernel.name).collect();
    names.sort_unstable();
    names
}

#[test]
fn every_kernel_can_be_forced_by_its_name_and_by_its_instruction_set() {
    for kernel in Dispatch::available() {
        let alone = Dispatch::named(kernel.name).unwrap();
        assert_eq!(names(&alone), meant(kernel.name));
        assert!(names(&alone).contains(&kernel.name));
        let set = Dispatch::named(kernel.isa.name()).unwrap();
        assert_eq!(names(&set), meant(kernel.isa.name()));
        for n in [1, 16, 17, 33, 65, 200] {
            let b = Matrix::<i8>::filled(3, n, Layout::ROWS, Fill::Random, 1);
            let packed = PackedB::pack_with(&alone, b.view(), ElementType::U8).unwrap();
            assert!(names(&alone).contains(&packed.kernel().name));
            let packed = PackedB::pack_with(&set, b.view(), ElementType::U8).unwrap();
            assert!(names(&set).contains(&packed.kernel().name));
        }
    }
}

#[test]
fn a_groupwise_kernel_comes_with_its_instruction_set_or_by_its_name() {
    let here: Vec<_> = Dispatch::available_groupwise().collect();
    assert!(here.len() >= 2);
    for name in &here {
        let isa = name.split('-').next().unwrap();
        assert_eq!(Dispatch::named(name).unwrap().groupwise_kernel(), *name);
        assert_eq!(Dispatch::named(isa).unwrap().groupwise_kernel(), *name);
    }
    for kernel in Dispatch::available() {
        assert!(here.contains(&Dispatch::named(kernel.name).unwrap().groupwise_kernel()));
    }
}

#[test]
fn a_name_that_does_not_run_here_is_an_error_that_lists_what_does() {
    let lacking = Isa::ALL.iter().map(|isa| isa.name()).filter(|name| meant(name).is_empty());
    let lacking: Vec<_> = lacking.collect();
    assert!(!lacking.is_empty(), "no CPU has both NEON and AVX2");
    let wrong = ["avx3", "", " avx2", "AVX2", "avx2-6x16", "scalar,portable", "\0", "avx2\n", "é"];
    for (name, exists) in lacking.iter().map(|name| (*name, true)).chain(wrong.map(|name| (name, false))) {
        let error = Dispatch::named(name).unwrap_err();
        let want =
            Error::Kernel { argument: "kernel", got: name.to_string(), known: exists, available: offered() };
        assert_eq!(error, want);
        let why = if exists { "which this CPU lacks" } else { "which does not exist" };
        let message = format!("kernel: was '{name}', {why}; must be one of: {}", offered().join(" "));
        assert_eq!(error.to_string(), message);
    }
}

/// `QGEMM_REQUIRE_ISA=avx2,!avx512vnni`: the test run is to have, and not to have, these.
#[test]
fn the_required_instruction_sets_are_here_and_every_kernel_multiplies() {
    let all = Dispatch::available();
    let required = std::env::var("QGEMM_REQUIRE_ISA").unwrap_or_default();
    for word in required.split(',').filter(|word| !word.is_empty()) {
        let (name, wanted) = word.strip_prefix('!').map_or((word, true), |name| (name, false));
        let exists = Isa::ALL.iter().any(|isa| isa.name() == name);
        assert!(exists, "QGEMM_REQUIRE_ISA: there is no instruction set '{name}'");
        let here = all.iter().any(|kernel| kernel.isa.name() == name);
        assert_eq!(here, wanted, "QGEMM_REQUIRE_ISA is '{required}', but {all:?} are available");
    }

    // Whatever the CPU, these two are there, in this order.
    assert_eq!([all[0].isa, all[1].isa], [Isa::Scalar, Isa::Portable]);
    for kernel in all {
        let dispatch = Dispatch::named(kernel.name).unwrap();
        let (m, n, k) = (kernel.mr + 1, kernel.nr + 1, 2 * kernel.kr + 1);
        let a = Matrix::<u8>::filled(m, k, Layout::ROWS, Fill::Random, 1);
        // So small that kernels which need a proof have it.
        let b = Matrix::<i8>::filled(k, n, Layout::ROWS, Fill::Within(3), 2);
        let packed = PackedB::pack_with(&dispatch, b.view(), ElementType::U8).unwrap();
        assert!(packed.panel_kernels().all(|used| used.name == kernel.name), "{packed:?}");
        let mut c = vec![0; m * n];
        Gemm::new(a.view(), &packed).run_i32(MatMut::row_major(&mut c, m, n).unwrap()).unwrap();
        let want = spec::sums(&a, &b, |_| 0, |_| 0, |_| 0);
        assert!(c.iter().zip(want.iter().flatten()).all(|(c, want)| i128::from(*c) == *want));
    }
}

/// Also what the next test starts, in processes with other values of `QGEMM_ISA`.
#[test]
fn what_is_automatic_is_what_the_environment_names() {
    let auto = Dispatch::auto();
    match &auto {
        Ok(dispatch) => println!("\nauto: {:?}", names(dispatch)),
        Err(error) => println!("\nauto: {error}"),
    }
    match std::env::var_os(VARIABLE) {
        None => {
            let widest = Dispatch::available().last().unwrap().isa;
            assert_eq!(auto.as_ref().map(|auto| names(auto)), Ok(meant(widest.name())));
        }
        Some(name) => match meant(&name.to_string_lossy())[..] {
            [] => assert!(matches!(auto, Err(Error::Kernel { argument: VARIABLE, .. })), "{auto:?}"),
            ref kernels => assert_eq!(auto.as_ref().map(|auto| names(auto)), Ok(kernels.to_vec())),
        },
    }

    // And what is not told which kernels to use goes by it.
    let a = Matrix::<u8>::filled(2, 3, Layout::ROWS, Fill::Random, 1);
    let b = Matrix::<i8>::filled(3, 4, Layout::ROWS, Fill::Random, 2);
    let mut c = [0x5555i32; 8];
    let result = Gemm::new(a.view(), b.view()).run_i32(MatMut::row_major(&mut c, 2, 4).unwrap());
    match (auto, PackedB::pack_for(b.view(), ElementType::U8)) {
        (Ok(dispatch), Ok(packed)) => {
            assert_eq!(result, Ok(()));
            assert_ne!(c, [0x5555; 8]);
            assert!(names(dispatch).contains(&packed.kernel().name));
        }
        (Err(error), Err(same)) => {
            assert_eq!((&same, result), (&error, Err(error.clone())));
            assert_eq!(c, [0x5555; 8], "written although refused");
            // A kernel that is named for the call does not need the variable.
            let scalar = Dispatch::named("scalar").unwrap();
            let gemm = Gemm::new(a.view(), b.view()).dispatch(&scalar);
            assert_eq!(gemm.run_i32(MatMut::row_major(&mut c, 2, 4).unwrap()), Ok(()));
        }
        (auto, packed) => panic!("{auto:?}, but {packed:?}"),
    }
}

/// `QGEMM_NO_SPAWN` says that a test cannot start a process here (an emulated machine that boots for one
/// command). Then the same names go to `Dispatch::named`, and of the variable only what it is now shows.
#[test]
fn qgemm_isa_chooses_the_kernels_of_a_process_or_fails_in_it() {
    let spawn = std::env::var_os("QGEMM_NO_SPAWN").is_none();
    let mut values: Vec<&str> = vec!["scalar", "no-such-isa"];
    // A process takes seconds to start under an emulator.
    if scale() >= 50 || !spawn {
        values.extend(offered());
        values.extend(Isa::ALL.iter().map(|isa| isa.name()));
        values.extend(["", " ", "AVX2", "scalar "]);
    }
    for value in values {
        if spawn {
            assert_eq!(auto_in_a_process(value.as_ref()), answer(VARIABLE, value));
        } else {
            let named = Dispatch::named(value);
            let said = named.map_or_else(|error| error.to_string(), |named| format!("{:?}", names(&named)));
            assert_eq!(said, answer("kernel", value));
        }
    }
    if !spawn {
        return what_is_automatic_is_what_the_environment_names();
    }
    #[cfg(unix)]
    if scale() >= 50 {
        use std::os::unix::ffi::OsStrExt;
        let said = auto_in_a_process(std::ffi::OsStr::from_bytes(b"avx2\xff"));
        assert!(said.starts_with("QGEMM_ISA: was 'avx2\u{fffd}', which does not exist; must be"), "{said}");
    }
}

/// The kernels that a name given as `argument` chooses, or the message that it gets.
fn answer(argument: &str, name: &str) -> String {
    match &meant(name)[..] {
        [] => {
            let known = Isa::ALL.iter().any(|isa| isa.name() == name);
            let why = if known { "which this CPU lacks" } else { "which does not exist" };
            format!("{argument}: was '{name}', {why}; must be one of: {}", offered().join(" "))
        }
        kernels => format!("{kernels:?}"),
    }
}

/// What `what_is_automatic_is_what_the_environment_names` prints with that `QGEMM_ISA`.
fn auto_in_a_process(value: &std::ffi::OsStr) -> String {
    let test = format!("{}::what_is_automatic_is_what_the_environment_names", module_path!());
    let test = test.split_once("::").unwrap().1;
    let mut words = runner();
    words.push(std::env::current_exe().unwrap().into_os_string().into_string().unwrap());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args([test, "--exact", "--nocapture", "--test-threads=1"]);
    let output = command.env(VARIABLE, value).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{value:?}: {command:?}: {said}{errors}");
    assert!(said.contains("1 passed"), "{value:?}: {said}");
    said.lines().find_map(|line| line.strip_prefix("auto: ")).expect(&said).to_string()
}

/// The words of `CARGO_TARGET_<TRIPLE>_RUNNER` for the triple of this process, if set.
fn runner() -> Vec<String> {
    let start = format!("CARGO_TARGET_{}_", std::env::consts::ARCH.to_uppercase());
    let os = format!("_{}", std::env::consts::OS.to_uppercase());
    let ours = |name: &String| name.starts_with(&start) && name.contains(&os) && name.ends_with("_RUNNER");
    let value = std::env::vars().find(|(name, _)| ours(name)).map(|(_, value)| value);
    value.unwrap_or_default().split_whitespace().map(str::to_string).collect()
}

#[test]
fn group_wise_weights_take_the_kernel_that_is_named() {
    let (codes, scales) = ([3u8; 64], [1f32; 2]);
    let codes = MatRef::row_major(&codes, 32, 2).unwrap();
    let b = GroupwiseB::builder(CodeBits::Four, 32).pack(codes, MatRef::row_major(&scales, 1, 2).unwrap());
    let b = b.unwrap();
    for name in Dispatch::available_groupwise() {
        let named = b.clone().with_dispatch(&Dispatch::named(name).unwrap());
        assert_eq!(named.kernel_name(), name);
    }
}
