//! Reading a search space from TOML: shape, then meaning, with every problem named.

mod build;
mod merge;
mod shape;

use super::Space;
use crate::data::{self, Document, schema};
use crate::error::Problem;
use serde_json::Value;

/// Reads one document; `all` are the documents in which a `base` is looked for.
///
/// Errors: every problem found.
pub(super) fn read(document: &Document, all: &[Document]) -> Result<Space, Vec<Problem>> {
    let file = &document.file;
    let value = data::toml_value(file, &document.text).map_err(|p| vec![p])?;
    let value = merge::with_base(file, value, all)?;
    checked(file, &value)
}

/// The table of an engine with a user's rows laid over it.
///
/// Errors: every problem found.
pub(super) fn read_over(own: &Document, all: &[Document]) -> Result<Space, Vec<Problem>> {
    let value = data::toml_value(&own.file, &own.text).map_err(|p| vec![p])?;
    checked(&own.file, &merge::laid_over(&own.file, &value, all)?)
}

fn checked(file: &str, value: &Value) -> Result<Space, Vec<Problem>> {
    let problems = schema::check(file, "", value, shape::SPACE);
    if !problems.is_empty() {
        return Err(named(value, problems));
    }
    let raw: shape::RawSpace = data::decode(file, value).map_err(|p| named(value, vec![p]))?;
    build::build(file, raw)
}

/// Problems in `flag[12].since` also say which flag that is.
fn named(value: &Value, problems: Vec<Problem>) -> Vec<Problem> {
    let name_of = |key: &str| {
        let index: usize = key.strip_prefix("flag[")?.split(']').next()?.parse().ok()?;
        value["flag"][index]["name"].as_str().map(str::to_owned)
    };
    let add = |mut p: Problem| {
        if let Some(name) = name_of(&p.key) {
            p.message = format!("--{name}: {}", p.message);
        }
        p
    };
    problems.into_iter().map(add).collect()
}
