//! The documentation: the reference is what the program says, every page stands in the summary, every link leads somewhere.
//!
//! To write the reference again: `DYNO_UPDATE=1 cargo test --test docs`.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What `--help` prints, at a fixed width.
fn help(command: &[&str]) -> String {
    let out = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(command)
        .arg("--help")
        .env("COLUMNS", "110")
        .output()
        .unwrap();
    assert!(out.status.success(), "dyno {command:?} --help");
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// Names of the commands, in the order in which `dyno --help` has them.
fn commands(top: &str) -> Vec<String> {
    let list = top.split_once("Commands:\n").expect("a list of commands").1;
    let list = list.split_once("\n\n").expect("an end of the list").0;
    let names = list.lines().filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    names.filter_map(|l| l.split_whitespace().next()).filter(|n| *n != "help").map(str::to_owned).collect()
}

#[test]
fn the_reference_is_what_the_program_says() {
    let top = help(&[]);
    let mut text = format!(
        "# Every option\n\nWhat `--help` of each command prints. Written by `DYNO_UPDATE=1 cargo test --test docs`.\n\n## dyno\n\n\
         ```text\n{}\n```\n",
        top.trim_end()
    );
    let names = commands(&top);
    assert!(names.len() >= 18 && names[0] == "tune", "{names:?}");
    for name in &names {
        let _ = write!(text, "\n## dyno {name}\n\n```text\n{}\n```\n", help(&[name]).trim_end());
    }
    let path = root().join("docs/src/commands.md");
    if std::env::var_os("DYNO_UPDATE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (was, is)) in written.lines().zip(text.lines()).enumerate() {
        assert_eq!(
            was,
            is,
            "docs/src/commands.md:{} is not current: DYNO_UPDATE=1 cargo test --test docs",
            number + 1
        );
    }
    assert_eq!(written.lines().count(), text.lines().count(), "docs/src/commands.md is not current");
}

/// Targets of the links of a Markdown text, those to other hosts left out.
fn links(text: &str) -> Vec<String> {
    let outside_code = text.split("```").step_by(2).collect::<String>();
    let parts = outside_code.split("](").skip(1).filter_map(|p| p.split_once(')')).map(|p| p.0.to_owned());
    parts.filter(|l| !l.contains("://") && !l.starts_with('#')).collect()
}

fn pages(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    all.filter(|p| p.extension().is_some_and(|e| e == "md")).collect()
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let root = root();
    let summary = std::fs::read_to_string(root.join("docs/src/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    let mut files = pages(&root.join("docs/src"));
    for page in &files {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(name == "SUMMARY.md" || listed.iter().any(|l| l == name), "{name} is not in SUMMARY.md");
    }
    files.extend(pages(&root));
    files.extend(pages(&root.join("reports")));
    let mut broken = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in links(&text) {
            let target = link.split('#').next().unwrap_or_default();
            if !file.parent().unwrap().join(target).exists() {
                broken.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
