//! JSON as Python writes it: `NaN`, `Infinity` and `-Infinity` are not JSON, but stand in published files.

use serde_json::Value;

/// Parses JSON in which bare `NaN` and `Infinity` may stand; they read as null, for "no such number".
pub(crate) fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|e| {
        let mended = without_specials(text);
        if mended == text { Err(e) } else { serde_json::from_str(&mended) }
    })
}

/// The text with bare special numbers outside strings replaced by null.
fn without_specials(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        if in_string {
            let n = if c == '\\' {
                c.len_utf8() + rest[1..].chars().next().map_or(0, char::len_utf8)
            } else {
                c.len_utf8()
            };
            in_string = c != '"';
            out.push_str(&rest[..n]);
            rest = &rest[n..];
            continue;
        }
        if let Some(special) = ["-Infinity", "Infinity", "NaN"].into_iter().find(|s| rest.starts_with(s)) {
            out.push_str("null");
            rest = &rest[special.len()..];
        } else {
            in_string = c == '"';
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_numbers_of_python_read_as_null_and_strings_stay() {
        let v = parse(r#"{"a": [0.0, Infinity], "b": -Infinity, "c": NaN, "d": "NaN \" Infinity"}"#).unwrap();
        assert!(v["a"][1].is_null() && v["b"].is_null() && v["c"].is_null());
        assert_eq!(v["d"], "NaN \" Infinity");
        assert!(parse("{").is_err() && parse("{\"a\": Infinit}").is_err());
    }
}
