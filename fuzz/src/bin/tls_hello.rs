#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vespiary_fuzz::tls_checks::hello(bytes));
