//! Data files: TOML tables and a model's `config.json`.
//!
//! - no panic and no overflow of the stack;
//! - every problem names the file;
//! - a profile that was read is written so that it reads the same.

use llm_dyno::cost::Profile;
use llm_dyno::error::Problem;
use llm_dyno::{hardware, model, space};

const FILE: &str = "given.toml";

fn named(problems: &[Problem]) {
    for p in problems {
        assert!(p.file.contains(FILE), "a problem without its file: {p}");
    }
}

pub(crate) fn search_space(input: &[u8]) {
    named(&space::check_text(FILE, &String::from_utf8_lossy(input)));
}

pub(crate) fn hardware(input: &[u8]) {
    named(&hardware::check_text(FILE, &String::from_utf8_lossy(input)));
}

pub(crate) fn model(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if text.trim_start().starts_with('{') {
        named(&model::check_config(FILE, &text));
    } else {
        named(&model::check_text(FILE, &text));
    }
}

pub(crate) fn profile(input: &[u8]) {
    let Ok(profile) = Profile::parse(FILE, &String::from_utf8_lossy(input)) else { return };
    let text = profile.to_toml().expect("a profile that was read can be written");
    let again = Profile::parse(FILE, &text).expect("what was written can be read");
    assert_eq!(text, again.to_toml().expect("the same"), "a profile changed on its way through a file");
}
