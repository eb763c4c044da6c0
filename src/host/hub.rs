//! The model hub's cache on this machine.

use std::path::PathBuf;

/// Where the hub's tools cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
pub fn hub_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|d| d.join("hub")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/huggingface/hub")))
}
