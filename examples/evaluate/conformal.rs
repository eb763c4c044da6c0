//! Spreads and conformal factors from scored rows, and intervals of each group with those of the others.

use crate::score::{Basis, Row};
use llm_dyno::cost::calibration::{Calibration, Factor, OWN_ENGINE, Scores, Spread, learn, learnt_as};
use llm_dyno::cost::conditions::{CalibratedFamily, Load};
use llm_dyno::cost::discrepancy::Family;
use llm_dyno::cost::law::Sides;
use llm_dyno::cost::seen::SeenKind;
use llm_dyno::cost::{ModelKind, Standing};
use llm_dyno::launch::EngineKind;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn family(key: &str) -> CalibratedFamily {
    match key {
        "TTFT" => CalibratedFamily::Ttft,
        "TPOT" => CalibratedFamily::Tpot,
        _ => CalibratedFamily::Throughput,
    }
}

fn of_key(key: &str) -> Family {
    match family(key) {
        CalibratedFamily::Ttft => Family::Ttft,
        CalibratedFamily::Tpot => Family::Tpot,
        CalibratedFamily::Throughput => Family::Throughput,
    }
}

/// The prior of a kind that was seen is the same physics: rows of both kinds of prior are learnt from together.
fn standing(r: &Row) -> Standing {
    if r.basis == Basis::Prior { Standing::PriorUnseen } else { learnt_as(r.conditions.standing) }
}

/// Engines with factors of their own, and any other.
const ENGINES: [Option<EngineKind>; 4] =
    [Some(EngineKind::Vllm), Some(EngineKind::Sglang), Some(EngineKind::Trtllm), None];

/// What all rows but those of `without` teach; those of `Basis::Unseen` repeat the prior's and are left out.
pub(crate) fn calibration(rows: &[Row], without: Option<&str>) -> Calibration {
    let kept = |r: &&Row| Some(r.group.as_str()) != without && r.basis != Basis::Unseen;
    let mut by_class: BTreeMap<(Standing, CalibratedFamily), Vec<&Row>> = BTreeMap::new();
    for r in rows.iter().filter(kept) {
        by_class.entry((standing(r), family(r.key))).or_default().push(r);
    }
    let mut c = Calibration { seen: seen(rows), ..Calibration::default() };
    for ((standing, family), rows) in by_class {
        let spread = spread(standing, family, &rows);
        c.spread.push(spread);
        for load in [Load::Closed, Load::Open] {
            let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for r in rows.iter().filter(|r| r.conditions.load == load) {
                groups.entry(&r.group).or_default().push(score(r, &spread));
            }
            let all = |engine| Factor {
                standing,
                family,
                load: Some(load),
                engine,
                below: 1.0,
                above: 1.0,
                groups: groups.len(),
                runs: groups.values().map(Vec::len).sum(),
            };
            c.factor.extend(ENGINES.iter().filter_map(|e| factor(all(*e), &groups)));
        }
    }
    // The prior of a kind that was seen is the same physics, and beside fits of other models a launch keeps the prior.
    for like in [Standing::PriorSeen, Standing::SameGpu] {
        if c.spread.iter().any(|s| s.standing == like) {
            continue;
        }
        let spreads = c.spread.iter().filter(|s| s.standing == Standing::PriorUnseen);
        let spreads: Vec<Spread> = spreads.map(|s| Spread { standing: like, ..*s }).collect();
        let factors = c.factor.iter().filter(|f| f.standing == Standing::PriorUnseen);
        let factors: Vec<Factor> = factors.map(|f| Factor { standing: like, ..*f }).collect();
        c.spread.extend(spreads);
        c.factor.extend(factors);
    }
    c
}

/// The factor with what the scores by group teach; those of its own engine weigh most.
fn factor(of: Factor, groups: &BTreeMap<&str, Vec<f64>>) -> Option<Factor> {
    let own = |name: &str| of.engine.is_some_and(|e| name.ends_with(&format!("|{}", e.id())));
    let scores = |(name, signed): (&&str, &Vec<f64>)| Scores {
        weight: if own(name) { OWN_ENGINE } else { 1.0 },
        signed: signed.clone(),
    };
    let (below, above) = learn(&groups.iter().map(scores).collect::<Vec<_>>())?;
    Some(Factor { below: rounded(below), above: rounded(above), ..of })
}

fn rounded(v: f64) -> f64 {
    (v * 1e3).round() / 1e3
}

fn sd(r: &Row, spread: &Spread) -> Sides {
    let (distance, misfit) = (r.conditions.distance, r.conditions.misfit(family(r.key)));
    r.law.sd.map(|raw| spread.sd(raw, distance, misfit, r.law.apart))
}

fn score(r: &Row, spread: &Spread) -> f64 {
    r.law.with_sd(sd(r, spread)).signed_score(r.measured)
}

/// Degrees of freedom of the law of the errors: tails as heavy as those of runs that nobody can explain.
const FREEDOM: f64 = 3.0;
/// Standard deviation of the logarithm of a coefficient around its starting point, before the data.
const BELIEF: f64 = 2.0;

/// The coefficients under which the measured values are likeliest, by a search along the axes.
fn spread(standing: Standing, family: CalibratedFamily, rows: &[&Row]) -> Spread {
    let mut count: BTreeMap<&str, f64> = BTreeMap::new();
    for r in rows {
        *count.entry(&r.group).or_default() += 1.0;
    }
    let fitted = standing == Standing::SameLaunch;
    let of = |p: &[f64; 5]| Spread {
        standing,
        family,
        believed: p[0].exp(),
        floor: p[1].exp(),
        distance: if fitted { p[2].exp() } else { 0.0 },
        misfit: if fitted { p[3].exp() } else { 0.0 },
        readings: p[4].exp(),
    };
    let start = [0.0, 0.03_f64.ln(), 0.1_f64.ln(), 0.5_f64.ln(), 0.03_f64.ln()];
    let cost = |p: &[f64; 5]| {
        let s = of(p);
        let surprise: f64 =
            rows.iter().map(|r| surprise(r, sd(r, &s)) / count[r.group.as_str()].sqrt()).sum();
        let away: f64 = p.iter().zip(&start).map(|(a, b)| ((a - b) / BELIEF).powi(2)).sum();
        surprise + 0.5 * away
    };
    let (mut best, mut step) = (start, 1.0);
    let mut least = cost(&best);
    while step > 0.02 {
        let mut moved = false;
        for i in 0..5 {
            for by in [step, -step] {
                let mut tried = best;
                tried[i] += by;
                let c = cost(&tried);
                if c < least {
                    (least, best, moved) = (c, tried, true);
                }
            }
        }
        if !moved {
            step *= 0.5;
        }
    }
    let s = of(&best);
    Spread {
        believed: rounded(s.believed),
        floor: rounded(s.floor),
        distance: rounded(s.distance),
        misfit: rounded(s.misfit),
        readings: rounded(s.readings),
        ..s
    }
}

/// -ln of the density of the measured value, up to a constant.
fn surprise(r: &Row, sd: Sides) -> f64 {
    let at = r.measured.ln();
    let all: f64 = r.law.components.iter().map(|c| c.0).sum();
    let density = |mean: f64| {
        let sd = sd.at(at - mean);
        let z = (at - mean) / sd;
        (1.0 + z * z / FREEDOM).powf(-f64::midpoint(FREEDOM, 1.0)) / sd
    };
    let mixed: f64 = r.law.components.iter().map(|(w, mean)| w / all * density(*mean)).sum();
    -mixed.max(f64::MIN_POSITIVE).ln()
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

/// Every row with the interval that the other groups' spreads and factors give it.
pub(crate) fn left_out(rows: &[Row]) -> Vec<Row> {
    let mut by_group: BTreeMap<&str, Calibration> = BTreeMap::new();
    for r in rows {
        by_group.entry(&r.group).or_insert_with(|| calibration(rows, Some(&r.group)));
    }
    let widened = |r: &Row| {
        let c = &by_group[r.group.as_str()];
        let sd = c.sd(&r.conditions, of_key(r.key), r.law.sd, r.law.apart);
        let (p05, p95) = r.law.with_sd(sd).interval();
        Row { p05, p95, ..r.clone() }
    };
    rows.iter().map(widened).collect()
}
