//! The release that wrote a log, and which of the flags that advice names it does not have.

use super::text::Line;
use crate::launch::{EngineKind, Version};
use crate::space::{Flag, Space, Span};
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// So many lines from the beginning of a log may name the release.
const HEAD: usize = 2000;

/// The release as the log names it; none where it does not.
pub(super) fn of(lines: &[Line]) -> Option<Version> {
    static RELEASE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"vLLM API server version v?(\d+\.\d+(?:\.\d+)?)|LLM engine \(v(\d+\.\d+(?:\.\d+)?)|TensorRT-LLM version: (\d+\.\d+(?:\.\d+)?)|sglang(?:==|-| version:? ?v?)(\d+\.\d+(?:\.\d+)?)",
        )
        .expect("constant")
    });
    let found = lines.iter().take(HEAD).find_map(|l| RELEASE.captures(&l.text))?;
    found.iter().skip(1).flatten().next()?.as_str().parse().ok()
}

/// The tables of all engines; an engine without one has no flags to check.
static TABLES: LazyLock<BTreeMap<EngineKind, Space>> = LazyLock::new(|| {
    let all = Space::load_all(None).unwrap_or_default();
    all.into_iter().map(|s| (s.engine, s)).collect()
});

fn dashed(name: &str) -> String {
    name.trim_start_matches('-').replace('_', "-")
}

/// When this engine has the flag under this very name; none where the table does not know the name.
fn span(engine: EngineKind, name: &str) -> Option<Span> {
    let name = dashed(name);
    let own = |f: &Flag| (dashed(&f.name) == name).then_some(f.span);
    let other = |f: &Flag| f.aliases.iter().find(|a| dashed(&a.name) == name).map(|a| a.span);
    TABLES.get(&engine)?.flags.iter().find_map(|f| own(f).or_else(|| other(f)))
}

/// Whether this release lacks the flag: why, in a few words. A flag that the table does not know is not judged.
pub(super) fn lacks(engine: EngineKind, version: Version, name: &str) -> Option<String> {
    let table = TABLES.get(&engine)?;
    // Of a release older than the table nothing is known but what came later.
    let span = span(engine, name)?;
    match (span.since, span.removed) {
        (Some(since), _) if version < since && since > table.oldest => Some(format!("since {since}")),
        (_, Some(removed)) if version >= removed => Some(format!("gone since {removed}")),
        _ => None,
    }
}

/// The advice with a word on each flag that this release does not have.
pub(super) fn annotated(next: String, engine: Option<EngineKind>, version: Option<Version>) -> String {
    static FLAG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"--[a-z][a-z0-9_-]+").expect("constant"));
    let (Some(engine), Some(version)) = (engine, version) else { return next };
    let mut absent: Vec<String> = Vec::new();
    for flag in FLAG.find_iter(&next).map(|m| m.as_str().trim_end_matches('-')) {
        if let Some(when) = lacks(engine, version, flag).map(|w| format!("{flag} {w}"))
            && !absent.contains(&when)
        {
            absent.push(when);
        }
    }
    if absent.is_empty() {
        return next;
    }
    format!("{next} (release {version} does not have {})", absent.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::failure::text;

    #[test]
    fn the_release_is_read_and_flags_are_held_against_it() {
        let v = |log: &str| of(&text::lines(log, 1)).map(|v| v.to_string());
        assert_eq!(
            v("(APIServer pid=1) INFO 11-14 08:12:01 [api.py:1] vLLM API server version 0.10.2").as_deref(),
            Some("0.10.2")
        );
        assert_eq!(v("[TensorRT-LLM] TensorRT-LLM version: 1.0.0rc4").as_deref(), Some("1.0.0"));
        assert_eq!(v("nothing"), None);
        // Every flag of the tables: absent before its first release, there in it.
        for (engine, table) in &*TABLES {
            for f in table.flags.iter().filter(|f| f.span.since.is_some_and(|s| s > table.oldest)) {
                let since = f.span.since.unwrap();
                assert!(lacks(*engine, table.oldest, &f.name).is_some(), "{engine} {}", f.name);
                assert_eq!(lacks(*engine, since, &f.name), None, "{engine} {}", f.name);
            }
        }
    }

    /// Flags that advice names and no search space carries, by engine, read in the engines' own argument parsers (vLLM 0.11 to
    /// 0.33, SGLang 0.5.9, TensorRT-LLM 1.0 to 1.2); those of docker, mpirun and tools that stand beside them.
    const ELSEWHERE: [(Option<EngineKind>, &str); 4] = [
        (
            Some(EngineKind::Vllm),
            "chat-template enable-lora engine-command headless kv-transfer-config limit-mm-per-prompt lora-modules master-addr \
             master-port max-lora-rank max-parallel-loading-workers model-impl reasoning-parser tool-call-parser",
        ),
        (
            Some(EngineKind::Sglang),
            "chat-template cpu-offload-gb disaggregation-bootstrap-port disaggregation-ib-device disaggregation-mode \
             disaggregation-transfer-backend dist-init-addr dist-timeout enable-hierarchical-cache enable-lora enable-multimodal \
             engine-command grammar-backend hicache-ratio hicache-size lora-target-modules max-lora-rank max-mamba-cache-size \
             model-impl moe-dense-tp-size nccl-port nnodes node-rank reasoning-parser sampling-backend skip-server-warmup",
        ),
        (Some(EngineKind::Trtllm), "chat-template engine-command max-input-len"),
        (
            None,
            "allow-run-as-root entrypoint force-download gpu-reset gpus ipc mpi oversubscribe pid shm-size version world-size",
        ),
    ];

    #[test]
    fn advice_names_only_flags_that_the_engine_has() {
        let known = |engine: EngineKind, flag: &str| {
            let table = &TABLES[&engine];
            let neutral = table.neutral.iter().any(|n| dashed(n) == flag);
            let lists = ELSEWHERE.iter().filter(|(e, _)| e.is_none_or(|e| e == engine));
            table.flag(flag).is_some()
                || neutral
                || lists.flat_map(|(_, l)| l.split_whitespace()).any(|f| f == flag)
        };
        let flags = Regex::new(r"--([a-z][a-z0-9_-]+)").unwrap();
        for cause in crate::engine::failure::causes::all() {
            for engine in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm] {
                let text = cause.own_advice(engine);
                for found in flags.captures_iter(text) {
                    let flag = dashed(found[1].trim_end_matches('-'));
                    assert!(known(engine, &flag), "{}: {engine} has no --{flag}: {text}", cause.id);
                }
            }
        }
    }

    #[test]
    fn advice_says_which_flag_this_release_does_not_have() {
        let old = "0.10.0".parse().unwrap();
        let text = annotated("take another --attention-backend".into(), Some(EngineKind::Vllm), Some(old));
        assert!(text.contains("0.10.0 does not have --attention-backend since"), "{text}");
        let told = annotated("lower --max-num-seqs".into(), Some(EngineKind::Vllm), Some(old));
        assert_eq!(told, "lower --max-num-seqs");
    }
}
