//! `qgemm pack`: packed weights multiply as the files they were made of; and wrong arguments and files.

use crate::support::{Files, noise};

const M: usize = 5;
const K: usize = 70;
const N: usize = 35;

fn bytes<T>(seed: u32, len: usize, to: impl Fn(u32) -> T) -> Vec<T> {
    noise(seed).map(to).take(len).collect()
}

/// A `.safetensors` file, written by hand: a header of JSON behind its length, then the data.
fn safetensors(tensors: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&data);
    file
}

#[test]
fn packed_weights_multiply_as_the_file_they_are_made_of() {
    let files = Files::new();
    let a = bytes(1, M * K, |x| x as u8);
    let b = bytes(2, K * N, |x| x as i8);
    let transposed: Vec<i8> = (0..N * K).map(|at| b[at % K * N + at / K]).collect();
    files.write("a.npy", &[M, K], &a);
    files.write("b.npy", &[K, N], &b);
    files.write_fortran("bf.npy", (K, N), &b);
    files.write("bt.npy", &[N, K], &transposed);
    let raw: Vec<u8> = transposed.iter().map(|x| *x as u8).collect();
    let model = safetensors(&[("bias", "F32", &[1], &[0; 4]), ("layer.weight", "I8", &[N, K], &raw)]);
    std::fs::write(files.path("model.safetensors"), model).unwrap();
    files.run("matmul --a a.npy --b b.npy --a-zero 3 --b-zero -2 --out want.npy").ok();
    let want = files.read::<i32>("want.npy", (M, N));
    for line in [
        "--b b.npy",
        "--b bf.npy --activations i8",
        "--b bt.npy --transpose",
        "--b b.npy --kernel scalar",
        "--b model.safetensors:layer.weight --transpose",
    ] {
        files.run(&format!("pack {line} --out b.qgemm")).ok();
        for kernel in ["", "--kernel scalar", "--kernel portable"] {
            files
                .run(&format!("matmul --a a.npy --b b.qgemm --a-zero 3 --b-zero -2 {kernel} --out y.npy"))
                .ok();
            assert_eq!(files.read::<i32>("y.npy", (M, N)), want, "{line} {kernel}");
        }
    }
    files.run("pack --b b.npy --kernel scalar --out b.qgemm").ok();
    let info = files.run("info b.qgemm").ok();
    for part in ["per column", "k            70", "n            35", "i8", "u8", "scalar-4x8c4"] {
        assert!(info.contains(part), "{info}");
    }
    let info = files.run("info --json b.qgemm").ok();
    assert!(info.contains("\"kernel\": \"scalar-4x8c4\""), "{info}");
}

#[test]
fn packed_groupwise_weights_multiply_as_the_files_they_are_made_of() {
    let files = Files::new();
    let groups = K.div_ceil(32);
    files.write("a.npy", &[M, K], &bytes(1, M * K, |x| x as f32 / (1 << 23) as f32 - 1.0));
    files.write("b.npy", &[K, N], &bytes(2, K * N, |x| (x % 16) as u8));
    files.write("s.npy", &[groups, N], &bytes(3, groups * N, |x| x as f32 / (1 << 24) as f32));
    files.write("z.npy", &[groups, N], &bytes(4, groups * N, |x| (x % 16) as u8));
    for zeros in ["", "--zeros z.npy"] {
        let weights = format!("--b b.npy --bits 4 --group 32 --scales s.npy {zeros}");
        files.run(&format!("groupwise --a a.npy {weights} --out want.npy")).ok();
        files.run(&format!("pack {weights} --out w.qgemm")).ok();
        for kernel in ["", "--kernel scalar"] {
            files.run(&format!("groupwise --a a.npy --b w.qgemm {kernel} --out y.npy")).ok();
            assert_eq!(files.read::<f32>("y.npy", (M, N)), files.read::<f32>("want.npy", (M, N)));
        }
    }
    let info = files.run("info w.qgemm").ok();
    for part in ["group-wise", "bits         4", "group        32", "f32", "one per scale"] {
        assert!(info.contains(part), "{info}");
    }
}

#[test]
fn wrong_arguments_and_files_are_refused() {
    let files = Files::new();
    files.write("a.npy", &[M, K], &bytes(1, M * K, |x| x as u8));
    files.write("f.npy", &[M, K], &bytes(1, M * K, |x| x as f32));
    files.write("b.npy", &[K, N], &bytes(2, K * N, |x| x as i8));
    files.write("s.npy", &[3, N], &vec![1f32; 3 * N]);
    files.run("pack --b b.npy --out b.qgemm").ok();
    files.run("pack --b b.npy --bits 8 --group 32 --scales s.npy --out w.qgemm").ok();
    let good = std::fs::read(files.path("b.qgemm")).unwrap();
    std::fs::write(files.path("cut.qgemm"), &good[..good.len() - 1]).unwrap();
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(files.path("changed.qgemm"), changed).unwrap();
    std::fs::write(files.path("x.safetensors"), safetensors(&[("w", "I8", &[2, 2], &[0; 4])])).unwrap();
    std::fs::write(files.path("bad.safetensors"), [255; 20]).unwrap();
    for (line, argument, text) in [
        ("matmul --a a.npy --b cut.qgemm --out y.npy", "--b", "bytes, must be"),
        ("matmul --a a.npy --b changed.qgemm --out y.npy", "--b", "the bytes were changed"),
        (
            "matmul --a a.npy --b w.qgemm --out y.npy",
            "--b",
            "was group-wise weights (GroupwiseB), must be weights per column",
        ),
        (
            "groupwise --a f.npy --b b.qgemm --out y.npy",
            "--b",
            "was weights per column (PackedB), must be group-wise",
        ),
        (
            "groupwise --a f.npy --b w.qgemm --bits 8 --out y.npy",
            "--bits",
            "must be left out where --b is a file of",
        ),
        ("groupwise --a f.npy --b w.qgemm --scales s.npy --out y.npy", "--scales", "must be left out"),
        (
            "groupwise --a f.npy --b b.npy --bits 8 --scales s.npy --out y.npy",
            "--group",
            "must be given, unless",
        ),
        ("pack --b b.npy --scales s.npy --group 32 --out z", "--bits", "must be given with --scales"),
        ("pack --b b.npy --bits 8 --out z", "--scales", ""),
        ("pack --b b.npy --activations f32 --out z", "--activations", "must be u8 or i8"),
        ("pack --b b.npy --kernel nothing --out z", "--kernel", "does not exist"),
        ("pack --b f.npy --out z", "--b", "must be"),
        ("pack --b x.safetensors:v --out z", "--b", "it has no tensor of this name; it has w"),
        ("pack --b bad.safetensors:v --out z", "--b", "safetensors header"),
        ("pack --b none.safetensors:v --out z", "--b", "must be"),
        ("pack --b b.npy --out none/z", "--out", "there is no such directory"),
        ("info a.npy", "FILE", "it holds no packed weights"),
        ("info cut.qgemm", "FILE", "bytes, must be"),
    ] {
        let ran = files.run(line);
        let all = ran.err.clone();
        ran.refused(argument);
        assert!(all.contains(text), "{line}: {all}");
        assert!(!files.exists("z") && !files.exists("y.npy"), "{line}");
    }
}
