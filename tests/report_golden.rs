//! The product itself: recorded campaigns of the embedded engine under `tests/campaigns/`, and the reports that they give,
//! as whole snapshots. What a report says is also worked out here from the raw record, by other code.
//!
//! To accept a change on purpose: `INSTA_UPDATE=always cargo test --test report_golden`, then read the difference.

use llm_dyno::report::{Analysis, Subject, closing, recommendation, report};
use llm_dyno::stats::t_critical;
use llm_dyno::store::{RunFile, TrialLine, Verdict, read_journal, read_run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const ALL: [&str; 7] = [
    "clear-win",
    "nothing-helped",
    "everything-failed",
    "interrupted",
    "slo-not-met",
    "not-confirmed",
    "gate-failed",
];

fn dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/campaigns").join(name)
}

struct Recorded {
    run: RunFile,
    trials: Vec<TrialLine>,
    verdict: Verdict,
    analysis: Option<Analysis>,
}

fn recorded(name: &str) -> Recorded {
    let dir = dir(name);
    let journal = read_journal(&dir).expect("the record is read");
    let analysis = std::fs::read_to_string(dir.join("analysis.json")).ok();
    Recorded {
        run: read_run(&dir).expect("the plan is read"),
        trials: journal.trials,
        verdict: journal.verdict.expect("a verdict"),
        analysis: analysis.map(|t| serde_json::from_str(&t).expect("the analysis is read")),
    }
}

impl Recorded {
    fn subject(&self) -> Subject<'_> {
        Subject {
            run: &self.run,
            trials: &self.trials,
            verdict: &self.verdict,
            analysis: self.analysis.as_ref(),
        }
    }
}

fn snapshot(name: &str) {
    let r = recorded(name);
    let s = r.subject();
    let forms = report(&s);
    let json = recommendation(&s).map(|v| serde_json::to_string_pretty(&v).expect("JSON"));
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::assert_snapshot!(format!("report-{name}.md"), forms.markdown);
        insta::assert_snapshot!(format!("report-{name}.html"), forms.html);
        insta::assert_snapshot!(format!("report-{name}.json"), json.unwrap_or_else(|| "null".to_owned()));
        insta::assert_snapshot!(format!("report-{name}.terminal"), closing(&s, "run"));
    });
}

#[test]
fn a_clear_win() {
    snapshot("clear-win");
}

#[test]
fn nothing_helped() {
    snapshot("nothing-helped");
}

#[test]
fn everything_failed() {
    snapshot("everything-failed");
}

#[test]
fn interrupted_half_way() {
    snapshot("interrupted");
}

#[test]
fn what_did_not_hold_beside_an_engine_that_is_not_installed() {
    snapshot("not-confirmed");
}

#[test]
fn an_slo_that_cannot_be_met() {
    snapshot("slo-not-met");
}

/// Recorded on the real vLLM (CPU build): other weights that answer otherwise.
#[test]
fn an_approximate_variant_that_fails_its_gate() {
    snapshot("gate-failed");
}

/// Lines of `trials.jsonl` as bare JSON.
fn raw(name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(dir(name).join("trials.jsonl")).expect("a record");
    text.lines()
        .map(|l| serde_json::from_str(l).expect("JSON"))
        .filter(|v: &Value| v["kind"] == "trial")
        .collect()
}

/// Valid confirmation runs: (label of the candidate, workload without its seed, repeat) -> result.
fn confirmed(name: &str) -> BTreeMap<(String, String, u64), Value> {
    let mut out = BTreeMap::new();
    for t in raw(name).iter().filter(|t| t["stage"] == "confirm") {
        let flags = t["result"]["spec"]["candidate"]["flags"].to_string();
        for m in t["result"]["runs"].as_array().expect("runs") {
            if m["invalid"].as_array().is_some_and(|i| !i.is_empty()) {
                continue;
            }
            let mut workload = m["workload"].clone();
            workload.as_object_mut().expect("a workload").remove("seed");
            let key = (flags.clone(), workload.to_string(), m["repeat"].as_u64().expect("a repeat"));
            out.insert(key, m["observation"]["result"].clone());
        }
    }
    out
}

/// Squares and degrees of freedom of a metric's logarithm between launches of one command before the confirmation, by their means over
/// the repeats that all of them have.
fn scatter(name: &str, workload: &str, key: &str) -> (f64, f64) {
    let mut launches: BTreeMap<String, Vec<BTreeMap<u64, f64>>> = BTreeMap::new();
    for t in raw(name).iter().filter(|t| t["stage"] != "confirm" && t["result"]["runs"].is_array()) {
        let mut mine = BTreeMap::new();
        for m in t["result"]["runs"].as_array().expect("runs") {
            let mut of = m["workload"].clone();
            of.as_object_mut().expect("a workload").remove("seed");
            let of = of.to_string();
            let valid = m["invalid"].as_array().is_none_or(Vec::is_empty);
            if valid
                && of == workload
                && let Some(v) = m["observation"]["result"][key].as_f64()
            {
                mine.insert(m["repeat"].as_u64().expect("a repeat"), v.ln());
            }
        }
        if !mine.is_empty() {
            launches.entry(t["result"]["spec"]["candidate"].to_string()).or_default().push(mine);
        }
    }
    let (mut squares, mut freedom) = (0.0, 0.0);
    for same in launches.values() {
        let common: Vec<u64> =
            same[0].keys().copied().filter(|r| same.iter().all(|l| l.contains_key(r))).collect();
        let means: Vec<f64> =
            same.iter().map(|l| common.iter().map(|r| l[r]).sum::<f64>() / common.len() as f64).collect();
        let middle = means.iter().sum::<f64>() / means.len() as f64;
        squares += means.iter().map(|m| (m - middle).powi(2)).sum::<f64>();
        freedom += means.len() as f64 - 1.0;
    }
    (squares, freedom)
}

/// Interval of the change of paired launches, the scatter of other launches (squares, degrees of freedom) pooled with theirs.
fn interval(logs: &[f64], (squares, freedom): (f64, f64), confidence: f64) -> (f64, f64) {
    let n = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / n;
    let own: f64 = logs.iter().map(|l| (l - mean).powi(2)).sum();
    let sd = ((2.0 * squares + own) / (freedom + n - 1.0)).sqrt();
    let half = t_critical(freedom + n - 1.0, 1.0 - confidence) * sd / n.sqrt();
    ((mean - half).exp_m1(), (mean + half).exp_m1())
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|v| v.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// Rows of every Markdown table whose first line of the head begins so, as cells.
fn rows(markdown: &str, head: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let mut inside = false;
    for line in markdown.lines() {
        if line.starts_with(head) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("| --") {
            out.push(line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect());
        }
    }
    out
}

/// A number as it was printed: without grouping, percent signs and signs of plus.
fn number(cell: &str) -> f64 {
    let text = cell.replace([',', '%', '+', '*'], "");
    text.split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or_else(|_| panic!("`{cell}` is no number"))
}

/// Printed with three significant digits or one decimal.
fn agrees(printed: f64, exact: f64) -> bool {
    (printed - exact).abs() <= 0.051_f64.max(exact.abs() * 0.0051)
}

const KEYS: [(&str, &str); 11] = [
    ("Request throughput (req/s)", "request_throughput"),
    ("Output throughput (tok/s)", "output_throughput"),
    ("Total throughput (tok/s)", "total_token_throughput"),
    ("Mean TTFT (ms)", "mean_ttft_ms"),
    ("Median TTFT (ms)", "median_ttft_ms"),
    ("P99 TTFT (ms)", "p99_ttft_ms"),
    ("Mean TPOT (ms)", "mean_tpot_ms"),
    ("P99 TPOT (ms)", "p99_tpot_ms"),
    ("Mean ITL (ms)", "mean_itl_ms"),
    ("P99 ITL (ms)", "p99_itl_ms"),
    ("Mean E2E latency (ms)", "mean_e2el_ms"),
];

/// Level, change and interval of every row of the before and after, from the raw runs.
#[test]
fn every_figure_of_the_before_and_after_follows_from_the_raw_runs() {
    let r = recorded("clear-win");
    let markdown = report(&r.subject()).markdown;
    let runs = confirmed("clear-win");
    let confidence =
        r.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref()).expect("a win").confidence;
    let objective = r.verdict.compared.as_ref().and_then(|c| c.improvement.as_ref()).expect("a win").interval;
    let workloads: Vec<String> = r
        .run
        .plan
        .workloads
        .iter()
        .map(|w| {
            let mut v = serde_json::to_value(&w.spec).expect("JSON");
            v.as_object_mut().expect("a workload").remove("seed");
            v.to_string()
        })
        .collect();
    let names: Vec<String> = r.run.plan.workloads.iter().map(|w| format!("`{}`", w.name)).collect();
    let rows = rows(&markdown, "| Workload | Metric | Defaults | Recommended |");
    assert_eq!(rows.len(), KEYS.len() * names.len(), "a row for each metric of each workload");
    let mut workload = 0;
    for row in &rows {
        if let Some(i) = names.iter().position(|n| *n == row[0]) {
            workload = i;
        }
        let key = KEYS.iter().find(|k| k.0 == row[1]).unwrap_or_else(|| panic!("{row:?}")).1;
        let of = |win: bool| -> BTreeMap<u64, f64> {
            let mine = runs.iter().filter(|(k, _)| k.1 == workloads[workload] && (k.0 != "{}") == win);
            mine.map(|(k, v)| (k.2, v[key].as_f64().expect("a number"))).collect()
        };
        let (before, after) = (of(false), of(true));
        assert!(before.len() >= 2 && before.keys().eq(after.keys()), "{before:?} {after:?}");
        let (b, a): (Vec<f64>, Vec<f64>) =
            (before.values().copied().collect(), after.values().copied().collect());
        assert!(agrees(number(&row[2]), geometric_mean(&b)), "{row:?} {b:?}");
        assert!(agrees(number(&row[3]), geometric_mean(&a)), "{row:?} {a:?}");
        let change = geometric_mean(&a) / geometric_mean(&b) - 1.0;
        assert!(agrees(number(&row[4]), 100.0 * change), "{row:?} {change}");
        let logs: Vec<f64> = b.iter().zip(&a).map(|(b, a)| (a / b).ln()).collect();
        let scatter = scatter("clear-win", &workloads[workload], key);
        let (mut low, mut high) = interval(&logs, scatter, confidence);
        if workload == 0 && key == "total_token_throughput" {
            // The objective has one interval on the whole page: that of the sentence above the table.
            (low, high) = (objective.low, objective.high);
        }
        if let Some((l, h)) = row[5].split_once(" to ") {
            assert!(
                agrees(number(l), 100.0 * low) && agrees(number(h), 100.0 * high),
                "{row:?} {low} {high}"
            );
        } else {
            assert!((1.0 + high) / (1.0 + low) > 100.0, "{row:?} {low} {high}");
        }
        let told = low > 0.0 || high < 0.0;
        assert_eq!(row[6] == "not told apart", !told, "{row:?} {low} {high}");
    }
    // The sentence on top says what the objective's row says.
    let first = &rows[0];
    let sentence = markdown.lines().find(|l| l.contains("gives **")).expect("the answer");
    assert!(sentence.contains(&first[4]) && sentence.contains(&first[5]), "{sentence} against {first:?}");
    // And so do the cards.
    let cards: Vec<&str> = markdown.lines().filter(|l| l.starts_with("| Total throughput | **")).collect();
    assert!(cards[0].contains(&first[2]) && cards[0].contains(&first[3]), "{cards:?} against {first:?}");
}

/// What `recommendation.json` says is what the report says.
#[test]
fn the_json_holds_the_means_of_the_report() {
    let r = recorded("clear-win");
    let s = r.subject();
    let json = serde_json::to_value(recommendation(&s).expect("a recommendation")).expect("JSON");
    let row = &rows(&report(&s).markdown, "| Workload | Metric | Defaults | Recommended |")[0];
    let value = |side: &str| json[side]["result"]["total_token_throughput"].as_f64().expect("a number");
    assert!(agrees(number(&row[2]), value("baseline")) && agrees(number(&row[3]), value("recommended")));
    let change = value("recommended") / value("baseline") - 1.0;
    let told = json["improvement"]["value"].as_f64().expect("a number");
    assert!((change - told).abs() < 1e-9, "{change} {told}");
    assert_eq!(json["schema"], 2);
    assert!(json["date"].as_str().is_some_and(|d| d.ends_with('Z')) && json["dyno_version"].is_string());
    assert_eq!(json["trials_run"].as_u64().expect("a count") as usize, raw("clear-win").len());
}

/// Engines, launches and trial time, in every campaign.
#[test]
fn counts_and_engine_means_follow_from_the_raw_runs() {
    for name in ALL {
        let r = recorded(name);
        let markdown = report(&r.subject()).markdown;
        let trials = raw(name);
        let objective = serde_json::to_value(r.run.plan.objective).expect("JSON");
        let key = objective.as_str().expect("a key").to_owned();
        for row in rows(&markdown, "| Engine | Version | Mean |") {
            let mine = trials.iter().filter(|t| {
                let candidate = &t["result"]["spec"]["candidate"];
                let defaults = candidate["flags"].as_object().is_some_and(serde_json::Map::is_empty);
                t["stage"] == "baseline" && candidate["engine"] == row[0].as_str() && defaults
            });
            let mut launches = Vec::new();
            let mut count = 0;
            for t in mine {
                let runs = t["result"]["runs"].as_array().cloned().unwrap_or_default();
                let primary = &r.run.plan.primary().spec;
                let values: Vec<f64> = runs
                    .iter()
                    .filter(|m| m["invalid"].as_array().is_none_or(Vec::is_empty))
                    .filter(|m| m["workload"]["num_prompts"] == primary.num_prompts.expect("a number"))
                    .filter_map(|m| m["observation"]["result"][&key].as_f64())
                    .collect();
                count += values.len();
                if !values.is_empty() {
                    launches.push(values.iter().sum::<f64>() / values.len() as f64);
                }
            }
            if launches.is_empty() {
                assert_eq!(row[2], "–", "{name}: {row:?}");
            } else {
                let mean = launches.iter().sum::<f64>() / launches.len() as f64;
                assert!(agrees(number(&row[2]), mean), "{name}: {row:?} {mean}");
            }
            assert_eq!(number(&row[3]) as usize, count, "{name}: {row:?}");
        }
        let launched = format!("| Launches | {} (", trials.len());
        assert!(markdown.contains(&launched), "{name}: no `{launched}`");
        let blocks =
            trials.iter().filter_map(|t| t["result"]["runs"].as_array()).map(Vec::len).sum::<usize>();
        assert_eq!(markdown.matches("= Serving Benchmark Result =").count(), blocks, "{name}: a block a run");
        // Nothing is minus nothing.
        for none in ["-0.0 %", " -0 ", "-0.00", "-0.0)"] {
            assert!(!markdown.contains(none), "{name}: `{none}`");
        }
    }
}

/// The last verdict as bare JSON.
fn raw_verdict(name: &str) -> Value {
    let text = std::fs::read_to_string(dir(name).join("trials.jsonl")).expect("a record");
    let mut lines = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    lines.rfind(|v| v["kind"] == "verdict").expect("a verdict")
}

fn float(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is no number"))
}

/// `+1.2 % (-3.4 to +5.6)` of relative values.
fn same_effect(cell: &str, effect: &Value) -> bool {
    let (value, rest) = cell.split_once(" (").unwrap_or((cell, ""));
    let bounds = rest.trim_end_matches(')').split_once(" to ").is_none_or(|(l, h)| {
        agrees(number(l), 100.0 * float(&effect["low"])) && agrees(number(h), 100.0 * float(&effect["high"]))
    });
    agrees(number(value), 100.0 * float(&effect["value"])) && bounds
}

/// Candidates and flags: effects, intervals, launches, failures.
#[test]
fn every_candidate_and_flag_is_what_the_record_says() {
    let mut seen = 0;
    for name in ALL {
        let r = recorded(name);
        let markdown = report(&r.subject()).markdown;
        let verdict = raw_verdict(name);
        for row in rows(&markdown, "| Candidate | Stage | Effect |") {
            let label = row[0].trim_matches('`');
            let tried = verdict["tried"].as_array().expect("candidates");
            let own = tried.iter().find(|t| t["label"] == label).unwrap_or_else(|| panic!("{name}: {label}"));
            if let Some(class) = own["failure"]["class"].as_str() {
                assert!(row[2].contains(class), "{name}: {row:?}");
            } else if own["effect"].is_object() {
                assert!(same_effect(&row[2], &own["effect"]), "{name}: {row:?} {}", own["effect"]);
            }
            let launches: Vec<String> =
                own["trials"].as_array().expect("launches").iter().map(ToString::to_string).collect();
            assert_eq!(row[4], launches.join(", "), "{name}: {row:?}");
            seen += 1;
        }
    }
    assert!(seen >= 6, "{seen} rows");
}

/// The first screen where nothing was confirmed: means over the valid runs of the defaults.
#[test]
fn cards_without_a_win_are_means_of_the_defaults() {
    for name in ["nothing-helped", "slo-not-met", "interrupted", "gate-failed"] {
        let r = recorded(name);
        let markdown = report(&r.subject()).markdown;
        let primary = serde_json::to_value(&r.run.plan.primary().spec).expect("JSON");
        let same = |m: &Value| {
            let mut own = m["workload"].clone();
            own["seed"] = primary["seed"].clone();
            own == primary && m["invalid"].as_array().is_none_or(Vec::is_empty)
        };
        let defaults = |t: &&Value| {
            t["result"]["spec"]["candidate"]["flags"].as_object().is_some_and(serde_json::Map::is_empty)
        };
        let compared = raw_verdict(name)["compared"]["workloads"][0]["metrics"].clone();
        let mean = |key: &str| {
            // A confirmation that did not hold has figures of its own for the defaults.
            let confirmed =
                compared.as_array().and_then(|rows| rows.iter().find(|m| m["key"] == key).cloned());
            if let Some(row) = confirmed {
                return float(&row["before"]);
            }
            let values: Vec<f64> = raw(name)
                .iter()
                .filter(defaults)
                .flat_map(|t| t["result"]["runs"].as_array().cloned().unwrap_or_default())
                .filter(|m| same(m))
                .map(|m| float(&m["observation"]["result"][key]))
                .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let card = |label: &str| {
            let line = markdown.lines().find(|l| l.starts_with(&format!("| {label} | **")));
            number(line.unwrap_or_else(|| panic!("{name}: {label}")).split('|').nth(2).expect("a value"))
        };
        assert!(agrees(card("Total throughput"), mean("total_token_throughput")), "{name}");
        assert!(agrees(card("Output throughput"), mean("output_throughput")), "{name}");
        assert!(agrees(card("P99 time to first token"), mean("p99_ttft_ms")), "{name}");
        assert!(agrees(card("Speed one user sees"), 1e3 / mean("mean_tpot_ms")), "{name}");
    }
}

/// Load, zones and steps are those of `analysis.json`.
#[test]
fn the_forecast_of_load_is_the_recorded_analysis() {
    let mut seen = 0;
    for name in ALL {
        let Ok(text) = std::fs::read_to_string(dir(name).join("analysis.json")) else { continue };
        let analysis: Value = serde_json::from_str(&text).expect("JSON");
        let Some(ramp) = analysis["ramps"].as_array().and_then(|r| r.last()) else { continue };
        let r = recorded(name);
        let markdown = report(&r.subject()).markdown;
        let rungs = ramp["rungs"].as_array().expect("rungs");
        let table = rows(&markdown, "| In flight | req/s | Total tok/s |");
        assert_eq!(table.len(), rungs.len(), "{name}");
        let keys = ["request_rate", "total_token_throughput", "mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms"];
        for (row, rung) in table.iter().zip(rungs) {
            assert!(agrees(number(&row[0]), float(&rung["load"])), "{name}: {row:?}");
            for (cell, key) in row[1..].iter().zip(keys) {
                let (value, bounds) = cell.split_once(" (").expect("an interval");
                let (low, high) = bounds.trim_end_matches(')').split_once(" to ").expect("bounds");
                for (printed, part) in [(value, "value"), (low, "low"), (high, "high")] {
                    assert!(agrees(number(printed), float(&rung[key][part])), "{name}: {cell} {}", rung[key]);
                }
                seen += 1;
            }
        }
        for step in analysis["steps"].as_array().into_iter().flatten() {
            let ms = float(&step["period_ms"]);
            let printed = [format!("{ms:.2} ms"), format!("{ms:.1} ms")];
            assert!(printed.iter().any(|p| markdown.contains(p)), "{name}: {printed:?}");
        }
    }
    assert!(seen > 50, "{seen} figures");
}

/// The gate's table, and its sentence on the first screen.
#[test]
fn the_gates_figures_are_the_records() {
    let r = recorded("gate-failed");
    let markdown = report(&r.subject()).markdown;
    let gated: Vec<Value> = raw("gate-failed").into_iter().filter(|t| t["quality"].is_object()).collect();
    let table = rows(&markdown, "| Candidate | Probability of a token");
    assert_eq!((table.len(), gated.len()), (1, 1));
    let quality = &gated[0]["quality"];
    let lost = |part: &str| 100.0 * float(&quality["log_likelihood"][part]).exp_m1();
    let (value, bounds) = table[0][1].split_once(" (").expect("an interval");
    let (low, high) = bounds.trim_end_matches(')').split_once(" to ").expect("bounds");
    for (printed, part) in [(value, "value"), (low, "low"), (high, "high")] {
        assert!(agrees(number(printed), lost(part)), "{printed} {}", lost(part));
    }
    assert!(agrees(number(&table[0][2]), 100.0 * float(&quality["agreement"])), "{:?}", table[0]);
    let first = markdown.split("## ").next().expect("a first screen");
    assert!(
        first.contains("Out for its answers") && first.contains(&format!("{:.2} %", -lost("value"))),
        "{first}"
    );
}

/// Every picture that the Markdown shows is written, says what it shows, and is well-formed.
#[test]
fn pictures_are_there_with_their_words() {
    for name in ALL {
        let r = recorded(name);
        let forms = report(&r.subject());
        let shown: Vec<&str> = forms
            .markdown
            .lines()
            .filter(|l| l.starts_with("!["))
            .map(|l| l.rsplit_once("](").expect("a picture").1.trim_end_matches(')'))
            .collect();
        let written: Vec<&str> = forms.pictures.iter().map(|p| p.0.as_str()).collect();
        assert_eq!(shown, written, "{name}");
        for (file, svg) in &forms.pictures {
            assert!(svg.contains("<title") && svg.contains("<desc"), "{name}/{file}");
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{name}/{file} holds no number that is none"
            );
            let depth = svg.matches("<g ").count();
            assert_eq!(depth, svg.matches("</g>").count(), "{name}/{file}");
        }
        assert!(!forms.html.contains("NaN"), "{name}");
    }
}
