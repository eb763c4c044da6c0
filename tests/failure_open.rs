//! Logs written after public reports, of kinds that no release's own text covers: for each the right class, the right
//! line and a useful next step; and of the healthy ones none is called a failure. Rules were made on the logs with odd
//! numbers and first tried blind on the even ones (21 of 25 right, one of five healthy logs flagged), then mended.
//! The logs under `public` are written after further public issues, of kinds that neither holds. Those named a were scored
//! once before any rule was made for them (class 14 of 32, line 25 of 32, 0 of 8 healthy ones flagged), then mended; those
//! named b were written before that mending and scored once after it (class 8 of 16, line 16 of 16, 0 of 4 flagged).
//! Those named c and d, written in one go after other public issues, were scored before the causes by words and place were
//! made (c: class 26, line 34, useful next step 25 of 40, 1 of 12 healthy flagged; d: 26, 36, 25 of 40, 0 of 10), and d once
//! after that (36, 38, 35 of 40, 0 of 10), then mended. Those named e, after further reports and messages of the engines' own
//! sources, were scored once after that mending (19, 22, 22 of 24, 0 of 3) and then mended.
//! Those named f and g were written in one go after further public reports, with their truth, by somebody who had not read the
//! rules: f was scored once (class 39, line 42, useful next step 37 of 44, 0 of 8 healthy flagged) and its kinds mended, then g
//! once (reports/failures.md), and mended too.
//! The logs under `kinds` are of our own hand, after the engines' messages: kinds that the others do not hold.

use llm_dyno::engine::Verdict;
use llm_dyno::engine::failure::{Excerpt, assess};
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Deserialize)]
struct Case {
    #[serde(skip)]
    dir: PathBuf,
    file: String,
    /// Classes that are right; `none` for a log without a failure.
    accept: Vec<String>,
    line_contains: Vec<String>,
    healthy: bool,
    #[serde(default)]
    next_contains: String,
    /// Read wrongly still, and why; counted in the figures, and held to be wrong so that this stays true.
    #[serde(default)]
    unmended: String,
    /// Words of which a useful next step holds one; empty where `next_contains` says it.
    #[serde(default)]
    helps: Vec<String>,
}

fn cases() -> Vec<Case> {
    let of = |name: &str| {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
        let text = std::fs::read_to_string(dir.join("index.json")).expect("an index.json");
        let cases: Vec<Case> = serde_json::from_str(&text).expect("index.json");
        cases.into_iter().map(|c| Case { dir: dir.clone(), ..c }).collect::<Vec<_>>()
    };
    [of("open"), of("kinds"), of("public")].concat()
}

fn read(case: &Case) -> (String, Option<Verdict>) {
    let text =
        std::fs::read_to_string(case.dir.join(&case.file)).unwrap_or_else(|e| panic!("{}: {e}", case.file));
    let verdict = assess(&Excerpt::whole(&text), None);
    (text, verdict)
}

/// Class, line and useful next step of a failure: which of them are right, and what was said.
fn judged(case: &Case) -> ([bool; 3], Option<Verdict>) {
    let (text, Some(v)) = read(case) else {
        return ([false; 3], None);
    };
    let line = v.line.and_then(|n| text.lines().nth(n - 1)).unwrap_or_default();
    let class = case.accept.iter().any(|c| c == v.class.id());
    let here = case.line_contains.iter().any(|p| line.contains(p) || v.root_cause.contains(p));
    let next = v.next.to_lowercase();
    let useful = case.helps.is_empty() || case.helps.iter().any(|w| next.contains(&w.to_lowercase()));
    ([class, here, useful && v.next.contains(&case.next_contains)], Some(v))
}

#[test]
fn every_failure_has_the_right_class_line_and_a_useful_next_step() {
    let mut wrong = Vec::new();
    let failed: Vec<Case> = cases().into_iter().filter(|c| !c.healthy).collect();
    for case in &failed {
        let (right, verdict) = judged(case);
        if (right == [true; 3]) != case.unmended.is_empty() {
            wrong.push(format!("{}: class, line, next step {right:?}: {verdict:?}", case.file));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), failed.len(), wrong.join("\n"));
}

/// The figures of `cargo test --test failure_open -- --nocapture figures`, set by set; a next step counts where the case says what
/// has to be in it.
#[test]
#[expect(clippy::print_stdout, reason = "the figures are what one reads: `-- --nocapture`")]
fn figures() {
    let mut sets: std::collections::BTreeMap<String, Vec<[bool; 3]>> = std::collections::BTreeMap::new();
    for case in cases().into_iter().filter(|c| !c.healthy) {
        let dir = case.dir.file_name().unwrap().to_string_lossy().into_owned();
        let set = if dir == "public" { format!("{dir} {}", &case.file[..1]) } else { dir };
        sets.entry(set).or_default().push(judged(&case).0);
    }
    for (set, all) in &sets {
        let [class, line, next] = [0, 1, 2].map(|i| all.iter().filter(|r| r[i]).count());
        println!("{set:<9} {:>3} failures: class {class}, line {line}, useful next step {next}", all.len());
        let least = all.len() * 8 / 10;
        assert!(class >= least && line >= least && next >= least, "{set}");
    }
    let open = cases().into_iter().filter(|c| !c.healthy && c.dir.ends_with("open"));
    assert!(
        open.clone().count() >= 48 && open.into_iter().all(|c| !c.next_contains.is_empty()),
        "each open case says what helps"
    );
}

#[test]
fn no_healthy_log_is_called_a_failure() {
    let healthy: Vec<Case> = cases().into_iter().filter(|c| c.healthy).collect();
    assert!(healthy.len() >= 15);
    for case in &healthy {
        let (_, verdict) = read(case);
        let class = verdict.as_ref().map_or("none", |v| v.class.id());
        assert!(case.accept.iter().any(|c| c == class), "{}: {verdict:?}", case.file);
    }
}
