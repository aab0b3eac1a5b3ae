//! See the module `layers` of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qgemm_fuzz::layers::run(bytes));
