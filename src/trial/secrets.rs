//! The secrets a trial knows of, so that no record, report or log carries one.

use super::TrialSpec;
use crate::engine::redact;
use crate::host::Pieces;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Values that must not be written anywhere.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// Those in the spec's own arguments and environment, and the hub tokens this process inherited.
    pub(super) fn of(spec: &TrialSpec) -> Secrets {
        let program = spec.program.iter().flatten();
        let options = spec.container.iter().flat_map(|c| &c.options);
        let words: Vec<String> = program.chain(&spec.fixed_args).chain(options).cloned().collect();
        Secrets::found(&words, &[&spec.fixed_env, &spec.candidate.env], None)
    }

    /// Those of a serving command and of the client's own key.
    pub(super) fn of_argv(argv: &[String], key: Option<&str>) -> Secrets {
        Secrets::found(argv, &[], key)
    }

    fn found(words: &[String], vars: &[&BTreeMap<String, String>], key: Option<&str>) -> Secrets {
        let mut values: Vec<String> = key.map(str::to_owned).into_iter().collect();
        values.extend(redact::values(words));
        values.extend(words.iter().flat_map(|w| redact::found_in(w)));
        let inherited: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        for vars in vars.iter().copied().chain([&inherited]) {
            let shown = redact::env(vars);
            for (_, value) in vars.iter().filter(|(k, v)| shown[*k] != **v) {
                let inside = redact::found_in(value);
                values.extend(if inside.is_empty() { vec![value.clone()] } else { inside });
            }
        }
        // Very short values would take ordinary words out of a log.
        values.retain(|v| v.len() >= 6);
        values.sort();
        values.dedup();
        Secrets(values)
    }

    pub(super) fn scrub(&self, text: &str) -> String {
        let known = self.0.iter().fold(text.to_owned(), |t, s| t.replace(s.as_str(), HIDDEN));
        redact::text(&known)
    }

    /// Rewrites a log that carries one; leaves any other alone.
    pub(super) fn scrub_file(&self, path: &Path) {
        let Ok(log) = File::open(path) else { return };
        let carries = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes);
            self.scrub(&text) != text
        };
        if Pieces::of(log).map_while(io::Result::ok).any(carries) && self.rewrite(path).is_err() {
            // A log that cannot be cleaned is better gone.
            let _ = std::fs::remove_file(path);
        }
    }

    /// The log goes on being read after its name is another file's, so that nothing is left beside it if this is broken off.
    fn rewrite(&self, path: &Path) -> io::Result<()> {
        let log = File::open(path)?;
        std::fs::remove_file(path)?;
        let mut clean = crate::host::private_file(path)?;
        for piece in Pieces::of(log) {
            clean.write_all(self.scrub(&String::from_utf8_lossy(&piece?)).as_bytes())?;
        }
        Ok(())
    }
}

/// Stands in a record where a secret stood.
pub const HIDDEN: &str = "<redacted>";

/// Words of a command line as they may be recorded.
pub fn without_secrets(words: &[String]) -> Vec<String> {
    redact::argv(words)
}

/// The spec as it may be recorded.
pub(super) fn redacted(spec: &TrialSpec) -> TrialSpec {
    let mut shown = spec.clone();
    shown.fixed_args = redact::argv(&spec.fixed_args);
    shown.fixed_env = redact::env(&spec.fixed_env);
    shown.candidate.env = redact::env(&spec.candidate.env);
    shown.program = spec.program.as_ref().map(|p| redact::argv(p));
    if let Some(c) = &mut shown.container {
        c.options = redact::argv(&c.options);
    }
    shown
}

/// The key that the engine was told to ask for, so that the client can show it.
pub(super) fn api_key(spec: &TrialSpec) -> Option<String> {
    let args = &spec.fixed_args;
    let at = args.iter().position(|a| a == "--api-key" || a.starts_with("--api-key="));
    at.and_then(|i| match args[i].split_once('=') {
        Some((_, key)) => Some(key.to_owned()),
        None => args.get(i + 1).cloned(),
    })
    .or_else(|| spec.fixed_env.get("VLLM_API_KEY").cloned())
}
