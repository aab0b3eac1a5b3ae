//! Words of a command line: options with right values, mostly, and some with wrong ones, repeated or left out.

use crate::command_files::{Array, Fill, Folder};
use crate::input::Input;

/// What an option takes.
#[derive(Clone, Copy)]
pub enum Takes {
    /// No file.
    Text,
    /// A file, or a number.
    NumberOrFile,
    /// A file.
    File,
}

/// Values that some options take, none of them a number alone.
const TEXTS: [&str; 26] = [
    "",
    " ",
    ",",
    "1,",
    ",1",
    "1,2",
    "2,1",
    "-1,1",
    "nan,nan",
    "-inf,inf",
    "1e39,1e40",
    "1,2,3",
    "1,1e-46",
    "x",
    "0x10",
    "1_000",
    "½",
    "i8",
    "f32",
    "u9",
    "all",
    "scalar",
    "group",
    "row-asymmetric",
    "float",
    "ruy",
];

/// Numbers, most of which some option refuses.
const NUMBERS: [&str; 27] = [
    "0",
    "1",
    "-1",
    "3",
    "4",
    "8",
    "+7",
    " 5 ",
    "0.5",
    "-0.0",
    "-1e-50",
    "1e-50",
    "1e-400",
    "1e39",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "infinity",
    "127",
    "-129",
    "1024",
    "1073741824",
    "2147483647",
    "-2147483649",
    "18446744073709551615",
    "99999999999999999999999",
];

/// A command line, and what is known of it.
pub struct Line<'i, 'b> {
    /// The choices that are left.
    pub input: &'i mut Input<'b>,
    /// The files.
    pub folder: Folder,
    /// The words, without the name of the program.
    pub words: Vec<String>,
    /// No option was left out, repeated, or given a wrong value.
    pub is_right: bool,
}

impl Line<'_, '_> {
    /// Gives an option its value, mostly.
    pub fn give(&mut self, takes: Takes, option: &str, value: &str) {
        if !self.input.one_in(24) {
            return self.push(option, value);
        }
        self.is_right = false;
        match self.input.byte() % 8 {
            0 => (),
            // Every word after it begins as an option or is a file of the case.
            1 => self.words.push(option.into()),
            2 => self.words.push(format!("{option}=")),
            3 => {
                self.push(option, value);
                self.push(option, value);
            }
            _ => {
                let wrong = self.wrong(takes);
                self.push(option, &wrong);
            }
        }
    }

    fn push(&mut self, option: &str, value: &str) {
        if self.input.flag() {
            self.words.push(format!("{option}={value}"));
        } else {
            self.words.extend([option.into(), value.into()]);
        }
    }

    /// A value that is wrong for most options. What may be taken for a file names one of the case.
    fn wrong(&mut self, takes: Takes) -> String {
        match (takes, self.input.byte() % 4) {
            (Takes::Text, 0 | 1) => self.input.one_of(&TEXTS).into(),
            (Takes::Text, _) | (Takes::NumberOrFile, 0..=2) => self.input.one_of(&NUMBERS).into(),
            _ => self.any_file(),
        }
    }

    /// A file that is there, or is not.
    fn any_file(&mut self) -> String {
        const NAMES: [&str; 15] = [
            "",
            ".",
            "none.npy",
            "none/none.npy",
            "a.npy",
            "a.npy/",
            "b.npy",
            "b.npy/b.npy",
            "scale.npy",
            "packed.qgemm",
            "a.safetensors",
            "a.safetensors:",
            "a.safetensors:x",
            "none.safetensors:t",
            "out.npy",
        ];
        self.folder.word(self.input.one_of(&NAMES))
    }

    /// Gives an option once in `n` bytes, with a value that is made then.
    pub fn sometimes(&mut self, n: u8, takes: Takes, option: &str, value: impl FnOnce(&mut Self) -> String) {
        if self.input.one_in(n) {
            let value = value(self);
            self.give(takes, option, &value);
        }
    }

    /// Makes a file, and gives it to an option.
    pub fn array(&mut self, option: &str, types: &[&'static str], shape: &[usize], fill: Fill) -> Array {
        let name = option.trim_start_matches('-');
        let (word, array) = self.folder.array(self.input, name, types, shape, fill);
        self.give(Takes::File, option, &word);
        array
    }

    /// Makes a file, and names it.
    pub fn file(&mut self, name: &str, types: &[&'static str], shape: &[usize], fill: Fill) -> String {
        self.folder.array(self.input, name, types, shape, fill).0
    }

    /// A number, a file with one value, or one with a value for each of `len` rows or columns.
    pub fn number_or_file(
        &mut self,
        name: &str,
        numbers: &[&str],
        types: &[&'static str],
        len: usize,
        fill: Fill,
    ) -> String {
        match self.input.byte() % 4 {
            0 | 1 => self.input.one_of(numbers).into(),
            2 => self.file(name, types, &[len], fill),
            _ => self.file(name, types, &[1], fill),
        }
    }

    /// Gives an option a file to write, which is there before in some cases, and returns its name.
    pub fn output(&mut self, option: &str, name: &'static str) -> &'static str {
        if self.input.one_in(8) {
            let path = self.folder.path(name);
            std::fs::write(path, "before").expect("there is room for a small file");
        }
        let word = self.folder.word(name);
        self.give(Takes::File, option, &word);
        name
    }

    /// Adds a word that does not belong there.
    pub fn stray(&mut self) {
        if self.input.one_in(48) {
            self.is_right = false;
            let words = ["--nonesuch", "-x", "--help", "-h", "--version", "-V", "--json", "--asymmetric"];
            let word = match self.input.byte() % 4 {
                0 => self.any_file(),
                1 => format!("--scale={}", self.wrong(Takes::NumberOrFile)),
                _ => self.input.one_of(&words).into(),
            };
            self.words.push(word);
        }
    }
}
