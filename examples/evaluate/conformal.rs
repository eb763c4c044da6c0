//! Conformal factors from scored rows, and intervals of each group with the factors of the others.

use crate::score::Row;
use llm_dyno::cost::Standing;
use llm_dyno::cost::calibration::{CalibratedFamily, Calibration, Factor, Z90, learn};
use std::collections::BTreeMap;

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
    let mut scores: BTreeMap<(Standing, CalibratedFamily), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for r in rows.iter().filter(|r| Some(r.group.as_str()) != without) {
        scores.entry((standing(r), family(r.key))).or_default().entry(&r.group).or_default().push(score(r));
    }
    let of = |((standing, family), groups): (_, BTreeMap<&str, Vec<f64>>)| {
        let runs = groups.values().map(Vec::len).sum();
        let groups: Vec<Vec<f64>> = groups.into_values().collect();
        let factor = (learn(&groups)? * 1e3).round() / 1e3;
        Some(Factor { standing, family, factor, groups: groups.len(), runs })
    };
    Calibration { factor: scores.into_iter().filter_map(of).collect() }
}

/// Every row with the interval that the other groups' factors give it.
pub(crate) fn left_out(rows: &[Row]) -> Vec<Row> {
    let mut by_group: BTreeMap<&str, Calibration> = BTreeMap::new();
    for r in rows {
        by_group.entry(&r.group).or_insert_with(|| calibration(rows, Some(&r.group)));
    }
    let widened = |r: &Row| {
        let c = &by_group[r.group.as_str()];
        let same = |f: &&Factor| f.standing == standing(r) && f.family == family(r.key);
        let factor = c.factor.iter().find(same).map_or(1.0, |f| f.factor);
        let side = |p: f64| r.value * (factor * (p / r.value).ln()).exp();
        Row { p05: side(r.p05), p95: side(r.p95), ..r.clone() }
    };
    rows.iter().map(widened).collect()
}
