//! The manifest is true: every dependency is used where it stands, and everything builds with the promised Rust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platform that the engines run on; other platforms' dependencies need not be here.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All the Rust text under some folders of the project, and of what its macros name.
fn code(folders: &[&str]) -> String {
    fn read(dir: &Path, out: &mut String) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                read(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push_str(&fs::read_to_string(&path).unwrap_or_default());
            }
        }
    }
    let mut out = String::new();
    for folder in folders {
        read(&root().join(folder), &mut out);
    }
    out
}

fn names(manifest: &toml::Table, table: &str) -> Vec<String> {
    manifest[table].as_table().expect("a table").keys().map(|k| k.replace('-', "_")).collect()
}

#[test]
fn every_dependency_is_used_where_it_stands() {
    let manifest: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let named = |text: &str, name: &str| {
        text.contains(&format!("{name}::"))
            || text.contains(&format!("use {name};"))
            || text.contains(&format!("use {name} "))
    };
    let (own, all) = (code(&["src"]), code(&["src", "tests", "benches", "examples"]));
    let idle: Vec<String> = names(&manifest, "dependencies")
        .into_iter()
        .filter(|n| !named(&own, n))
        .chain(names(&manifest, "dev-dependencies").into_iter().filter(|n| !named(&all, n)))
        .collect();
    assert!(idle.is_empty(), "nothing names these dependencies: {idle:?}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "cargo itself is asked")]
fn every_dependency_builds_with_the_promised_rust() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", PLATFORM])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let numbers = |v: &str| -> Vec<u32> {
        v.split('.').map(|n| n.parse().unwrap_or(0)).chain([0, 0]).take(3).collect()
    };
    let promised = numbers(env!("CARGO_PKG_RUST_VERSION"));
    let newer: Vec<String> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .filter(|p| p["rust_version"].as_str().is_some_and(|v| numbers(v) > promised))
        .map(|p| format!("{} {} needs Rust {}", p["name"], p["version"], p["rust_version"]))
        .collect();
    assert!(newer.is_empty(), "the manifest promises Rust {}: {newer:?}", env!("CARGO_PKG_RUST_VERSION"));
}
