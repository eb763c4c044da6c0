//! `recommendation.json`: the conclusion for programs. The file's schema (`schemas/recommendation.json`) is that of
//! [`Recommendation`].

use super::subject::Subject;
use crate::launch::{Candidate, EngineKind, FlagValue, LaunchFile};
use crate::quality::Check;
use crate::scenario::{Key, Metrics, Record};
use crate::search::{Objective, Slo};
use crate::stats::Interval;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of `recommendation.json`.
const SCHEMA: u32 = 2;

/// The conclusion of a campaign: the command, what it gives against the defaults, and why. Effects are relative: 0.2 is 20 %.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Recommendation {
    pub schema: u32,
    pub dyno_version: String,
    /// When the campaign began, RFC 3339.
    pub date: String,
    /// False while the campaign is not at its end.
    pub complete: bool,
    pub engine: EngineKind,
    /// Words of the serving command.
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Copies of the command that share the GPUs and the load, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The lines that start them all, with the router before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Files that the command reads.
    pub files: Vec<LaunchFile>,
    pub objective: Objective,
    pub slo: Slo,
    /// The defaults on the first workload.
    pub baseline: Option<Record>,
    /// The recommended command on the first workload.
    pub recommended: Option<Record>,
    pub improvement: Gain,
    /// The flags of the command.
    pub flags: Vec<Flag>,
    pub workloads: Vec<Workload>,
    /// What the quality gate says of the command, where its answers may differ from those of the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Check>,
    pub trials_run: usize,
    pub candidates_considered: u32,
    pub wall_time_s: f64,
    /// The engine was the embedded one: nothing was measured on the hardware.
    pub emulated: bool,
}

/// A relative effect with its interval; a side without a bound is null.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Effect {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

impl From<Interval> for Effect {
    fn from(i: Interval) -> Effect {
        // JSON has no infinity.
        let finite = |x: f64| x.is_finite().then_some(x);
        Effect { value: i.value, low: finite(i.low), high: finite(i.high) }
    }
}

/// The improvement of the objective, positive is better; zero when the defaults are recommended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Gain {
    pub value: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub significant: bool,
    /// Confidence of the interval, such as 0.95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Interleaved pairs of fresh launches behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairs: Option<usize>,
}

/// One flag of the recommended command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Flag {
    /// Name without dashes.
    pub flag: String,
    pub value: FlagValue,
    /// On its own, as the search's launches tell it.
    pub effect: Option<Effect>,
    pub mechanism: String,
}

/// One workload before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Workload {
    pub name: String,
    pub pairs: u32,
    /// Confidence of the intervals of this workload.
    pub confidence: f64,
    /// Absent without an SLO.
    pub keeps_slo: Option<bool>,
    pub metrics: Vec<Metric>,
}

/// One result key before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Metric {
    pub key: String,
    pub baseline: f64,
    pub recommended: f64,
    /// Change of the value itself, not turned; absent when it cannot be formed.
    pub change: Option<Effect>,
}

/// The contract's object; `None` when there is nothing to recommend.
pub fn recommendation(s: &Subject<'_>) -> Option<Recommendation> {
    let c = s.verdict.compared.as_ref()?;
    let launch = s.launch(&c.winner).unwrap_or_default();
    let kept = c.winner == c.baseline;
    let improvement = match &c.improvement {
        Some(i) if !kept => {
            let Effect { value, low, high } = i.interval.into();
            let (confidence, pairs) = (Some(i.confidence), Some(i.pairs.len()));
            Gain { value, low, high, significant: i.significant, confidence, pairs }
        }
        // The recommendation is the baseline itself.
        _ => Gain {
            value: 0.0,
            low: Some(0.0),
            high: Some(0.0),
            significant: false,
            confidence: None,
            pairs: None,
        },
    };
    let flags = s.verdict.flags.iter().filter(|f| f.kept).map(|f| Flag {
        flag: f.flag.clone(),
        value: f.value.clone(),
        effect: f.effect.map(Effect::from),
        mechanism: f.mechanism.clone(),
    });
    let winner = |t: &&crate::store::TrialLine| t.result.spec.candidate == c.winner;
    Some(Recommendation {
        schema: SCHEMA,
        dyno_version: s.run.dyno_version.clone(),
        date: rfc3339(s.run.created_unix_s),
        complete: s.verdict.complete,
        engine: c.winner.engine,
        replicas: launch.replicas,
        script: launch.replicas.map(|_| launch.to_lines(s.run.plan.router.as_deref())),
        command: launch.argv,
        env: launch.env,
        files: launch.files,
        objective: s.run.plan.objective,
        slo: s.run.plan.slo.clone(),
        baseline: observation(s, &c.baseline, Side::Before),
        recommended: observation(s, &c.winner, if kept { Side::Before } else { Side::After }),
        improvement,
        flags: flags.collect(),
        workloads: workloads(s),
        quality: s.trials.iter().filter(winner).find_map(|t| t.quality.clone()),
        trials_run: s.trials.len(),
        candidates_considered: s.verdict.considered,
        wall_time_s: s.verdict.wall_s,
        emulated: s.emulated(),
    })
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The last observation of a candidate on the first workload, with the means of the confirmation as its result: the very
/// figures of the report's table. What the table does not hold is of that last run.
fn observation(s: &Subject<'_>, candidate: &Candidate, side: Side) -> Option<Record> {
    let last = s.observation(candidate)?;
    let row = s.verdict.compared.as_ref().and_then(|c| c.workloads.first());
    let mut result: Metrics = last.result.clone().unwrap_or_default();
    let mut note = last.note.clone();
    if let Some(row) = row {
        for m in &row.metrics {
            if let Some(key) = Key::from_name(&m.key) {
                result.set(
                    key,
                    match side {
                        Side::Before => m.before,
                        Side::After => m.after,
                    },
                );
            }
        }
        note = Some(format!(
            "means over {} runs of the confirmation; other keys are of the last run",
            row.pairs
        ));
    }
    // Single requests stand in the record.
    Some(Record { requests: None, result: Some(result), note, ..last.clone() })
}

/// Every row of the before and after.
fn workloads(s: &Subject<'_>) -> Vec<Workload> {
    let rows = s.verdict.compared.iter().flat_map(|c| &c.workloads).enumerate();
    rows.map(|(i, w)| {
        let metric = |m: &crate::store::verdict::MetricRow| Metric {
            key: m.key.clone(),
            baseline: m.before,
            recommended: m.after,
            change: s.change_of(i, m).map(Effect::from),
        };
        Workload {
            name: w.name.clone(),
            pairs: w.pairs,
            confidence: s.confidence(),
            keeps_slo: w.keeps_slo,
            metrics: w.metrics.iter().map(metric).collect(),
        }
    })
    .collect()
}

pub(super) fn rfc3339(unix_s: f64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs_f64(unix_s.max(0.0));
    humantime::format_rfc3339_seconds(at).to_string()
}
