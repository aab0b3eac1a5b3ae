//! See the module `command` of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qgemm_fuzz::command::run(bytes));
