//! A comparison as text, JSON, JUnit XML, Markdown and HTML.

use super::super::chart::{Forest, ForestRow, Shape, Svg, Tone as Mark, escape, forest};
use super::super::doc::{Block, Cell, Page, Section, Table, Text, Tone, code, strong, text};
use super::super::to_html::to_html;
use super::super::to_markdown::to_markdown;
use super::super::words::{count, key_name, key_words, number, percent, range};
use super::judge::{ALPHA, FEWEST, Verdict};
use super::sides::{Compared, MetricRow};
use serde_json::{Value, json};
use std::fmt::Write;

/// The contract's object.
pub fn json(c: &Compared) -> Value {
    let finite = |x: f64| if x.is_finite() { json!(x) } else { Value::Null };
    let metrics: Vec<Value> = c
        .rows
        .iter()
        .map(|r| {
            let i = &r.judged.change;
            json!({
                "workload": r.workload, "key": r.key.name(), "a": r.a, "b": r.b,
                "change": {"value": i.value, "low": finite(i.low), "high": finite(i.high)},
                "verdict": r.outcome.verdict, "runs_needed": r.outcome.runs_needed,
                "runs": {"a": r.runs.0, "b": r.runs.1}, "paired": r.judged.paired,
            })
        })
        .collect();
    let differences: Vec<Value> =
        c.differences.iter().map(|(n, a, b)| json!({"what": n, "a": a, "b": b})).collect();
    json!({
        "schema": 1, "verdict": c.verdict(), "a": c.a, "b": c.b, "max_regression": c.limit, "confidence": 1.0 - 2.0 * ALPHA,
        "metrics": metrics, "differences": differences, "notes": c.notes,
    })
}

/// JUnit XML: one test case a metric; what is undecided is skipped, not passed.
pub fn junit(c: &Compared) -> String {
    let count = |v: Verdict| c.rows.iter().filter(|r| r.outcome.verdict == v).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"dyno compare\" tests=\"{}\" failures=\"{}\" \
         errors=\"0\" skipped=\"{}\">\n",
        c.rows.len(),
        count(Verdict::Fail),
        count(Verdict::Inconclusive)
    );
    for r in &c.rows {
        let _ =
            write!(out, "<testcase classname=\"{}\" name=\"{}\">", escape(&r.workload), escape(r.key.name()));
        let words = escape(&row_words(c, r));
        let _ = match r.outcome.verdict {
            Verdict::Pass => write!(out, "<system-out>{words}</system-out>"),
            Verdict::Fail => write!(out, "<failure message=\"{words}\"/>"),
            Verdict::Inconclusive => write!(out, "<skipped message=\"{words}\"/>"),
        };
        out.push_str("</testcase>\n");
    }
    out.push_str("</testsuite>\n</testsuites>\n");
    out
}

/// For a terminal: lines that fit, the verdict first.
pub fn text(c: &Compared) -> String {
    let mut out = format!("{}  {}\n", c.verdict().name(), sentence(c).plain());
    let mut workload = "";
    for r in &c.rows {
        if r.workload != workload {
            workload = &r.workload;
            let _ = write!(out, "\n{workload}\n");
        }
        let _ = writeln!(
            out,
            "  {:<12}  {:<24}  {:>9} → {:<9} {:>9}  {:<22}{}",
            r.outcome.verdict.name(),
            key_words(r.key.name()),
            number(r.a),
            number(r.b),
            percent(r.judged.change.value),
            range(&r.judged.change),
            needed(r)
        );
    }
    if !c.differences.is_empty() {
        out.push_str("\nDifferent besides\n");
        for (name, a, b) in &c.differences {
            let _ = write!(out, "  {name}\n    A  {a}\n    B  {b}\n");
        }
    }
    for n in &c.notes {
        let _ = write!(out, "\nnote: {n}\n");
    }
    out.lines().map(|l| format!("{}\n", l.trim_end())).collect()
}

pub fn markdown(c: &Compared) -> String {
    to_markdown(&page(c, false))
}

pub fn html(c: &Compared) -> String {
    to_html(&page(c, true))
}

fn sentence(c: &Compared) -> Text {
    let limit = percent(c.limit).trim_start_matches('+').to_owned();
    let worse: Vec<String> = c
        .rows
        .iter()
        .filter(|r| r.outcome.verdict == Verdict::Fail)
        .map(|r| format!("{} {}", key_name(r.key.name()), percent(r.judged.change.value)))
        .collect();
    match c.verdict() {
        Verdict::Pass => text![
            "B, ",
            code(&c.b),
            ", is not worse than A, ",
            code(&c.a),
            format!(", by {limit} or more in any of "),
            format!("{}.", count(c.rows.len(), "metric", "metrics"))
        ],
        Verdict::Fail => text![
            "B, ",
            code(&c.b),
            ", is worse than A, ",
            code(&c.a),
            format!(", by more than {limit}: "),
            worse.join(", "),
            "."
        ],
        Verdict::Inconclusive => {
            let open: Vec<&MetricRow> =
                c.rows.iter().filter(|r| r.outcome.verdict == Verdict::Inconclusive).collect();
            let most = open.iter().map(|r| r.outcome.runs_needed).collect::<Option<Vec<_>>>();
            let more = match most.and_then(|m| m.into_iter().max()) {
                Some(n) => format!("about {} a side would tell", count(n, "more run", "more runs")),
                None => "for some of them no sensible number of runs would tell at this scatter".to_owned(),
            };
            text![format!(
                "{} of {} cannot be told from these runs; {more}.",
                open.len(),
                count(c.rows.len(), "metric", "metrics")
            )]
        }
    }
}

fn needed(r: &MetricRow) -> String {
    match (r.outcome.verdict, r.outcome.runs_needed) {
        (Verdict::Inconclusive, Some(n)) => format!("  +{} a side", count(n, "run", "runs")),
        (Verdict::Inconclusive, None) => "  more than 200 runs".to_owned(),
        _ => String::new(),
    }
}

fn row_words(c: &Compared, r: &MetricRow) -> String {
    format!(
        "{}: {} to {}, {} (95 % interval {}), allowed {}, runs {} and {}{}",
        r.outcome.verdict.name(),
        number(r.a),
        number(r.b),
        percent(r.judged.change.value),
        range(&r.judged.change),
        percent(c.limit).trim_start_matches('+'),
        r.runs.0,
        r.runs.1,
        needed(r)
    )
}

fn page(c: &Compared, pictures: bool) -> Page {
    let mut lead = vec![Block::Para({
        let mut t = text![strong(c.verdict().name()), ". "];
        t.0.extend(sentence(c).0);
        t
    })];
    if pictures {
        lead.push(Block::Figure { name: "compare", svg: Box::new(picture(c)) });
    }
    lead.push(Block::Table(table(c)));
    let mut sections = Vec::new();
    if !c.differences.is_empty() {
        let mut t = Table::new("", &["What", "A", "B"]);
        for (name, a, b) in &c.differences {
            t.row(vec![name.clone().into(), text![code(a)].into(), text![code(b)].into()]);
        }
        sections.push(Section {
            id: "differences",
            title: "What else differs",
            blocks: vec![Block::Table(t)],
        });
    }
    let mut how = vec![Block::Para(text![format!(
        "FAIL: B is worse than A by more than the limit, with at most 2.5 % error over all metrics together (Holm). PASS: it is not, with \
         at most 2.5 % error a metric. INCONCLUSIVE: the runs do not tell; from fewer than {FEWEST} runs a side nothing is \
         decided. Values are geometric means, intervals are t intervals of log ratios at 95 %: of pairs where each run of A has one \
         of B with the same requests, by Welch's test where not."
    )])];
    if !c.notes.is_empty() {
        how.push(Block::List(c.notes.iter().map(|n| Text::from(n.clone())).collect()));
    }
    sections.push(Section { id: "how", title: "How to read it", blocks: how });
    Page {
        title: format!("{}: {} against {}", c.verdict().name(), c.b, c.a),
        byline: format!("dyno {} compare", env!("CARGO_PKG_VERSION")),
        lead,
        sections,
        engines: Vec::new(),
    }
}

fn table(c: &Compared) -> Table {
    let head = ["Workload", "Metric", ">A", ">B", ">Change", ">95 % interval", "Verdict", ">Runs"];
    let mut t = Table::new("", &head);
    let mut workload = "";
    for r in &c.rows {
        let name = if r.workload == workload { "" } else { &r.workload };
        workload = &r.workload;
        let tone = match r.outcome.verdict {
            Verdict::Pass => Tone::Better,
            Verdict::Fail => Tone::Worse,
            Verdict::Inconclusive => Tone::Muted,
        };
        t.row(vec![
            name.into(),
            key_words(r.key.name()).into(),
            number(r.a).into(),
            number(r.b).into(),
            percent(r.judged.change.value).into(),
            range(&r.judged.change).into(),
            Cell::toned(format!("{}{}", r.outcome.verdict.name(), needed(r)), tone),
            format!("{} / {}", r.runs.0, r.runs.1).into(),
        ]);
    }
    t
}

fn picture(c: &Compared) -> Svg {
    let mut workload = "";
    let mut rows = Vec::new();
    for r in &c.rows {
        let group = (r.workload != workload).then(|| r.workload.clone());
        workload = &r.workload;
        let (tone, shape) = match r.outcome.verdict {
            Verdict::Pass => (Mark::Good, Shape::Circle),
            Verdict::Fail => (Mark::Bad, Shape::Square),
            Verdict::Inconclusive => (Mark::Flat, Shape::Diamond),
        };
        let i = &r.judged.change;
        rows.push(ForestRow {
            group,
            label: key_words(r.key.name()),
            at: [i.value, i.low, i.high],
            tone,
            shape,
            second: None,
            words: format!("{} → {}", number(r.a), number(r.b)),
            tip: format!("{}\n{}", key_words(r.key.name()), row_words(c, r)),
            engine: None,
        });
    }
    let tell = |v: Verdict| c.rows.iter().filter(|r| r.outcome.verdict == v).count();
    forest(&Forest {
        title: "Change from A to B with its 95 % interval".to_owned(),
        description: format!(
            "{} PASS, {} FAIL, {} INCONCLUSIVE; B may be worse by {}.",
            tell(Verdict::Pass),
            tell(Verdict::Fail),
            tell(Verdict::Inconclusive),
            percent(c.limit).trim_start_matches('+')
        ),
        rows,
        ends: ("← less", "more →"),
        legend: vec![
            (Shape::Circle, Mark::Good, "PASS"),
            (Shape::Square, Mark::Bad, "FAIL"),
            (Shape::Diamond, Mark::Flat, "INCONCLUSIVE"),
        ],
    })
}
