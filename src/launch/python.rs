//! Python's literals, as programs write arguments and engines print them.

use super::words;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Calls whose arguments are a table of settings: `dict(…)`, `ModelLoadingConfig(…)`, `KvCacheConfig(…)`.
fn is_table(name: &str) -> bool {
    name == "dict" || name.ends_with("Config") || name.ends_with("Args") || name == "Namespace"
}

/// Names that the program sets to a literal at the beginning of a line.
pub(super) fn assigned(text: &str) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if let Some((name, rest)) = line.split_once('=')
            && !rest.starts_with('=')
            && !name.trim().is_empty()
            && name.trim_end().chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            let from = at + name.len() + 1;
            let value = Reader::new(&text[from..], &out).value();
            if let Some(value) = value.filter(|v| v.as_str().is_none_or(|s| !s.starts_with('$'))) {
                out.insert(name.trim().to_owned(), value);
            }
        }
        if let Some((table, key, from)) = item(line) {
            let value = Reader::new(&text[at + from..], &out).value();
            if let (Some(Value::Object(own)), Some(value)) = (out.get_mut(table), value) {
                own.insert(key.to_owned(), value);
            }
        }
        at += line.len();
    }
    out
}

/// Names that a text sets to a table of Python (`ROW = {…}`), each with it; a value that is no literal is a text that begins with `$`.
pub(crate) fn tables(text: &str) -> impl Iterator<Item = (String, Value)> {
    // A long log has other lines with `=` in them, each of which would be read to its end.
    let begins = |l: &str| l.split_once('=').is_some_and(|(_, value)| value.trim_start().starts_with('{'));
    let all = if text.lines().any(begins) { assigned(text) } else { BTreeMap::new() };
    all.into_iter().filter(|(_, value)| value.is_object())
}

/// `kwargs["key"] = …` at the very beginning of a line, where no condition decides: table, key, and where the value begins.
fn item(line: &str) -> Option<(&str, &str, usize)> {
    let (left, right) = line.split_once('=').filter(|(_, right)| !right.starts_with('='))?;
    let (table, key) = left.trim_end().strip_suffix(']')?.split_once('[')?;
    let key = key.trim().trim_matches(['"', '\'']);
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    (plain(table) && plain(key)).then_some((table, key, line.len() - right.len()))
}

/// Reads Python's literals; whatever else stands as a value becomes `$…`, a value that is not known.
pub(super) struct Reader<'a> {
    rest: &'a str,
    names: &'a BTreeMap<String, Value>,
    depth: u8,
    /// Tables that were taken in by their names (`**kwargs`).
    pub(super) taken: Vec<String>,
    /// Those that are not known.
    pub(super) unknown: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(rest: &'a str, names: &'a BTreeMap<String, Value>) -> Reader<'a> {
        Reader { rest, names, depth: 0, taken: Vec::new(), unknown: Vec::new() }
    }

    fn blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let Some(comment) = self.rest.strip_prefix('#') else { return };
            self.rest = &comment[comment.find('\n').unwrap_or(comment.len())..];
        }
    }

    fn take(&mut self, c: char) -> bool {
        self.blank();
        let Some(rest) = self.rest.strip_prefix(c) else { return false };
        self.rest = rest;
        true
    }

    /// `key=value, …` or `"key": value, …` up to the closing letter.
    pub(super) fn entries(&mut self, close: char) -> Option<Map<String, Value>> {
        let mut out = Map::new();
        while !self.take(close) {
            // A line that was cut off: what stands there is read.
            if self.rest.is_empty() && self.depth == 0 {
                break;
            }
            let left = self.rest.len();
            let key = match self.rest.chars().next()? {
                '"' | '\'' => self.string()?,
                _ => self.word(),
            };
            if let Some(more) = self.rest.strip_prefix("**").filter(|_| key.is_empty()) {
                self.rest = more;
                out.extend(self.spread());
            } else if key.is_empty() || !(self.take('=') || self.take(':')) {
                // A positional argument: passed over.
                self.expression();
            } else {
                let value = self.value()?;
                out.insert(key, value);
            }
            // A bracket of another kind ends nothing here: the text is not Python.
            if !self.take(',') && self.rest.len() == left {
                return None;
            }
        }
        Some(out)
    }

    /// The table behind `**`: by its name, or written there.
    fn spread(&mut self) -> Map<String, Value> {
        let before = self.rest;
        let value = self.value();
        let text = before[..before.len() - self.rest.len()].trim().to_owned();
        if let Some(Value::Object(table)) = value {
            self.taken.push(text);
            table
        } else {
            self.unknown.push(text);
            Map::new()
        }
    }

    fn word(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word.to_owned()
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let body = &self.rest[1..];
        let end = body.find(quote)?;
        self.rest = &body[end + 1..];
        Some(body[..end].to_owned())
    }

    pub(super) fn value(&mut self) -> Option<Value> {
        self.blank();
        self.depth += 1;
        if self.depth > 32 {
            return None;
        }
        let before = self.rest;
        let value = self.literal();
        self.depth -= 1;
        self.blank();
        let ended = self.rest.is_empty() || self.rest.starts_with([',', ')', '}', ']']) || self.depth == 0;
        match value {
            Some(value) if ended => Some(value),
            _ => {
                self.rest = before;
                let text = self.expression();
                Some(Value::String(format!("${}", text.split(['(', ' ']).next().unwrap_or_default())))
            }
        }
    }

    fn literal(&mut self) -> Option<Value> {
        match self.rest.chars().next()? {
            '"' | '\'' => self.string().map(Value::String),
            '{' => {
                self.rest = &self.rest[1..];
                self.entries('}').map(Value::Object)
            }
            '[' => {
                self.rest = &self.rest[1..];
                let mut items = Vec::new();
                while !self.take(']') {
                    let left = self.rest.len();
                    items.push(self.value()?);
                    if !self.take(',') && self.rest.len() == left {
                        return None;
                    }
                }
                Some(Value::Array(items))
            }
            // An enumeration as Python prints it: `<ConfigFormat.AUTO: 'auto'>`.
            '<' => {
                let (inside, rest) = self.rest.split_once('>')?;
                self.rest = rest;
                let value = inside.split_once(':')?.1.trim();
                serde_json::from_str(value)
                    .ok()
                    .or_else(|| Some(Value::String(value.trim_matches('\'').to_owned())))
            }
            _ => {
                let word = self.word();
                match word.as_str() {
                    // A raw or formatted string; one with names in it is not known.
                    "r" | "b" | "f" | "rb" if self.rest.starts_with(['"', '\'']) => {
                        let text = self.string()?;
                        let unknown = word == "f" && text.contains('{');
                        Some(Value::String(if unknown { format!("${text}") } else { text }))
                    }
                    w if w.rsplit('.').next().is_some_and(is_table) && self.take('(') => {
                        self.entries(')').map(Value::Object)
                    }
                    // A conversion of what stands inside.
                    "str" | "int" | "float" | "Path" | "pathlib.Path" if self.take('(') => {
                        let value = self.value()?;
                        self.take(')').then_some(value)
                    }
                    "True" => Some(Value::Bool(true)),
                    "False" => Some(Value::Bool(false)),
                    "None" => Some(Value::Null),
                    "" => None,
                    _ => serde_json::from_str(&word.replace('_', ""))
                        .ok()
                        .or_else(|| self.names.get(&word).cloned()),
                }
            }
        }
    }

    /// Passes over an expression, to the comma or the bracket that ends it.
    fn expression(&mut self) -> String {
        let (mut open, mut quote) = (0usize, None::<char>);
        let end = self.rest.char_indices().find_map(|(i, c)| {
            if let Some(q) = quote {
                quote = Some(q).filter(|q| *q != c);
                return None;
            }
            match c {
                '"' | '\'' => quote = Some(c),
                '(' | '[' | '{' => open += 1,
                ')' | ']' | '}' | ',' if open == 0 => return Some(i),
                ')' | ']' | '}' => open -= 1,
                _ => {}
            }
            None
        });
        let (text, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        words::quote(text.trim()).trim_matches('\'').to_owned()
    }
}
