//! The installed engine: where its program is, which version, which flags it has.
//!
//! Asking a Python engine takes half a minute, so the answer is kept in the user's cache directory, keyed
//! by the program's path, size and time of change (and of the interpreter's package directory).

use crate::engine::{Adapter, HelpFlags};
use crate::error::{Error, Result};
use crate::process::{Launch, Running, find_program, stop};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// An engine that can be started.
#[derive(Debug, Clone, PartialEq)]
pub struct Installed {
    /// Program and the arguments that come before all others.
    pub program: Vec<String>,
    /// Flags of this version; `None` when the engine was not asked or did not say.
    pub help: Option<HelpFlags>,
}

const HELP_LIMIT: Duration = Duration::from_secs(300);

/// Finds the engine's program: the one given, else the first of the adapter's that is there.
///
/// A given program of one word (`/opt/x/bin/vllm`) gets the adapter's own sub-command (`serve`).
pub fn installed(adapter: &dyn Adapter, given: Option<&[String]>) -> Result<Installed> {
    let program = match given {
        Some(words) if !words.is_empty() => given_program(adapter, words)?,
        _ => usual_program(adapter)?,
    };
    Ok(Installed { program, help: None })
}

fn given_program(adapter: &dyn Adapter, words: &[String]) -> Result<Vec<String>> {
    if find_program(&words[0]).is_none() {
        return Err(not_installed(adapter, &words[0]));
    }
    let mut program = words.to_vec();
    if let ([only], Some(usual)) = (words, adapter.programs().first())
        && Path::new(only).file_name().is_some_and(|f| f == usual[0])
    {
        program.extend(usual[1..].iter().map(|s| (*s).to_owned()));
    }
    Ok(program)
}

fn usual_program(adapter: &dyn Adapter) -> Result<Vec<String>> {
    let ways = adapter.programs();
    if ways.is_empty() {
        let me = std::env::current_exe()
            .map_err(|e| Error::failed("this program's own file is not known").source(e))?;
        return Ok(vec![me.display().to_string(), "emulate".to_owned()]);
    }
    for way in ways {
        let Some(found) = find_program(way[0]) else { continue };
        // `python3 -m x` is there only when the package is.
        let module = way.iter().position(|w| *w == "-m").and_then(|i| way.get(i + 1));
        if module.is_none_or(|m| has_module(&found, m)) {
            return Ok(way.iter().map(|s| (*s).to_owned()).collect());
        }
    }
    let way = ways[0];
    match way.iter().position(|w| *w == "-m").and_then(|i| way.get(i + 1)) {
        Some(module) if find_program(way[0]).is_some() => {
            Err(not_there(adapter, &format!("`{}` has no module `{module}`", way[0])))
        }
        _ => Err(not_installed(adapter, way[0])),
    }
}

fn not_installed(adapter: &dyn Adapter, name: &str) -> Error {
    not_there(adapter, &format!("`{name}` was not found"))
}

fn not_there(adapter: &dyn Adapter, why: &str) -> Error {
    Error::failed(format!("engine `{}` is not installed: {why}", adapter.kind())).hint(adapter.install_hint())
}

/// Whether this Python can find the module's top package (without importing it).
fn has_module(python: &Path, module: &str) -> bool {
    let package = module.split('.').next().unwrap_or(module);
    let code = format!("import importlib.util as u, sys; sys.exit(0 if u.find_spec('{package}') else 1)");
    let argv = vec![python.display().to_string(), "-c".to_owned(), code];
    capture(&argv, Duration::from_secs(30)).is_some()
}

impl Installed {
    /// Asks the engine for its flags, or takes the answer from the cache.
    pub fn ask(&mut self, adapter: &dyn Adapter) {
        if adapter.help_args().is_empty() || self.help.is_some() {
            return;
        }
        let key = self.cache_key();
        let file = cache_dir().map(|d| d.join(format!("help-{}-{key:016x}.json", adapter.kind())));
        if let Some(cached) = file.as_deref().and_then(read_cache) {
            self.help = Some(cached.help);
            return;
        }
        for args in adapter.help_args() {
            let argv: Vec<String> =
                self.program.iter().cloned().chain(args.iter().map(|s| (*s).to_owned())).collect();
            let Some(text) = capture(&argv, HELP_LIMIT) else { continue };
            let help = HelpFlags::parse(&text);
            // A short help (`vllm serve --help` since 0.12) names the groups, not the flags.
            if help.flags.len() >= 20 {
                if let Some(file) = &file {
                    write_cache(file, &Cached { program: self.program.clone(), help: help.clone() });
                }
                self.help = Some(help);
                return;
            }
        }
    }

    fn cache_key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.program.hash(&mut hasher);
        if let Some(file) = self.program.first().and_then(|p| find_program(p)) {
            file.hash(&mut hasher);
            stamp(&file).hash(&mut hasher);
            // An upgrade in place may leave the console script as it was, but not the package directory.
            let lib = file.parent().and_then(Path::parent).map(|p| p.join("lib"));
            let pythons = lib.and_then(|l| std::fs::read_dir(l).ok()).into_iter().flatten().flatten();
            let mut sites: Vec<PathBuf> =
                pythons.map(|p| p.path().join("site-packages")).filter(|s| s.is_dir()).collect();
            sites.sort();
            sites.iter().map(|s| stamp(s)).collect::<Vec<_>>().hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Size and time of change.
fn stamp(path: &Path) -> Option<(u64, u128)> {
    let meta = path.metadata().ok()?;
    let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((meta.len(), changed.as_nanos()))
}

#[derive(Debug, Serialize, Deserialize)]
struct Cached {
    program: Vec<String>,
    help: HelpFlags,
}

fn cache_dir() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".cache")))?;
    Some(base.join("dyno"))
}

fn read_cache(file: &Path) -> Option<Cached> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

/// Whole or not at all; a cache that cannot be written is no reason to fail.
fn write_cache(file: &Path, cached: &Cached) {
    let Some(dir) = file.parent() else { return };
    let _ = std::fs::create_dir_all(dir)
        .and_then(|()| crate::host::write_whole(file, &serde_json::to_vec(cached).unwrap_or_default()));
}

/// Output of a command that must end well within the limit.
fn capture(argv: &[String], limit: Duration) -> Option<String> {
    let id = format!("{}-{:?}", std::process::id(), std::thread::current().id());
    // A directory of our own and of a random name: a file of a name that others can guess may be a link of theirs.
    let dir = tempfile::Builder::new().prefix("dyno-ask-").tempdir().ok()?;
    let log = dir.path().join("log");
    let launch = Launch {
        argv: argv.to_vec(),
        env: BTreeMap::from([
            ("COLUMNS".to_owned(), "200".to_owned()),
            ("PAGER".to_owned(), "cat".to_owned()),
        ]),
        dir: None,
        log: log.clone(),
        marker: format!("ask/{id}"),
    };
    let running = Running::start(&launch).ok()?;
    // Without a name from here on: whatever happens to this process, no file is left.
    let output = std::fs::File::open(&log);
    drop(dir);
    let deadline = Instant::now() + limit;
    let exit = loop {
        match running.exit() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            exit => break exit,
        }
    };
    stop(running, Duration::from_millis(200), None);
    let mut bytes = Vec::new();
    output.ok()?.read_to_end(&mut bytes).ok()?;
    (exit == Some(crate::process::Exit::Code(0))).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::adapter;
    use crate::launch::EngineKind;

    #[test]
    fn a_missing_engine_says_what_to_install() {
        let words = vec!["/no/such/vllm".to_owned()];
        let e = installed(adapter(EngineKind::Vllm), Some(&words)).unwrap_err().to_string();
        assert!(e.contains("not installed") && e.contains("--engine emulated"), "{e}");
    }

    #[test]
    fn a_given_program_gets_its_sub_command() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("vllm");
        std::fs::write(&file, "#!/bin/sh\n").unwrap();
        let mut mode = file.metadata().unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        let words = vec![file.display().to_string()];
        let found = installed(adapter(EngineKind::Vllm), Some(&words)).unwrap();
        assert_eq!(found.program, [words[0].as_str(), "serve"]);
        let other = vec!["sh".to_owned(), file.display().to_string()];
        assert_eq!(installed(adapter(EngineKind::Vllm), Some(&other)).unwrap().program, other);
    }

    #[test]
    fn the_embedded_engine_is_this_program() {
        let found = installed(adapter(EngineKind::Emulated), None).unwrap();
        assert_eq!(found.program.last().unwrap(), "emulate");
    }
}
