//! `DYNO_VERSION`: the version and, in release builds of a git checkout, the commit and its date. Debug builds go without, so
//! that a commit does not make everything be compiled again.

use std::process::Command;

#[expect(clippy::disallowed_methods, reason = "the rooms of the program are not concerned")]
fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // A checkout that only surrounds a copy of the sources says nothing of them.
    let own = git(&["rev-parse", "--show-prefix"]).is_some_and(|inner| inner.is_empty());
    let commit = if std::env::var("PROFILE").is_ok_and(|p| p == "release") && own { commit() } else { None };
    println!(
        "cargo::rustc-env=DYNO_VERSION={version}{}",
        commit.map_or(String::new(), |c| format!(" ({c})"))
    );
}

fn commit() -> Option<String> {
    // Every commit and every checkout adds a line to this log; a change of the sources is one that no commit has.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"])?;
    for watched in [log.as_str(), "src", "Cargo.toml"] {
        if std::path::Path::new(watched).exists() {
            println!("cargo::rerun-if-changed={watched}");
        }
    }
    let commit = git(&["log", "-1", "--abbrev=10", "--format=%h, %cs"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml"])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}, with changes") })
}
