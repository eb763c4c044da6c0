//! Reading a serving command: environment, program, flags in every spelling the engines accept.

use crate::scenario::EngineKind;
use std::collections::BTreeMap;

/// A serving command taken apart. Flag names are normalised: no dashes in front, `-` inside, aliases kept
/// as written (`tensor-parallel-size`, `tp`, `tp-size` stay distinct; lookups name all of them).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServeCommand {
    pub env: BTreeMap<String, String>,
    pub engine: Option<EngineKind>,
    pub model: Option<String>,
    /// In order of appearance; a switch has no value.
    pub flags: Vec<(String, Option<String>)>,
}

impl ServeCommand {
    /// Takes apart one line as a shell would (quotes and backslashes, no expansion).
    pub fn parse(line: &str) -> ServeCommand {
        ServeCommand::from_argv(&split_shell(line))
    }

    /// Takes apart words: `[NAME=value]… program… [positional model] [flags]`.
    pub fn from_argv<S: AsRef<str>>(words: &[S]) -> ServeCommand {
        let mut c = ServeCommand::default();
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let mut i = 0;
        while let Some((name, value)) = words.get(i).and_then(|w| env_assignment(w)) {
            c.env.insert(name.to_owned(), value.to_owned());
            i += 1;
        }
        let mut positional = Vec::new();
        while i < words.len() {
            let w = words[i];
            if is_flag(w) && !(w == "-m" && positional.last().is_some_and(|p: &&str| p.contains("python"))) {
                let name = w.trim_start_matches('-');
                if let Some((n, v)) = name.split_once('=') {
                    c.flags.push((normal(n), Some(v.to_owned())));
                } else if words.get(i + 1).is_some_and(|v| !is_flag(v)) && takes_value(name) {
                    c.flags.push((normal(name), Some(words[i + 1].to_owned())));
                    i += 1;
                } else {
                    c.flags.push((normal(name), None));
                }
            } else if w != "-m" {
                positional.push(w);
            }
            i += 1;
        }
        c.engine = engine_of(&positional);
        c.model = c
            .text(&["model-path", "model"])
            .map(str::to_owned)
            .or_else(|| positional.iter().copied().find(|p| !is_program_word(p)).map(str::to_owned));
        c
    }

    /// The last value given under any of these names.
    pub fn text(&self, names: &[&str]) -> Option<&str> {
        self.flags.iter().rev().find(|(n, _)| names.contains(&n.as_str())).and_then(|(_, v)| v.as_deref())
    }

    /// A number; engines accept `8k` = 8000 and `8K` = 8192.
    pub fn number(&self, names: &[&str]) -> Option<f64> {
        let t = self.text(names)?;
        let (digits, factor) = match t.char_indices().last()? {
            (i, 'k') => (&t[..i], 1e3),
            (i, 'K') => (&t[..i], 1024.0),
            (i, 'm') => (&t[..i], 1e6),
            (i, 'M') => (&t[..i], 1048576.0),
            _ => (t, 1.0),
        };
        digits.parse::<f64>().ok().map(|n| n * factor)
    }

    /// A whole number.
    pub fn integer(&self, names: &[&str]) -> Option<u32> {
        self.number(names).filter(|n| *n >= 0.0 && *n < 4e9).map(|n| n as u32)
    }

    /// `--x` true, `--no-x` false, `--x=false` false; the last one given wins.
    pub fn switch(&self, names: &[&str]) -> Option<bool> {
        self.flags.iter().rev().find_map(|(n, v)| {
            if names.contains(&n.as_str()) {
                Some(!matches!(v.as_deref(), Some("false" | "False" | "0" | "no" | "off")))
            } else if n.strip_prefix("no-").is_some_and(|n| names.contains(&n)) {
                Some(false)
            } else {
                None
            }
        })
    }
}

fn normal(name: &str) -> String {
    name.replace('_', "-")
}

/// A word is a flag when it starts with a dash and is not a negative number.
fn is_flag(w: &str) -> bool {
    w.starts_with('-') && w.len() > 1 && w.parse::<f64>().is_err()
}

const SWITCHES: [&str; 5] = ["no-", "enable-", "disable-", "trust-", "use-"];
const EXACT: [&str; 5] =
    ["enforce-eager", "async-scheduling", "skip-tokenizer-init", "language-model-only", "headless"];

/// Boolean switches never swallow the next word (which may be the model).
fn takes_value(name: &str) -> bool {
    let n = normal(name);
    !(SWITCHES.iter().any(|p| n.starts_with(p)) || EXACT.contains(&n.as_str()))
}

fn env_assignment(w: &str) -> Option<(&str, &str)> {
    let (name, value) = w.split_once('=')?;
    let ok = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ok.then_some((name, value))
}

fn is_program_word(w: &str) -> bool {
    let base = w.rsplit('/').next().unwrap_or(w);
    base.starts_with("python")
        || [
            "vllm",
            "serve",
            "trtllm-serve",
            "sglang",
            "env",
            "dyno",
            "emulate",
            "mpirun",
            "trtllm-llmapi-launch",
        ]
        .contains(&base)
        || w.starts_with("vllm.entrypoints")
        || w.starts_with("sglang.")
}

fn engine_of(positional: &[&str]) -> Option<EngineKind> {
    positional.iter().find_map(|w| {
        let base = w.rsplit('/').next().unwrap_or(w);
        if base.starts_with("trtllm-serve") {
            Some(EngineKind::Trtllm)
        } else if base.starts_with("sglang") {
            Some(EngineKind::Sglang)
        } else if base == "dyno" {
            Some(EngineKind::Emulated)
        } else if base == "vllm" || base.starts_with("vllm.entrypoints") {
            Some(EngineKind::Vllm)
        } else {
            None
        }
    })
}

/// Splits a line into words: blanks separate, quotes group, a backslash takes the next character as it is.
pub fn split_shell(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some('"') | None, '\\') => {
                word.get_or_insert_default().extend(chars.next().filter(|c| *c != '\n'));
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_flag_is_read() {
        let c = ServeCommand::parse(
            "VLLM_ATTENTION_BACKEND=FLASHINFER vllm serve openai/gpt-oss-120b -tp 2 --max_num_seqs=128 \
             --no-enable-prefix-caching --max-num-batched-tokens 8k --async-scheduling",
        );
        assert_eq!(c.engine, Some(EngineKind::Vllm));
        assert_eq!(c.model.as_deref(), Some("openai/gpt-oss-120b"));
        assert_eq!(c.env["VLLM_ATTENTION_BACKEND"], "FLASHINFER");
        assert_eq!(c.integer(&["tensor-parallel-size", "tp"]), Some(2));
        assert_eq!(c.integer(&["max-num-seqs"]), Some(128));
        assert_eq!(c.switch(&["enable-prefix-caching"]), Some(false));
        assert_eq!(c.integer(&["max-num-batched-tokens"]), Some(8000));
        assert_eq!(c.switch(&["async-scheduling"]), Some(true));
    }

    #[test]
    fn the_engine_and_the_model_come_from_the_program() {
        let c = ServeCommand::parse("python3 -m sglang.launch_server --model-path Qwen/Qwen3-32B --tp 4");
        assert_eq!((c.engine, c.model.as_deref()), (Some(EngineKind::Sglang), Some("Qwen/Qwen3-32B")));
        let c = ServeCommand::parse("trtllm-serve 'a model' --max_seq_len=40960 --enable_chunked_prefill");
        assert_eq!((c.engine, c.model.as_deref()), (Some(EngineKind::Trtllm), Some("a model")));
        assert_eq!(c.integer(&["max-seq-len"]), Some(40960));
        assert_eq!(c.switch(&["enable-chunked-prefill"]), Some(true));
        let c = ServeCommand::parse("vllm serve --enforce-eager Qwen/Qwen3-8B --swap-space -1");
        assert_eq!(c.model.as_deref(), Some("Qwen/Qwen3-8B"));
        assert_eq!(c.text(&["swap-space"]), Some("-1"));
    }
}
