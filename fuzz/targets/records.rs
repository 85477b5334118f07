//! Fuzzes [`mulgil_fuzz::records`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mulgil_fuzz::records::check(input));
