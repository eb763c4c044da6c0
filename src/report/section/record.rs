//! The raw results, folded: one block a launch, in the form that `vllm bench serve` prints.

use super::super::block::block;
use super::super::doc::{Block, Section, code, text};
use super::super::subject::Subject;
use super::super::words::{count, duration, number};
use crate::store::TrialLine;
use crate::trial::{Measured, Outcome};
use std::fmt::Write;

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    if s.trials.is_empty() {
        return None;
    }
    let all = s.trials.iter().map(|t| trial(s, t)).collect();
    let fold = Block::Fold { summary: text![count(s.trials.len(), "launch", "launches")], blocks: all };
    Some(Section { id: "raw", title: "Raw results", blocks: vec![fold] })
}

fn trial(s: &Subject<'_>, t: &TrialLine) -> Block {
    let failed = if matches!(t.result.outcome, Outcome::Failed { .. }) { ", failed" } else { "" };
    let summary = text![
        format!("Launch {}, {}: ", t.seq, t.stage),
        code(t.result.spec.candidate.label()),
        format!("{failed} ({})", duration(t.result.wall_s)),
    ];
    let mut blocks = Vec::new();
    if let Some(command) = Subject::launched(t) {
        blocks.push(Block::Code { language: "sh", text: command });
    }
    if let Some(f) = Subject::facts(t) {
        let mut words = format!("Ready after {} s.", number(f.startup_s));
        for key in ["num_kv_tokens", "num_gpu_blocks", "max_num_seqs", "max_num_batched_tokens"] {
            if let Some(v) = f.resolved.get(key) {
                let _ = write!(words, " {key} = {v}.");
            }
        }
        blocks.push(Block::Para(text![words]));
    }
    for m in Subject::runs(t) {
        blocks.push(Block::Para(text![head(s, m)]));
        let text = m.observation.result.as_ref().map(block).unwrap_or_default();
        if !text.is_empty() {
            blocks.push(Block::Code { language: "text", text });
        }
    }
    Block::Fold { summary, blocks }
}

fn head(s: &Subject<'_>, m: &Measured) -> String {
    let name = s.run.plan.workloads.iter().find(|w| w.spec.same_kind(&m.workload));
    let mut out = name.map_or("a probe of the cost model", |w| &w.name).to_owned();
    if let Some(seed) = m.workload.seed {
        let _ = write!(out, ", seed {seed}");
    }
    let _ = write!(out, ", repeat {}", m.repeat);
    if let Some(hits) = m.cache_hit_ratio {
        let _ = write!(out, ", prefix cache hits {:.2} %", 100.0 * hits);
    }
    if !m.invalid.is_empty() {
        let _ = write!(out, ", not used: {}", m.invalid.join("; "));
    }
    if !m.doubts.is_empty() {
        let _ = write!(out, ", in doubt: {}", m.doubts.join("; "));
    }
    out
}
