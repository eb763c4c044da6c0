//! A launch: engine, release, model, GPUs, flags, files and environment.

use super::program::{engine_of, is_program_word};
use super::{EngineKind, LaunchFile, Version, switches, words, yaml};
use std::collections::BTreeMap;
use std::str::FromStr;

/// One launch of an engine, as a value.
///
/// `flags` is derived from `argv` and `files` when the value is made. Flag names are normalised: no dashes in front,
/// `-` inside, aliases kept as written (`tensor-parallel-size`, `tp`, `tp-size` stay distinct; lookups name all of
/// them). Keys of a file of options stand among the flags, nested keys joined by dots.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Launch {
    pub engine: Option<EngineKind>,
    pub version: Option<Version>,
    pub model: Option<String>,
    /// GPUs that are at hand; `None` when nothing said so.
    pub num_gpus: Option<u32>,
    /// Copies of this very command that share the load and the GPUs, each a server of its own; `None` is one.
    pub replicas: Option<u32>,
    pub env: BTreeMap<String, String>,
    /// Program and arguments.
    pub argv: Vec<String>,
    pub files: Vec<LaunchFile>,
    /// In order of appearance, the keys of files first; a switch has no value.
    pub flags: Vec<(String, Option<String>)>,
    /// What could not be read of the command or its files; to be told to the user.
    pub problems: Vec<String>,
}

impl Launch {
    /// A launch of words `program… [positional model] [flags]` with its environment and files.
    pub fn new(env: BTreeMap<String, String>, argv: Vec<String>, files: Vec<LaunchFile>) -> Launch {
        let mut launch = Launch { env, argv, files, ..Launch::default() };
        launch.read_words();
        launch
    }

    /// Paths of files of options that the command names and that are not at hand.
    pub fn missing_files(&self) -> Vec<&str> {
        let named = self.flags.iter().filter(|(name, _)| yaml::FILE_FLAGS.contains(&name.as_str()));
        let paths = named.filter_map(|(_, path)| path.as_deref());
        paths.filter(|p| !self.files.iter().any(|f| f.path == *p)).collect()
    }

    /// The same launch with the files that stand beside its command, in place of those of the same path.
    pub fn with_files(mut self, mut files: Vec<LaunchFile>) -> Launch {
        self.files.retain(|own| !files.iter().any(|f| f.path == own.path));
        files.append(&mut self.files);
        let read = Launch::new(self.env, self.argv, files);
        // What the command's words had wrong stays; what was said of files is said anew.
        let words = self.problems.into_iter().filter(|p| !p.contains("was not read"));
        let mut problems: Vec<String> = words.collect();
        problems.extend(read.problems.iter().filter(|p| !problems.contains(p)).cloned().collect::<Vec<_>>());
        Launch { version: self.version, num_gpus: self.num_gpus, replicas: self.replicas, problems, ..read }
    }

    /// One line for a shell: `NAME=value … program … flags`, every word quoted where it must be.
    /// [`Launch::parse`] gives the same environment and words again.
    pub fn to_text(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", words::quote(value)));
        env.chain(self.argv.iter().map(|w| words::quote(w))).collect::<Vec<_>>().join(" ")
    }

    /// The launch without the address that it happened to get, so that equal launches have equal text.
    pub fn without_address(mut self) -> Launch {
        let mut words = std::mem::take(&mut self.argv).into_iter();
        while let Some(word) = words.next() {
            if word == "--host" || word == "--port" {
                words.next();
            } else {
                self.argv.push(word);
            }
        }
        self.flags.retain(|(name, _)| name != "host" && name != "port");
        self
    }

    /// Sets engine, model and flags by the words and files.
    fn read_words(&mut self) {
        let mut positional: Vec<&str> = Vec::new();
        let program: Vec<&str> =
            self.argv.iter().map(String::as_str).take_while(|w| !w.starts_with("--")).collect();
        self.engine = engine_of(&program);
        let mut given = Vec::new();
        let mut i = 0;
        while i < self.argv.len() {
            let w = self.argv[i].as_str();
            let python =
                matches!(positional[..], [p] if p.rsplit('/').next().unwrap_or(p).starts_with("python"));
            if python && is_flag(w) && w != "-m" && !w.starts_with("--") {
                // `python3 -u -X faulthandler -m module`: the interpreter's own.
                i += if w == "-X" || w == "-W" { 2 } else { 1 };
            } else if is_flag(w) && !(w == "-m" && python) {
                i += read_flag(self.engine, &self.argv[i..], &mut given);
            } else {
                if w != "-m" {
                    positional.push(w);
                }
                i += 1;
            }
        }
        self.engine = engine_of(&positional);
        let mut others = positional.iter().copied().filter(|p| !is_program_word(p)).map(str::to_owned);
        let model = others.next();
        let (unknown, stray): (Vec<String>, Vec<String>) = others.partition(|w| w.starts_with('$'));
        self.flags = self.file_flags(&given);
        self.flags.append(&mut given);
        self.abbreviations();
        let named = self.text(&["model-path", "model"]).map(str::to_owned);
        // SGLang takes no word by itself where a flag names the model.
        let stray: Vec<String> = if self.engine == Some(EngineKind::Sglang) && named.is_some() {
            model.iter().filter(|w| !w.starts_with('$')).cloned().chain(stray).collect()
        } else {
            stray
        };
        let beside = model.iter().filter(|w| named.is_some() && w.starts_with('$'));
        for word in beside.chain(&unknown) {
            self.problems.push(format!("{word} is not known here: flags in it are not read"));
        }
        if self.engine.is_some() && !stray.is_empty() {
            let words = stray.iter().take(8).cloned().collect::<Vec<_>>().join(" ");
            self.problems.push(format!("`{words}` {STRAY}"));
        }
        self.model = named.or(model);
        if let Some(variable) = self.model.take_if(|m| m.contains('$')) {
            self.problems
                .push(format!("the model is {variable}, a shell variable, whose value is not known here"));
        }
        // The embedded engine names the release that it emulates among its flags.
        self.version = self.text(&["emulate-version"]).and_then(|v| Version::from_str(v).ok());
    }

    /// Words in which no engine's program was found: a word that names one further on (`pip install vllm`) starts none, and no
    /// word that stands by itself is a model.
    pub(super) fn without_program(&mut self) {
        let first = self.argv.first().map(String::as_str);
        self.engine = engine_of(first.as_slice());
        if self.engine.is_none() {
            self.model = self.text(&["model-path", "model"]).filter(|m| !m.contains('$')).map(str::to_owned);
            // No engine is there to refuse them.
            self.problems.retain(|p| !p.contains(STRAY));
        }
    }

    /// Beginnings of flag names, where argparse completes them (vLLM, SGLang), become the whole names.
    fn abbreviations(&mut self) {
        let Some(engine @ (EngineKind::Vllm | EngineKind::Sglang)) = self.engine else { return };
        for (name, _) in &mut self.flags {
            match switches::completed(engine, name).as_slice() {
                [] => {}
                [one] => {
                    self.problems.push(format!("--{name} is read as --{one}, which it begins"));
                    name.clone_from(one);
                }
                several => self.problems.push(format!(
                    "--{name} begins several flags ({}); the engine refuses it",
                    several.iter().map(|s| format!("--{s}")).collect::<Vec<_>>().join(", ")
                )),
            }
        }
    }

    /// The keys of the files that the command names and that are at hand.
    fn file_flags(&mut self, given: &[(String, Option<String>)]) -> Vec<(String, Option<String>)> {
        let mut out = Vec::new();
        for (name, value) in given {
            let Some(path) = value.as_ref().filter(|_| yaml::FILE_FLAGS.contains(&name.as_str())) else {
                continue;
            };
            match self.files.iter().find(|f| f.path == *path) {
                Some(file) => {
                    let (mut flags, problem) = yaml::flags(self.engine, file);
                    out.append(&mut flags);
                    self.problems.extend(problem);
                }
                None => self
                    .problems
                    .push(format!("--{name} {path}: this file was not read, its options are not known")),
            }
        }
        out
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

/// How words are told that an engine takes for no flag's.
const STRAY: &str = "belongs to no flag: the engine refuses such words";

fn normal(name: &str) -> String {
    name.replace('_', "-")
}

/// A word is a flag when it starts with a dash and is not a negative number.
fn is_flag(w: &str) -> bool {
    w.starts_with('-') && w.len() > 1 && w.parse::<f64>().is_err()
}

/// Flags whose value is one word or more.
const LISTS: [&str; 6] = [
    "lora-modules",
    "lora-paths",
    "lora-target-modules",
    "served-model-name",
    "prompt-adapters",
    "middleware",
];

/// Reads the flag at the front of `words` with its value; returns how many words it took.
fn read_flag(engine: Option<EngineKind>, words: &[String], out: &mut Vec<(String, Option<String>)>) -> usize {
    let name = words[0].trim_start_matches('-');
    if let Some((name, value)) = name.split_once('=') {
        out.push((normal(name), Some(value.to_owned())));
        return 1;
    }
    let name = normal(name);
    // The programs of TensorRT-LLM take a switch by its name or with a word of truth behind it.
    let told = |v: &&String| engine == Some(EngineKind::Trtllm) && is_truth(v);
    let value = |v: &&String| !is_flag(v) && (super::switches::takes_value(engine, &name) || told(v));
    let Some(first) = words.get(1).filter(value) else {
        out.push((name, None));
        return 1;
    };
    // A list of numbers is several words of one value: `--cuda-graph-sizes 1 2 4`.
    let is_number = |w: &&String| w.parse::<i64>().is_ok();
    let more = if is_number(&first) {
        words[2..].iter().take_while(is_number).count()
    } else if LISTS.contains(&name.as_str()) {
        words[2..].iter().take_while(|w| !is_flag(w)).count()
    } else {
        0
    };
    out.push((name, Some(words[1..2 + more].join(" "))));
    2 + more
}

fn is_truth(word: &str) -> bool {
    word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_flag_is_read() {
        let c = Launch::parse(
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
        let c = Launch::parse("python3 -m sglang.launch_server --model-path Qwen/Qwen3-32B --tp 4");
        assert_eq!((c.engine, c.model.as_deref()), (Some(EngineKind::Sglang), Some("Qwen/Qwen3-32B")));
        let c = Launch::parse("trtllm-serve 'a model' --max_seq_len=40960 --enable_chunked_prefill");
        assert_eq!((c.engine, c.model.as_deref()), (Some(EngineKind::Trtllm), Some("a model")));
        assert_eq!(c.integer(&["max-seq-len"]), Some(40960));
        assert_eq!(c.switch(&["enable-chunked-prefill"]), Some(true));
        // A switch of TensorRT-LLM may have a word of truth behind it; vLLM's next word is the model.
        let c = Launch::parse("trtllm-serve m --enable_attention_dp false --enable_chunked_prefill True");
        assert_eq!(c.switch(&["enable-attention-dp"]), Some(false));
        assert_eq!(c.switch(&["enable-chunked-prefill"]), Some(true));
        let c = Launch::parse("vllm serve --enforce-eager Qwen/Qwen3-8B --swap-space -1");
        assert_eq!(c.model.as_deref(), Some("Qwen/Qwen3-8B"));
        assert_eq!(c.text(&["swap-space"]), Some("-1"));
    }

    #[test]
    fn a_list_of_numbers_is_one_value() {
        let c = Launch::parse("vllm serve --cudagraph-capture-sizes 1 2 4 Qwen/Qwen3-8B --max-num-seqs 8");
        assert_eq!(c.text(&["cudagraph-capture-sizes"]), Some("1 2 4"));
        assert_eq!((c.model.as_deref(), c.integer(&["max-num-seqs"])), (Some("Qwen/Qwen3-8B"), Some(8)));
    }

    #[test]
    fn keys_of_a_file_are_flags_and_a_missing_file_is_told() {
        let line = "trtllm-serve m --extra_llm_api_options /x/o.yaml --max_num_tokens 512";
        let c = Launch::parse(line);
        assert_eq!((c.integer(&["max-batch-size"]), c.problems.len()), (None, 1));
        let file = LaunchFile { path: "/x/o.yaml".into(), text: "{\"max_batch_size\": 4}".into() };
        let c = c.with_files(vec![file]);
        assert_eq!((c.integer(&["max-batch-size"]), c.integer(&["max-num-tokens"])), (Some(4), Some(512)));
        assert!(c.problems.is_empty(), "{:?}", c.problems);
    }

    #[test]
    fn a_printed_launch_is_read_back_whole() {
        let argv = ["vllm", "serve", "a model", "--x", r#"{"a": "it's"}"#, "--y", "p q"].map(str::to_owned);
        let env = BTreeMap::from([("A".to_owned(), "b c".to_owned())]);
        let launch = Launch::new(env, argv.to_vec(), Vec::new());
        assert_eq!(Launch::parse(&launch.to_text()), launch);
        let addressed = Launch::parse("vllm serve m --host 127.0.0.1 --port 8000 --x 1").without_address();
        assert_eq!(addressed.to_text(), "vllm serve m --x 1");
    }
}
