//! Which files an argument means: the file itself, a pattern, or a directory of results.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Names of the result files in directories of known tools, the first kind that is there counts: each kind holds every
/// run once.
const KINDS: &[&str] = &[
    // vllm bench sweep: a directory a combination, a file a run.
    "run=*.json",
    "summary.json",
    // aiperf and genai-perf
    "profile_export_aiperf.json",
    "profile_export_genai_perf.json",
    "profile_export.jsonl",
    // inference-perf
    "stage_*_lifecycle_metrics.json",
    "summary_lifecycle_metrics.json",
    // llm-d
    "benchmark_report*.yaml",
    "benchmark_report*.json",
    // InferenceX
    "agg_*.json",
    // guidellm
    "benchmarks.json",
    "summary.csv",
];

/// The files that the arguments mean, in order: a file is itself, a pattern (`runs/*.json`, `**` for any depth) every
/// file that it matches, a directory the result files of the tool that wrote it.
///
/// Errors: a pattern that matches nothing or is none, a directory without a result file. A plain name is not looked
/// at here.
pub fn expand(args: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for arg in args {
        if arg.is_dir() {
            out.extend(directory(arg)?);
        } else if !arg.exists() && arg.to_string_lossy().contains(['*', '?', '[']) {
            out.extend(pattern(&arg.to_string_lossy())?);
        } else {
            out.push(arg.clone());
        }
    }
    Ok(out)
}

fn pattern(text: &str) -> Result<Vec<PathBuf>> {
    let found = glob::glob(text).map_err(|e| Error::usage(format!("`{text}` is no pattern")).source(e))?;
    let mut files: Vec<PathBuf> = found.flatten().filter(|p| p.is_file()).collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::usage(format!("no file matches `{text}`")));
    }
    Ok(files)
}

fn directory(dir: &Path) -> Result<Vec<PathBuf>> {
    let base = glob::Pattern::escape(&dir.to_string_lossy());
    for kind in KINDS {
        let deep = format!("{base}/**/{kind}");
        let failed = |p: &PathBuf| p.to_string_lossy().ends_with(".failure.json");
        let mut files: Vec<PathBuf> =
            glob::glob(&deep).into_iter().flatten().flatten().filter(|p| p.is_file() && !failed(p)).collect();
        files.sort();
        if !files.is_empty() {
            return Ok(files);
        }
    }
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|e| Error::usage("the directory cannot be read").at(dir.display()).source(e))?
        .flatten()
        .map(|e| e.path())
        .filter(|p| {
            p.extension().is_some_and(|e| ["json", "jsonl", "csv", "yaml", "yml"].iter().any(|k| e == *k))
        })
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(Error::usage("the directory holds no result file").at(dir.display()).hint(format!(
            "looked for {} at any depth, and for .json, .jsonl, .csv and .yaml in it",
            KINDS.join(", ")
        )));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_patterns_and_directories_of_tools() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let put = |name: &str| {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "{}").unwrap();
        };
        let sweep = ["SERVE-a=1-BENCH-b=2/run=0.json", "SERVE-a=1-BENCH-b=2/run=1.json"];
        for name in sweep.iter().chain(&[
            "SERVE-a=1-BENCH-b=2/summary.json",
            "SERVE-a=1-BENCH-b=2/warmup.json",
            "summary.csv",
        ]) {
            put(name);
        }
        let want: Vec<PathBuf> = sweep.iter().map(|n| at(n)).collect();
        assert_eq!(expand(&[dir.path().to_owned()]).unwrap(), want);
        assert_eq!(expand(&[at("*/run=*.json")]).unwrap(), want);
        assert_eq!(expand(&[at("no.json")]).unwrap(), [at("no.json")]);
        assert!(expand(&[at("x*.json")]).unwrap_err().to_string().contains("no file matches"));
        std::fs::create_dir(at("empty")).unwrap();
        assert!(expand(&[at("empty")]).unwrap_err().to_string().contains("no result file"));
    }
}
