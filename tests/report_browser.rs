//! The HTML of every recorded campaign in a real headless Chromium: `scripts/browser` installs it, `cargo test --test
//! report_browser -- --ignored` drives it.

#![expect(clippy::disallowed_methods, reason = "the browser is started as a user does")]

use llm_dyno::report::{Subject, report};
use llm_dyno::store::{read_journal, read_run};
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "needs Chromium (scripts/browser) and python3"]
fn pages_work_in_a_browser() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tmp = tempfile::tempdir().unwrap();
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(root.join("tests/campaigns")).unwrap() {
        let dir = entry.unwrap().path();
        let run = read_run(&dir).unwrap();
        let journal = read_journal(&dir).unwrap();
        let analysis = std::fs::read_to_string(dir.join("analysis.json")).ok();
        let analysis = analysis.map(|t| serde_json::from_str(&t).unwrap());
        let verdict = journal.verdict.as_ref().unwrap();
        let subject = Subject { run: &run, trials: &journal.trials, verdict, analysis: analysis.as_ref() };
        let at = tmp.path().join(dir.file_name().unwrap());
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("report.html"), report(&subject).html).unwrap();
        pages.push(at.join("report.html"));
    }
    pages.sort();
    let compared = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .arg("compare")
        .arg(format!("{}@defaults", root.join("tests/campaigns/clear-win").display()))
        .arg(root.join("tests/campaigns/clear-win"))
        .arg("--html")
        .arg(tmp.path().join("compare.html"))
        .output()
        .unwrap();
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
    pages.push(tmp.path().join("compare.html"));
    let out =
        Command::new("python3").arg(root.join("scripts/report-in-browser")).args(&pages).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    // The filter is there where two engines are.
    assert!(
        said.contains("the filter hides the rows of other engines") && said.contains("nothing is fetched"),
        "{said}"
    );
}
