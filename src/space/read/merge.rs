//! Rows that one file takes from another: a space built on a base, and a user's own flags laid over an engine's table.

use crate::data::{self, Document};
use crate::error::Problem;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// A space with `base = "vllm"` takes the rows it names from that space; keys that it gives win.
pub(super) fn with_base(file: &str, mut value: Value, all: &[Document]) -> Result<Value, Vec<Problem>> {
    let Some(base) = value.get("base").and_then(Value::as_str) else { return Ok(value) };
    let wrong = |message: String| vec![Problem::new(file, "base", message)];
    let rows = all
        .iter()
        .rev()
        .filter_map(|d| data::toml_value(&d.file, &d.text).ok())
        .find(|v| v["engine"].as_str() == Some(base))
        .and_then(|v| v.get("flag").and_then(Value::as_array).cloned())
        .ok_or_else(|| wrong(format!("there is no space `{base}` to build on")))?;
    let by_name: BTreeMap<&str, &Map<String, Value>> =
        rows.iter().filter_map(|r| Some((r["name"].as_str()?, r.as_object()?))).collect();
    if let Some(Value::Array(own)) = value.get_mut("flag") {
        for row in own.iter_mut().filter_map(Value::as_object_mut) {
            let inherited = row.get("name").and_then(Value::as_str).and_then(|n| by_name.get(n));
            for (key, v) in inherited.into_iter().flat_map(|m| m.iter()) {
                row.entry(key.clone()).or_insert_with(|| v.clone());
            }
        }
    }
    Ok(value)
}

/// The table of the engine that a user's file names, with that file's rows in the place of, or after, its own. A row needs
/// only its name and the values to try; the rest has the value that claims least.
///
/// Errors: what is wrong with the file's frame; its rows are checked with the whole.
pub(super) fn laid_over(file: &str, own: &Value, all: &[Document]) -> Result<Value, Vec<Problem>> {
    let wrong = |key: &str, message: &str| vec![Problem::new(file, key, message)];
    let engine = own.get("engine").and_then(Value::as_str);
    let Some(engine) = engine else {
        return Err(wrong("engine", "missing: the engine whose flags these are, such as engine = \"vllm\""));
    };
    let Some(rows) = own.get("flag").and_then(Value::as_array).filter(|r| !r.is_empty()) else {
        return Err(wrong("flag", "missing: one table [[flag]] for each flag"));
    };
    let table = all.iter().rev().find_map(|d| {
        let value = data::toml_value(&d.file, &d.text).ok()?;
        (value["engine"].as_str() == Some(engine)).then_some((d, value))
    });
    let Some((document, table)) = table else {
        return Err(wrong("engine", &format!("there is no search space for engine `{engine}`")));
    };
    let mut table = with_base(&document.file, table, all)?;
    if let Some(flags) = table.get_mut("flag").and_then(Value::as_array_mut) {
        for row in rows {
            let name = row.get("name");
            flags.retain(|f| name.is_none() || f.get("name") != name);
            flags.push(completed(file, row));
        }
    }
    Ok(table)
}

/// A user's row with what it leaves out.
fn completed(file: &str, row: &Value) -> Value {
    let mut row = row.clone();
    let first = row["tune"].get(0).and_then(|t| t["values"].get(0)).cloned();
    let kind = match first {
        Some(Value::Bool(_)) => "bool",
        Some(Value::Number(n)) if n.is_i64() => "int",
        Some(Value::Number(_)) => "float",
        _ => "text",
    };
    let absent = [
        ("type", json!(kind)),
        ("default", json!("not said")),
        ("phase", json!(["host"])),
        ("changes_output", json!(false)),
        ("doc", json!("A flag of the user's own.")),
        ("mechanism", json!("Not said; to be learned by launches.")),
        ("source", json!(file)),
    ];
    if let Some(map) = row.as_object_mut() {
        for (key, value) in absent {
            map.entry(key).or_insert(value);
        }
    }
    row
}
