//! Target `command`: command lines of `qgemm` in process, and the files that they name.

use crate::command_files::{Array, Fill, Folder, read_npy};
use crate::command_line::{Line, Takes};
use crate::input::Input;
use qgemm::{Dispatch, GroupwiseB, OtherLayout, PackedB};
use qgemm_cli::Failure;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

const BYTES: [&str; 2] = ["|i1", "|u1"];
const FLOATS: [&str; 4] = ["<f4", ">f4", "<f8", ">f8"];
const SCALES: [&str; 3] = ["<f4", "<f2", ">f4"];
const INTEGERS: [&str; 6] = ["<i4", ">i4", "|i1", "|u1", "<i8", "<i2"];
const FACTORS: [&str; 6] = ["1", "0.5", "0.01", "1e-3", "0", "2.5e4"];
const ZEROS: [&str; 6] = ["0", "1", "-1", "128", "-128", "100000"];
const NAMES: [&str; 8] = ["relu", "relu6", "gelu", "gelu-tanh", "silu", "sigmoid", "tanh", "hard-swish"];

/// What a file has to hold if the command succeeds.
enum Holds {
    /// A matrix of an element type.
    Matrix(&'static str, (usize, usize)),
    /// The product of two matrices, as i32.
    Product(Array, Array),
    /// Packed weights, K×N.
    Packed(usize, usize),
    /// Group-wise weights, K×N.
    Groupwise(usize, usize),
}

/// A file that a command line names as an output, and what has to be in it.
type Output = (&'static str, Holds);

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let command = input.byte() % 16;
    let folder = Folder::empty();
    let mut line = Line { input: &mut input, folder, words: Vec::new(), is_right: true };
    line.stray();
    let outputs = match command {
        0..=5 => matmul(&mut line),
        6..=8 => groupwise(&mut line),
        9 | 10 => quantize(&mut line),
        11 | 12 => pack(&mut line),
        13 | 14 => forward(&mut line),
        _ => info(&mut line),
    };
    line.stray();
    let Line { folder, words, is_right, .. } = line;
    let is_known = is_right && folder.is_whole;
    let before = folder.content();
    let (ended, _) = run_command(&words);
    let after = folder.content();
    if ended.is_err() {
        assert!(before == after, "{words:?} failed, but files differ: {:?}", after.keys());
        let is_plain = matches!(outputs[..], [(_, Holds::Product(..))]);
        assert!(!(is_known && is_plain), "{words:?} must succeed: {ended:?}");
        return;
    }
    for (path, _) in after.iter().filter(|(path, bytes)| before.get(*path) != Some(bytes)) {
        check_any(path);
    }
    if is_known {
        outputs.iter().for_each(|(name, holds)| check(&folder.path(name), holds));
    }
}

/// Runs words as the command does, and checks what it says; returns how it ended, and what it printed.
fn run_command(words: &[String]) -> (Result<(), Failure>, String) {
    let mut out = Vec::new();
    let ended = qgemm_cli::run(
        ["qgemm"].into_iter().chain(words.iter().map(String::as_str)).map(OsString::from),
        &mut out,
    );
    match &ended {
        Ok(()) => (),
        Err(Failure::Usage(error)) => {
            assert!(matches!(error.exit_code(), 0 | 2), "{error:?}");
            assert!(!error.to_string().trim().is_empty(), "{error:?}");
        }
        Err(Failure::Error { text, code }) => {
            assert_eq!(*code, 2, "{text}");
            let is_line =
                text.len() > "error: ".len() && !text.chars().any(|c| c.is_control() || c == '\u{2028}');
            assert!(is_line, "{words:?}: {text:?} is no line");
            let names_argument = ["error: --", "error: FILE: "].iter().any(|start| text.starts_with(start));
            assert!(names_argument, "{words:?}: {text:?} names no argument");
        }
    }
    (ended, String::from_utf8(out).expect("text is printed"))
}

/// Checks a file that the command wrote, of whatever kind.
fn check_any(path: &Path) {
    let bytes = fs::read(path).expect("the file can be read");
    if bytes.starts_with(&qgemm::SAVED_MAGIC) {
        let (ended, text) = run_command(&["info".into(), path.display().to_string()]);
        assert!(ended.is_ok() && !text.is_empty(), "{ended:?}");
    } else {
        let (_, shape, _) = read_npy(path);
        assert_eq!(shape.len(), 2, "{path:?}");
    }
}

/// Checks a file that has to be there.
fn check(path: &Path, holds: &Holds) {
    match holds {
        Holds::Matrix(descr, shape) => {
            let (got, dimensions, _) = read_npy(path);
            assert_eq!((got.as_str(), dimensions), (*descr, vec![shape.0, shape.1]), "{path:?}");
        }
        Holds::Product(a, b) => {
            let (m, k, n) = (a.shape[0], a.shape[1], b.shape[1]);
            check(path, &Holds::Matrix("<i4", (m, n)));
            let (_, _, data) = read_npy(path);
            for (at, got) in data.as_chunks().0.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let sum: i32 = (0..k).map(|p| a.get(i, p) * b.get(p, j)).sum();
                assert_eq!(i32::from_le_bytes(*got), sum, "row {i}, column {j}");
            }
        }
        Holds::Packed(k, n) => {
            let bytes = fs::read(path).expect("the file can be read");
            let auto = Dispatch::auto().expect("the environment names no kernel");
            let b = PackedB::load(&bytes, auto, OtherLayout::Repack).expect("it was saved");
            assert_eq!((b.k(), b.n()), (*k, *n));
        }
        Holds::Groupwise(k, n) => {
            let b = GroupwiseB::load(&fs::read(path).expect("the file can be read")).expect("it was saved");
            assert_eq!((b.k(), b.n()), (*k, *n));
        }
    }
}

/// M, K and N: small, or such that a matrix without elements claims any size.
fn dims(input: &mut Input<'_>) -> (usize, usize, usize) {
    let (m, k, n) = (input.number(0..=17), input.number(0..=40), input.number(0..=24));
    if !input.one_in(16) {
        return (m, k, n);
    }
    let huge = input.one_of(&[1 << 16, 1 << 26, 1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1]);
    match input.byte() % 8 {
        0 => (huge, 0, n),
        1 => (m, 0, huge),
        2 => (huge, 0, 0),
        3 => (0, 0, huge),
        4 => (0, huge, 0),
        5 => (huge, k, 0),
        6 => (0, k, huge),
        _ => (huge, 0, 1),
    }
}

/// `--kernel` and `--threads`.
fn machine(line: &mut Line<'_, '_>) {
    kernel(line);
    line.sometimes(3, Takes::Text, "--threads", |line| line.input.one_of(&["1", "2", "3", "16"]).into());
}

fn kernel(line: &mut Line<'_, '_>) {
    line.sometimes(4, Takes::Text, "--kernel", |line| {
        let kernels = Dispatch::available();
        let kernel = &kernels[usize::from(line.input.byte()) % kernels.len()];
        if line.input.flag() { kernel.name.into() } else { kernel.isa.name().into() }
    });
}

fn matmul(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("matmul".into());
    let (m, k, n) = dims(line.input);
    let a = line.array("--a", &BYTES, &[m, k], Fill::Any);
    let b = if line.input.one_in(3) && k < 100 && n < 100 {
        let word = line.folder.packed(line.input, k, n);
        line.give(Takes::File, "--b", &word);
        None
    } else {
        Some(line.array("--b", &BYTES, &[k, n], Fill::Any))
    };
    let words = line.words.len();
    line.sometimes(3, Takes::NumberOrFile, "--a-zero", |line| {
        line.number_or_file("a-zero", &ZEROS, &INTEGERS, m, Fill::Any)
    });
    line.sometimes(3, Takes::NumberOrFile, "--b-zero", |line| {
        line.number_or_file("b-zero", &ZEROS, &INTEGERS, n, Fill::Any)
    });
    let out_type = line.input.one_of(&["i32", "i32", "f32", "i8", "u8"]);
    line.sometimes(3, Takes::File, "--bias", |line| {
        let types: &[_] = if out_type == "f32" && line.input.flag() { &FLOATS } else { &INTEGERS };
        line.file("bias", types, &[n], Fill::Any)
    });
    let is_plain = line.words.len() == words && out_type == "i32";
    machine(line);
    if out_type != "i32" || line.input.flag() {
        line.give(Takes::Text, "--out-type", out_type);
    }
    match out_type {
        "i32" => (),
        "f32" => float_stage(line, (m, n)),
        _ => quantized_stage(line, (m, n), out_type),
    }
    let descr = match out_type {
        "i32" => "<i4",
        "f32" => "<f4",
        "i8" => "|i1",
        _ => "|u1",
    };
    let out = line.output("--out", "out.npy");
    let is_small = [m, k, n].iter().all(|size| *size < 100);
    vec![match b {
        Some(b) if is_plain && is_small => (out, Holds::Product(a, b)),
        _ => (out, Holds::Matrix(descr, (m, n))),
    }]
}

/// `--scale` and `--row-scale`.
fn scales(line: &mut Line<'_, '_>, (m, n): (usize, usize), with_rows: bool) {
    let is_by_rows = with_rows && line.input.one_in(3);
    if !is_by_rows || line.input.flag() {
        let word = line.number_or_file("scale", &FACTORS, &FLOATS, n, Fill::Factors);
        line.give(Takes::NumberOrFile, "--scale", &word);
    }
    if is_by_rows {
        let word = line.number_or_file("row-scale", &FACTORS, &FLOATS, m, Fill::Factors);
        line.give(Takes::NumberOrFile, "--row-scale", &word);
    }
}

fn clamp(line: &mut Line<'_, '_>) {
    line.sometimes(4, Takes::Text, "--clamp", |line| {
        line.input.one_of(&["-20,10", "0,0", "-1e3,1e3", "-inf,5", "100,300", "-128,127", "3,2"]).into()
    });
}

fn float_stage(line: &mut Line<'_, '_>, (m, n): (usize, usize)) {
    scales(line, (m, n), true);
    clamp(line);
    line.sometimes(4, Takes::File, "--residual", |line| line.file("residual", &FLOATS, &[m, n], Fill::Any));
    line.sometimes(4, Takes::File, "--activation", |line| line.input.one_of(&NAMES).into());
}

fn quantized_stage(line: &mut Line<'_, '_>, (m, n): (usize, usize), out_type: &str) {
    match line.input.byte() % 4 {
        0 => {
            scales(line, (m, n), true);
            if line.input.one_in(3) {
                line.array("--residual", &BYTES, &[m, n], Fill::Any);
                line.give(Takes::Text, "--residual-scale", "0.25");
                line.sometimes(2, Takes::Text, "--residual-zero", |line| line.input.one_of(&ZEROS).into());
            }
        }
        1 => {
            scales(line, (m, n), false);
            let rounding = line.input.one_of(&["real", "gemmlowp", "ruy", "single", "reference", "float"]);
            line.give(Takes::Text, "--rounding", rounding);
        }
        2 => {
            let rounding = line.input.one_of(&["gemmlowp", "ruy", "single", "reference"]);
            line.give(Takes::Text, "--rounding", rounding);
            let numbers = ["1073741824", "2147483647", "0", "1500000000"];
            let word = line.number_or_file("multiplier", &numbers, &INTEGERS, n, Fill::Any);
            line.give(Takes::NumberOrFile, "--multiplier", &word);
            let word = line.number_or_file("shift", &["0", "-3", "-31", "30"], &INTEGERS, n, Fill::Any);
            line.give(Takes::NumberOrFile, "--shift", &word);
        }
        _ => scales(line, (m, n), false),
    }
    line.sometimes(3, Takes::Text, "--out-zero", |line| line.input.one_of(&ZEROS).into());
    clamp(line);
    if !line.input.one_in(3) {
        return;
    }
    if line.input.one_in(3) {
        let types: &[_] = if out_type == "i8" { &["|i1"] } else { &["|u1"] };
        line.array("--activation", types, &[256], Fill::Any);
        return;
    }
    let name = line.input.one_of(&NAMES);
    line.give(Takes::File, "--activation", name);
    let quantization = |line: &mut Line<'_, '_>| {
        line.input.one_of(&["0.05,0", "1,128", "1e-30,-5", "3e38,7", "1e-45,0", "0.1,2147483647"]).to_string()
    };
    for option in ["--activation-in", "--activation-out"] {
        line.sometimes(2, Takes::Text, option, quantization);
    }
}

/// `--bits` and `--group` of K rows, with the rows of a group.
fn groups(line: &mut Line<'_, '_>, k: usize) -> (&'static str, usize) {
    let bits = line.input.one_of(&["4", "8"]);
    line.give(Takes::Text, "--bits", bits);
    let group = match line.input.byte() % 4 {
        0 => k.max(1),
        other => [8, 16, 32][usize::from(other) - 1],
    };
    line.give(Takes::Text, "--group", &group.to_string());
    (bits, group)
}

/// Weights with scales per group, as plain files; or as packed ones, whose rows and columns are returned.
fn group_weights(line: &mut Line<'_, '_>, (k, n): (usize, usize), packed: bool) -> (usize, usize) {
    if packed {
        let (word, shape) = line.folder.groupwise(line.input, k, n);
        line.give(Takes::File, "--b", &word);
        return shape;
    }
    let (bits, group) = groups(line, k);
    let fill = if bits == "4" { Fill::Codes } else { Fill::Any };
    let element = line.input.one_of(&BYTES);
    line.array("--b", &[element], &[k, n], fill);
    let groups = k.div_ceil(group);
    line.array("--scales", &SCALES, &[groups, n], Fill::Any);
    line.sometimes(3, Takes::File, "--zeros", |line| line.file("zeros", &[element], &[groups, n], fill));
    (k, n)
}

fn groupwise(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("groupwise".into());
    let (m, k, n) = dims(line.input);
    let is_packed = line.input.one_in(4) && k < 100 && n < 100;
    let (k, n) = group_weights(line, (k, n), is_packed);
    line.array("--a", &FLOATS, &[m, k], Fill::Any);
    line.sometimes(3, Takes::Text, "--activations", |line| {
        line.input.one_of(&["group", "row", "row-asymmetric"]).into()
    });
    line.sometimes(3, Takes::File, "--bias", |line| line.file("bias", &FLOATS, &[n], Fill::Any));
    machine(line);
    vec![(line.output("--out", "out.npy"), Holds::Matrix("<f4", (m, n)))]
}

fn quantize(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("quantize".into());
    let (_, k, n) = dims(line.input);
    line.array("--w", &FLOATS, &[k, n], Fill::Any);
    let (_, group) = groups(line, k);
    let groups = (k.div_ceil(group), n);
    let mut outputs = vec![
        (line.output("--out-values", "values.npy"), Holds::Matrix("|u1", (k, n))),
        (line.output("--out-scales", "scales.npy"), Holds::Matrix("<f4", groups)),
    ];
    if line.input.flag() {
        line.words.push("--asymmetric".into());
        outputs.push((line.output("--out-zeros", "zeros.npy"), Holds::Matrix("|u1", groups)));
    }
    outputs
}

fn pack(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("pack".into());
    let (_, k, n) = dims(line.input);
    if line.input.flag() {
        group_weights(line, (k, n), false);
        return vec![(line.output("--out", "out.qgemm"), Holds::Groupwise(k, n))];
    }
    let is_transposed = line.input.flag();
    let shape = if is_transposed { [n, k] } else { [k, n] };
    line.array("--b", &BYTES, &shape, Fill::Any);
    if is_transposed {
        line.words.push("--transpose".into());
    }
    line.sometimes(3, Takes::Text, "--activations", |line| line.input.one_of(&["u8", "i8"]).into());
    kernel(line);
    vec![(line.output("--out", "out.qgemm"), Holds::Packed(k, n))]
}

fn forward(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("forward".into());
    let (m, k, n) = dims(line.input);
    // Without files it computes examples, which takes longer.
    if line.input.one_in(32) {
        return vec![(line.output("--out", "out.npy"), Holds::Matrix("<f4", (2, 4)))];
    }
    line.array("--x", &FLOATS, &[m, k], Fill::Any);
    line.array("--w", &FLOATS, &[k, n], Fill::Any);
    let range = |line: &mut Line<'_, '_>| {
        line.input.one_of(&["-1,1", "0,6", "10,50", "-1e-30,1e-30", "-3e38,3e38", "1,1.0001"]).to_string()
    };
    for option in ["--x-range", "--w-range", "--y-range"] {
        line.sometimes(4, Takes::Text, option, range);
    }
    if line.input.one_in(3) {
        line.array("--bias", &FLOATS, &[n], Fill::Any);
        line.sometimes(4, Takes::Text, "--bias-range", range);
    }
    if line.input.one_in(4) {
        return Vec::new();
    }
    vec![(line.output("--out", "out.npy"), Holds::Matrix("<f4", (m, n)))]
}

fn info(line: &mut Line<'_, '_>) -> Vec<Output> {
    line.words.push("info".into());
    let (_, k, n) = dims(line.input);
    let word = match line.input.byte() % 8 {
        0 => None,
        1 => Some(line.file("a", &BYTES, &[k, n], Fill::Any)),
        2..=4 => Some(line.folder.packed(line.input, k.min(64), n.min(64))),
        _ => Some(line.folder.groupwise(line.input, k.min(64), n.min(64)).0),
    };
    line.words.extend(word);
    if line.input.flag() {
        line.words.push("--json".into());
    }
    Vec::new()
}
