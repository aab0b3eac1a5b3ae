//! Wrong arguments and files of `qgemm groupwise`: the message names the option, and no file is written.

use crate::support::{Files, header};

const LINE: &str = "groupwise --a a.npy --b b.npy --bits 4 --group 16 --scales s.npy --out y.npy";

/// A product of 3 x 40 by 40 x 2 in groups of 16, with files that do not fit it.
fn files() -> Files {
    let files = Files::new();
    files.write("a.npy", &[3, 40], &[0.5f32; 120]);
    files.write("b.npy", &[40, 2], &[15u8; 80]);
    files.write("s.npy", &[3, 2], &[1f32; 6]);
    files.write("z.npy", &[3, 2], &[3u8; 6]);
    files.run(&format!("{LINE} --zeros z.npy")).ok();
    std::fs::remove_file(files.path("y.npy")).unwrap();
    files.write("short.npy", &[3, 39], &[0.5f32; 117]);
    files.write("nan.npy", &[3, 40], &[f32::NAN; 120]);
    files.write("large.npy", &[3, 40], &[1e39f64; 120]);
    files.write("wide.npy", &[40, 2], &[16u8; 80]);
    files.write("below.npy", &[40, 2], &[-9i8; 80]);
    files.write("i16.npy", &[40, 2], &[1i16; 80]);
    files.write("s2.npy", &[2, 3], &[1f32; 6]);
    files.write("s64.npy", &[3, 2], &[1f64; 6]);
    files.write("snan.npy", &[3, 2], &[1f32, 1.0, f32::NAN, 1.0, 1.0, 1.0]);
    files.write_raw("shalf.npy", &header("<f2", false, &[3, 2]), &[0, 0x7c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    files.write("vector.npy", &[6], &[1f32; 6]);
    files.write("zi.npy", &[3, 2], &[3i8; 6]);
    files.write("z16.npy", &[3, 2], &[16u8; 6]);
    files.write("z2.npy", &[2, 2], &[3u8; 4]);
    files.write("bias.npy", &[3], &[1f32; 3]);
    files.write("ibias.npy", &[2], &[1i32; 2]);
    files
}

#[test]
fn files_that_do_not_fit() {
    let files = files();
    let before = files.names();
    for (argument, file, why) in [
        ("--a", "short.npy", ""),
        ("--a", "nan.npy", "(value 0 is NaN)"),
        ("--a", "large.npy", "(value 0 is 1e39, too large for f32)"),
        ("--a", "b.npy", "(elements of type uint8)"),
        ("--a", "vector.npy", "(it has 1 dimensions)"),
        ("--a", "none.npy", ""),
        ("--b", "z.npy", "(3 rows), must be a matrix with as many rows as --a has columns (40)"),
        ("--b", "i16.npy", "(elements of type int16)"),
        ("--b", "vector.npy", ""),
        ("--scales", "s2.npy", "(2x3), must be 3x2, a row for each group"),
        (
            "--scales",
            "s64.npy",
            "(elements of type float64), must be a .npy file of finite float32 or float16",
        ),
        ("--scales", "snan.npy", "(value 2 is NaN)"),
        ("--scales", "shalf.npy", "(value 0 is inf)"),
        ("--scales", "vector.npy", ""),
        ("--scales", "z.npy", "(elements of type uint8)"),
        ("--zeros", "zi.npy", "(of i8), must be of the type of --b (u8)"),
        ("--zeros", "z2.npy", "(2x2), must be 3x2"),
        ("--zeros", "s.npy", "(elements of type float32)"),
        ("--bias", "bias.npy", "(3 values, not one per column of --b (2))"),
        ("--bias", "ibias.npy", "(it holds integers), must be a .npy file of finite float32 or float64"),
    ] {
        let named = format!("{argument} ");
        let line = match LINE.split_once(&named) {
            Some((head, tail)) => {
                format!("{head}{named}{file} {}", tail.split_once(' ').unwrap_or_default().1)
            }
            None => format!("{LINE} {argument} {file}"),
        };
        let message = files.run(&line).refused(argument);
        let known = message.starts_with(&format!("error: {argument}: was '{file}' ")) || file == "short.npy";
        assert!(known && message.contains(why) && message.contains("must be "), "{line}: {message}");
    }
    // The columns of A are the rows of B, so that the error names the latter.
    files.run(&LINE.replace("a.npy", "short.npy")).refused("--b: was 'b.npy' (40 rows)");
    // Values out of their range, each named with its place.
    let message = files.run(&LINE.replace("b.npy", "wide.npy")).refused("--b");
    assert_eq!(message, "error: --b: element (0, 0) was 16, must be in 0..=15");
    let message = files.run(&LINE.replace("b.npy", "below.npy")).refused("--b");
    assert_eq!(message, "error: --b: element (0, 0) was -9, must be in -8..=7");
    let message = files.run(&format!("{LINE} --zeros z16.npy")).refused("--zeros");
    assert_eq!(message, "error: --zeros: element (0, 0) was 16, must be in 0..=15");
    assert_eq!(files.names(), before);
}

#[test]
fn values_that_are_not_allowed() {
    let files = files();
    let before = files.names();
    for (from, to, wrong) in [
        ("--bits 4", "--bits 2", "--bits: was '2', must be 4 or 8"),
        ("--bits 4", "--bits", "--bits"),
        (
            "--group 16",
            "--group 12",
            "--group: was '12', must be a multiple of 8 above 0, or at least K (40)",
        ),
        ("--group 16", "--group 0", "--group: was '0'"),
        ("--group 16", "--group 1e2", "--group: was '1e2'"),
        ("--group 16", "--group 8", "--scales: was 's.npy' (3x2), must be 5x2"),
        ("y.npy", "no/y.npy", "--out: was 'no/y.npy'"),
        ("--scales s.npy", "", "--scales"),
    ] {
        files.run(&LINE.replace(from, to)).refused(wrong);
    }
    for (rest, wrong) in [
        ("--activations column", "--activations: was 'column', must be group, row or row-asymmetric"),
        ("--threads 0", "--threads: was '0'"),
        ("--kernel nonesuch", "--kernel: was 'nonesuch', which does not exist"),
    ] {
        files.run(&format!("{LINE} {rest}")).refused(wrong);
    }
    assert_eq!(files.names(), before);
}

/// Outputs must fit memory, however small the files.
#[test]
fn too_large() {
    let files = Files::new();
    files.write::<f32>("tall.npy", &[1 << 40, 0], &[]);
    files.write::<u8>("wide.npy", &[0, 1 << 40], &[]);
    files.write::<f32>("scales.npy", &[0, 1 << 40], &[]);
    let line = "groupwise --a tall.npy --b wide.npy --bits 4 --group 32 --scales scales.npy --out y.npy";
    files.run(line).refused("--");
    assert!(!files.exists("y.npy"));
}

/// Empty matrices are multiplied and quantized at once, however long their other dimension is.
#[test]
fn huge_and_empty() {
    let (files, huge) = (Files::new(), 1 << 40);
    files.write::<f32>("none.npy", &[0, 0], &[]);
    files.write::<f32>("no_rows.npy", &[0, huge], &[]);
    files.write::<f32>("no_columns.npy", &[huge, 0], &[]);
    files.write::<u8>("codes_without_rows.npy", &[0, huge], &[]);
    files.write::<u8>("codes_without_columns.npy", &[huge, 0], &[]);
    files.write::<f32>("scales.npy", &[huge / 32, 0], &[]);
    let line = "groupwise --bits 4 --group 32 --out y.npy";
    let rest = "--a none.npy --b codes_without_rows.npy --scales no_rows.npy";
    files.run(&format!("{line} {rest}")).ok();
    assert!(files.read::<f32>("y.npy", (0, huge)).is_empty());
    let rest = "--a no_rows.npy --b codes_without_columns.npy --scales scales.npy";
    files.run(&format!("{line} {rest}")).ok();
    assert!(files.read::<f32>("y.npy", (0, 0)).is_empty());
    for (w, shape, groups) in [("no_rows", (0, huge), 0), ("no_columns", (huge, 0), huge / 32)] {
        let rest = "--bits 8 --group 32 --out-values v.npy --out-scales s.npy";
        files.run(&format!("quantize --w {w}.npy {rest}")).ok();
        assert!(files.read::<u8>("v.npy", shape).is_empty());
        assert!(files.read::<f32>("s.npy", (groups, shape.1)).is_empty());
    }
}
