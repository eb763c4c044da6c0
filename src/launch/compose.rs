//! What a compose file writes in its own way: variables with defaults in its environment, and `$$` for the `$` of a shell.

use super::defaults::defaulted;
use super::words;

/// Puts defaults in place of the document's variables (`TP: ${TP:-4}`), which are not known here; what is to be told of it.
pub(super) fn take_defaults(env: &mut [(String, String)]) -> Option<String> {
    let mut taken: Vec<String> = Vec::new();
    for (_, value) in env {
        while let Some((name, default, whole)) = defaulted(value) {
            *value = value.replacen(&whole, &default, 1);
            taken.push(format!("{name}={}", words::quote(&default)));
        }
    }
    (!taken.is_empty()).then(|| {
        format!("variables of the document are not known here; their defaults are taken: {}", taken.join(" "))
    })
}

/// A word with `$$` before a name, a brace, a parenthesis or the script's own words (`$$@`) as the `$` that the container gets.
pub(super) fn unescaped(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(at) = rest.find("$$") {
        let behind = rest[at + 2..].chars().next();
        let escaped = behind.is_some_and(|c| c.is_ascii_alphabetic() || "_{(@*#".contains(c));
        out.push_str(&rest[..at]);
        out.push_str(if escaped { "$" } else { "$$" });
        rest = &rest[at + 2..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::unescaped;
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn a_script_behind_a_shell_is_read_with_the_containers_variables() {
        let text = "services:\n  llm:\n    image: x\n    environment:\n      MODEL_ID: ${MODEL_ID:-org/m}\n      TP_SIZE: ${TP_SIZE:-4}\n      \
                    BIG: ${BIG:-1}\n    entrypoint: [\"/bin/bash\", \"-lc\"]\n    command: |\n      set -euo pipefail\n      \
                    if [ \"$${BIG:-0}\" = \"1\" ]; then SEQS=192; else SEQS=64; fi\n      exec vllm serve \"$${MODEL_ID}\" \\\n        \
                    --tensor-parallel-size \"$${TP_SIZE}\" \\\n        --max-num-seqs \"$$SEQS\"\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("org/m")), "{l:?}");
        assert_eq!((GpuLayout::of(&l).gpus(), l.integer(&["max-num-seqs"])), (4, Some(192)), "{l:?}");
        assert!(l.problems.iter().any(|p| p.contains("MODEL_ID=org/m TP_SIZE=4")), "{:?}", l.problems);
        assert!(!l.problems.iter().any(|p| p.contains("condition")), "{:?}", l.problems);
    }

    #[test]
    fn two_dollars_are_one_before_a_name() {
        assert_eq!(unescaped("$${A} $$B $$(c) $$ 5$$"), "${A} $B $(c) $$ 5$$");
        assert_eq!(unescaped("\"$$@\" $$#"), "\"$@\" $#");
    }

    #[test]
    fn a_command_behind_a_script_stands_where_the_script_takes_its_words_in() {
        let text = "services:\n  llm:\n    image: ${VLLM_IMAGE:-vllm/vllm-openai:v0.22.0}\n    entrypoint:\n      - /bin/bash\n      - -c\n      - |\n        if [ \"$${L:-0}\" = \"1\" ]; then\n          \
                    exec vllm serve \"$$@\"\n        else\n          exec vllm serve --disable-custom-all-reduce \"$$@\"\n        fi\n      - --\n    command:\n      \
                    - --override-generation-config\n      - '{\"temperature\":${TEMP:-${TEMPERATURE:-1.0}},\"top_p\":${TOP_P:-0.95}}'\n      - --model\n      - /c/m\n      \
                    - --tensor-parallel-size\n      - \"${TP:-2}\"\n      - --max-model-len\n      - \"${MAX_MODEL_LEN:-${CTX:-4096}}\"\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("/c/m")), "{l:?}");
        assert_eq!((GpuLayout::of(&l).gpus(), l.integer(&["max-model-len"])), (2, Some(4096)), "{l:?}");
        assert_eq!(l.version.map(|v| v.to_string()).as_deref(), Some("0.22.0"));
    }
}
