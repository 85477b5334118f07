//! Fuzzes [`mulgil_fuzz::files`].
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mulgil_fuzz::files::check(input));
