//! Files whose headers claim more than their data, and names in files that contain line breaks.

use crate::support::Files;

/// Values for each row or column are made only where memory holds them.
#[test]
fn sizes_of_empty_matrices() {
    let files = Files::new();
    files.write::<i8>("none.npy", &[0, 0], &[]);
    files.write::<i8>("tall.npy", &[1 << 40, 0], &[]);
    files.write::<i8>("wide.npy", &[0, 1 << 40], &[]);
    let scales = "--out y.npy --out-type f32 --row-scale 1 --scale 1";
    let message = files.run(&format!("matmul --a none.npy --b wide.npy {scales}")).refused("--b");
    let expected = "error: --b: was '1099511627776 columns' (it needs 4398046511104 bytes), must be small enough for memory";
    assert_eq!(message, expected);
    let message = files.run(&format!("matmul --a tall.npy --b none.npy {scales}")).refused("--a");
    assert!(message.starts_with("error: --a: was '1099511627776 rows' "), "{message}");
    files.write::<f32>("x.npy", &[0, 0], &[]);
    files.write::<f32>("w.npy", &[0, 1 << 40], &[]);
    let message = files.run("forward --x x.npy --w w.npy --out y.npy").refused("--w");
    assert!(message.starts_with("error: --w: was '0x1099511627776' "), "{message}");
    assert!(!files.exists("y.npy"));
    files.write::<f32>("x.npy", &[1 << 40, 0], &[]);
    files.write::<f32>("w.npy", &[0, 0], &[]);
    files.run("forward --x x.npy --w w.npy --out y.npy").ok();
    files.read::<f32>("y.npy", (1 << 40, 0));
}

#[test]
fn names_in_files_are_shown_on_one_line() {
    let files = Files::new();
    let tensors = [
        (
            r#"{"t\nerror: \u001b[1mdone":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}"#,
            r"t\nerror: \u{1b}[1mdone",
        ),
        (r#"{"t":{"dtype":"I\n8","shape":[0],"data_offsets":[0,0]}}"#, r"unknown variant `I\n8`"),
    ];
    for (header, shown) in tensors {
        let length = (header.len() as u64).to_le_bytes();
        files.write_bytes("x.safetensors", &[&length, header.as_bytes()].concat());
        let ran = files.run("matmul --a x.safetensors:x --b x.safetensors:x --out y.npy");
        assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        let message = ran.refused("--a");
        assert!(message.contains(shown), "{message}");
    }
}

/// CRC-32 as saved weights have it.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

/// The option is named where packed weights claim more columns than an address has bytes.
#[test]
fn columns_of_packed_weights() {
    let files = Files::new();
    files.write::<u8>("codes.npy", &[8, 2], &[1; 16]);
    files.write::<f32>("scales.npy", &[1, 2], &[1.0; 2]);
    files.write::<f32>("a.npy", &[1, 8], &[1.0; 8]);
    files.run("pack --b codes.npy --bits 8 --group 8 --scales scales.npy --out b.qgemm").ok();
    files.run("groupwise --a a.npy --b b.qgemm --out y.npy").ok();
    std::fs::remove_file(files.path("y.npy")).unwrap();
    let mut saved = std::fs::read(files.path("b.qgemm")).unwrap();
    assert_eq!(saved[40..48], 2u64.to_le_bytes());
    saved[40..48].copy_from_slice(&(1u64 << 63).to_le_bytes());
    saved[24..28].fill(0);
    let crc = crc32(&saved);
    saved[24..28].copy_from_slice(&crc.to_le_bytes());
    files.write_bytes("b.qgemm", &saved);
    let message = files.run("groupwise --a a.npy --b b.qgemm --out y.npy").refused("--b");
    assert_eq!(message, "error: --b: needs 18446744073709551615 bytes, more than there is");
    assert!(!files.exists("y.npy"));
}
