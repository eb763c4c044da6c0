//! Conformal factors from scored rows, and intervals of each group with the factors of the others.

use crate::score::{Basis, Row};
use llm_dyno::cost::calibration::{CalibratedFamily, Calibration, Factor, Load, Z90, learn};
use llm_dyno::cost::seen::SeenKind;
use llm_dyno::cost::{ModelKind, Standing};
use std::collections::{BTreeMap, BTreeSet};

fn family(key: &str) -> CalibratedFamily {
    match key {
        "TTFT" => CalibratedFamily::Ttft,
        "TPOT" => CalibratedFamily::Tpot,
        _ => CalibratedFamily::Throughput,
    }
}

fn standing(r: &Row) -> Standing {
    if r.standing == Standing::Measured { Standing::SameLaunch } else { r.standing }
}

/// Distance of the measured value in predicted standard deviations, on its own side.
fn score(r: &Row) -> f64 {
    let off = (r.measured / r.value).ln();
    let side = if off > 0.0 { (r.p95 / r.value).ln() } else { (r.value / r.p05).ln() };
    Z90 * off.abs() / side.max(1e-6)
}

/// The factors that all rows but those of `without` give.
pub(crate) fn calibration(rows: &[Row], without: Option<&str>) -> Calibration {
    let mut scores: BTreeMap<(Standing, CalibratedFamily, Load), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for r in rows.iter().filter(|r| Some(r.group.as_str()) != without) {
        scores
            .entry((standing(r), family(r.key), r.load))
            .or_default()
            .entry(&r.group)
            .or_default()
            .push(score(r));
    }
    let of = |((standing, family, load), groups): (_, BTreeMap<&str, Vec<f64>>)| {
        let runs = groups.values().map(Vec::len).sum();
        let groups: Vec<Vec<f64>> = groups.into_values().collect();
        let factor = (learn(&groups)? * 1e3).round() / 1e3;
        Some(Factor { standing, family, load: Some(load), factor, groups: groups.len(), runs })
    };
    let mut factor: Vec<Factor> = scores.into_iter().filter_map(of).collect();
    // The prior of a kind that was seen is the same physics: both standings have the factor of all.
    let pooled =
        |standing| factor.iter().filter(move |f| f.standing == standing).copied().collect::<Vec<_>>();
    if pooled(Standing::PriorSeen).is_empty() {
        let like = pooled(Standing::PriorUnseen);
        factor.extend(like.into_iter().map(|f| Factor { standing: Standing::PriorSeen, ..f }));
    }
    Calibration { factor, seen: seen(rows) }
}

/// Kinds of launches with groups and runs that the prior was held against.
pub(crate) fn seen(rows: &[Row]) -> Vec<SeenKind> {
    type Key<'a> = (ModelKind, &'a str, &'a str);
    /// Groups, and runs as group and label.
    type Behind<'a> = (BTreeSet<&'a str>, BTreeSet<(&'a str, &'a str)>);
    let mut kinds: BTreeMap<Key<'_>, Behind<'_>> = BTreeMap::new();
    for r in rows.iter().filter(|r| r.basis == Basis::Prior) {
        let mut parts = r.group.split('|').skip(1);
        let (Some(gpu), Some(engine)) = (parts.next(), parts.next()) else { continue };
        let Some(kind) = ModelKind::ALL.into_iter().find(|k| k.id() == r.kind) else { continue };
        let entry = kinds.entry((kind, gpu, engine)).or_default();
        entry.0.insert(&r.group);
        entry.1.insert((&r.group, &r.label));
    }
    let of = |((kind, gpu, engine), (groups, runs)): (Key<'_>, Behind<'_>)| SeenKind {
        kind,
        hardware: gpu.to_owned(),
        engine: engine.to_owned(),
        groups: groups.len(),
        runs: runs.len(),
    };
    kinds.into_iter().map(of).collect()
}

/// Every row with the interval that the other groups' factors give it.
pub(crate) fn left_out(rows: &[Row]) -> Vec<Row> {
    let mut by_group: BTreeMap<&str, Calibration> = BTreeMap::new();
    for r in rows {
        by_group.entry(&r.group).or_insert_with(|| calibration(rows, Some(&r.group)));
    }
    let widened = |r: &Row| {
        let c = &by_group[r.group.as_str()];
        let same =
            |f: &&Factor| f.standing == standing(r) && f.family == family(r.key) && f.load == Some(r.load);
        let factor = c.factor.iter().find(same).map_or(1.0, |f| f.factor);
        let side = |p: f64| r.value * (factor * (p / r.value).ln()).exp();
        Row { p05: side(r.p05), p95: side(r.p95), ..r.clone() }
    };
    rows.iter().map(widened).collect()
}
