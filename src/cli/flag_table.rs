//! `dyno list flags`: what a prediction makes of each flag of each engine, from the search spaces alone.

use super::out;
use crate::error::Result;
use crate::launch::EngineKind;
use crate::space::{Role, Space};
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// How the table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Markdown,
}

/// Roles of one name in the engines of the table's columns.
type Rows = BTreeMap<String, Vec<Option<Role>>>;

pub(super) fn run(dir: Option<&Path>, engine: Option<EngineKind>, form: Form) -> Result<()> {
    let mut spaces = Space::load_all(dir)?;
    spaces.retain(|s| engine.is_none_or(|e| e == s.engine));
    let rows = rows(&spaces);
    out::line(match form {
        Form::Json => format!("{:#}", to_json(&spaces, &rows)),
        Form::Markdown => markdown(&spaces, &rows),
        Form::Text => text(&spaces, &rows),
    });
    Ok(())
}

fn rows(spaces: &[Space]) -> Rows {
    let mut out = Rows::new();
    for (i, space) in spaces.iter().enumerate() {
        for (name, role) in space.roles() {
            out.entry(name).or_insert_with(|| vec![None; spaces.len()])[i] = Some(role);
        }
    }
    out
}

fn word(role: Option<Role>) -> &'static str {
    match role {
        Some(Role::Modelled) => "modelled",
        Some(Role::Told) => "told",
        Some(Role::Neutral) => "without effect",
        None => "",
    }
}

fn to_json(spaces: &[Space], rows: &Rows) -> Value {
    let row = |(name, roles): (&String, &Vec<Option<Role>>)| {
        let mut v = json!({"flag": name});
        for (s, role) in spaces.iter().zip(roles).filter(|(_, r)| r.is_some()) {
            v[s.engine.id()] = json!(role);
        }
        v
    };
    rows.iter().map(row).collect()
}

fn text(spaces: &[Space], rows: &Rows) -> String {
    let mut table = Table::new();
    let head = std::iter::once("flag".to_owned()).chain(spaces.iter().map(|s| s.engine.to_string()));
    table.load_style(presets::NOTHING).set_header(head);
    for (name, roles) in rows {
        let cells = std::iter::once(format!("--{name}")).chain(roles.iter().map(|r| word(*r).to_owned()));
        table.add_row(cells);
    }
    let lines: Vec<String> = table.to_string().lines().map(|l| l.trim_end().to_owned()).collect();
    format!("{}\n{}", lines.join("\n"), counts(spaces, rows).join("\n"))
}

fn counts(spaces: &[Space], rows: &Rows) -> Vec<String> {
    let of = |i: usize, role: Role| rows.values().filter(|r| r[i] == Some(role)).count();
    let line = |(i, s): (usize, &Space)| {
        format!(
            "{} {} to {}: {} modelled, {} told, {} without effect",
            s.engine,
            s.oldest,
            s.newest,
            of(i, Role::Modelled),
            of(i, Role::Told),
            of(i, Role::Neutral)
        )
    };
    spaces.iter().enumerate().map(line).collect()
}

fn markdown(spaces: &[Space], rows: &Rows) -> String {
    let mut out = String::from(
        "# What a prediction makes of each flag\n\nWritten by `dyno list flags --markdown` from `search-spaces/*.toml`; a test \
         holds it fresh.\n\n*modelled*: the simulator and the cost model know its effect. *told*: it may matter, is not \
         modelled, and every prediction of a launch with it says so. *without effect*: it changes neither speed nor memory. \
         Empty: the table of that engine does not have the name; a prediction tells any flag that it does not know.\n\n",
    );
    for line in counts(spaces, rows) {
        out.push_str(&format!("- {line}\n"));
    }
    let head: Vec<String> = spaces.iter().map(|s| s.engine.to_string()).collect();
    out.push_str(&format!("\n| flag | {} |\n|---|{}\n", head.join(" | "), "---|".repeat(spaces.len())));
    for (name, roles) in rows {
        let cells: Vec<&str> = roles.iter().map(|r| word(*r)).collect();
        out.push_str(&format!("| `--{name}` | {} |\n", cells.join(" | ")));
    }
    out.truncate(out.trim_end().len());
    out
}
