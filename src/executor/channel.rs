//! Marked lines with checksums, in an output that others write into as well.
//!
//! `dyno-job KIND SUM JSON`: SUM is the beginning of the SHA-256 of the JSON text. A line that was cut or mixed with another
//! is not taken for what it says.

use serde::Serialize;
use sha2::Digest;

const MARK: &str = "dyno-job ";
const DIGITS: usize = 16;

fn checksum(text: &str) -> String {
    let digest = sha2::Sha256::digest(text.as_bytes());
    digest.iter().take(DIGITS / 2).map(|b| format!("{b:02x}")).collect()
}

/// The line that says `value`, without its end.
pub fn line(kind: &str, value: &impl Serialize) -> serde_json::Result<String> {
    let json = plain(&serde_json::to_string(value)?);
    Ok(format!("{MARK}{kind} {} {json}", checksum(&json)))
}

/// JSON in ASCII alone: on its way it passes terminals, locales and log readers that may change anything else.
fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if (' '..='~').contains(&c) {
            out.push(c);
        } else {
            // Outside of strings JSON is ASCII, and control characters are escaped already.
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        }
    }
    out
}

/// Kind and JSON of every whole line in an output, in their order.
pub fn read(output: &str) -> impl Iterator<Item = (&str, &str)> {
    output.lines().filter_map(|l| {
        // What stood on the line before may lack its end.
        let said = &l[l.find(MARK)? + MARK.len()..];
        let (kind, rest) = said.split_once(' ')?;
        let (sum, json) = rest.split_once(' ')?;
        (checksum(json) == sum).then_some((kind, json))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_come_through_and_broken_ones_do_not() {
        let sent = line("result", &serde_json::json!({"text": "a\nb \u{1f600}", "dyno-job ": 1})).unwrap();
        let noise =
            format!("INFO something\n{sent}\n(raylet) half a line {sent}\n{}\n", &sent[..sent.len() - 1]);
        let found: Vec<_> = read(&noise).collect();
        assert_eq!(found.len(), 2);
        assert!(sent.is_ascii());
        let back: serde_json::Value = serde_json::from_str(found[0].1).unwrap();
        assert_eq!(back["text"], "a\nb \u{1f600}");
        assert!(found.iter().all(|(kind, json)| *kind == "result" && sent.ends_with(json)));
        assert_eq!(read(&sent.replacen("a\\n", "b\\n", 1)).count(), 0, "one letter is another");
    }
}
