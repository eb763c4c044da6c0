//! The two ends of a log: a root cause stands near one of them, and a log may be of any size.

use super::text::{self, Line};
use std::io::Read;

/// At most this much is kept of the beginning of a log, in bytes, and as much of its end.
const PART: usize = 8 << 20;
/// A line of which more than one character in this number is no text is noise.
const NOISE: usize = 10;

/// What is kept of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Excerpt {
    pub(super) head: String,
    /// The end, where the log is longer than the two parts.
    pub(super) tail: String,
    /// Line breaks before the tail.
    breaks_before_tail: usize,
}

impl Excerpt {
    /// A log that is in memory already.
    pub fn whole(log: &str) -> Excerpt {
        Excerpt { head: readable(log.as_bytes()), ..Excerpt::default() }
    }

    /// Reads to the end and keeps the two ends; memory is bounded whatever the length, also of a line.
    pub fn read(log: impl Read) -> std::io::Result<Excerpt> {
        Excerpt::read_parts(log, PART)
    }

    fn read_parts(mut log: impl Read, part: usize) -> std::io::Result<Excerpt> {
        let mut head = Vec::new();
        log.by_ref().take(part as u64).read_to_end(&mut head)?;
        let mut breaks = breaks(&head);
        let mut tail: Vec<u8> = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        let mut dropped = false;
        loop {
            let n = match log.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            tail.extend_from_slice(&chunk[..n]);
            if tail.len() >= 2 * part {
                let gone = tail.len() - part;
                breaks += self::breaks(&tail[..gone]);
                tail.drain(..gone);
                dropped = true;
            }
        }
        if !dropped {
            // Nothing is missing between the two: one text.
            head.append(&mut tail);
        }
        Ok(Excerpt { head: readable(&head), tail: readable(&tail), breaks_before_tail: breaks })
    }

    /// The text that is kept, with a line break where a part is missing.
    pub fn text(&self) -> String {
        if self.tail.is_empty() { self.head.clone() } else { format!("{}\n{}", self.head, self.tail) }
    }

    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines = text::lines(&self.head, 1);
        if !self.tail.is_empty() {
            lines.extend(text::lines(&self.tail, self.breaks_before_tail + 1));
        }
        lines
    }
}

fn breaks(bytes: &[u8]) -> usize {
    bytes.split(|b| *b == b'\n').count() - 1
}

/// The bytes as text, with lines that are no text left empty: what a crash or a wrong file writes says nothing, and patterns
/// would search it for minutes.
fn readable(bytes: &[u8]) -> String {
    let all = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(all.len());
    for line in all.split_inclusive('\n') {
        let odd = |c: char| {
            c == char::REPLACEMENT_CHARACTER || (c.is_control() && !matches!(c, '\t' | '\r' | '\n' | '\x1b'))
        };
        let bad = line.chars().filter(|c| odd(*c)).count();
        if bad * NOISE > line.chars().count() {
            out.push_str(if line.ends_with('\n') { "\n" } else { "" });
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_no_text_are_left_empty_and_those_around_them_stay() {
        let mut log = b"INFO start\n".to_vec();
        log.extend((0..=255u8).filter(|b| *b != b'\n').cycle().take(5000));
        log.extend_from_slice("\nRuntimeError: h\u{e9} \x1b[31mbad\x1b[0m\n".as_bytes());
        let kept = Excerpt::read(log.as_slice()).unwrap();
        assert_eq!(kept.head, "INFO start\n\nRuntimeError: h\u{e9} \x1b[31mbad\x1b[0m\n");
    }

    #[test]
    fn a_long_log_keeps_its_ends_and_its_line_numbers() {
        let log: String = (1..=1000).map(|n| format!("line {n}\n")).collect();
        let whole = Excerpt::read_parts(log.as_bytes(), 1 << 20).unwrap();
        assert_eq!((whole.text(), whole.tail.as_str()), (log.clone(), ""));
        let short = Excerpt::read_parts(log.as_bytes(), 500).unwrap();
        assert!(short.head.len() + short.tail.len() <= 1500, "{}", short.text().len());
        let lines = short.lines();
        let last = lines.iter().rev().find(|l| !l.text.is_empty()).unwrap();
        assert_eq!((last.text.as_str(), last.number), ("line 1000", 1000));
    }

    #[test]
    fn a_log_of_one_endless_line_is_bounded() {
        let log = std::io::repeat(b'x').take(5_000_000);
        let excerpt = Excerpt::read_parts(log, 1000).unwrap();
        assert!(excerpt.head.len() + excerpt.tail.len() < 200_000);
        assert!(excerpt.lines().iter().all(|l| l.text.len() < 10_000));
    }
}
