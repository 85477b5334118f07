//! Fuzzes [`mulgil_fuzz::checkpoint`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mulgil_fuzz::checkpoint::check(input));
