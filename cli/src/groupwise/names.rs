//! The options of `qgemm groupwise` in messages.

use crate::errors::with_option_names;

/// The library's names of arguments, and the options that they come from.
const OPTION_NAMES: [(&str, &str); 9] = [
    ("a", "--a"),
    ("quantized a", "--a"),
    // The range of a row of A.
    ("range", "--a"),
    ("codes", "--b"),
    ("packed b", "--b"),
    ("group", "--group"),
    ("scales", "--scales"),
    ("zeros", "--zeros"),
    ("bias", "--bias"),
];

/// An error of the library that names the options of `qgemm groupwise`.
pub fn with_groupwise_names(error: qgemm::Error) -> anyhow::Error {
    with_option_names(error, &OPTION_NAMES)
}
