//! A launch by its engine's arguments: a call in a Python program (`LLM(…)`, `sgl.Engine(…)`), or the line in which an engine
//! prints what it was given (`Namespace(…)`, `server_args=ServerArgs(…)`, `non-default args: {…}`), as issues quote them.

use super::python::{Reader, assigned};
use serde_json::{Map, Value};

/// Where the arguments begin, what closes them, and the program that they are for.
const FORMS: [(&str, char, &[&str]); 9] = [
    ("non-default args: {", '}', VLLM),
    ("Namespace(", ')', VLLM),
    ("ServerArgs(", ')', SGLANG),
    ("AsyncEngineArgs(", ')', VLLM),
    ("EngineArgs(", ')', VLLM),
    ("sgl.Engine(", ')', SGLANG),
    ("sglang.Engine(", ')', SGLANG),
    ("AsyncLLM(", ')', VLLM),
    ("LLM(", ')', VLLM),
];
const VLLM: &[&str] = &["vllm", "serve"];
const SGLANG: &[&str] = &["python3", "-m", "sglang.launch_server", "--model-path"];
const TRTLLM: &[&str] = &["trtllm-serve"];

/// Arguments of the HTTP server, which every printed list holds and no launch depends on.
const FRONT_END: [&str; 12] = [
    "host",
    "port",
    "uvicorn_log_level",
    "allowed_origins",
    "allowed_methods",
    "allowed_headers",
    "response_role",
    "middleware",
    "model_tag",
    "tokenizer",
    "tokenizer_path",
    "seed",
];

/// The words of the launch that a text describes so, and what is to be told of it.
pub(super) fn launch(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    // A chat's quotes: Python refuses them, and what they were to quote is clear.
    let typographic = |c: char| ['“', '”', '‘', '’'].contains(&c);
    let plain = text.replace(['“', '”'], "\"").replace(['‘', '’'], "'");
    let (odd, text) = (text.contains(typographic), plain.as_str());
    let names = assigned(text);
    FORMS.iter().find_map(|(form, close, program)| {
        let at = begins(text, form)?;
        let mut reader = Reader::new(&text[at..], &names);
        let arguments = reader.entries(*close)?;
        let model = ["model", "model_path", "model_tag"].iter().find_map(|k| arguments.get(*k)?.as_str())?;
        let trtllm = *form == "LLM(" && text.contains("tensorrt_llm");
        let program = if trtllm { TRTLLM } else { program };
        let mut words: Vec<String> = program.iter().map(|w| (*w).to_owned()).collect();
        words.push(model.to_owned());
        // A printed list holds every default.
        let printed = matches!(*form, "Namespace(" | "ServerArgs(");
        flags("", &arguments, printed, trtllm, &mut words);
        let call = form.trim_end_matches(['(', '{', ' ']);
        let mut told = vec![format!("the launch is read from the arguments of `{call}`, not from a command")];
        told.extend(spread(&reader, &text[..at]));
        if odd {
            told.push(
                "typographic quotes are no quotes to Python; the text is read as it was meant".to_owned(),
            );
        }
        if form.ends_with("LLM(") || form.ends_with("Engine(") {
            told.push(
                "an engine inside of a program, without its server: nothing of the front end is in its time"
                    .to_owned(),
            );
        }
        Some((words, told))
    })
}

/// What is to be told of tables that a call takes in (`**kwargs`): those that are not known, and those that the program above it
/// changes where a condition may decide.
fn spread(reader: &Reader<'_>, above: &str) -> Vec<String> {
    let unknown =
        reader.unknown.iter().map(|t| format!("`**{t}` is not known here: what it sets is not read"));
    let changes = |line: &str, name: &str| {
        let code = line.trim_start();
        let indented = code.len() < line.len();
        let behind = code.strip_prefix(name).unwrap_or_default();
        (indented && behind.starts_with('[') && behind.contains('=')) || behind.starts_with(".update(")
    };
    let changed = reader.taken.iter().filter(|name| above.lines().any(|l| changes(l, name)));
    unknown
        .chain(
            changed.map(|name| {
                format!("`{name}` is changed further by the program: what that sets is not read")
            }),
        )
        .collect()
}

/// The end of the first place of a form that is no part of a longer name.
fn begins(text: &str, form: &str) -> Option<usize> {
    let named = |c: char| c.is_alphanumeric() || c == '_';
    let whole = |at: usize| !text[..at].ends_with(named);
    text.match_indices(form).find(|(at, _)| whole(*at)).map(|(at, _)| at + form.len())
}

/// The arguments as flags; keys of a table inside are dotted.
fn flags(prefix: &str, arguments: &Map<String, Value>, printed: bool, trtllm: bool, words: &mut Vec<String>) {
    for (key, value) in arguments {
        if prefix.is_empty() && (key == "model" || key == "model_path") || FRONT_END.contains(&key.as_str()) {
            continue;
        }
        let key = match key.as_str() {
            "tensor_parallel_size" if trtllm => "tp_size",
            "pipeline_parallel_size" if trtllm => "pp_size",
            "moe_expert_parallel_size" if trtllm => "ep_size",
            key => key,
        };
        let flag = format!("{prefix}{}", key.replace('_', "-"));
        match value {
            Value::String(text) if printed && (text.is_empty() || text == "auto") => {}
            Value::Array(all) if all.is_empty() => {}
            Value::Object(all) if all.is_empty() => {}
            Value::Bool(true) => words.push(format!("--{flag}")),
            // What is off is so by default, but for what is on unless it is turned off.
            Value::Bool(false)
                if ["enable-prefix-caching", "enable-chunked-prefill", "async-scheduling"]
                    .contains(&flag.as_str()) =>
            {
                words.push(format!("--no-{flag}"));
            }
            Value::Null | Value::Bool(false) => {}
            Value::String(text) => words.push(format!("--{flag}={text}")),
            Value::Object(inner) if trtllm => flags(&format!("{flag}."), inner, printed, trtllm, words),
            other => words.push(format!("--{flag}={other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn arguments_that_an_engine_prints_are_its_launch() {
        let text = "INFO 04-02 api_server.py:712] vLLM API server version 0.6.6\nINFO 04-02 api_server.py:713] args: Namespace(host=None, port=8000, \
                    allowed_origins=['*'], model='/w/UI-TARS', config_format=<ConfigFormat.AUTO: 'auto'>, max_model_len=8192, tensor_parallel_size=2, \
                    block_size=None, enable_prefix_caching=None, gpu_memory_utilization=0.9, enforce_eager=False)";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("/w/UI-TARS")), "{l:?}");
        assert_eq!((l.integer(&["max-model-len"]), GpuLayout::of(&l).gpus()), (Some(8192), 2));
        assert_eq!(l.version.map(|v| v.to_string()).as_deref(), Some("0.6.6"));
        assert!(l.text(&["config-format"]).is_none() && l.text(&["port"]).is_none(), "{:?}", l.flags);
        let text = "[00:19:29] server_args=ServerArgs(model_path='/m/Qwen', quantization='gptq_marlin', mem_fraction_static=0.9, tp_size=2, \
                    disable_cuda_graph=True, dp_size=1, enable_p2p";
        let l = Launch::parse(text);
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Sglang), 2), "{l:?}");
        assert_eq!(l.switch(&["disable-cuda-graph"]), Some(true));
        let text = "(APIServer pid=1) INFO [utils.py:233] non-default args: {'model_tag': '~/m', 'model': '~/m', 'max_model_len': 131072, \
                    'limit_mm_per_prompt': {'image': 2, 'audio': 0}, 'enable_prefix_caching': False}";
        let l = Launch::parse(text);
        assert_eq!(
            (l.model.as_deref(), l.integer(&["max-model-len"])),
            (Some("~/m"), Some(131_072)),
            "{l:?}"
        );
        assert_eq!(
            (l.switch(&["enable-prefix-caching"]), l.text(&["limit-mm-per-prompt"])),
            (Some(false), Some("{\"image\":2,\"audio\":0}"))
        );
    }

    #[test]
    fn a_call_in_a_program_is_a_launch() {
        let text = "from vllm import LLM, SamplingParams\nTP = 4\nllm = LLM(\n    model=\"Qwen/Qwen3-8B\",\n    tensor_parallel_size=TP,\n    \
                    max_model_len=30_000,\n    gpu_memory_utilization=args.util,\n)\n";
        let l = Launch::parse(text);
        assert_eq!(
            (l.engine, l.integer(&["max-model-len"]), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Vllm), Some(30_000), 4),
            "{l:?}"
        );
        assert!(l.problems.iter().any(|p| p.contains("`LLM`")), "{:?}", l.problems);
        let text = "from tensorrt_llm import LLM\nfrom tensorrt_llm.llmapi import KvCacheConfig\nllm = LLM(model='o/m', tensor_parallel_size=8, \
                    kv_cache_config=KvCacheConfig(free_gpu_memory_fraction=0.8))\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Trtllm), 8), "{l:?}");
        assert_eq!(l.text(&["kv-cache-config.free-gpu-memory-fraction"]), Some("0.8"));
        let l = Launch::parse("import sglang as sgl\nllm = sgl.Engine(model_path='o/m', tp_size=2)\n");
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Sglang), 2));
        assert_eq!(Launch::parse("class MyLLM(Base):\n    pass\n").engine, None);
    }

    #[test]
    fn a_table_of_arguments_by_its_name() {
        let text = "from vllm import LLM\nMODEL = \"o/m\"\nkwargs = dict(model=MODEL, dtype=\"bfloat16\",\n              tensor_parallel_size=4)\n\
                    kwargs[\"max_model_len\"] = 4096\nif big:\n    kwargs[\"max_num_seqs\"] = 8\nllm = LLM(**kwargs, **more())\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("o/m")), "{l:?}");
        assert_eq!((GpuLayout::of(&l).gpus(), l.integer(&["max-model-len"])), (4, Some(4096)));
        assert_eq!(l.integer(&["max-num-seqs"]), None);
        for told in ["`kwargs` is changed further", "`**more()` is not known here"] {
            assert!(l.problems.iter().any(|p| p.contains(told)), "{told}: {:?}", l.problems);
        }
        let l = Launch::parse(
            "import sglang as sgl\nargs = {\"model_path\": \"o/m\", \"tp_size\": 2}\nllm = sgl.Engine(**args)\n",
        );
        assert_eq!(
            (l.engine, GpuLayout::of(&l).gpus(), l.problems.len()),
            (Some(EngineKind::Sglang), 2, 2),
            "{l:?}"
        );
    }
}
