//! Wrong arguments and files: the exit code is 2, the message names the argument, and no file is written.

use crate::support::{Files, header};

/// Arguments that succeed.
const LINE: &str = "matmul --a a.npy --b b.npy --out y.npy";

fn files() -> Files {
    let files = Files::new();
    files.write("a.npy", &[2, 3], &[1u8, 2, 3, 4, 5, 6]);
    files.write("b.npy", &[3, 4], &[1i8; 12]);
    files.run(LINE).ok();
    std::fs::remove_file(files.path("y.npy")).unwrap();
    files
}

#[test]
fn numbers() {
    let files = files();
    let message = files.run(&format!("{LINE} --a-zero 3.5")).refused("--a-zero");
    assert_eq!(message, "error: --a-zero: was '3.5', must be an integer that fits i32 or a .npy file");
    let wrong = [
        ("--a-zero", "99999999999", ""),
        ("--a-zero", "nothing.npy", ""),
        ("--b-zero", "1e3", ""),
        ("--b-zero", "nan", ""),
        ("--scale", "-1", "--out-type i8"),
        ("--scale", "inf", "--out-type u8"),
        ("--scale", "nan", "--out-type f32"),
        ("--scale", "none.npy", "--out-type f32"),
        ("--scale", "1", ""),
        ("--out-zero", "1.5", "--out-type i8 --scale 1"),
        ("--out-zero", "4000000", "--out-type i8 --scale 1"),
        ("--out-zero", "1", ""),
        ("--out-zero", "1", "--out-type f32 --scale 1"),
        ("--out-type", "i16", ""),
        ("--out-type", "i8", "--threads 0"),
        ("--clamp", "1,0", "--out-type i8 --scale 1"),
        ("--clamp", "1", "--out-type i8 --scale 1"),
        ("--clamp", "200,300", "--out-type i8 --scale 1"),
        ("--clamp", "0,1", ""),
        ("--clamp", "1,0", "--out-type f32 --scale 1"),
        ("--clamp", "nan,1", "--out-type f32 --scale 1"),
        ("--threads", "0", ""),
        ("--threads", "-1", ""),
        ("--threads", "two", ""),
        ("--threads", "99999999", ""),
        ("--kernel", "nonesuch", ""),
        ("--kernel", "", ""),
        ("--out", "no/such/directory/y.npy", ""),
        ("--out", ".", ""),
        ("--out", "nosuch.d/", ""),
        ("--out", "a.npy/", ""),
        ("--nonesuch", "1", ""),
    ];
    for (argument, value, rest) in wrong {
        let line = if argument == "--out" { LINE.replace("--out y.npy", "") } else { LINE.to_string() };
        let line = format!("{line} {rest} {argument}={value}");
        let named = if rest.contains("--threads 0") { "--threads" } else { argument };
        let message = files.run(&line).refused(named);
        // For an option that does not exist, clap writes a message of its own.
        let ours = message.starts_with(&format!("error: {named}: was ")) && message.contains("must ");
        assert!(ours || named == "--nonesuch", "{line}: {message}");
        assert_eq!(files.names(), ["a.npy", "b.npy"], "{line}");
    }
    files.run(&format!("{LINE} --out-type u8")).refused("--scale");
    files.run("matmul --a a.npy --out y.npy").refused("--b");
    files.run("nonesuch").refused("nonesuch");
    assert_eq!(files.names(), ["a.npy", "b.npy"]);
}

#[test]
fn output_stages() {
    let files = files();
    files.write("two.npy", &[2], &[1f32, 2.0]);
    files.write("small.npy", &[4], &[5i32; 4]);
    files.write("r.npy", &[2, 3], &[1u8; 6]);
    files.write("s.npy", &[2, 4], &[1u8; 8]);
    files.write("short.npy", &[255], &[1i8; 255]);
    files.write("u8.npy", &[256], &[1u8; 256]);
    files.write("huge.npy", &[2], &[3e38f32; 2]);
    files.write("f.npy", &[2, 4], &[1f32; 8]);
    files.write("nan.npy", &[2, 4], &[f32::NAN; 8]);
    files.write("huge64.npy", &[2, 4], &[1e39f64; 8]);
    let float = "--out-type i8 --scale 1";
    let fixed = "--out-type i8 --rounding ruy --multiplier 1073741824 --shift 0";
    let residual = "--out-type i8 --scale 1 --residual s.npy";
    let gelu = "--out-type i8 --scale 1 --activation gelu";
    let wrong = [
        // Options that have no meaning beside the others.
        ("--row-scale", "two.npy", ""),
        ("--row-scale", "two.npy", fixed),
        ("--row-scale", "two.npy", "--out-type i8 --scale 1 --rounding real"),
        ("--rounding", "float", ""),
        ("--rounding", "ruy", "--out-type f32 --scale 1"),
        ("--scale", "1", fixed),
        ("--multiplier", "1073741824", &format!("{float} --shift 0")),
        ("--residual", "s.npy", &format!("{fixed} --residual-scale 1")),
        ("--residual-scale", "1", "--residual f.npy --out-type f32 --scale 1"),
        ("--residual-zero", "0", "--residual f.npy --out-type f32 --scale 1"),
        ("--residual", "f.npy", ""),
        ("--activation", "relu", ""),
        ("--activation", "u8.npy", "--out-type f32 --scale 1"),
        ("--activation-in", "1,0", "--activation gelu --out-type f32 --scale 1"),
        ("--activation-out", "1,0", "--activation relu6 --out-type f32 --scale 1"),
        ("--activation-in", "1,0", &format!("{float} --activation relu")),
        ("--activation-out", "1,0", &format!("{float} --activation relu")),
        ("--activation-in", "1,0", &format!("{float} --activation relu6 --activation-out 1,0")),
        ("--activation-in", "1,0", &format!("{float} --activation u8.npy")),
        // Values that are not allowed.
        ("--rounding", "up", float),
        ("--row-scale", "huge.npy", "--out-type i8 --scale 9"),
        ("--row-scale", "small.npy", "--out-type i8"),
        ("--row-scale", "-1", "--out-type i8"),
        ("--multiplier", "5", "--out-type i8 --rounding ruy --shift 0"),
        ("--multiplier", "small.npy", "--out-type i8 --rounding ruy --shift 0"),
        ("--multiplier", "two.npy", "--out-type i8 --rounding ruy --shift 0"),
        ("--shift", "31", "--out-type i8 --rounding ruy --multiplier 0"),
        ("--residual", "r.npy", &format!("{float} --residual-scale 1")),
        ("--residual", "two.npy", &format!("{float} --residual-scale 1")),
        ("--residual-scale", "-1", residual),
        ("--residual-scale", "x", residual),
        ("--residual-zero", "4000000", &format!("{residual} --residual-scale 1")),
        ("--residual", "s.npy", "--out-type f32 --scale 1"),
        ("--residual", "huge64.npy", "--out-type f32 --scale 1"),
        ("--residual", "nan.npy", "--out-type f32 --scale 1"),
        ("--residual", "f.npy", &format!("{float} --residual-scale 1")),
        ("--residual-scale", "1e-50", residual),
        ("--residual-scale", "1e30", residual),
        ("--out-zero", "300", "--out-type u8 --scale 1 --activation relu"),
        ("--out-zero", "-300", &format!("{float} --activation relu6 --activation-out 1,-300")),
        ("--clamp", "-9,-1", &format!("{float} --activation relu")),
        ("--clamp", "7,9", &format!("{float} --activation relu6 --activation-out 1,0")),
        ("--clamp", "-9,-0.5", "--out-type f32 --scale 1 --activation relu"),
        ("--activation-out", "0.1,5", &format!("{float} --activation relu6")),
        ("--activation", "relu7", float),
        ("--activation", "short.npy", float),
        ("--activation", "u8.npy", float),
        ("--activation-in", "0,1", &format!("{gelu} --activation-out 1,0")),
        ("--activation-out", "1", &format!("{gelu} --activation-in 1,0")),
        ("--activation-out", "1,0.5", &format!("{gelu} --activation-in 1,0")),
    ];
    for (argument, value, rest) in wrong {
        let line = format!("{LINE} {rest} {argument} {value}");
        let message = files.run(&line).refused(argument);
        assert!(message.starts_with(&format!("error: {argument}")), "{line}: {message}");
        assert!(message.contains("must be "), "{line}: {message}");
    }
    // Options that require another one.
    files.run(&format!("{LINE} --out-type i8 --rounding single")).refused("--scale: was left out");
    files.run(&format!("{LINE} --out-type i8 --rounding single --shift 1")).refused("--multiplier");
    files.run(&format!("{LINE} {residual}")).refused("--residual-scale");
    files.run(&format!("{LINE} {float} --residual-zero 1")).refused("--residual");
    files.run(&format!("{LINE} {gelu}")).refused("--activation-in: was left out");
    files.run(&format!("{LINE} {float} --activation relu6")).refused("--activation-out: was left out");
    assert!(!files.exists("y.npy"));
}

/// After an option without its value, the next option is not taken for the value; a negative number is.
#[test]
fn forgotten_values() {
    let files = files();
    for option in ["--a-zero", "--b-zero", "--scale", "--clamp", "--out-zero", "--threads"] {
        let message = files.run(&format!("matmul --a a.npy --b b.npy {option} --out y.npy")).refused(option);
        assert!(message.contains("a value is required for"), "{message}");
    }
    files.run("bench --shapes --csv").refused("--shapes");
    files.run("verify --seconds").refused("--seconds");
    assert!(!files.exists("y.npy"));
    files
        .run(&format!("{LINE} --a-zero -3 --out-type i8 --scale .5 --out-zero -3 --clamp -9,-.5"))
        .refused("--clamp");
    files.run(&format!("{LINE} --a-zero -3 --out-type i8 --scale .5 --out-zero -3 --clamp -9,-3")).ok();
}

/// Scales that are not 0, but too near to 0 or too large for the type that they are rounded to, as numbers and in files.
#[test]
fn scales_beyond_their_type() {
    let files = files();
    files.write("tiny.npy", &[4], &[1f64, 2.0, 1e-50, 4.0]);
    files.write("large.npy", &[4], &[1f64, 2.0, 1e39, 4.0]);
    files.write("zero.npy", &[4], &[0f64; 4]);
    files.write("rows.npy", &[2], &[1e-50f64, 1.0]);
    files.write("s.npy", &[2, 4], &[1u8; 8]);
    let must = "must be finite and not negative, a number or a .npy file of float32 or float64";
    let wrong = [
        ("--scale", "1e-50", "(f32 rounds it to 0)"),
        ("--scale", "1e39", "(too large for f32)"),
        ("--scale", "tiny.npy", "(value 2 is 1e-50, f32 rounds it to 0)"),
        ("--scale", "large.npy", "(value 2 is 1e39, too large for f32)"),
        ("--row-scale", "rows.npy", "(value 0 is 1e-50, f32 rounds it to 0)"),
        ("--row-scale", "1e-46", "(f32 rounds it to 0)"),
    ];
    for out_type in ["f32", "i8", "u8"] {
        for (argument, value, why) in wrong {
            let message =
                files.run(&format!("{LINE} --out-type {out_type} {argument} {value}")).refused(argument);
            assert_eq!(message, format!("error: {argument}: was '{value}' {why}, {must}"));
        }
        files.run(&format!("{LINE} --out-type {out_type} --scale -1e-50")).refused("--scale");
    }
    assert!(!files.exists("y.npy"));
    // f64 holds them, and a scale of 0 is one.
    for scale in ["1e-50", "tiny.npy", "large.npy", "0", "zero.npy"] {
        files.run(&format!("{LINE} --out-type i8 --rounding real --scale {scale}")).ok();
    }
    files
        .run(&format!("{LINE} --out-type i8 --rounding real --scale 1e-400"))
        .refused("(f64 rounds it to 0)");
    for scale in ["0", "0.0", "0e0", "-0", "zero.npy", "1e-45"] {
        files.run(&format!("{LINE} --out-type f32 --scale {scale}")).ok();
        files.run(&format!("{LINE} --out-type i8 --scale {scale}")).ok();
    }
    files.run(&format!("{LINE} --out-type i8 --scale 1 --residual s.npy --residual-scale 0")).ok();
    let line = format!("{LINE} --out-type i8 --scale 1 --activation gelu --activation-in 1,0");
    for value in ["1e-50,0", "1e39,0"] {
        let message = files.run(&format!("{line} --activation-out {value}")).refused("--activation-out");
        assert!(message.contains(&format!("was '{value}' (")), "{message}");
    }
    files
        .run(&format!("{line} --activation-out 0,0"))
        .refused("--activation-out: was '0,0', must be SCALE,ZERO");
    // A limit may be infinite, but only if it is written so.
    files
        .run(&format!("{LINE} --out-type f32 --scale 1 --clamp 0,1e39"))
        .refused("--clamp: was '0,1e39' (too large");
    files.run(&format!("{LINE} --out-type f32 --scale 1 --clamp 0,inf")).ok();
}

/// Element types are named as numpy names them.
#[test]
fn element_types() {
    let files = files();
    let types = [
        ("<i8", 8, "int64"),
        ("<f2", 2, "float16"),
        ("<c16", 16, "complex128"),
        ("|b1", 1, "bool"),
        (">i4", 4, "big-endian int32"),
        ("<U3", 12, "str96"),
        ("|O", 8, "object"),
    ];
    for (descr, size, name) in types {
        files.write_raw("x.npy", &header(descr, false, &[2, 3]), &vec![0; 6 * size]);
        let message = files.run("matmul --a x.npy --b b.npy --out y.npy").refused("--a: was 'x.npy'");
        assert!(
            message.contains(&format!("(elements of type {name}), must be a .npy file of int8")),
            "{message}"
        );
        let message = files.run("forward --x x.npy --w b.npy").refused("--x: was 'x.npy'");
        assert!(
            message.contains(&format!("(elements of type {name}), must be a .npy file of finite")),
            "{message}"
        );
    }
    files.write_raw("x.npy", &header("<x9", false, &[2, 3]), &[0; 54]);
    let message = files.run("matmul --a x.npy --b b.npy --out y.npy").refused("--a");
    assert!(message.contains("(elements of an unknown type [<x9])"), "{message}");
    // A vector or a table of a wrong type.
    files.write("f.npy", &[2], &[1f32; 2]);
    files.run(&format!("{LINE} --a-zero f.npy")).refused("(elements of type float32)");
    files.write("table.npy", &[256], &[1u8; 256]);
    let message =
        files.run(&format!("{LINE} --out-type i8 --scale 1 --activation table.npy")).refused("--activation");
    assert!(message.contains("(elements of type uint8), must be"), "{message}");
    assert!(!files.exists("y.npy"));
}

/// Files that are not a matrix of i8 or u8.
#[test]
fn matrices() {
    let files = files();
    let good = header("|u1", false, &[2, 3]);
    let wrong: [(&str, String, Vec<u8>); 15] = [
        ("i32", header("<i4", false, &[2, 3]), vec![0; 24]),
        ("f32", header("<f4", false, &[2, 3]), vec![0; 24]),
        ("bool", header("|b1", false, &[2, 3]), vec![0; 6]),
        ("object", header("|O", false, &[2, 3]), vec![0; 6]),
        ("1-D", header("|u1", false, &[6]), vec![0; 6]),
        ("3-D", header("|u1", false, &[1, 2, 3]), vec![0; 6]),
        ("scalar", header("|u1", false, &[]), vec![0; 1]),
        ("truncated", good.clone(), vec![0; 5]),
        ("longer", good.clone(), vec![0; 7]),
        ("huge", header("|u1", false, &[1 << 40, 1 << 10]), vec![0; 6]),
        ("overflowing", header("|u1", false, &[1 << 40, 1 << 40]), vec![0; 6]),
        ("no order", "{'descr': '|u1', 'shape': (2, 3), }".into(), vec![0; 6]),
        ("negative", "{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -3), }".into(), vec![0; 6]),
        ("nested", "(".repeat(60000), vec![0; 6]),
        ("garbage", "garbage".into(), vec![0; 6]),
    ];
    for (what, header, data) in wrong {
        files.write_raw("bad.npy", &header, &data);
        let message = files.run("matmul --a bad.npy --b b.npy --out y.npy").refused("--a");
        assert!(message.starts_with("error: --a: was 'bad.npy'"), "{what}: {message}");
        files.run("matmul --a a.npy --b bad.npy --out y.npy").refused("--b");
        assert!(!files.exists("y.npy"), "{what}");
    }
    let whole = std::fs::read(files.path("a.npy")).unwrap();
    for end in 0..whole.len() {
        files.write_bytes("bad.npy", &whole[..end]);
        files.run("matmul --a bad.npy --b b.npy --out y.npy").refused("bad.npy");
        if end > 20 && end < whole.len() - 8 {
            continue;
        }
        // A file that exists is not changed.
        files.write_bytes("y.npy", b"precious");
        files.run("matmul --a bad.npy --b b.npy --out y.npy").refused("--a");
        assert_eq!(std::fs::read(files.path("y.npy")).unwrap(), b"precious");
    }
    std::fs::create_dir(files.path("directory")).unwrap();
    files.run("matmul --a directory --b b.npy --out y.npy").refused("--a: was 'directory'");
    files.run("matmul --a missing.npy --b b.npy --out y.npy").refused("--a: was 'missing.npy'");
    files.run("matmul --a a.npy --b a.npy --out y.npy").refused("--b: was 'a.npy'");
}

#[test]
fn vectors() {
    let files = files();
    files.write("two.npy", &[2], &[1i32, 2]);
    files.write("five.npy", &[5], &[1i32; 5]);
    files.write("flat.npy", &[1, 2], &[1i32, 2]);
    files.write("large.npy", &[2], &[1i64, 1 << 31]);
    files.write("largest.npy", &[1], &[u64::MAX]);
    files.write("float.npy", &[2], &[1f32, 2.0]);
    files.write("four.npy", &[4], &[1f32, 2.0, 3.0, 4.0]);
    files.write("nan.npy", &[4], &[1f32, 2.0, f32::NAN, 4.0]);
    files.write("minus.npy", &[4], &[1f64, 2.0, -1.0, 4.0]);
    files.write("wide.npy", &[4], &[1e300f64; 4]);
    for zero in ["five.npy", "flat.npy", "large.npy", "largest.npy", "float.npy"] {
        files.run(&format!("{LINE} --a-zero {zero}")).refused(&format!("--a-zero: was '{zero}'"));
    }
    let message = files.run(&format!("{LINE} --a-zero large.npy")).refused("--a-zero");
    assert!(message.contains("2147483648"), "{message}");
    files.run(&format!("{LINE} --a-zero two.npy")).ok();
    std::fs::remove_file(files.path("y.npy")).unwrap();
    files.run(&format!("{LINE} --b-zero two.npy")).refused("--b-zero: was 'two.npy'");
    for scale in ["nan.npy", "minus.npy", "wide.npy", "two.npy", "float.npy"] {
        files
            .run(&format!("{LINE} --out-type i8 --scale {scale}"))
            .refused(&format!("--scale: was '{scale}'"));
    }
    for bias in ["two.npy", "nan.npy", "missing.npy", "large.npy"] {
        files
            .run(&format!("{LINE} --out-type f32 --scale 1 --bias {bias}"))
            .refused(&format!("--bias: was '{bias}'"));
    }
    // A float bias is allowed with an f32 output only.
    for kind in ["i32", "i8 --scale 1", "u8 --scale 1"] {
        files.run(&format!("{LINE} --bias four.npy --out-type {kind}")).refused("--bias: was 'four.npy'");
    }
    assert!(!files.exists("y.npy"));
}

/// Exact 8-bit outputs need sums below 2^63; outputs must fit memory, however small the files.
#[test]
fn too_large() {
    let files = files();
    let line = format!("{LINE} --out-type i8 --scale 1 --a-zero 2147483647 --b-zero=-2147483648");
    let message = files.run(&line).refused("-zero");
    assert!(message.starts_with("error: --a-zero:") || message.starts_with("error: --b-zero:"), "{message}");
    files.write::<u8>("tall.npy", &[1 << 40, 0], &[]);
    files.write::<i8>("wide.npy", &[0, 1 << 40], &[]);
    files.run("matmul --a tall.npy --b wide.npy --out y.npy").refused("--a");
    files.write::<i8>("wide.npy", &[0, 1 << 10], &[]);
    files.run("matmul --a tall.npy --b wide.npy --out y.npy --out-type u8 --scale 1").refused("--a");
    files.write::<i8>("none.npy", &[0, 0], &[]);
    files.run("matmul --a tall.npy --b none.npy --out none.npy").ok();
    assert!(!files.exists("y.npy"));
}

#[test]
fn kernels() {
    let files = files();
    let here = files.run("info --json").ok();
    let info: serde_json::Value = serde_json::from_str(&here).unwrap();
    let isas: Vec<_> =
        info["kernels"].as_array().unwrap().iter().map(|k| k["isa"].as_str().unwrap()).collect();
    for name in
        ["avx2", "avxvnni", "avxvnniint8", "avx512bw", "avx512vnni", "amxint8", "neon", "dotprod", "i8mm"]
    {
        if !isas.contains(&name) {
            let message = files.run(&format!("{LINE} --kernel {name}")).refused("--kernel");
            assert!(message.contains("lacks"), "{message}");
            files.run(&format!("verify --seconds 0 --kernel {name}")).refused("--kernel");
            files.run(&format!("bench --shapes 1,1,1 --kernel {name}")).refused("--kernel");
        }
    }
    let message = files.run(&format!("{LINE} --kernel avx1024")).refused("--kernel: was 'avx1024'");
    assert!(message.contains("does not exist") && message.contains("scalar"), "{message}");
    assert!(!files.exists("y.npy"));
}
