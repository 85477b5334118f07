//! Fuzzes [`mulgil_fuzz::segments`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mulgil_fuzz::segments::check(input));
