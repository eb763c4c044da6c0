//! Which file imports which, read from the text: `use` trees and inline paths, followed through re-exports.

use std::collections::{BTreeMap, BTreeSet};

/// A file by its module path: `["search", "guided"]` is `src/search/guided.rs` or `src/search/guided/mod.rs`.
pub(crate) type Module = Vec<String>;

/// One name that a `use` brings in: the path, and the name under which it is known afterwards.
struct Import {
    path: Vec<String>,
    name: String,
    public: bool,
}

/// Arrows between files: the file that imports, and those that it imports from.
pub(crate) fn arrows(files: &BTreeMap<Module, String>) -> BTreeMap<Module, BTreeSet<Module>> {
    let uses: BTreeMap<&Module, Vec<Import>> = files.iter().map(|(m, code)| (m, imports(m, code))).collect();
    let mut out = BTreeMap::new();
    for (module, code) in files {
        let mut to = BTreeSet::new();
        // A `pub use` passes a name on; it is no use of it.
        let own = uses[module].iter().filter(|i| !i.public).map(|i| i.path.clone());
        for path in own.chain(inline_paths(module, code)) {
            if let Some(target) = defined_in(&path, files, &uses, 0) {
                // A file and the parts that it is split into are one thing.
                let apart = !target.starts_with(module) && !module.starts_with(&target);
                if apart {
                    to.insert(target);
                }
            }
        }
        out.insert(module.clone(), to);
    }
    out
}

/// The circles: groups of files each of which is reached from each other one.
pub(crate) fn circles(arrows: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<String>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|m| (m, reached(m, arrows))).collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (module, from_here) in &reach {
        let circle: Vec<String> =
            from_here.iter().filter(|other| reach[*other].contains(module)).map(|m| m.join("/")).collect();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reached<'a>(from: &'a Module, arrows: &'a BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<&'a Module> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&Module> = vec![from];
    while let Some(next) = open.pop() {
        for target in arrows.get(next).into_iter().flatten() {
            if seen.insert(target) {
                open.push(target);
            }
        }
    }
    seen
}

/// The file that defines what a path names, through the re-exports of the modules on its way.
fn defined_in(
    path: &[String],
    files: &BTreeMap<Module, String>,
    uses: &BTreeMap<&Module, Vec<Import>>,
    depth: usize,
) -> Option<Module> {
    let longest = (1..=path.len()).rev().find(|n| files.contains_key(&path[..*n]))?;
    let module = path[..longest].to_vec();
    let Some(name) = path.get(longest) else { return Some(module) };
    let passed_on = uses[&module].iter().find(|i| i.public && i.name == *name);
    match passed_on {
        Some(import) if depth < 8 => {
            let rest = import.path.iter().cloned().chain(path[longest + 1..].iter().cloned());
            defined_in(&rest.collect::<Vec<_>>(), files, uses, depth + 1).or(Some(module))
        }
        _ => Some(module),
    }
}

/// The imports of a file, with paths from the crate's root.
fn imports(module: &Module, code: &str) -> Vec<Import> {
    let mut out = Vec::new();
    for (public, text) in statements(code).0 {
        for (path, name) in tree(text) {
            if let Some(path) = from_root(module, &path) {
                out.push(Import { path, name, public });
            }
        }
    }
    out
}

/// The `use` statements of a file (public or not, and the tree), and the code without them.
fn statements(code: &str) -> (Vec<(bool, &str)>, String) {
    let (mut found, mut others) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default().trim();
        let public = before.starts_with("pub");
        others.push_str(&rest[..at]);
        rest = &rest[at + 4..];
        if before.is_empty() || public {
            let end = rest.find(';').unwrap_or(rest.len());
            found.push((public, &rest[..end]));
            rest = &rest[end..];
        }
    }
    others.push_str(rest);
    (found, others)
}

/// Every leaf of a use tree, as path and name: `a::{b, c as d}` is `a::b` as `b` and `a::c` as `d`.
fn tree(text: &str) -> Vec<(Vec<String>, String)> {
    let text = text.trim();
    if let Some(open) = text.find('{') {
        let head: Vec<String> =
            text[..open].split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
        let inner = text[open + 1..].strip_suffix('}').unwrap_or(&text[open + 1..]);
        return split_commas(inner)
            .iter()
            .flat_map(|part| tree(part))
            .map(|(path, name)| {
                let own = path.into_iter().filter(|p| p != "self");
                (head.iter().cloned().chain(own).collect(), name)
            })
            .collect();
    }
    let (path, renamed) = text.split_once(" as ").map_or((text, None), |(p, n)| (p, Some(n.trim())));
    let path: Vec<String> = path.split("::").map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    let Some(last) = path.last().cloned() else { return Vec::new() };
    vec![(path, renamed.map_or(last, str::to_owned))]
}

fn split_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(c);
    }
    parts.retain(|p| !p.trim().is_empty());
    parts
}

/// `crate::a::b`, `super::b` and `self::b` as a path from the root; `None` for other crates.
fn from_root(module: &Module, path: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some(module.iter().chain(&path[1..]).cloned().collect()),
        "super" => {
            let ups = path.iter().take_while(|p| *p == "super").count();
            let base = module.get(..module.len().checked_sub(ups)?)?;
            Some(base.iter().chain(&path[ups..]).cloned().collect())
        }
        // In a module file, `pub use child::Name` begins with a module of its own.
        own => Some(module.iter().cloned().chain(path.iter().cloned()).collect()).filter(|_| own != "std"),
    }
}

/// Paths that stand in expressions and types: `crate::a::b` and `super::a::b`.
fn inline_paths(module: &Module, code: &str) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    let code = statements(code).1;
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let text: String =
                code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            let path: Vec<String> = text.split("::").filter(|s| !s.is_empty()).map(str::to_owned).collect();
            out.extend(from_root(module, &path));
        }
    }
    out
}

#[test]
fn imports_are_followed_through_groups_and_re_exports() {
    let files: BTreeMap<Module, String> = [
        ("a", "mod one; mod two;\npub use one::{One, self as first};\n"),
        ("a/one", "use super::two::{Two, inner::Deep};\npub struct One;"),
        ("a/two", "pub struct Two; fn f(x: crate::b::Thing) {}"),
        ("b", "use crate::a::{One as Renamed};\n"),
    ]
    .into_iter()
    .map(|(m, code)| (m.split('/').map(str::to_owned).collect(), code.to_owned()))
    .collect();
    let arrows = arrows(&files);
    let of = |m: &str| -> Vec<String> {
        let key: Module = m.split('/').map(str::to_owned).collect();
        arrows[&key].iter().map(|t| t.join("/")).collect()
    };
    assert_eq!(of("b"), ["a/one"], "through the re-export");
    assert_eq!((of("a/one"), of("a/two")), (vec!["a/two".to_owned()], vec!["b".to_owned()]));
    assert!(of("a").is_empty(), "a re-export is no use");
    assert_eq!(circles(&arrows), [["a/one", "a/two", "b"]]);
}
