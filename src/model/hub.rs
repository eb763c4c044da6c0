//! A model from the hub's `config.json`: a directory, or the hub's cache on this machine.

use super::{Model, config};
use crate::error::{Error, Problem, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The model that a directory with `config.json` describes; its id is `id`.
///
/// Errors: no directory, no `config.json`, not JSON, or keys missing (all of them at once).
pub(super) fn from_directory(dir: &Path, id: &str) -> Result<Model> {
    if !dir.is_dir() {
        return Err(Error::usage("the model directory does not exist").at(dir.display()));
    }
    let file = dir.join("config.json");
    let text = crate::host::read_text(&file, crate::host::SETTINGS_LIMIT).map_err(|e| {
        Error::usage("the model directory has no readable config.json").at(file.display()).source(e).hint(
            "give the directory that the hub's files were downloaded to: config.json beside the weights",
        )
    })?;
    let name = file.display().to_string();
    let quant = crate::host::read_text(&dir.join("hf_quant_config.json"), crate::host::SETTINGS_LIMIT).ok();
    let mut model = config::parse(&name, &text, quant.as_deref(), id)
        .map_err(|p| Error::problems("the model's config.json cannot be used", p).at(file.display()))?;
    model.weights_gb = checkpoint_gb(dir);
    Ok(model)
}

/// `org/name` of a directory in some hub cache: `…/models--org--name/snapshots/…`.
pub(super) fn of_snapshot(dir: &Path) -> Option<String> {
    let mut parts = dir.components().filter_map(|c| c.as_os_str().to_str());
    let folder = parts.find_map(|p| p.strip_prefix("models--"))?;
    (parts.next() == Some("snapshots")).then(|| folder.replacen("--", "/", 1))
}

/// `config.json` of `org/name` in the hub's cache: the snapshot that `refs/main` names, else the last one.
pub fn cached(cache: &Path, name: &str) -> Option<PathBuf> {
    let folder = cache.join(format!("models--{}", name.trim().replace('/', "--")));
    let snapshots = folder.join("snapshots");
    let main = std::fs::read_to_string(folder.join("refs/main")).ok();
    let named = main.map(|rev| snapshots.join(rev.trim())).filter(|d| d.join("config.json").is_file());
    named.or_else(|| {
        let mut dirs: Vec<PathBuf> =
            std::fs::read_dir(&snapshots).ok()?.flatten().map(|e| e.path()).collect();
        dirs.sort();
        dirs.into_iter().rev().find(|d| d.join("config.json").is_file())
    })
}

/// Size of the checkpoint's safetensors, GB: the index's total, else the files' sizes.
fn checkpoint_gb(dir: &Path) -> Option<f64> {
    let index =
        crate::host::read_text(&dir.join("model.safetensors.index.json"), crate::host::SETTINGS_LIMIT).ok();
    let total = index
        .and_then(|t| serde_json::from_str::<Value>(&t).ok())
        .and_then(|v| v["metadata"]["total_size"].as_f64());
    let bytes = total.or_else(|| {
        let files = std::fs::read_dir(dir).ok()?.flatten();
        let sizes = files
            .filter(|e| e.path().extension().is_some_and(|x| x == "safetensors"))
            .filter_map(|e| std::fs::metadata(e.path()).ok())
            .map(|m| m.len());
        Some(sizes.sum::<u64>() as f64).filter(|n| *n > 0.0)
    })?;
    Some(bytes / 1e9)
}

/// Every problem of a config.json; empty when it can be used.
pub fn check_config(file: &str, text: &str) -> Vec<Problem> {
    config::parse(file, text, None, file).err().unwrap_or_default()
}
