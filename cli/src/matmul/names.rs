//! The options of `qgemm matmul` in messages: the names that the library's arguments have here, and values as text.

use crate::errors::with_option_names;
use std::ffi::OsString;
use std::path::PathBuf;

/// The library's names of arguments, and the options that they come from.
const OPTION_NAMES: [(&str, &str); 16] = [
    ("a", "--a"),
    ("b", "--b"),
    ("packed b", "--b"),
    ("saved", "--b"),
    ("a_zero", "--a-zero"),
    ("b_zero", "--b-zero"),
    ("bias", "--bias"),
    // Each scale was checked when it was read, so that only the product of two can be refused by the library.
    ("scale", "--row-scale and --scale"),
    ("output zero point", "--out-zero"),
    ("clamp", "--clamp"),
    ("multiplier", "--multiplier"),
    ("shift", "--shift"),
    ("residual", "--residual"),
    ("residual scale", "--residual-scale"),
    ("residual zero point", "--residual-zero"),
    ("output", "--out"),
];

/// An error of the library that names the options of `qgemm matmul`.
pub fn with_matmul_names(error: qgemm::Error) -> anyhow::Error {
    with_option_names(error, &OPTION_NAMES)
}

/// The value of an option, if it was given.
pub fn given_os(value: &Option<OsString>) -> Option<String> {
    value.as_ref().map(|value| value.display().to_string())
}

/// The value of an option that is a path, if it was given.
pub fn given_path(value: &Option<PathBuf>) -> Option<String> {
    value.as_ref().map(|value| value.display().to_string())
}
