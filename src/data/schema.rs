//! The shape of a data file as data, so that every problem of a file is found in one pass: wrong types,
//! missing keys, unknown keys, values outside a closed list.

use super::nearest::did_you_mean;
use crate::error::Problem;
use serde_json::{Map, Value};

/// What may stand under a key.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    Text,
    Bool,
    /// A whole number >= 0.
    Count,
    /// Any number.
    Number,
    /// A number > 0.
    Positive,
    OneOf(&'static [&'static str]),
    List(&'static Shape),
    Table(&'static [Key]),
    /// Checked elsewhere.
    Any,
}

/// One key of a table.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
}

/// A key that must be there.
pub const fn req(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: true }
}

/// A key that may be there.
pub const fn opt(name: &'static str, shape: Shape) -> Key {
    Key { name, shape, required: false }
}

/// Every way in which `value` departs from a table with these `keys`; `path` is the key path so far.
pub fn check(file: &str, path: &str, value: &Value, keys: &[Key]) -> Vec<Problem> {
    let mut out = Vec::new();
    match value {
        Value::Object(map) => check_table(file, path, map, keys, &mut out),
        other => out.push(Problem::new(file, path, format!("must be a table, not {}", kind_of(other)))),
    }
    out
}

fn check_table(file: &str, path: &str, map: &Map<String, Value>, keys: &[Key], out: &mut Vec<Problem>) {
    for name in map.keys() {
        if !keys.iter().any(|k| k.name == name) {
            out.push(
                Problem::new(file, join(path, name), "unknown key")
                    .hint(did_you_mean(name, keys.iter().map(|k| k.name))),
            );
        }
    }
    for key in keys {
        match map.get(key.name) {
            Some(v) => check_shape(file, &join(path, key.name), v, key.shape, out),
            None if key.required => {
                out.push(Problem::new(file, join(path, key.name), "missing").hint(expects(key.shape)));
            }
            None => {}
        }
    }
}

fn check_shape(file: &str, path: &str, v: &Value, shape: Shape, out: &mut Vec<Problem>) {
    let fits = match shape {
        Shape::Text => v.is_string(),
        Shape::Bool => v.is_boolean(),
        Shape::Count => v.as_u64().is_some_and(|n| u32::try_from(n).is_ok()),
        Shape::Number => v.is_number(),
        Shape::Positive => v.as_f64().is_some_and(|x| x > 0.0 && x.is_finite()),
        Shape::OneOf(list) => v.as_str().is_some_and(|s| list.contains(&s)),
        Shape::List(_) => v.is_array(),
        Shape::Table(_) => v.is_object(),
        Shape::Any => true,
    };
    if !fits {
        let got = match v {
            Value::String(s) => format!("\"{s}\""),
            Value::Number(n) => n.to_string(),
            other => kind_of(other).to_owned(),
        };
        out.push(Problem::new(file, path, format!("{got} is not {}", expects(shape))));
        return;
    }
    match (shape, v) {
        (Shape::List(inner), Value::Array(items)) => {
            for (i, item) in items.iter().enumerate() {
                check_shape(file, &format!("{path}[{i}]"), item, *inner, out);
            }
        }
        (Shape::Table(keys), Value::Object(map)) => check_table(file, path, map, keys, out),
        _ => {}
    }
}

fn expects(shape: Shape) -> String {
    match shape {
        Shape::Text => "a text".into(),
        Shape::Bool => "true or false".into(),
        Shape::Count => "a whole number from 0 to 4294967295".into(),
        Shape::Number => "a number".into(),
        Shape::Positive => "a number above 0".into(),
        Shape::OneOf(list) => format!("one of {}", list.join(", ")),
        Shape::List(_) => "a list".into(),
        Shape::Table(_) => "a table".into(),
        Shape::Any => "a value".into(),
    }
}

fn kind_of(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// `a` + `b` = `a.b`.
pub fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const INNER: &[Key] = &[req("n", Shape::Count)];
    const KEYS: &[Key] = &[
        req("id", Shape::Text),
        opt("rate", Shape::Positive),
        opt("kind", Shape::OneOf(&["a", "b"])),
        opt("rows", Shape::List(&Shape::Table(INNER))),
    ];

    #[test]
    fn every_problem_is_found_in_one_pass() {
        let v = json!({"rate": -1, "kind": "c", "rows": [{"n": 1}, {"n": -2}], "rat": "x"});
        let found: Vec<String> = check("f", "", &v, KEYS).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "f: rat: unknown key (hint: did you mean `rate`?)",
                "f: id: missing (hint: a text)",
                "f: rate: -1 is not a number above 0",
                "f: kind: \"c\" is not one of a, b",
                "f: rows[1].n: -2 is not a whole number from 0 to 4294967295",
            ]
        );
    }

    #[test]
    fn a_good_table_has_no_problems() {
        assert!(check("f", "", &json!({"id": "x", "rate": 0.5}), KEYS).is_empty());
    }
}
