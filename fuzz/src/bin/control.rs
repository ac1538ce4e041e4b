#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vespiary_fuzz::datagram_checks::control(bytes));
