//! The known causes: for each its text in logs, its class, how much its text alone decides, and what helps.
//!
//! Sources: the releases' own texts (vLLM 0.6 to 0.33, SGLang 0.3 to 0.5.23, TensorRT-LLM 0.5 to 1.3), PyTorch's,
//! Triton's, NCCL's and Open MPI's messages, public reports of users, and logs of real failures of vLLM 0.32 on a CPU.
//! A cause is finer than its class: several causes of one class need different advice.

mod arguments;
mod device;
mod distributed;
mod files;
mod memory;
mod runtime;
mod support;
mod toolchain;

use super::Class;
use crate::launch::EngineKind;
use regex::RegexSet;
use std::sync::LazyLock;

/// How much a text says about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Why.
    Cause,
    /// What it did, in words that many causes share (`InductorError`, `NCCL error`): a [`Rank::Cause`] near it
    /// says more, wherever it stands.
    Symptom,
    /// What one process saw of the death of another: an exception above it says more, known or not.
    Echo,
    /// That something went wrong, with the reason below it or in the same line.
    Opener,
    /// That something went wrong, with the reason above it; what follows is of no account.
    Closer,
}

/// One known cause.
#[derive(Debug)]
pub(super) struct Cause {
    pub(super) id: &'static str,
    pub(super) class: Class,
    pub(super) rank: Rank,
    /// Written by this engine alone.
    engine: Option<EngineKind>,
    patterns: &'static [&'static str],
    /// What to do: for any engine, and where an engine has words of its own for it.
    next: &'static str,
    vllm: &'static str,
    sglang: &'static str,
    trtllm: &'static str,
    /// Programs that are no engines fail with the same words: it counts only in an engine's log.
    pub(super) common: bool,
    /// Whether the remedies that the engine lists below may be believed: some lists are printed for any error.
    pub(super) quotes: bool,
}

const fn cause(id: &'static str, class: Class, patterns: &'static [&'static str]) -> Cause {
    Cause {
        id,
        class,
        rank: Rank::Cause,
        engine: None,
        patterns,
        next: "",
        vllm: "",
        sglang: "",
        trtllm: "",
        common: false,
        quotes: true,
    }
}

impl Cause {
    const fn rank(mut self, rank: Rank) -> Self {
        self.rank = rank;
        self
    }
    const fn only(mut self, engine: EngineKind) -> Self {
        self.engine = Some(engine);
        self
    }
    const fn next(mut self, text: &'static str) -> Self {
        self.next = text;
        self
    }
    const fn vllm(mut self, text: &'static str) -> Self {
        self.vllm = text;
        self
    }
    const fn sglang(mut self, text: &'static str) -> Self {
        self.sglang = text;
        self
    }
    const fn trtllm(mut self, text: &'static str) -> Self {
        self.trtllm = text;
        self
    }
    const fn common(mut self) -> Self {
        self.common = true;
        self
    }
    const fn unquoted(mut self) -> Self {
        self.quotes = false;
        self
    }

    /// What was written for this engine alone.
    #[cfg(test)]
    pub(super) fn own_advice(&self, engine: EngineKind) -> &'static str {
        match engine {
            EngineKind::Vllm | EngineKind::Emulated => self.vllm,
            EngineKind::Sglang => self.sglang,
            EngineKind::Trtllm => self.trtllm,
        }
    }

    /// What to do about it with this engine; empty when the class says all there is to say.
    pub(super) fn advice(&self, engine: Option<EngineKind>) -> &'static str {
        let own = match engine {
            Some(EngineKind::Vllm | EngineKind::Emulated) => self.vllm,
            Some(EngineKind::Sglang) => self.sglang,
            Some(EngineKind::Trtllm) => self.trtllm,
            None => "",
        };
        match (own, self.next) {
            ("", "") if engine.is_none() => self.vllm,
            ("", next) => next,
            (own, _) => own,
        }
    }
}

/// All families in the order in which they are asked: what is said most exactly comes first.
static ALL: LazyLock<Vec<&'static Cause>> = LazyLock::new(|| {
    [
        memory::CAUSES,
        arguments::CAUSES,
        support::CAUSES,
        arguments::COMBINATIONS,
        device::CAUSES,
        toolchain::CAUSES,
        files::CAUSES,
        distributed::CAUSES,
        runtime::CAUSES,
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// Patterns of all causes, and the cause of each.
static SET: LazyLock<(RegexSet, Vec<&'static Cause>)> = LazyLock::new(|| {
    let rows = || ALL.iter().flat_map(|c| c.patterns.iter().map(move |p| (*p, *c)));
    let set = regex::RegexSetBuilder::new(rows().map(|(p, _)| p))
        .size_limit(64 << 20)
        .dfa_size_limit(64 << 20)
        .build()
        .expect("constant");
    (set, rows().map(|(_, c)| c).collect())
});

/// All of them.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static Cause> {
    ALL.iter().copied()
}

/// The cause of this id.
pub(super) fn by_id(id: &str) -> Option<&'static Cause> {
    ALL.iter().copied().find(|c| c.id == id)
}

/// The first cause whose text stands in this line, for this engine.
pub(super) fn first(text: &str, engine: Option<EngineKind>) -> Option<&'static Cause> {
    // The embedded engine speaks as vLLM does.
    let engine = engine.map(|e| if e == EngineKind::Emulated { EngineKind::Vllm } else { e });
    let fits = |only: Option<EngineKind>| only.is_none() || engine.is_none() || only == engine;
    let (set, causes) = &*SET;
    set.matches(text).iter().map(|i| causes[i]).find(|c| fits(c.engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_kebab_case_and_no_names_of_other_classes() {
        for (i, a) in ALL.iter().enumerate() {
            assert!(
                a.id.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()),
                "{}",
                a.id
            );
            assert!(ALL[i + 1..].iter().all(|b| a.id != b.id), "{}", a.id);
            assert!(Class::ALL.iter().all(|c| c.id() != a.id || *c == a.class), "{}", a.id);
        }
    }

    #[test]
    fn advice_names_flags_of_the_engine_asked() {
        for cause in ALL.iter() {
            for engine in [EngineKind::Sglang, EngineKind::Trtllm] {
                let text = cause.advice(Some(engine));
                for foreign in
                    ["--max-num-seqs", "--enforce-eager", "--gpu-memory-utilization", "--max-model-len"]
                {
                    assert!(!text.contains(foreign), "{} for {engine}: {text}", cause.id);
                }
            }
        }
    }
}
