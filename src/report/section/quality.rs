//! What changed in the answers: the quality gate's figures.

use super::super::doc::{Block, Section, Table, code, text};
use super::super::subject::Subject;
use super::super::words::{number, percent, percent_interval};
use crate::quality::{Accuracy, Check, Outcome};

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    let checked: Vec<(String, &Check)> = s
        .trials
        .iter()
        .filter_map(|t| Some((t.result.spec.candidate.label(), t.quality.as_ref()?)))
        .collect();
    if checked.is_empty() {
        return None;
    }
    let mut t = Table::new(
        "Answers of candidates that may change them, against those of the defaults",
        &[
            "Candidate",
            ">Probability of a token of the defaults' answers",
            ">Greedy tokens that agree",
            "Verdict",
        ],
    );
    for (label, c) in &checked {
        let likely = c.log_likelihood.map(|i| i.map(f64::exp_m1));
        t.row(vec![
            text![code(label)].into(),
            likely.as_ref().map_or("–".to_owned(), percent_interval).into(),
            format!("{} %", number(100.0 * c.agreement)).into(),
            verdict(c.outcome).into(),
        ]);
    }
    let margin = checked[0].1.margin;
    let words = format!(
        "The same {} prompts were asked greedily. A candidate passes when the 90 % interval of the change lies above {}, fails \
         when it lies below, and is not decided where the prompts are too few. One that promises the same distribution must \
         also give the same greedy tokens, but for those that rounding explains.",
        checked[0].1.prompts,
        percent(-margin)
    );
    let open = checked.iter().filter(|(_, c)| c.outcome == Outcome::NotDecided).map(|(_, c)| c.words.clone());
    let mut blocks = vec![Block::Table(t), Block::Para(text![words])];
    blocks.extend(questions(&checked));
    let open: Vec<_> = open.map(|w| text![w]).collect();
    if !open.is_empty() {
        blocks.push(Block::Para(text!["Not decided:"]));
        blocks.push(Block::List(open));
    }
    Some(Section { id: "answers", title: "What changed in the answers", blocks })
}

fn verdict(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed: out",
        Outcome::NotDecided => "not decided",
    }
}

/// The user's questions, where some were put.
fn questions(checked: &[(String, &Check)]) -> Vec<Block> {
    let put: Vec<(&str, &Accuracy)> =
        checked.iter().filter_map(|(label, c)| Some((label.as_str(), c.accuracy.as_ref()?))).collect();
    let Some((_, first)) = put.first() else { return Vec::new() };
    let mut t = Table::new(
        "Right answers to the questions of --eval",
        &[
            "Candidate",
            ">Right",
            ">Defaults",
            ">Lost",
            ">Gained",
            ">Change, points",
            ">Most that may be lost",
            "Verdict",
        ],
    );
    for (label, a) in &put {
        let points = |x: f64| number(100.0 * x);
        t.row(vec![
            text![code(*label)].into(),
            format!("{} %", points(a.candidate)).into(),
            format!("{} %", points(a.baseline)).into(),
            a.lost.to_string().into(),
            a.gained.to_string().into(),
            format!("{} ({} to {})", points(a.change.value), points(a.change.low), points(a.change.high))
                .into(),
            points(a.allowed).into(),
            verdict(a.outcome).into(),
        ]);
    }
    let words = format!(
        "Both were put the same {} questions. Lost are those that the defaults alone answer rightly, gained those that the \
         candidate alone does; the change of the share of right answers stands with its 90 % score interval for pairs. What may \
         be lost is --max-quality-loss of the defaults' own share. Where the defaults do no better than a guess, or the questions \
         are too few for the interval to lie on one side, nothing is decided.",
        first.questions
    );
    vec![Block::Table(t), Block::Para(text![words])]
}
