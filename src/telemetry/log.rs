//! Following a log file that another process writes.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// Reads what was appended since the last call, in whole lines.
#[derive(Debug)]
pub struct LogTail {
    path: PathBuf,
    offset: u64,
    /// Beginning of a line that has not ended yet.
    partial: Vec<u8>,
    last: String,
}

/// Most read at one call: a log that grows faster than this is read over several calls.
const CHUNK: u64 = 4 << 20;

impl LogTail {
    pub fn new(path: impl Into<PathBuf>) -> LogTail {
        LogTail { path: path.into(), offset: 0, partial: Vec::new(), last: String::new() }
    }

    /// Lines that ended since the last call.
    pub fn read(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut f| {
            f.seek(SeekFrom::Start(self.offset))?;
            f.take(CHUNK).read_to_end(&mut bytes)
        });
        if read.is_err() || bytes.is_empty() {
            return Vec::new();
        }
        self.offset += bytes.len() as u64;
        self.partial.extend(bytes);
        let Some(end) = self.partial.iter().rposition(|b| *b == b'\n') else { return Vec::new() };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        let lines: Vec<String> = String::from_utf8_lossy(&whole).lines().map(str::to_owned).collect();
        if let Some(last) = lines.iter().rev().find(|l| !l.trim().is_empty()) {
            last.trim().clone_into(&mut self.last);
        }
        lines
    }

    /// The last line that was read and is not empty.
    pub fn last(&self) -> &str {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn half_lines_wait_for_their_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut tail = LogTail::new(&path);
        assert!(tail.read().is_empty(), "no file yet");
        let mut f = File::create(&path).unwrap();
        f.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.read(), ["one"]);
        f.write_all(b"o\n\n").unwrap();
        assert_eq!(tail.read(), ["two", ""]);
        assert_eq!(tail.last(), "two");
        assert!(tail.read().is_empty());
    }
}
