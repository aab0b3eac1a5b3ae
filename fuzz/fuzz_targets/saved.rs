//! See the module `saved` of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qgemm_fuzz::saved::run(bytes));
