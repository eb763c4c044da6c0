//! The public measurements, their groups and the blind third.

use llm_dyno::cost::profile::GroupKey;
use llm_dyno::cost::setup::scenario_of;
use llm_dyno::cost::{Catalogs, Setup};
use llm_dyno::scenario::{Record, read_records};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file of observations.
pub(crate) struct Source {
    pub(crate) file: &'static str,
    /// The first constants of the cost model were made with this set in view.
    pub(crate) seen: bool,
    /// A file of its own holds its blind groups (`scripts/silicon-sample`), so none of this one is.
    pub(crate) apart: bool,
}

pub(crate) const SOURCES: &[Source] = &[
    Source { file: "published-runs.json", seen: true, apart: false },
    Source { file: "silicon-concurrency.json", seen: true, apart: false },
    Source { file: "published-runs-glm.json", seen: false, apart: false },
    Source { file: "published-runs-newer.json", seen: false, apart: false },
    Source { file: "silicon-concurrency-sglang.json", seen: false, apart: false },
    Source { file: "inferencex-runs.json", seen: false, apart: false },
    Source { file: "requests-rtx4090-llama-3.1-8b.json", seen: true, apart: false },
    Source { file: "silicon-open.json", seen: false, apart: true },
    Source { file: "silicon-blind.json", seen: false, apart: true },
    Source { file: "silicon-deepseek.json", seen: false, apart: true },
];

/// Blind by the rule, but told beforehand as a case to mend.
const TOLD: &str = "qwen/qwen3-32b|h100-sxm-80gb|sglang";

/// One observation with what tells where it belongs.
pub(crate) struct Run {
    pub(crate) set: &'static str,
    pub(crate) seen: bool,
    pub(crate) blind: bool,
    /// Of a set whose blind groups lie in a file of their own.
    pub(crate) apart: bool,
    /// Blind until it was scored once: no constant has seen it, the factors of the intervals have.
    pub(crate) opened: bool,
    pub(crate) record: Record,
    /// Model, hardware and engine.
    pub(crate) group: String,
    pub(crate) key: GroupKey,
    pub(crate) devices: u32,
    pub(crate) kind: &'static str,
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// Of the blind third the groups that were never scored: none is left since 2026-11-26.
const STILL_BLIND: [&str; 0] = [];

/// Of the blind third by the rule.
fn was_blind(source: &Source, group: &str) -> bool {
    !source.seen && !source.apart && group != TOLD && fnv(group).is_multiple_of(3)
}

fn group(r: &Record) -> String {
    let engine = r.engine.map_or("", |e| e.id());
    format!("{}|{}|{engine}", r.model.as_deref().unwrap_or(""), r.hardware.as_deref().unwrap_or(""))
        .to_lowercase()
}

/// Dense, experts under grouped-query attention, latent attention, or linear layers.
fn kind(s: &Setup) -> &'static str {
    s.model_kind().id()
}

/// A model that dyno does not know by name is read from its `config.json`.
fn with_config(mut r: Record, dir: &Path, catalogs: &Catalogs) -> Record {
    let Some(name) = r.model.clone() else { return r };
    let config = dir.join("configs").join(name.replace('/', "--"));
    if catalogs.models.find(&name).is_err() && config.is_dir() {
        r.model = Some(config.canonicalize().unwrap_or(config).display().to_string());
    }
    r
}

/// Reads all sets; notes what cannot be read. Blind groups are dropped at once unless `blind`.
pub(crate) fn load(dirs: &[PathBuf], blind: bool, catalogs: &Catalogs) -> (Vec<Run>, Vec<String>) {
    let (mut runs, mut notes) = (Vec::new(), Vec::new());
    for source in SOURCES {
        let Some(dir) = dirs.iter().find(|d| d.join(source.file).is_file()) else { continue };
        let records = match read_records(&dir.join(source.file)) {
            Ok(r) => r,
            Err(e) => {
                notes.push(format!("{}: {e:?}", source.file));
                continue;
            }
        };
        let mut seen = BTreeSet::new();
        for r in records.into_iter().filter(|r| r.result.is_some() && r.model.is_some()) {
            let id = format!("{:?}", (&r.model, &r.hardware, &r.num_gpus, &r.serve_command, &r.workload));
            if !seen.insert(id) {
                continue;
            }
            let group = group(&r);
            let third = was_blind(source, &group);
            let hidden = third && STILL_BLIND.contains(&group.as_str());
            if hidden && !blind {
                continue;
            }
            let record = with_config(r, &dirs[0], catalogs);
            match Setup::new(&scenario_of(&record), catalogs) {
                Ok(s) => runs.push(Run {
                    set: source.file.trim_end_matches(".json"),
                    seen: source.seen,
                    apart: source.apart,
                    blind: hidden,
                    opened: third && !hidden,
                    kind: kind(&s),
                    key: GroupKey::of(&s),
                    devices: s.devices(),
                    record,
                    group,
                }),
                Err(e) => notes.push(format!("{group}: {e}")),
            }
        }
    }
    (runs, notes)
}

/// Runs by group and number of devices.
pub(crate) fn by_launch(runs: &[Run]) -> BTreeMap<String, Vec<&Run>> {
    let mut out: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for r in runs {
        out.entry(format!("{} x{}|{}", r.group, r.devices, r.set)).or_default().push(r);
    }
    out
}

/// The small fit of a group: of closed loops the lowest and the highest concurrency of the length pair with most of
/// them; of bursts three runs of the commonest command (ShareGPT, 2K and 128 tokens, or else short, middle and long).
pub(crate) fn small_fit<'a>(runs: &[&'a Run]) -> (Vec<&'a Run>, Vec<&'a Run>) {
    let closed = |r: &Run| r.record.workload.as_ref().and_then(|w| w.max_concurrency);
    let loops: Vec<&Run> = runs.iter().copied().filter(|r| closed(r).is_some()).collect();
    let chosen: Vec<&Run> = if loops.len() * 2 > runs.len() { of_loops(&loops) } else { of_bursts(runs) };
    let is_chosen = |r: &&&Run| chosen.iter().any(|c| std::ptr::eq(*c, **r));
    let rest: Vec<&Run> = runs.iter().filter(|r| !is_chosen(r)).copied().collect();
    let chosen = runs.iter().filter(is_chosen).copied().collect();
    (chosen, rest)
}

fn of_loops<'a>(loops: &[&'a Run]) -> Vec<&'a Run> {
    let workload = |r: &Run| r.record.workload.clone().expect("a workload");
    let pair = |r: &Run| {
        let w = workload(r);
        format!("{:?}", (w.dataset, w.input_len, w.output_len))
    };
    let concurrency = |r: &Run| workload(r).max_concurrency.unwrap_or(0);
    let count = |p: &str| {
        loops.iter().filter(|r| pair(r) == p).map(|r| concurrency(r)).collect::<BTreeSet<_>>().len()
    };
    let pairs: BTreeSet<String> = loops.iter().map(|r| pair(r)).collect();
    let Some(best) = pairs.iter().max_by_key(|p| count(p)) else { return Vec::new() };
    let mut of_pair: Vec<&'a Run> = loops.iter().copied().filter(|r| pair(r) == *best).collect();
    of_pair.sort_by_key(|r| concurrency(r));
    let (Some(low), Some(high)) = (of_pair.first().copied(), of_pair.last().copied()) else {
        return Vec::new();
    };
    vec![low, high]
}

fn of_bursts<'a>(runs: &[&'a Run]) -> Vec<&'a Run> {
    let command = |r: &Run| r.record.serve_command.clone().unwrap_or_default();
    let commands: BTreeSet<String> = runs.iter().map(|r| command(r)).collect();
    let count = |c: &str| runs.iter().filter(|r| command(r) == c).count();
    let Some(best) = commands.iter().max_by_key(|c| (count(c), std::cmp::Reverse(c.len()))) else {
        return Vec::new();
    };
    let mut of_best: Vec<&'a Run> = runs.iter().copied().filter(|r| command(r) == *best).collect();
    let name = |r: &Run| {
        let w = r.record.workload.as_ref();
        w.map_or(String::new(), |w| format!("{}/{}", w.dataset.id(), w.input_len.unwrap_or(0)))
    };
    let usual: Vec<&'a Run> = ["sharegpt/0", "random/2000", "random/128"]
        .iter()
        .filter_map(|n| of_best.iter().copied().find(|r| name(r) == *n))
        .collect();
    if usual.len() == 3 {
        return usual;
    }
    of_best.sort_by_key(|r| r.record.workload.as_ref().and_then(|w| w.input_len).unwrap_or(220));
    match of_best.len() {
        0..=3 => of_best.into_iter().take(2).collect(),
        n => vec![of_best[0], of_best[n / 2], of_best[n - 1]],
    }
}
