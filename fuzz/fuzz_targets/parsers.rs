//! One fuzzer for every parser: `DYNO_FUZZ_TARGET` says which. Run by `scripts/fuzz`.

#![no_main]

#[path = "../parsers/mod.rs"]
mod parsers;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<parsers::Target> = LazyLock::new(|| {
    let name = std::env::var("DYNO_FUZZ_TARGET").expect("DYNO_FUZZ_TARGET names a target");
    let found = parsers::TARGETS.iter().find(|t| t.0 == name);
    found.unwrap_or_else(|| panic!("no target {name}")).1
});

fuzz_target!(|input: &[u8]| TARGET(input));
