//! Tables of the scored rows.

use crate::score::{Basis, Row, SCORED};
use llm_dyno::cost::Standing;
use llm_dyno::cost::habits::{Intake, Likely};
use llm_dyno::cost::seen::SeenKind;
use llm_dyno::stats::quantile_sorted;
use llm_dyno::workload::Lengths;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Every row as CSV.
pub(crate) fn csv(rows: &[Row]) -> String {
    let mut out =
        "set,seen,blind,opened,group,devices,kind,basis,standing,from,key,load,distance,misfit,below,above,law,measured,value,p05,p95,label\n"
            .to_owned();
    for r in rows {
        let law: Vec<String> = r.law.components.iter().map(|(w, mean)| format!("{w:.4}@{mean:.5}")).collect();
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},\"{}\",{},{},{},{:?},{},{},{},{},{},{},{},{},{},\"{}\"",
            r.set,
            r.seen,
            r.blind,
            r.opened,
            r.group,
            r.devices,
            r.kind,
            r.basis.id(),
            r.conditions.standing.id(),
            r.from,
            r.key,
            r.conditions.load,
            r.conditions.distance,
            r.conditions.misfit(crate::conformal::family(r.key)),
            r.law.sd.below,
            r.law.sd.above,
            law.join(" "),
            r.measured,
            r.value,
            r.p05,
            r.p95,
            r.label.replace('"', "'")
        );
    }
    out
}

fn quantile(mut v: Vec<f64>, q: f64) -> f64 {
    v.sort_by(f64::total_cmp);
    quantile_sorted(&v, q)
}

/// `median / p90 (n)` of the errors, share inside and mean log width, for one key.
fn cell(rows: &[&Row], key: &str) -> String {
    let of: Vec<&&Row> = rows.iter().filter(|r| r.key == key).collect();
    if of.is_empty() {
        return "- | - | -".to_owned();
    }
    let n = of.len() as f64;
    let errors: Vec<f64> = of.iter().map(|r| r.error()).collect();
    let inside = of.iter().filter(|r| r.inside()).count() as f64 / n;
    let width = of.iter().map(|r| r.width()).sum::<f64>() / n;
    format!(
        "{:.1} / {:.0} | {:.0} % | {width:.2}",
        quantile(errors.clone(), 0.5),
        quantile(errors, 0.9),
        100.0 * inside
    )
}

fn section(out: &mut String, title: &str, rows: &[&Row], name: impl Fn(&Row) -> String) {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for r in rows {
        groups.entry(name(r)).or_default().push(r);
    }
    groups.insert("~ all".into(), rows.to_vec());
    let _ = writeln!(out, "\n### {title}\n");
    let heads = SCORED.map(|(_, k)| format!("{k} % | inside | width"));
    let _ = writeln!(out, "| | runs | {} |\n|---|---:|{}", heads.join(" | "), "---:|".repeat(9));
    for (name, rows) in groups {
        let runs = SCORED.iter().map(|(_, k)| rows.iter().filter(|r| r.key == *k).count()).max().unwrap_or(0);
        let cells = SCORED.map(|(_, k)| cell(&rows, k));
        let _ = writeln!(out, "| {} | {runs} | {} |", name.trim_start_matches("~ "), cells.join(" | "));
    }
}

/// By set, by engine, and by model kind, GPU and engine, for every basis; the blind groups apart.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut out = String::new();
    for basis in Basis::ALL {
        for blind in [false, true] {
            let of: Vec<&Row> = rows.iter().filter(|r| r.basis == basis && r.blind == blind).collect();
            if of.is_empty() {
                continue;
            }
            let which = if blind { ", blind third" } else { "" };
            let mark = |r: &Row| match (r.seen, r.opened) {
                (true, _) => " (seen by constants)",
                (_, true) => " (blind until opened)",
                _ => "",
            };
            section(&mut out, &format!("{}{which}: by set", basis.id()), &of, |r| {
                format!("{}{}", r.set, mark(r))
            });
            section(&mut out, &format!("{}{which}: by engine", basis.id()), &of, |r| {
                r.group.rsplit('|').next().unwrap_or("").to_owned()
            });
            section(&mut out, &format!("{}{which}: by kind", basis.id()), &of, |r| {
                let mut parts = r.group.split('|').skip(1);
                let (gpu, engine) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
                format!("{} {gpu} {engine}", r.kind)
            });
        }
    }
    out
}

/// Transfer beside the prior: of pairs of models on one GPU, how many are better and the change of the median error.
pub(crate) fn transfers(rows: &[Row]) -> String {
    let median = |rows: Vec<&Row>| quantile(rows.iter().map(|r| r.error()).collect(), 0.5);
    let mut pairs: BTreeMap<(String, String), Vec<&Row>> = BTreeMap::new();
    for r in rows.iter().filter(|r| r.basis == Basis::Transfer) {
        let to = format!("{} x{}|{}", r.group, r.devices, r.set);
        pairs.entry((r.from.clone(), to)).or_default().push(r);
    }
    let (mut better, mut harmed, mut n) = (0, 0, 0);
    for ((_, to), moved) in &pairs {
        let same = |r: &&Row| {
            r.basis == Basis::Prior
                && format!("{} x{}|{}", r.group, r.devices, r.set) == *to
                && moved.iter().any(|m| m.label == r.label && m.key == r.key)
        };
        let alone: Vec<&Row> = rows.iter().filter(same).collect();
        if alone.is_empty() {
            continue;
        }
        let (a, b) = (median(alone), median(moved.clone()));
        n += 1;
        better += u32::from(b <= a);
        harmed += u32::from(b > a + 2.0);
    }
    format!(
        "Of {n} pairs of launches with different models on one GPU the fit on the one makes the other's median error no worse in \
         {better}, and worse by more than 2 points in {harmed}.\n"
    )
}

/// What stands behind each kind of launch.
pub(crate) fn standings(seen: &[SeenKind]) -> String {
    let mut out =
        "| model kind | GPU | engine | standing without a fit | groups | runs |\n|---|---|---|---|---:|---:|\n".to_owned();
    for k in seen {
        let (kind, standing) = (k.kind.id(), Standing::PriorSeen.words());
        let _ = writeln!(
            out,
            "| {kind} | {} | {} | {standing} | {} | {} |",
            k.hardware, k.engine, k.groups, k.runs
        );
    }
    out + &format!("| any other | | | {} | 0 | 0 |\n", Standing::PriorUnseen.words())
}

/// What the small fits say of step-lock and intake, launch by launch.
pub(crate) fn inferred(all: &BTreeMap<String, Vec<Likely>>) -> String {
    let mut out =
        "| launch | exact lengths (step-lock) | one request always waits | prompts wait for all ranks |\n|---|---:|---:|---:|\n".to_owned();
    for (launch, readings) in all {
        let share = |of: fn(&Likely) -> bool| -> f64 {
            // The sum of nothing is -0.
            100.0 * readings.iter().filter(|l| of(l)).map(|l| l.weight).sum::<f64>().abs()
        };
        let exact = share(|l| l.habits.lengths == Lengths::Exact);
        let held = share(|l| l.habits.intake == Intake::WithCompletion);
        let balanced = share(|l| l.habits.intake == Intake::Balanced);
        let launch = launch.replace('|', ", ");
        let _ = writeln!(out, "| {launch} | {exact:.0} % | {held:.0} % | {balanced:.0} % |");
    }
    out
}
