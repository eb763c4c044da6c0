//! Data files: TOML embedded in the binary, overridable from a directory, checked whole.
//!
//! A kind of data (`hardware`, `models`, `search-spaces`) is a folder of TOML files. The files of the
//! repository are compiled in; with `--data-dir DIR`, the files under `DIR/<kind>/` are read after them, so
//! that a file with the same id replaces the embedded one and a new id is added.

pub mod nearest;
pub mod python_json;
pub mod schema;

use crate::error::{Error, Problem, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// The files under `search-spaces/`, compiled in.
pub const SEARCH_SPACES: &[(&str, &str)] = &[
    ("vllm.toml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/search-spaces/vllm.toml"))),
    ("sglang.toml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/search-spaces/sglang.toml"))),
    ("trtllm.toml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/search-spaces/trtllm.toml"))),
    ("emulated.toml", include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/search-spaces/emulated.toml"))),
];

/// One data file before it is parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Path for messages: `hardware/a100-sxm-80gb.toml` for an embedded file, else the path as read.
    pub file: String,
    pub text: String,
    pub embedded: bool,
}

/// The embedded files of one kind, then those under `data_dir/<kind>/`, each group sorted by file name.
///
/// Errors: `data_dir` or a file in it that cannot be read. A data directory without a folder of this kind
/// is fine.
pub fn documents(kind: &str, embedded: &[(&str, &str)], data_dir: Option<&Path>) -> Result<Vec<Document>> {
    let mut out: Vec<Document> = embedded
        .iter()
        .map(|(name, text)| Document {
            file: format!("{kind}/{name}"),
            text: (*text).to_owned(),
            embedded: true,
        })
        .collect();
    if let Some(dir) = data_dir {
        if !dir.is_dir() {
            return Err(Error::usage("the data directory does not exist")
                .at(dir.display())
                .hint("--data-dir names a directory with hardware/, models/ or search-spaces/ in it"));
        }
        out.extend(read_folder(&dir.join(kind))?);
    }
    Ok(out)
}

fn read_folder(folder: &Path) -> Result<Vec<Document>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let unreadable =
        |e: std::io::Error| Error::usage("cannot read a data file").at(folder.display()).source(e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(|p| document(&p)).collect()
}

/// One file as it stands.
///
/// Errors: it cannot be read.
pub fn document(path: &Path) -> Result<Document> {
    let text = crate::host::read_text(path, crate::host::SETTINGS_LIMIT)
        .map_err(|e| Error::usage("cannot read a data file").at(path.display()).source(e))?;
    Ok(Document { file: path.display().to_string(), text, embedded: false })
}

/// TOML text as a JSON value, so that one checker serves TOML and JSON.
///
/// Errors: the syntax error with its line and column, as one problem.
pub fn toml_value(file: &str, text: &str) -> Result<Value, Problem> {
    toml::from_str::<Value>(text).map_err(|e| {
        let place = e.span().map_or(String::new(), |s| {
            let before = &text[..s.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
            format!("line {line}, column {column}: ")
        });
        Problem::new(file, "", format!("{place}not TOML: {}", e.message().trim()))
    })
}

/// A value whose shape is already checked, as a `T`.
///
/// Errors: what serde still objects to, with its key.
pub fn decode<T: DeserializeOwned>(file: &str, value: &Value) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        let key = if path == "." { String::new() } else { path };
        Problem::new(file, key, e.into_inner().to_string())
    })
}
