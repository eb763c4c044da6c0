//! vLLM's command line as the embedded engine takes it: names, aliases, kinds, the releases that have them,
//! and argparse's words for what is wrong.

use std::collections::BTreeMap;
use std::fmt::Write;

/// A release, such as (0, 11, 0).
pub type Version = (u32, u32, u32);

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing; only the positive form exists.
    Nothing,
    /// Nothing; `--no-…` turns it off.
    OnOff,
    /// A whole number; suffixes k, m, g (decimal) and K, M, G (binary) are understood.
    Whole,
    Number,
    Text,
    Json,
    /// One or more whole numbers.
    Wholes,
    /// One or more words.
    Words,
    OneOf(&'static [&'static str]),
}

/// One flag of the table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes; the first is the canonical one.
    pub names: &'static [&'static str],
    pub takes: Takes,
    pub since: Version,
    pub removed: Option<Version>,
    pub help: &'static str,
}

const ALWAYS: Version = (0, 0, 0);

const fn flag(names: &'static [&'static str], takes: Takes, help: &'static str) -> Flag {
    Flag { names, takes, since: ALWAYS, removed: None, help }
}

impl Flag {
    const fn since(mut self, v: Version) -> Flag {
        self.since = v;
        self
    }
    const fn removed(mut self, v: Version) -> Flag {
        self.removed = Some(v);
        self
    }
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
    fn exists(&self, v: Version) -> bool {
        self.since <= v && self.removed.is_none_or(|r| v < r)
    }
}

use Takes::{Json, Nothing, Number, OnOff, OneOf, Text, Whole, Wholes, Words};

/// Options of the embedded engine itself.
pub const OWN: &[Flag] = &[
    flag(&["hardware"], Text, "Id of the GPU to emulate; `dyno list hardware` shows all. Required."),
    flag(&["num-gpus"], Whole, "How many of them the emulated machine has. (default: 8)"),
    flag(&["emulate-version"], Text, "vLLM release whose flags, defaults and rules apply."),
    flag(
        &["noise"],
        Number,
        "Scale of the noise on step times; 0 is off. At 1 a step's time has a log-sd of 0.02, \
        a launch's common factor one of 0.005. (default: 1)",
    ),
    flag(
        &["coefficients"],
        Text,
        "TOML file of factors on the step-time model's coefficients, by their names.",
    ),
    flag(&["startup-s"], Number, "Seconds from start to ready. (default: 0.2)"),
    flag(
        &["mean-output-tokens"],
        Number,
        "Without ignore_eos, generations stop after a geometric number of tokens \
        of this mean. (default: they run to max_tokens)",
    ),
    flag(
        &["fault"],
        Text,
        "Inject a fault: start-hang, start-exit, start-oom, die-after=N, oom-after=N, stall-after=N, \
        garbage, http-500-share=X, truncate-share=X, ignore-term.",
    ),
    flag(&["data-dir"], Text, "Directory with hardware/*.toml and models/*.toml that add to the known ones."),
];

const KV_DTYPES: &[&str] =
    &["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "float16", "fp8_ds_mla"];

/// vLLM's flags. Sources: `vllm/engine/arg_utils.py` and `entrypoints/openai/cli_args.py` of releases
/// 0.11.0 to 0.33.0.
pub const VLLM: &[Flag] = &[
    flag(&["model"], Text, "Name or path of the model. Required (or the first positional argument)."),
    flag(&["host"], Text, "Host name. (default: 127.0.0.1, unlike vLLM's all interfaces)"),
    flag(&["port"], Whole, "Port number. (default: 8000)"),
    flag(&["served-model-name"], Words, "The model name(s) used in the API."),
    flag(&["api-key"], Words, "Keys that the server requires in the header."),
    flag(&["api-server-count", "asc"], Whole, "How many API server processes to run."),
    flag(&["uvicorn-log-level"], Text, "Log level for uvicorn."),
    flag(&["root-path"], Text, "FastAPI root_path when behind a path based proxy."),
    flag(&["chat-template"], Text, "The chat template."),
    flag(&["enable-auto-tool-choice"], OnOff, "Enable auto tool choice."),
    flag(&["tool-call-parser"], Text, "The tool call parser."),
    flag(&["reasoning-parser"], Text, "The reasoning parser."),
    flag(&["enable-prompt-tokens-details"], OnOff, "Enable prompt_tokens_details in usage."),
    flag(&["enable-force-include-usage"], OnOff, "Include usage on every request."),
    flag(&["enable-log-requests"], OnOff, "Log requests."),
    flag(&["disable-log-requests"], Nothing, "Deprecated.").removed((0, 17, 0)),
    flag(&["disable-log-stats"], Nothing, "Disable logging statistics."),
    flag(&["disable-uvicorn-access-log"], Nothing, "Disable uvicorn's access log."),
    flag(&["trust-remote-code"], OnOff, "Trust remote code."),
    flag(&["tokenizer"], Text, "Name or path of the tokenizer."),
    flag(&["tokenizer-mode"], Text, "Tokenizer mode."),
    flag(&["skip-tokenizer-init"], OnOff, "Skip initialization of tokenizer and detokenizer."),
    flag(&["revision"], Text, "The model version to use."),
    flag(&["code-revision"], Text, "The code revision to use."),
    flag(&["tokenizer-revision"], Text, "The tokenizer revision to use."),
    flag(&["hf-token"], Text, "The hub token."),
    flag(&["hf-overrides"], Json, "Arguments for the model's config."),
    flag(&["generation-config"], Text, "Path of the generation config."),
    flag(&["override-generation-config"], Json, "Generation parameters."),
    flag(&["download-dir"], Text, "Directory to download the weights to."),
    flag(&["load-format"], Text, "The format of the weights to load."),
    flag(&["runner"], OneOf(&["auto", "generate", "pooling", "draft"]), "The type of model runner."),
    flag(
        &["dtype"],
        OneOf(&["auto", "bfloat16", "float", "float16", "float32", "half"]),
        "Data type of weights and activations.",
    ),
    flag(&["quantization", "q"], Text, "Method used to quantize the weights."),
    flag(&["seed"], Whole, "Random seed; also seeds the noise on step times."),
    flag(&["max-model-len"], Whole, "Model context length (prompt and output)."),
    flag(&["max-logprobs"], Whole, "Maximum number of log probabilities to return."),
    flag(&["enforce-eager"], OnOff, "Always use eager-mode PyTorch."),
    flag(&["disable-sliding-window"], OnOff, "Disable sliding window."),
    flag(&["disable-cascade-attn"], OnOff, "Disable cascade attention."),
    flag(&["limit-mm-per-prompt"], Json, "Maximum number of input items per modality."),
    flag(&["block-size"], Whole, "Tokens in a contiguous cache block."),
    flag(&["gpu-memory-utilization"], Number, "Fraction of GPU memory for the model executor."),
    flag(&["kv-cache-memory-bytes"], Whole, "Size of KV cache per GPU in bytes."),
    flag(&["swap-space"], Number, "CPU swap space in GiB.").removed((0, 18, 0)),
    flag(&["kv-cache-dtype"], OneOf(KV_DTYPES), "Data type for KV cache storage."),
    flag(&["num-gpu-blocks-override"], Whole, "Number of GPU blocks to use."),
    flag(&["enable-prefix-caching"], OnOff, "Whether to enable prefix caching."),
    flag(&["prefix-caching-hash-algo"], Text, "The hash algorithm for prefix caching."),
    flag(&["cpu-offload-gb"], Number, "Space in GiB to offload to CPU."),
    flag(&["calculate-kv-scales"], OnOff, "Calculate k_scale and v_scale.").removed((0, 28, 0)),
    flag(&["kv-offloading-size"], Number, "Size of the KV offloading buffer in GiB.").since((0, 11, 1)),
    flag(&["tensor-parallel-size", "tp"], Whole, "Number of tensor parallel groups."),
    flag(&["pipeline-parallel-size", "pp"], Whole, "Number of pipeline parallel groups."),
    flag(&["data-parallel-size", "dp"], Whole, "Number of data parallel groups."),
    flag(&["decode-context-parallel-size", "dcp"], Whole, "Number of decode context parallel groups."),
    flag(&["enable-expert-parallel", "ep"], OnOff, "Use expert parallelism for MoE layers."),
    flag(&["enable-eplb"], OnOff, "Enable expert load balancing."),
    flag(&["enable-dbo"], OnOff, "Enable dual batch overlap."),
    flag(&["disable-custom-all-reduce"], OnOff, "Disable the custom all-reduce kernel."),
    flag(
        &["distributed-executor-backend"],
        OneOf(&["external_launcher", "mp", "ray", "uni"]),
        "Backend for distributed workers.",
    ),
    flag(&["max-parallel-loading-workers"], Whole, "Maximum number of parallel loading workers."),
    flag(&["max-num-batched-tokens"], Whole, "Maximum number of tokens in a single iteration."),
    flag(&["max-num-seqs"], Whole, "Maximum number of sequences in a single iteration."),
    flag(&["max-num-active-seqs"], Whole, "Maximum number of running sequences.").since((0, 31, 0)),
    flag(&["max-num-partial-prefills"], Whole, "Maximum number of partial prefills.").removed((0, 27, 0)),
    flag(&["max-long-partial-prefills"], Whole, "Maximum number of long partial prefills.")
        .removed((0, 27, 0)),
    flag(&["long-prefill-token-threshold"], Whole, "A request is long beyond this many tokens."),
    flag(&["scheduling-policy"], OneOf(&["fcfs", "priority"]), "The scheduling policy."),
    flag(&["enable-chunked-prefill"], OnOff, "Chunk prefill requests."),
    flag(&["async-scheduling"], OnOff, "Schedule asynchronously."),
    flag(&["scheduler-reserve-full-isl"], OnOff, "Admit only what fits whole.").since((0, 19, 1)),
    flag(&["stream-interval"], Whole, "Tokens between streamed chunks.").since((0, 11, 1)),
    flag(&["watermark"], Number, "Share of KV blocks kept free at admission.").since((0, 24, 0)),
    flag(&["prefill-schedule-interval"], Whole, "Admit prefill every N steps.").since((0, 24, 0)),
    flag(&["max-num-queued-reqs"], Whole, "Refuse requests beyond this queue.").since((0, 29, 0)),
    flag(&["performance-mode"], OneOf(&["balanced", "interactivity", "throughput"]), "Preset.")
        .since((0, 17, 0)),
    flag(&["speculative-config"], Json, "The configuration for speculative decoding."),
    flag(&["compilation-config", "O", "cc"], Json, "Compilation configuration, or its level."),
    flag(&["optimization-level"], Whole, "Optimization level, 0 to 3.").since((0, 12, 0)),
    flag(&["cuda-graph-sizes"], Wholes, "CUDA graph capture sizes.").removed((0, 13, 0)),
    flag(&["cudagraph-capture-sizes"], Wholes, "CUDA graph capture sizes.").since((0, 11, 1)),
    flag(&["max-cudagraph-capture-size"], Whole, "Largest CUDA graph capture size.").since((0, 11, 1)),
    flag(&["attention-backend"], Text, "Attention backend.").since((0, 13, 0)),
    flag(&["moe-backend"], Text, "Backend of MoE layers.").since((0, 17, 0)),
    flag(&["linear-backend"], Text, "Backend of linear layers.").since((0, 22, 0)),
    flag(&["enable-flashinfer-autotune"], OnOff, "Autotune FlashInfer.").since((0, 16, 0)),
    flag(&["all2all-backend"], Text, "All-to-all backend for expert parallelism.").since((0, 11, 1)),
    flag(&["enable-logging-iteration-details"], OnOff, "Log every iteration.").since((0, 14, 1)),
    flag(&["shutdown-timeout"], Number, "Seconds to drain at shutdown.").since((0, 18, 1)),
    flag(&["enable-sleep-mode"], OnOff, "Enable sleep mode."),
    flag(&["additional-config"], Json, "Additional config."),
    flag(&["config"], Text, "Read options from a YAML file; not read by the embedded engine."),
];

/// What was on the command line, by canonical name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// `None`: the switch was set; several words are joined by spaces.
    pub values: BTreeMap<&'static str, Option<String>>,
    /// Switches turned off by their `--no-` form.
    pub off: Vec<&'static str>,
    pub help: bool,
}

impl Given {
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name)?.as_deref()
    }
    pub fn on(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }
    pub fn whole(&self, name: &str) -> Option<u64> {
        self.text(name).and_then(whole)
    }
    pub fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }
    /// vLLM's part as words of a command, for whoever resolves defaults.
    pub fn vllm_words(&self) -> Vec<String> {
        let mut words = vec!["vllm".to_owned(), "serve".to_owned()];
        words.extend(self.text("model").map(str::to_owned));
        let own = |n: &str| n == "model" || OWN.iter().any(|f| f.name() == n);
        for (name, value) in self.values.iter().filter(|(n, _)| !own(n)) {
            words.push(format!("--{name}"));
            words.extend(value.clone());
        }
        words.extend(self.off.iter().map(|n| format!("--no-{n}")));
        words
    }
}

/// Reads a command line for release `version`; the first problem in argparse's words.
pub fn parse(args: &[String], version: Version) -> Result<Given, String> {
    let mut given = Given::default();
    let mut unknown = Vec::new();
    let mut i = 0;
    while i < args.len() {
        let word = &args[i];
        i += 1;
        if matches!(word.as_str(), "-h" | "--help" | "--help=all") {
            given.help = true;
            continue;
        }
        if !word.starts_with('-') {
            if given.values.contains_key("model") {
                unknown.push(word.clone());
            } else {
                given.values.insert("model", Some(word.clone()));
            }
            continue;
        }
        let (name, attached) =
            word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        match find(name, version) {
            None => {
                unknown.push(word.clone());
                // argparse lists the values that follow an unknown option with it.
                while i < args.len() && !args[i].starts_with('-') {
                    unknown.push(args[i].clone());
                    i += 1;
                }
            }
            Some((flag, true)) => {
                given.values.remove(flag.name());
                given.off.push(flag.name());
            }
            Some((flag, false)) => {
                let value = take_value(flag, name, attached, args, &mut i)?;
                given.off.retain(|n| *n != flag.name());
                given.values.insert(flag.name(), value);
            }
        }
    }
    if unknown.is_empty() { Ok(given) } else { Err(format!("unrecognized arguments: {}", unknown.join(" "))) }
}

/// The flag of this name in this release, and whether it is the `--no-` form.
fn find(written: &str, version: Version) -> Option<(&'static Flag, bool)> {
    let bare = written.trim_start_matches('-').replace('_', "-");
    // `-O3`, and dotted keys such as `--compilation-config.mode`.
    let head = bare.split('.').next().unwrap_or(&bare);
    let head = if !written.starts_with("--") && head.starts_with('O') { "O" } else { head };
    let lookup = |n: &str| OWN.iter().chain(VLLM).find(|f| f.names.contains(&n) && f.exists(version));
    if let Some(f) = lookup(head) {
        return Some((f, false));
    }
    lookup(head.strip_prefix("no-")?).filter(|f| f.takes == OnOff).map(|f| (f, true))
}

fn take_value(
    flag: &Flag,
    written: &str,
    attached: Option<String>,
    args: &[String],
    i: &mut usize,
) -> Result<Option<String>, String> {
    let shown = shown(flag);
    if matches!(flag.takes, Nothing | OnOff) {
        return match attached {
            Some(v) => Err(format!("argument {shown}: ignored explicit argument '{v}'")),
            None => Ok(None),
        };
    }
    let attached =
        attached.or_else(|| written.strip_prefix("-O").filter(|v| !v.is_empty()).map(str::to_owned));
    let is_value = |w: &String| !w.starts_with('-') || w.parse::<f64>().is_ok();
    let mut words: Vec<String> = attached.into_iter().collect();
    let several = matches!(flag.takes, Wholes | Words);
    while (words.is_empty() || several) && args.get(*i).is_some_and(is_value) {
        words.push(args[*i].clone());
        *i += 1;
    }
    if words.is_empty() {
        return Err(format!(
            "argument {shown}: expected {}",
            if several { "at least one argument" } else { "one argument" }
        ));
    }
    words.iter().try_for_each(|w| check(flag, &shown, w))?;
    Ok(Some(words.join(" ")))
}

fn check(flag: &Flag, shown: &str, word: &str) -> Result<(), String> {
    match flag.takes {
        Whole | Wholes if whole(word).is_none() => {
            Err(format!("argument {shown}: invalid int value: '{word}'"))
        }
        Number if word.parse::<f64>().map_or(true, f64::is_nan) => {
            Err(format!("argument {shown}: invalid float value: '{word}'"))
        }
        OneOf(choices) if !choices.contains(&word) => {
            let list: Vec<String> = choices.iter().map(|c| format!("'{c}'")).collect();
            Err(format!("argument {shown}: invalid choice: '{word}' (choose from {})", list.join(", ")))
        }
        _ => Ok(()),
    }
}

/// `8192`, `8k` (8,000), `8K` (8,192), `1.5k`; also m, M, g, G.
pub fn whole(text: &str) -> Option<u64> {
    if let Ok(n) = text.parse::<u64>() {
        return Some(n);
    }
    let unit = match text.chars().last()? {
        'k' => 1e3,
        'm' => 1e6,
        'g' => 1e9,
        'K' => 1024.0,
        'M' => 1_048_576.0,
        'G' => 1_073_741_824.0,
        _ => return None,
    };
    let n: f64 = text[..text.len() - 1].parse().ok()?;
    (n >= 0.0 && n.is_finite()).then_some((n * unit) as u64)
}

fn shown(flag: &Flag) -> String {
    let dash = |n: &str| if n.len() == 1 { format!("-{n}") } else { format!("--{n}") };
    let mut names: Vec<String> = vec![dash(flag.name())];
    if flag.takes == OnOff {
        names.push(format!("--no-{}", flag.name()));
    }
    names.extend(flag.names[1..].iter().map(|n| format!("-{n}")));
    names.join(", ")
}

/// Help in argparse's layout, so that a tool which reads vLLM's help reads this one too.
pub fn help(version: Version) -> String {
    let (a, b, c) = version;
    let mut out = format!(
        "usage: dyno emulate [model] --hardware HARDWARE [--port PORT] [options]\n\n\
         The embedded engine: an OpenAI-compatible server whose token times are simulated. It takes the flags of \
         vLLM {a}.{b}.{c};\nthose without effect on time are accepted and named in the log.\n\n\
         the embedded engine:\n"
    );
    for (title, flags) in [("", OWN), ("\nvLLM's options:\n", VLLM)] {
        out.push_str(title);
        for f in flags.iter().filter(|f| f.exists(version)) {
            let _ = writeln!(out, "  {}\n                        {}", usage(f), f.help);
        }
    }
    out
}

/// The head of a help entry: every spelling with what it takes.
fn usage(f: &Flag) -> String {
    let upper = f.name().to_uppercase().replace('-', "_");
    let value = match f.takes {
        Nothing | OnOff => String::new(),
        Wholes | Words => format!(" {upper} [{upper} ...]"),
        OneOf(choices) => format!(" {{{}}}", choices.join(",")),
        _ => format!(" {upper}"),
    };
    shown(f).split(", ").map(|n| format!("{n}{value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Given, String> {
        read_at(line, (0, 11, 0))
    }
    fn read_at(line: &str, v: Version) -> Result<Given, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), v)
    }

    #[test]
    fn vllms_spellings_are_understood() {
        let g = read(
            "openai/gpt-oss-20b --hardware a100-sxm-80gb --max_num_seqs=128 -tp 2 --no-enable-prefix-caching \
             --max-num-batched-tokens 8k --async-scheduling -O3 --cuda-graph-sizes 1 2 4 --swap-space -1",
        )
        .unwrap();
        assert_eq!(g.text("model"), Some("openai/gpt-oss-20b"));
        assert_eq!((g.whole("max-num-seqs"), g.whole("max-num-batched-tokens")), (Some(128), Some(8000)));
        assert_eq!(g.whole("tensor-parallel-size"), Some(2));
        assert!(g.on("async-scheduling") && g.off == ["enable-prefix-caching"]);
        assert_eq!((g.text("cuda-graph-sizes"), g.text("compilation-config")), (Some("1 2 4"), Some("3")));
        let words = g.vllm_words().join(" ");
        assert!(words.starts_with("vllm serve openai/gpt-oss-20b --"), "{words}");
        assert!(words.contains("--max-num-seqs 128") && words.contains("--no-enable-prefix-caching"));
        assert!(!words.contains("hardware"));
    }

    #[test]
    fn what_a_release_lacks_is_unrecognized() {
        for (line, v, want) in [
            ("m --stream-interval 4", (0, 11, 0), "unrecognized arguments: --stream-interval 4"),
            ("m --swap-space 4", (0, 18, 1), "unrecognized arguments: --swap-space 4"),
            (
                "m --num-scheduler-steps 8 --foo",
                (0, 11, 0),
                "unrecognized arguments: --num-scheduler-steps 8 --foo",
            ),
            ("m --no-disable-log-stats", (0, 11, 0), "unrecognized arguments: --no-disable-log-stats"),
            ("m --max-num-seqs", (0, 11, 0), "argument --max-num-seqs: expected one argument"),
            ("m --max-num-seqs many", (0, 11, 0), "argument --max-num-seqs: invalid int value: 'many'"),
            (
                "m --kv-cache-dtype fp99",
                (0, 11, 0),
                "argument --kv-cache-dtype: invalid choice: 'fp99' (choose from 'auto'",
            ),
            ("m --enforce-eager=1", (0, 11, 0), "ignored explicit argument '1'"),
            ("m other", (0, 11, 0), "unrecognized arguments: other"),
        ] {
            let e = read_at(line, v).unwrap_err();
            assert!(e.starts_with(want) || e.contains(want), "{line}: {e}");
        }
        assert!(read_at("m --stream-interval 4", (0, 12, 0)).is_ok());
    }

    #[test]
    fn the_search_space_asks_for_nothing_unknown_and_agrees_on_releases() {
        let rows = |text: &str| text.parse::<toml::Table>().unwrap()["flag"].as_array().unwrap().clone();
        let name = |row: &toml::Value| row["name"].as_str().unwrap().to_owned();
        for row in rows(include_str!("../../search-spaces/emulated.toml")) {
            let name = name(&row);
            assert!(VLLM.iter().any(|f| f.names.contains(&name.as_str())), "--{name}");
        }
        for row in rows(include_str!("../../search-spaces/vllm.toml")) {
            let name = name(&row);
            let Some(flag) = VLLM.iter().find(|f| f.name() == name) else { continue };
            let version =
                |key: &str| row.get(key).and_then(|v| crate::engine::resolve::parse_version(v.as_str()?));
            if let Some(since) = version("since").filter(|v| *v > (0, 11, 0)) {
                assert_eq!(flag.since, since, "--{name} since");
            }
            assert_eq!(flag.removed, version("removed"), "--{name} removed");
        }
    }

    #[test]
    fn no_name_stands_twice_and_the_help_names_every_flag() {
        let mut seen = std::collections::BTreeSet::new();
        for f in OWN.iter().chain(VLLM) {
            assert!(f.names.iter().all(|n| seen.insert(*n)), "{:?} stands twice", f.names);
        }
        let text = help((0, 11, 0));
        for f in OWN.iter().chain(VLLM).filter(|f| f.exists((0, 11, 0))) {
            assert!(text.contains(&format!("\n  --{}", f.name())), "{}", f.name());
        }
        assert!(!text.contains("--stream-interval") && help((0, 19, 0)).contains("--stream-interval"));
        assert!(read("--help").unwrap().help);
    }
}
