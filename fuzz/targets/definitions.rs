//! Fuzzes [`mulgil_fuzz::definitions`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mulgil_fuzz::definitions::check(input));
