//! See the module `c_abi` of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| qgemm_fuzz::c_abi::run(bytes));
