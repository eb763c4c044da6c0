//! JSON as Python's `json` module writes it: `NaN`, `Infinity` and `-Infinity` stand where a number is not known.

use serde_json::{Error, Value};

/// A JSON text, in which Python's words for numbers that are none mean a missing value (`null`).
///
/// Under the key `request_rate` an `Infinity` is a value with a meaning (all requests at once) and becomes `"inf"`.
///
/// Errors: the syntax error of the text as it came, with its line and column.
pub fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).or_else(|e| match replaced(text) {
        Some(json) => serde_json::from_str(&json),
        None => Err(e),
    })
}

/// The text with Python's words replaced; None when it has none.
fn replaced(text: &str) -> Option<String> {
    const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut any) = (text, false);
    while let Some(c) = rest.chars().next() {
        if c == '"' {
            let end = string_end(rest);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        if let Some(word) = WORDS.iter().find(|w| rest.starts_with(**w)) {
            let rate = *word == "Infinity" && out.trim_end().ends_with("\"request_rate\":");
            out.push_str(if rate { "\"inf\"" } else { "null" });
            rest = &rest[word.len()..];
            any = true;
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    any.then_some(out)
}

/// Where the string that begins the text ends: behind its closing quote.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return i + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_that_are_none_are_missing_and_texts_stay() {
        let v =
            parse(r#"{"request_rate": Infinity, "a": [NaN, -Infinity, 1], "b": "NaN \" Infinity"}"#).unwrap();
        assert_eq!(v, json!({"request_rate": "inf", "a": [null, null, 1], "b": "NaN \" Infinity"}));
        assert_eq!(parse("{\"a\": \n nope}").unwrap_err().line(), 2);
        assert!(parse("{\"a\": NaN, \"b\": \"NaN").is_err());
    }
}
