//! The direction of imports is the one in ARCHITECTURE.md: this test reads its table and every `crate::` path.

#[path = "architecture/files.rs"]
mod files;

use files::Module;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// room -> rooms it may import; `all` for the last one.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let mut rooms = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let allowed = cells[2].split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
        rooms.insert(cells[0].trim_matches('`').to_owned(), allowed);
    }
    rooms
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(dir).expect("readable").map(|e| e.expect("entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// (room, file, text without comments and without test modules).
fn sources() -> Vec<(String, PathBuf, String)> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut out = Vec::new();
    for path in files {
        let inside = path.strip_prefix(&src).expect("under src");
        let first = inside.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs").to_owned();
        if room == "lib" || room == "main" {
            continue;
        }
        let text = fs::read_to_string(&path).expect("readable source");
        // Test modules stand at the end of a file and may use anything.
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
        let code: String =
            code.lines().filter(|l| !l.trim_start().starts_with("//")).map(|l| format!("{l}\n")).collect();
        out.push((room, path, code));
    }
    out
}

/// Names that follow `crate::` in a text, `crate::{a, b::c}` included.
fn crate_paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        found.insert(first_name(&item));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                item.push(c);
            }
            found.insert(first_name(&item));
        } else {
            found.insert(first_name(rest));
        }
    }
    found.remove("");
    found
}

fn first_name(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table = table();
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        let Some(allowed) = table.get(&room) else {
            wrong.push(format!("{}: room `{room}` is not in ARCHITECTURE.md", path.display()));
            continue;
        };
        for used in crate_paths(&code) {
            let known = table.contains_key(&used);
            if known && used != room && !allowed.contains("all") && !allowed.contains(&used) {
                wrong.push(format!("{}: `{room}` may not import `{used}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the direction:\n{}", wrong.join("\n"));
}

#[test]
fn every_allowance_of_the_table_is_used() {
    let mut unused = table();
    for (room, _, code) in sources() {
        if let Some(allowed) = unused.get_mut(&room) {
            for used in crate_paths(&code) {
                allowed.remove(&used);
            }
        }
    }
    let idle: Vec<String> = unused
        .into_iter()
        .filter(|(_, left)| !left.contains("all") && !left.is_empty())
        .map(|(room, left)| format!("`{room}` may import {left:?} and does not"))
        .collect();
    assert!(idle.is_empty(), "the table allows what no code uses:\n{}", idle.join("\n"));
}

#[test]
fn no_rooms_import_each_other_around_a_circle() {
    let rooms: BTreeMap<Module, BTreeSet<Module>> = table()
        .into_iter()
        .map(|(room, to)| (vec![room], to.into_iter().filter(|t| t != "all").map(|t| vec![t]).collect()))
        .collect();
    assert_eq!(files::circles(&rooms), Vec::<Vec<String>>::new());
}

/// Circles that still stand. The list may only become shorter.
const OPEN_CIRCLES: &[&str] = &[];

#[test]
fn no_files_import_each_other_around_a_circle() {
    let src = root().join("src");
    let files: BTreeMap<Module, String> = sources()
        .into_iter()
        .map(|(_, path, code)| {
            let inside = path.strip_prefix(&src).expect("under src").with_extension("");
            let mut module: Module =
                inside.components().map(|c| c.as_os_str().to_string_lossy().into_owned()).collect();
            module.retain(|part| part != "mod");
            (module, code)
        })
        .collect();
    let circles = files::circles(&files::arrows(&files));
    let found: Vec<String> = circles.iter().map(|c| c.join(" <-> ")).collect();
    assert_eq!(found, OPEN_CIRCLES, "files that cannot be read without each other");
}

#[test]
fn the_walks_pass_files_that_exist_and_none_twice() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let walks = text.split("\n## Walks\n").nth(1).and_then(|t| t.split("\n## ").next()).expect("the walks");
    let mut named = 0;
    for walk in walks.split("\n### ").skip(1) {
        let title = walk.lines().next().unwrap_or_default();
        let files: Vec<&str> =
            walk.lines().filter_map(|l| Some(l.split_once(". `")?.1.split_once('`')?.0)).collect();
        assert!(files.len() > 5, "{title}: {files:?}");
        for (i, file) in files.iter().enumerate() {
            assert!(root().join(file).is_file(), "{title}: {file} is not there");
            assert!(!files[..i].contains(file), "{title}: {file} comes twice");
        }
        named += 1;
    }
    assert_eq!(named, 4, "a request, a candidate, a scenario, a flag");
}

#[test]
fn every_room_of_the_table_exists() {
    let rooms: BTreeSet<String> = sources().into_iter().map(|(room, ..)| room).collect();
    for room in table().keys() {
        assert!(rooms.contains(room), "`{room}` stands in ARCHITECTURE.md but not in src/");
    }
}

/// (what, marker in the code, rooms where it may stand)
const FENCES: &[(&str, &str, &[&str])] = &[
    ("tokio", "tokio::", &["load", "telemetry", "trial", "emulate", "capacity", "tune", "cli"]),
    ("reqwest", "reqwest::", &["load", "telemetry"]),
    ("duct", "duct::", &["process"]),
    ("a spawned process", "Command::new(", &["process"]),
    ("printing", "println!(", &["cli"]),
    (
        "the wall clock",
        "SystemTime::now",
        &["load", "telemetry", "trial", "emulate", "capacity", "tune", "cli", "process", "store", "host"],
    ),
    (
        "the clock",
        "Instant::now",
        &["load", "telemetry", "executor", "trial", "emulate", "capacity", "tune", "cli", "process"],
    ),
    ("an unseeded random source", "rand::rng()", &[]),
    ("an unseeded random source", "from_os_rng", &[]),
];

#[test]
fn clocks_sockets_and_processes_stay_in_their_rooms() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        for (what, marker, rooms) in FENCES {
            if code.contains(marker) && !rooms.contains(&room.as_str()) {
                wrong.push(format!("{}: {what} (`{marker}`) does not belong in `{room}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_groups_and_nesting() {
    let code =
        "use crate::{error::Result, scenario::{Key, Metrics}, units};\nlet x = crate::stats::mean(&v);";
    let names: Vec<String> = crate_paths(code).into_iter().collect();
    assert_eq!(names, ["error", "scenario", "stats", "units"]);
}

/// Files that may list flags beside the search spaces, and what holds their list to them.
const OWN_LISTS: &[(&str, &str)] = &[(
    "src/emulate/flag_table.rs",
    "the argparse of the embedded engine; its tests compare it with search-spaces/vllm.toml",
)];

#[test]
fn what_is_known_of_a_flag_stands_in_the_search_spaces_alone() {
    let mut flags: BTreeSet<String> = BTreeSet::new();
    for entry in fs::read_dir(root().join("search-spaces")).expect("search-spaces") {
        let text = fs::read_to_string(entry.expect("entry").path()).expect("readable");
        let names = text.lines().filter_map(|l| l.strip_prefix("name = \"")?.strip_suffix('"'));
        flags.extend(names.map(|n| n.replace('_', "-")));
    }
    assert!(flags.len() > 100, "the tables were read");
    let mut wrong = Vec::new();
    for (_, path, code) in sources() {
        let name = path.strip_prefix(root()).expect("in the project").display().to_string();
        if OWN_LISTS.iter().any(|(file, _)| *file == name) {
            continue;
        }
        // A lookup names one flag in its spellings. A list of six flags and little else is a table of its own.
        for list in code.split('[').skip(1).filter_map(|rest| rest.split(']').next()) {
            let words: Vec<&str> =
                list.split('"').skip(1).step_by(2).map(|w| w.trim_start_matches('-')).collect();
            let listed: BTreeSet<&str> = words.iter().copied().filter(|w| flags.contains(*w)).collect();
            if listed.len() >= 6 && 2 * listed.len() >= words.len() {
                wrong.push(format!("{name}: a list of flags: {listed:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "say it in search-spaces/*.toml instead:\n{}", wrong.join("\n"));
}

#[test]
fn every_kind_of_fault_names_a_test_that_exists() {
    let text = fs::read_to_string(root().join("reports/faults.md")).unwrap();
    let table = text.split("\n## ").find(|part| part.starts_with("Every kind and the test")).unwrap();
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut kinds = 0;
    for row in table.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| kind")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let code: String = quoted(cells[1])
            .iter()
            .map(|file| fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}")))
            .collect();
        let tests = quoted(cells[2]);
        assert!(!tests.is_empty(), "no test for {row}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}(")), "{test} is in none of {}", cells[1]);
        }
        kinds += 1;
    }
    assert!(kinds >= 30, "{kinds} kinds");
}
