//! What each parser promises on arbitrary bytes. The fuzzer (`fuzz_targets/parsers.rs`) and the ordinary tests
//! (`tests/end_to_end/fuzz.rs`) run these very functions; a broken promise is a panic.

mod command;
mod file;
mod logs;
mod record;
mod sse;
mod tables;
mod workload;

pub(crate) type Target = fn(&[u8]);

/// Name (its seeds lie in `fuzz/seeds/NAME`), function, and the repository's own files that are seeds too.
pub(crate) const TARGETS: &[(&str, Target, &[&str])] = &[
    ("search-space", tables::search_space, &["search-spaces"]),
    ("hardware", tables::hardware, &["hardware"]),
    ("model", tables::model, &["models", "tests/models"]),
    ("profile", tables::profile, &["profiles"]),
    ("scenario", record::scenario, &["tests/interchange", "tests/inputs"]),
    ("record", record::record, &["tests/campaigns"]),
    ("sse", sse::sse, &[]),
    ("metrics", logs::metrics, &[]),
    ("log", logs::log, &["tests/corpus"]),
    ("command", command::command, &[]),
    ("workload", workload::workload, &[]),
    ("trace", workload::trace, &[]),
];
