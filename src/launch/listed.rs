//! A launch as a list of words in a program (`subprocess.Popen(["vllm", "serve", MODEL, …])`), and as the line in which vLLM says
//! what its engine was built with.

use super::program::base;
use super::python::{Reader, assigned};
use serde_json::Value;

/// First words of a list that may be a launch.
const FIRST: [&str; 5] = ["vllm", "python", "python3", "sglang", "trtllm-serve"];

/// Lists that are looked at: each is read to its end.
const MOST_LISTS: usize = 64;

/// The words of the first list that starts an engine, and what is to be told of it.
pub(super) fn launch(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let mut names = None;
    let begins = |at: &usize| {
        let inside = text[at + 1..].trim_start();
        let quote = inside.chars().next().filter(|c| matches!(c, '"' | '\''));
        let first = quote.and_then(|quote| inside[1..].split(quote).next());
        first.is_some_and(|word| FIRST.contains(&base(word)))
    };
    let lists = text.match_indices('[').map(|(at, _)| at).filter(begins).take(MOST_LISTS);
    lists.into_iter().find_map(|at| {
        let names = names.get_or_insert_with(|| assigned(text));
        let Value::Array(items) = Reader::new(&text[at..], names).value()? else { return None };
        let mut words: Vec<String> = Vec::new();
        for item in &items {
            match item {
                Value::String(word) => words.push(word.clone()),
                Value::Null => {}
                other => words.push(other.to_string()),
            }
        }
        let named = |w: &String| w.starts_with("vllm.entrypoints") || w.starts_with("sglang.");
        let starts = matches!(base(words.first()?), "trtllm-serve")
            || words.get(1).is_some_and(|w| w == "serve")
            || words.iter().take(4).any(named);
        starts.then_some(())?;
        let mut told = vec!["the launch is read from a list of words in a program".to_owned()];
        words.retain(|w| {
            let unpacked = w.starts_with("$*");
            if unpacked {
                told.push(format!("`{}` is not known here: what it adds is not read", &w[1..]));
            }
            !unpacked
        });
        told.extend(extended(text, at));
        Some((words, told))
    })
}

/// What is to be told where the program adds to the list that begins at `at`.
fn extended(text: &str, at: usize) -> Option<String> {
    let line = text[..at].rsplit('\n').next()?;
    let left = line.trim_end().strip_suffix('=')?.split(':').next()?.trim();
    let plain = !left.is_empty() && left.chars().all(|c| c.is_alphanumeric() || c == '_');
    let adds = |l: &str| {
        let behind = l.trim_start().strip_prefix(left).unwrap_or_default().trim_start();
        [".extend(", ".append(", "+="].iter().any(|how| behind.starts_with(how))
    };
    (plain && text[at..].lines().any(adds))
        .then(|| format!("the program adds to `{left}` further on: what that adds is not read"))
}

/// What the line says of the engine that a flag says as well, in the line's words.
const BUILT_WITH: [&str; 10] = [
    "max_seq_len",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "enforce_eager",
    "enable_prefix_caching",
    "enable_chunked_prefill",
];

/// The launch behind vLLM's line `Initializing a V1 LLM engine (v0.11.2) with config: model='…', …`.
pub(super) fn built(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let begin = " with config: model=";
    let at = text.find(begin)? + begin.len() - "model=".len();
    let names = std::collections::BTreeMap::new();
    let line = text[at..].lines().next()?;
    let said = Reader::new(line, &names).entries('\n')?;
    let mut words: Vec<String> = vec!["vllm".into(), "serve".into(), said.get("model")?.as_str()?.to_owned()];
    for key in BUILT_WITH {
        let flag = if key == "max_seq_len" { "max-model-len".to_owned() } else { key.replace('_', "-") };
        match said.get(key) {
            Some(Value::Bool(true)) => words.push(format!("--{flag}")),
            Some(Value::Bool(false)) if flag.starts_with("enable-") => words.push(format!("--no-{flag}")),
            Some(Value::String(value)) if value.trim_start_matches('$') != "auto" => {
                let plain = value.trim_start_matches('$');
                words.push(format!("--{flag}={}", plain.strip_prefix("torch.").unwrap_or(plain)));
            }
            Some(value @ Value::Number(_)) => words.push(format!("--{flag}={value}")),
            _ => {}
        }
    }
    let mut told = vec![
        "the launch is read from the engine's line on its configuration, not from a command: flags that the line does not say, \
         --gpu-memory-utilization among them, are taken as left alone"
            .to_owned(),
    ];
    if said.get("speculative_config").is_some_and(|v| !v.is_null()) {
        told.push("the line says speculative_config in a short form: it is not read".to_owned());
    }
    Some((words, told))
}

#[cfg(test)]
mod tests {
    use crate::launch::testing::read;
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn a_list_of_words_in_a_program_is_its_launch() {
        let text = "import modal\nMODEL_NAME = \"org/m\"  # any model\nN_GPU = 2\n\ndef serve():\n    import subprocess\n    cmd = [\n        \"vllm\", \
                    \"serve\",\n        MODEL_NAME,\n        \"--host\", \"0.0.0.0\",\n        \"--tensor-parallel-size\", str(N_GPU),\n    ]\n    if REV:\n        \
                    cmd.extend([\"--revision\", REV])\n    subprocess.Popen(\" \".join(cmd), shell=True)\n";
        assert_eq!(read(text), (Some(EngineKind::Vllm), "org/m".into(), 2));
        let told = Launch::parse(text).problems;
        assert!(told.iter().any(|p| p.contains("adds to `cmd`")), "{told:?}");
        let other = "args = [\"python\", \"-m\", \"sglang.launch_server\", \"--model-path\", model, \"--tp\", \"4\", *extra]\n";
        let l = Launch::parse(other);
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Sglang), 4), "{l:?}");
        assert!(l.problems.iter().any(|p| p.contains("*extra")), "{:?}", l.problems);
        assert_eq!(read("x = [\"python\", \"main.py\", \"--tp\", \"4\"]\n").0, None);
    }

    #[test]
    fn the_engines_line_on_its_configuration_is_its_launch() {
        let text = "(EngineCore_DP0 pid=279) INFO 12-02 15:47:51 [core.py:93] Initializing a V1 LLM engine (v0.11.2rc1+x) with config: model='org/m', \
                    speculative_config=None, tokenizer='org/m', skip_tokenizer_init=False, tokenizer_mode=auto, trust_remote_code=True, \
                    dtype=torch.bfloat16, max_seq_len=8192, load_format=auto, tensor_parallel_size=4, pipeline_parallel_size=1, data_parallel_size=2, \
                    quantization=compressed-tensors, enforce_eager=False, kv_cache_dtype=fp8, device_config=cuda, enable_prefix_caching=False, \
                    enable_chunked_prefill=True, compilation_config={'mode': <CompilationMode.VLLM_COMPILE: 3>, 'debug_dump_path': None}\nnext line\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("org/m")), "{l:?}");
        assert_eq!((GpuLayout::of(&l).gpus(), l.integer(&["max-model-len"])), (8, Some(8192)), "{l:?}");
        assert_eq!(
            (l.text(&["dtype"]), l.text(&["quantization"])),
            (Some("bfloat16"), Some("compressed-tensors"))
        );
        let names: Vec<&str> = l.flags.iter().map(|f| f.0.as_str()).collect();
        assert!(
            names.contains(&"no-enable-prefix-caching") && !names.contains(&"enforce-eager"),
            "{names:?}"
        );
        assert_eq!(l.version.map(|v| v.to_string()).as_deref(), Some("0.11.2"));
    }
}
