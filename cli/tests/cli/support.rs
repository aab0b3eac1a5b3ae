//! Runs of the command, and `.npy` files written and read without the command's own code.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// The command, run by cargo's runner for this target (an emulator) if one is set.
pub fn command() -> Command {
    let exe = env!("CARGO_BIN_EXE_qgemm");
    // CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
    let prefix = format!("CARGO_TARGET_{}_", std::env::consts::ARCH.to_uppercase());
    let runner = std::env::vars().find(|(name, _)| name.starts_with(&prefix) && name.ends_with("_RUNNER"));
    let runner = runner.map_or(String::new(), |(_, value)| value);
    let mut words = runner.split_whitespace().chain([exe]);
    let mut command = Command::new(words.next().expect("the command itself at least"));
    command
        .args(words)
        .stdin(Stdio::null())
        .env_remove("QGEMM_ISA")
        .env_remove("QGEMM_CACHES")
        .env_remove("QGEMM_AMX_OVERHEAD")
        .env_remove("QGEMM_VERBOSE");
    command
}

/// The exit code and the output of a run.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Checks that the exit code is 0; returns stdout.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "stdout: {}\nstderr: {}", self.out, self.err);
        self.out
    }

    /// Checks that the exit code is 2 and that stderr names the argument; returns its first line.
    pub fn refused(self, argument: &str) -> String {
        assert_eq!(self.code, Some(2), "stdout: {}\nstderr: {}", self.out, self.err);
        let line = self.err.lines().next().unwrap_or_default().to_string();
        assert!(line.starts_with("error: "), "{}", self.err);
        assert!(self.err.contains(argument), "{argument} is not named: {}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        line
    }
}

/// A temporary directory, in which the command runs.
pub struct Files {
    directory: TempDir,
}

impl Files {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs the command with the words of `line` as arguments.
    pub fn run(&self, line: &str) -> Ran {
        let output =
            command().args(line.split_whitespace()).current_dir(self.directory.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// Writes an array in C order.
    pub fn write<T: Element>(&self, name: &str, shape: &[usize], data: &[T]) {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        self.write_raw(name, &header(T::DESCR, false, shape), &T::to_bytes(data));
    }

    /// Writes a matrix, given in C order, in Fortran order.
    pub fn write_fortran<T: Element>(&self, name: &str, (rows, cols): (usize, usize), data: &[T]) {
        let columns: Vec<T> = (0..cols).flat_map(|j| (0..rows).map(move |i| data[i * cols + j])).collect();
        self.write_raw(name, &header(T::DESCR, true, &[rows, cols]), &T::to_bytes(&columns));
    }

    /// Writes a `.npy` file of version 1 with this header.
    pub fn write_raw(&self, name: &str, header: &str, data: &[u8]) {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        self.write_bytes(name, &file);
    }

    pub fn write_bytes(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Reads a matrix in C order, and checks its type and shape.
    pub fn read<T: Element>(&self, name: &str, shape: (usize, usize)) -> Vec<T> {
        let file = std::fs::read(self.path(name)).unwrap();
        assert_eq!(&file[..8], b"\x93NUMPY\x01\x00");
        let len = usize::from(u16::from_le_bytes([file[8], file[9]]));
        let text = std::str::from_utf8(&file[10..10 + len]).unwrap();
        assert!(text.contains(&format!("'descr': '{}'", T::DESCR)), "{text}");
        assert!(text.contains("'fortran_order': False"), "{text}");
        assert!(text.replace(' ', "").contains(&format!("'shape':({},{}", shape.0, shape.1)), "{text}");
        let data = T::from_bytes(&file[10 + len..]);
        assert_eq!(data.len(), shape.0 * shape.1);
        data
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn exists(&self, name: &str) -> bool {
        Path::exists(&self.path(name))
    }
}

/// A header as numpy writes it, without numpy's padding.
pub fn header(descr: &str, fortran: bool, shape: &[usize]) -> String {
    let order = if fortran { "True" } else { "False" };
    let shape: String = shape.iter().map(|dim| format!("{dim}, ")).collect();
    format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': ({shape}), }}\n")
}

/// Types of the elements of files.
pub trait Element: Copy {
    const DESCR: &'static str;
    fn to_bytes(data: &[Self]) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
}

macro_rules! element {
    ($($type:ty: $descr:literal),*) => { $(
        impl Element for $type {
            const DESCR: &'static str = $descr;
            fn to_bytes(data: &[Self]) -> Vec<u8> {
                data.iter().flat_map(|x| x.to_le_bytes()).collect()
            }
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                let size = size_of::<Self>();
                assert_eq!(bytes.len() % size, 0);
                bytes.chunks(size).map(|x| Self::from_le_bytes(x.try_into().unwrap())).collect()
            }
        }
    )* };
}
element!(i8: "|i1", u8: "|u1", i16: "<i2", u16: "<u2", i32: "<i4", u32: "<u4", i64: "<i8", u64: "<u8", f32: "<f4", f64: "<f8");

/// Pseudo-random 24-bit numbers, equal for equal seeds.
pub fn noise(seed: u32) -> impl Iterator<Item = u32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9) | 1;
    std::iter::from_fn(move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        Some(x >> 8)
    })
}
