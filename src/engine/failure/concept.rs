//! What an exception is about that no known text covers: by where it was raised, by its words, by its type.
//!
//! Engines raise thousands of messages, and a log shows one of them once. But their words come from few concepts (a pool that
//! is full, ranks that do not find each other, a setting that excludes another), and their code keeps one subject a directory.
//! What was read this way is no quotation: the text of the exception stays the root cause, and where words and place say
//! nothing the class stays `unknown`. Once a server answers requests only the words decide, since a check that fails then is
//! the engine's own fault more often than the user's.

use super::causes::{self, Cause};
use super::found::Found;
use super::place::{self, INNERMOST, Subject};
use super::text::Line;
use regex::Regex;
use std::sync::LazyLock;

/// The finding with the cause that its place and words tell, and with the place itself.
pub(super) fn understood(lines: &[Line], found: Found, serves: bool) -> Found {
    let frames = place::frames(lines, found.at);
    let found = Found { place: place::named(&frames), subject: place::subject(&frames), ..found };
    if found.weak {
        return found;
    }
    let told = found.cause.map_or("", |c| c.id);
    let id = match told {
        "cuda-error" | "weights-do-not-fit" => by_place(&frames, &found.text),
        "" | "trtllm-assertion" => by_place(&frames, &found.text)
            .or_else(|| by_words(&found.text, serves))
            .or_else(|| if serves { None } else { by_type(&frames, &found.text) })
            .or_else(|| if serves { None } else { by_subject(&frames, &found.text) }),
        _ => None,
    };
    match id.and_then(causes::by_id) {
        Some(cause) => with(found, cause),
        None => found,
    }
}

fn with(found: Found, cause: &'static Cause) -> Found {
    Found { class: cause.class, cause: Some(cause), ..found }
}

/// When the words of a row count.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    Always,
    /// Only before the server answers.
    Start,
}
use When::{Always, Start};

/// Two patterns that must both be found, the cause that they tell, and when.
type Text = (&'static str, &'static str, &'static str, When);

/// The same, compiled.
struct Row {
    first: Regex,
    second: Regex,
    id: &'static str,
    when: When,
}

fn table(rows: &[Text]) -> Vec<Row> {
    let regex = |p: &str| Regex::new(p).expect("constant");
    rows.iter().map(|(a, b, id, when)| Row { first: regex(a), second: regex(b), id, when: *when }).collect()
}

/// Code that reads and checks the engine's settings.
const CHECKS: &str = r"arg_utils\.py|server_args\.py|llm_args\.py|envs\.py|vllm/config|parse_(?:yaml|args)|__post_init__|verify_and_update";

/// A place and a text that together name a known cause.
const PLACES: &[Text] = &[
    (
        r"(?i)\bipc\w*|_ipc|ipc_|custom_all_?reduce|all_?reduce",
        r"(?i)invalid ?(?:device|argument|resource)|peer",
        "peer-access",
        Always,
    ),
    (
        r"(?i)eagle|medusa|_mtp|spec_decode|speculative|draft",
        r"(?i)shapes? |size of tensor|^AssertionError|^KeyError|ForCausalLM' object has no attribute|^ValueError: There is no module",
        "draft-mismatch",
        Always,
    ),
    // A name that a module or class should have: its package is of another version.
    (r"", r"^AttributeError: (?:type object|module) '[\w.]+' has no attribute", "package-mismatch", Always),
    (
        r"(?i)disaggregation/|kv_transfer|kv_connector",
        r"(?i)does not support|not supported|must be the same|different \w+ sizes?",
        "kv-connector",
        Always,
    ),
    (
        r"tokenization_|/tokenizers?/|get_tokenizer",
        r"^(?:Key|Type|Attribute|Value|Index|UnicodeDecode)Error|^Exception: ",
        "tokenizer",
        Always,
    ),
    (
        r"(?i)weight_loader|load_weights|load_model",
        r"(?i)shapes? .*(?:match|mismatch)|shape mismatch|size of tensor .* must match|loaded_weight",
        "weights-do-not-fit",
        Always,
    ),
    (r"(?i)attention|attn", r"^NotImplementedError", "backend", Always),
    (r"(?i)quantiz", r"^(?:NotImplemented|Value)Error", "quantisation", Always),
    (r"/models/\w+\.py", r"^NotImplementedError", "architecture", Always),
    // The engine's own code of this model does not go together.
    (
        r"/models/\w+\.py",
        r"^TypeError: .*(?:__init__\(\)|<lambda>\(\)) (?:got an unexpected|missing)",
        "architecture",
        Always,
    ),
    (
        r"weight_loader|load_weights|weight_utils|model_loader/",
        r"^(?:Key|Attribute|Assertion|Value|Type)Error",
        "weights-do-not-fit",
        Always,
    ),
    (
        r"(?i)configuration_auto|config|registry|mapping",
        r"^KeyError: '[A-Za-z][\w.-]*'$",
        "architecture-key",
        Always,
    ),
    (
        r"(?i)transformers/|configuration_|rope",
        r"^(?:Key|Attribute|Type|Assertion|Value)Error",
        "package-mismatch",
        Always,
    ),
    (
        CHECKS,
        r"(?:^(?:Value|Assertion|Type|NotImplemented)Error|^Value error).*\b(?:with|when|and|both|together|requires?|than)\b",
        "settings-together",
        Always,
    ),
    (CHECKS, r"^(?:Value|Assertion|Type|NotImplemented)Error|^Value error", "setting", Always),
    (
        r"torch/_inductor|torch/_dynamo|/compilation/|triton/(?:compiler|backends|runtime)|flashinfer/jit|cpp_extension|deep_gemm",
        r"",
        "compile",
        Always,
    ),
];

/// The place and the text together name a known cause.
fn by_place(frames: &[&str], text: &str) -> Option<&'static str> {
    static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| table(PLACES));
    let found = TABLE.iter().find(|row| {
        // A draft model is loaded by the same code as any other: its worker stands far out.
        let near = if row.id == "draft-mismatch" { frames.len() } else { INNERMOST };
        row.second.is_match(text) && frames.iter().take(near).any(|f| row.first.is_match(f))
    });
    found.map(|row| row.id)
}

/// Words of a refusal.
const REFUSES: &str = r"(?i)\bnot\b|n't\b|unsupported|\bonly\b|\bmust\b|\bshould\b|\brequires?\b|\bneeds?\b|expect|mismatch|invalid|incompatib|differ|fail|missing|cannot|unknown|exceed|assert|!=|\bno\b|error";

/// Words of something that is too small or used up.
const LACKS: &str = r"(?i)not enough|insufficient|no (?:more|free|available|remaining|space)|out of (?:memory|space|slots|blocks)|r[au]ns? out|exhaust|too small|(?:can ?not|can't|could not|unable to|fail\w* to) (?:re)?(?:alloc|reserve)|alloc\w* (?:fail|error)|try to increase";

/// The words of one concept; what is said most exactly comes first.
const WORDS: &[Text] = &[
    (
        r"(?i)workspace|AlignedAllocator",
        r"(?i)fail|too small|not enough|alloc|increase|exceed",
        "workspace",
        Always,
    ),
    (r"(?i)\b(?:host|cpu|system|pinned)[ _-]?(?:memory|ram)\b", LACKS, "host-memory", Always),
    (r"(?i)mamba|\bssm\b|conv[ _]?state|recurrent state", LACKS, "mamba-blocks", Always),
    (
        r"(?i)\breq\w*[ _](?:slots?|pool)|(?:request|sequence) slots?|req_to_token",
        LACKS,
        "request-slots",
        Always,
    ),
    (r"(?i)\bkv\b|cache|\bblocks?\b|\bpages?\b|token[ _](?:pool|slots)", LACKS, "kv-pool-exhausted", Always),
    (r"(?i)memory|alloc", LACKS, "out-of-memory", Always),
    (r"(?i)integrity|checksum|sha256|corrupt|truncat", "", "damaged-weights", Start),
    (
        r"(?i)\w+-smi\b|\bdrivers?\b|\bno (?:\w+ )?(?:gpus?|devices?|accelerators?)\b",
        REFUSES,
        "no-device",
        Start,
    ),
    (r"(?i)not installed|pip install|install it", "", "missing-library", Start),
    (r"(?i)\bmust (?:set|specify|provide|give)\b", "", "setting", Start),
    (
        r"(?i)versions? mismatch|(?:incompatible|mismatched|wrong) versions?|versions? (?:do(?:es)? not match|differ|is too|is incompatible)|requires? [\w-]+ ?(?:>=|==|<|~=)",
        "",
        "package-mismatch",
        Start,
    ),
    (
        r"(?i)load|start|initiali[sz]|\bready\b|warm",
        r"(?i)timed? ?out|did(?:n't| not) finish|too long|slow node",
        "start-limit",
        Start,
    ),
    (r"(?i)placement group|bundles?\b.*\bGPU", REFUSES, "cluster-resources", Start),
    (
        r"(?i)\bdraft|specul|eagle|medusa|\bmtp\b|lookahead|num_nextn|aux_hidden|dflash|\bngram",
        REFUSES,
        "draft-mismatch",
        Start,
    ),
    (
        r"(?i)\b(?:tp|dp|pp|ep|cp)_?size\b|tensor[ _-](?:model[ _-])?parallel|world[ _]size|num_(?:\w+_)?heads|expert[ _-]parallel|nranks|multiples? of\b|divisib|evenly",
        r"(?i)divi[sd]|multiple|%|even|equal|match|must|larger|smaller|greater|exceed|[<>!=]=",
        "parallel-size",
        Start,
    ),
    (r"(?i)\blora|\badapters?\b", REFUSES, "lora", Start),
    (
        r"(?i)compute capab|device capab|\bsm[_ ]?\d\d|gfx\d|cuda arch|\bhopper|\bblackwell|\bampere",
        REFUSES,
        "gpu",
        Start,
    ),
    (
        r"(?i)quant|\bfp[48]\b|\bint[48]\b|\bawq\b|gptq|w\d+a\d+|weight_scale|cutlass|gemm\b",
        REFUSES,
        "quantisation",
        Start,
    ),
    (
        r"(?i)connector|kv[ _-]?(?:transfer|offload)|(?:prefill|decode) server|mooncake|nixl|lmcache|hybrid (?:kv|models?)",
        REFUSES,
        "kv-connector",
        Start,
    ),
    (r"(?i)kv[ _]cache (?:spec|layout|group|type)|page_size|block_size", REFUSES, "kv-layout", Start),
    (r"(?i)backend|head[_ ]?(?:dim|size)|attention|\battn|\bmla\b|flash|kernel", REFUSES, "backend", Start),
    (
        r"(?i)weights?\b|checkpoint|\bshards?\b|state_dict|safetensors|for parameter|original.*shape|shape.*original",
        r"(?i)shape|size|missing|not found|mismatch|unexpected|corrupt|incomplete|differ|duplicate|in weights|same|updated",
        "weights-do-not-fit",
        Start,
    ),
    (
        r"(?i)nccl|gloo|nvshmem|\bibv_|rdma|\bucx\b|rendezvous|\bGCS\b|process group|broadcast|all_?(?:reduce|gather)|collective|barrier|\branks?\b|\bpeers?\b|socket|connect",
        // The name of the exception's type is no word of its message.
        r"(?i)fail|time|refus|clos|unreach|lost|\berrors?\b|not (?:respond|reach|initial)|before|dead|gone",
        "ranks",
        Always,
    ),
    (
        r"(?i)\bconfig\w*|tokenizer|processor",
        r"(?i)fail\w* to (?:load|read|find)|(?:can ?not|can't|could not) (?:load|find|read)",
        "missing-file",
        Start,
    ),
    (
        r"(?i)no such file|not found|does not exist|cannot open|can ?not find|could not find|(?:is|are) empty|not a directory",
        r"(?i)\bfiles?\b|\bpaths?\b|director|folder|\.\w{2,5}\b|/",
        "missing-file",
        Start,
    ),
    (
        r"(?i)\b(?:json|yaml|proto\w*|toml|pbtxt)\b",
        r"(?i)pars|decod|syntax|malformed|invalid|read",
        "broken-json",
        Start,
    ),
    (
        r"(?i)architectur|model[ _]type|hf_config|activation function|Unsupported activation|model class|\bmodel\b",
        r"(?i)unsupported|not (?:yet |currently )?(?:supported|implemented|known|registered)|unknown|unrecogni|does(?:n't| not) (?:support|have)",
        "architecture",
        Start,
    ),
    (r"--[a-z][\w-]{2,}", REFUSES, "settings-together", Start),
    (
        r"(?i)\b[a-z]+(?:_[a-z0-9]+)+\b",
        r"(?i)^(?:\w*\.)*(?:ValueError|AssertionError|ValidationError|NotImplementedError).*\b(?:must|should|requires?|cannot|can't|only|invalid|exceeds?|at least|at most|enabled?|disabled?|supported)\b.*\b(?:with|when|both|together|unless|if)\b",
        "settings-together",
        Start,
    ),
    (
        r"(?i)\b[a-z]+(?:_[a-z0-9]+)+\b",
        r"(?i)^(?:\w*\.)*(?:ValueError|ValidationError).*\b(?:must|should|requires?|cannot|can't|only|invalid|exceeds?|at least|at most|supported)\b",
        "setting",
        Start,
    ),
];

/// The concept that the words of an exception speak of.
fn by_words(text: &str, serves: bool) -> Option<&'static str> {
    static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| table(WORDS));
    // Of a path only the file's name is about anything: engines are built under `/workspace`.
    static DIRECTORIES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:/[\w.+-]+)+/").expect("constant"));
    let text = &*DIRECTORIES.replace_all(text, "/");
    let counts =
        |row: &Row| (row.when == Always || !serves) && row.first.is_match(text) && row.second.is_match(text);
    TABLE.iter().find(|row| counts(row)).map(|row| row.id)
}

/// Types of exceptions, with their text.
const TYPES: &[Text] = &[
    (r"'NoneType' object|'NoneType'", "", "", Start),
    (
        r"^(?:Attribute|Type|Name)Error: .*(?:has no attribute|unexpected keyword|required positional|positional arguments? but|is not defined|not subscriptable)",
        "",
        "package-mismatch",
        Start,
    ),
    (r"^(?:FileNotFound|NotADirectory|IsADirectory)Error|^OSError", "", "missing-file", Start),
    (r"^(?:\w+\.)*(?:Connection\w*Error|BrokenPipeError|ConnectionError)", "", "ranks", Start),
    (r"^(?:\w+\.)*(?:TimeoutError|TimeoutException)", "", "start-limit", Start),
];

/// The type of the exception says what kind of fault it is.
fn by_type(frames: &[&str], text: &str) -> Option<&'static str> {
    static TABLE: LazyLock<Vec<Row>> = LazyLock::new(|| table(TYPES));
    let id = TABLE.iter().find(|row| row.first.is_match(text))?.id;
    // What is missing in a file of the model's own code is not for the packages to bring.
    (!id.is_empty() && !frames.is_empty()).then_some(id)
}

/// The part of the engine whose own check failed while it started.
fn by_subject(frames: &[&str], text: &str) -> Option<&'static str> {
    static CHECK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:\w+\.)*(?:Assertion|Value|Runtime|NotImplemented|Key|Index|Type)Error")
            .expect("constant")
    });
    let subject = place::subject(frames).filter(|_| CHECK.is_match(text))?;
    Some(match subject {
        Subject::Lora => "lora",
        Subject::Speculation => "draft-mismatch",
        Subject::Compilation => "compile",
        Subject::KvTransfer => "kv-connector",
        Subject::KvCache => "kv-layout",
        Subject::Quantisation => "quantisation",
        Subject::Experts | Subject::Attention => "backend",
        Subject::Weights => "weights-do-not-fit",
        Subject::Parallel if text.starts_with("AssertionError") => "parallel-size",
        Subject::Parallel => "ranks",
        Subject::Multimodal | Subject::Structured => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_that_words_or_a_place_name_is_known() {
        let at = |frame: &str, text: &str| {
            let frames = [frame];
            by_place(&frames, text)
                .or_else(|| by_words(text, false))
                .or_else(|| by_type(&frames, text))
                .or_else(|| by_subject(&frames, text))
        };
        for (frame, text, want) in [
            ("", "RuntimeError: the state pool of mamba layers is exhausted", "mamba-blocks"),
            ("", "RuntimeError: could not allocate 12 pages for the zork", "kv-pool-exhausted"),
            ("", "RuntimeError: rank 3 lost its peer", "ranks"),
            (
                "File \"x/y.py\", line 3, in f",
                "AttributeError: type object 'Zork' has no attribute 'of'",
                "package-mismatch",
            ),
            (
                "File \"x/srt/disaggregation/nixl/conn.py\", line 3, in f",
                "RuntimeError: this model does NOT support different TP sizes",
                "kv-connector",
            ),
            ("", "ValueError: zork_size must be at least 4", "setting"),
            ("", "ValueError: enable_zork cannot be set when zork_mode is off", "settings-together"),
            ("File \"x/vllm/lora/layers.py\", line 3, in f", "AssertionError", "lora"),
            (
                "File \"x/vllm/v1/core/kv_cache_utils.py\", line 3, in f",
                "AssertionError: assert a == b",
                "kv-layout",
            ),
            (
                "File \"x/y.py\", line 3, in f",
                "TypeError: f() got an unexpected keyword argument 'zork'",
                "package-mismatch",
            ),
        ] {
            assert_eq!(at(frame, text), Some(want), "{text}");
            assert!(causes::by_id(want).is_some(), "{want}");
        }
    }

    #[test]
    fn a_server_that_answers_is_read_by_few_words_alone() {
        assert_eq!(by_words("ValueError: zork_size must be at least 4", true), None);
        assert_eq!(by_words("AssertionError: assert zork_socket is not None", false), None);
        assert_eq!(by_words("RuntimeError: no free blocks left", true), Some("kv-pool-exhausted"));
    }
}
