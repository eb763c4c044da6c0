//! How the answer was found: engines, launches, forecasts, confirmation, failures.

use super::super::chart::{Forest, ForestRow, Launch, Shape, Svg, Tone as Mark, forest, launches};
use super::super::doc::{Block, Cell, Row, Section, Table, Text, Tone, code, text};
use super::super::subject::Subject;
use super::super::words::{confidence, count, duration, number, percent, percent_interval, range};
use super::answer::objective_words;
use crate::search::Stage;
use crate::store::{SpaceSummary, TrialLine};
use crate::trial::Outcome;
use std::collections::BTreeMap;

pub(in super::super) fn section(s: &Subject<'_>) -> Section {
    let mut blocks = Vec::new();
    if !s.trials.is_empty() {
        blocks.push(Block::Figure { name: "launches", svg: Box::new(picture(s)) });
    }
    blocks.push(Block::Table(engines(s)));
    if let Some(r) = &s.verdict.ruled {
        blocks.push(Block::Para(text![funnel(r)]));
        if !r.ending.is_empty() {
            blocks.push(Block::Para(text![r.ending.clone()]));
        }
        if !r.forecasts.is_empty() {
            blocks.push(Block::Figure { name: "forecasts", svg: Box::new(forecasts(r)) });
        }
        blocks.push(Block::Para(Text::marked(&r.model)));
    }
    if !s.verdict.tried.is_empty() {
        blocks.push(Block::Fold {
            summary: text![format!("Every candidate of the search ({})", s.verdict.tried.len())],
            blocks: vec![Block::Table(tried(s))],
        });
    }
    blocks.extend(confirmation(s));
    let failures = failures(s);
    if !failures.is_empty() {
        blocks.push(Block::Para(text!["Failed launches and unused runs:"]));
        blocks.push(Block::List(failures));
    }
    blocks.extend(s.verdict.ruled.iter().flat_map(causes).map(Block::Para));
    Section { id: "search", title: "How it was found", blocks }
}

/// Which values make launches fail, as far as launches in different company tell.
fn causes(r: &SpaceSummary) -> Vec<Text> {
    let listed = |words: &str, values: &[String]| {
        let mut out = text![words.to_owned()];
        for (n, value) in values.iter().enumerate() {
            if n > 0 {
                out.push(", ");
            }
            out.push(code(value));
        }
        (!values.is_empty()).then_some(out)
    };
    let proven = listed("Proven to make launches fail here: ", &r.fails);
    let likely = listed("Likely to, and not proven (each failed in company only): ", &r.suspected);
    proven.into_iter().chain(likely).collect()
}

fn picture(s: &Subject<'_>) -> Svg {
    let unit = s.run.plan.objective.unit();
    let rows: Vec<Launch> = s.trials.iter().map(|t| launch(s, t, unit)).collect();
    let failed = rows.iter().filter(|r| r.tone == Mark::Bad).count();
    launches(
        format!("Every launch in its order: {}", objective_words(s)),
        format!(
            "{}, {failed} failed; one mark a valid run of the first workload. The axis does not begin at zero.",
            count(rows.len(), "launch", "launches")
        ),
        &rows,
        unit,
        &[
            (Shape::Square, Mark::Base, "defaults"),
            (Shape::Diamond, Mark::Pick, "recommended"),
            (Shape::Circle, Mark::Flat, "other candidates"),
            (Shape::Cross, Mark::Bad, "failed"),
        ],
    )
}

fn launch(s: &Subject<'_>, t: &TrialLine, unit: &str) -> Launch {
    let candidate = &t.result.spec.candidate;
    let values = s.values(t);
    let (mut tone, shape) = if s.has_win() && Some(candidate) == s.winner() {
        (Mark::Pick, Shape::Diamond)
    } else if candidate.flags.is_empty() && candidate.env.is_empty() {
        (Mark::Base, Shape::Square)
    } else {
        (Mark::Flat, Shape::Circle)
    };
    let none = match &t.result.outcome {
        Outcome::Failed { failure, .. } => {
            tone = Mark::Bad;
            format!("failed: {}", failure.class)
        }
        Outcome::Measured { .. } if t.stage == Stage::Calibrate => "probes for the cost model".to_owned(),
        Outcome::Measured { .. } => "no valid run".to_owned(),
    };
    let shown: Vec<String> = values.iter().map(|v| number(*v)).collect();
    let result = if values.is_empty() { none.clone() } else { format!("{} {unit}", shown.join(", ")) };
    let command = Subject::launched(t).unwrap_or_default();
    Launch {
        head: format!("{} {}", t.seq, t.stage),
        label: candidate.label(),
        tip: format!("launch {} ({}), {}: {result}\n{command}", t.seq, t.stage, duration(t.result.wall_s)),
        values,
        none,
        tone,
        shape,
        engine: candidate.engine.to_string(),
    }
}

fn engines(s: &Subject<'_>) -> Table {
    let mut t = Table::new(
        format!("Engines with their defaults: {}", objective_words(s)),
        &["Engine", "Version", ">Mean", ">Runs", "Result"],
    );
    for e in &s.verdict.engines {
        let note = match (&e.failure, e.chosen) {
            (Some(f), _) => format!("failed: {}", f.class),
            (None, true) => "chosen".to_owned(),
            (None, false) => e.value.map_or(String::new(), |v| behind(s, v)),
        };
        t.rows.push(Row {
            cells: vec![
                e.engine.to_string().into(),
                e.version.clone().unwrap_or_else(|| "–".to_owned()).into(),
                e.value.map_or("–".to_owned(), number).into(),
                e.runs.to_string().into(),
                note.into(),
            ],
            engine: Some(e.engine.to_string()),
        });
    }
    t
}

/// How far an engine's defaults lie behind those of the chosen one.
fn behind(s: &Subject<'_>, value: f64) -> String {
    let chosen = s.verdict.engines.iter().find(|e| e.chosen).and_then(|e| e.value);
    let Some(chosen) = chosen.filter(|c| *c > 0.0 && value > 0.0) else { return String::new() };
    let gap =
        if s.run.plan.objective.higher_is_better() { (chosen / value).ln() } else { (value / chosen).ln() };
    let words =
        format!("{:.1} % {}", -100.0 * (-gap.abs()).exp_m1(), if gap < 0.0 { "ahead" } else { "behind" });
    // Two launches, one of each.
    let scatter = s.verdict.noise.map_or(0.0, |(sigma, _)| 2.0 * std::f64::consts::SQRT_2 * sigma);
    if gap.abs() > scatter {
        words
    } else {
        format!("{words}, less than launches of the same command may differ")
    }
}

/// What became of the space.
fn funnel(r: &SpaceSummary) -> String {
    let mut out = format!("{} candidates considered, {} simulated", r.considered, r.simulated);
    if r.screened_out > 0 {
        out.push_str(&format!(
            ", {} screened out before (memory arithmetic refuses them, or their closed-form forecast plus {:.1} % still lies \
             below the best)",
            r.screened_out,
            100.0 * r.screen_band
        ));
    }
    out.push_str(&format!(
        "; {} launched, {} dropped (the optimistic end of their forecast lay below the pessimistic end of the best), {} left (the \
         expected gain was not worth a launch).",
        r.launched, r.dropped, r.left
    ));
    out
}

fn forecasts(r: &SpaceSummary) -> Svg {
    let rows: Vec<ForestRow> = r
        .forecasts
        .iter()
        .map(|f| {
            let p = &f.predicted;
            let measured = f.measured.map_or("failed".to_owned(), percent);
            ForestRow {
                group: None,
                label: f.label.clone(),
                at: [p.value, p.low, p.high],
                tone: Mark::Guess,
                shape: Shape::Circle,
                second: f.measured,
                words: format!("{} | {measured}", percent(p.value)),
                tip: format!(
                    "{}: predicted {} ({}){}, measured {measured}",
                    f.label,
                    percent(p.value),
                    range(p),
                    f.standing.as_ref().map_or(String::new(), |s| format!(", resting on: {s}"))
                ),
                engine: None,
            }
        })
        .collect();
    let known: Vec<_> = r.forecasts.iter().filter_map(|f| f.measured.map(|m| (m, f.predicted))).collect();
    let inside = known.iter().filter(|(m, p)| *m >= p.low && *m <= p.high).count();
    forest(&Forest {
        title: "Predicted before the launch, and measured".to_owned(),
        description: format!(
            "Effect against the defaults with the prediction's 90 % interval; {inside} of {} measured effects lie inside.{}",
            known.len(),
            standings(r)
        ),
        rows,
        ends: ("← worse", "better →"),
        legend: vec![(Shape::Circle, Mark::Guess, "predicted"), (Shape::Diamond, Mark::Pick, "measured")],
    })
}

/// What the predictions rested on, and how many of them on each.
fn standings(r: &SpaceSummary) -> String {
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for s in r.forecasts.iter().filter_map(|f| f.standing.as_deref()) {
        *count.entry(s).or_default() += 1;
    }
    if count.is_empty() {
        return String::new();
    }
    let words: Vec<String> = count.iter().map(|(s, n)| format!("{s} ({n})")).collect();
    format!(" They rested on: {}.", words.join("; "))
}

fn tried(s: &Subject<'_>) -> Table {
    let level = confidence(1.0 - s.run.plan.settings.alpha);
    let mut t = Table::new(
        format!(
            "Effect on the objective against the defaults as the search's launches tell it, {level} % interval"
        ),
        &["Candidate", "Stage", ">Effect", "Beyond the noise", "Launches"],
    );
    for x in &s.verdict.tried {
        let effect = match (&x.effect, &x.failure) {
            (_, Some(f)) => format!("failed: {}", f.class),
            (Some(e), None) => percent_interval(e),
            (None, None) => "–".to_owned(),
        };
        let verdict = match (x.significant, x.effect) {
            (true, Some(e)) if e.value > 0.0 => Cell::toned("yes, better", Tone::Better),
            (true, _) => Cell::toned("yes, worse", Tone::Worse),
            (false, _) => Cell::toned("no", Tone::Muted),
        };
        let numbers: Vec<String> = x.trials.iter().map(u32::to_string).collect();
        t.rows.push(Row {
            cells: vec![
                text![code(&x.label)].into(),
                x.stage.to_string().into(),
                effect.into(),
                verdict,
                numbers.join(", ").into(),
            ],
            engine: Some(x.candidate.engine.to_string()),
        });
    }
    t
}

fn confirmation(s: &Subject<'_>) -> Vec<Block> {
    let Some(i) = s.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref()) else { return Vec::new() };
    let label = s.challenger().map(crate::launch::Candidate::label).unwrap_or_default();
    let mut t = Table::new("", &[">Pair", ">Improvement"]);
    for (n, p) in i.pairs.iter().enumerate() {
        t.row(vec![(n + 1).to_string().into(), percent(*p).into()]);
    }
    let bootstrap =
        i.bootstrap.as_ref().map_or(String::new(), |b| format!(" A paired bootstrap gives {}.", range(b)));
    vec![
        Block::Para(text![
            "Confirmation: ",
            code(label),
            format!(
                " and the defaults in turns (A B B A …), fresh launches, seeds that the search did not see: {} by \
                 Student's interval of the paired log ratios at {} % confidence, {}.{bootstrap}",
                percent_interval(&i.interval),
                confidence(i.confidence),
                if i.significant { "significant" } else { "not significant" }
            ),
        ]),
        Block::Fold { summary: text![format!("The {} pairs", i.pairs.len())], blocks: vec![Block::Table(t)] },
    ]
}

fn failures(s: &Subject<'_>) -> Vec<Text> {
    let mut out = Vec::new();
    for t in s.trials {
        let Outcome::Failed { failure: f, .. } = &t.result.outcome else { continue };
        let mut line = text![
            format!("launch {} ", t.seq),
            code(t.result.spec.candidate.label()),
            format!(": {} ({}): ", f.class, f.phase),
            code(&f.root_cause),
        ];
        if !f.hint.is_empty() {
            line.push(format!(". Next: {}", f.hint));
        }
        if let Some(log) = &f.log {
            line.push(". Log: ");
            line.push(code(log));
        }
        out.push(line);
    }
    for t in s.trials {
        if let Some(f) = &t.result.first_failure {
            out.push(text![
                format!("launch {} was made twice; the first ended with {}: ", t.seq, f.class),
                code(&f.root_cause),
            ]);
        }
    }
    for t in s.trials {
        for reason in Subject::runs(t).iter().flat_map(|m| &m.invalid) {
            out.push(text![format!("launch {}: a run was not used: {reason}", t.seq)]);
        }
    }
    out
}
