//! Server-sent events out of arbitrary byte chunks.
//!
//! The WHATWG event-stream format as far as the serving engines use it: lines end in LF, CR LF or CR, `data`
//! lines of one event are joined by LF, an empty line ends the event, lines beginning with a colon are
//! comments (keep-alives), other fields are skipped.

/// Incremental parser: feed it what was read, it calls back with the data of each complete event.
#[derive(Debug, Default)]
pub struct SseParser {
    /// An unfinished line from earlier reads.
    line: Vec<u8>,
    /// Data lines of the unfinished event.
    data: Vec<u8>,
    has_data: bool,
    /// The last byte seen was a CR: a LF right after it belongs to the same line end.
    after_cr: bool,
    /// An event was longer than [`LONGEST`]; nothing is kept of it.
    overflowed: bool,
}

/// Longest event that is kept, bytes: an engine that never ends a line must not fill the memory.
const LONGEST: usize = 16 << 20;

impl SseParser {
    pub fn new() -> SseParser {
        SseParser::default()
    }

    /// Whether an event was too long to be kept; the stream is then not to be read any further.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Bytes held of an unfinished event.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.line.capacity() + self.data.capacity()
    }

    /// Consumes one read; `event` gets the data of each event completed by it.
    pub fn push(&mut self, bytes: &[u8], mut event: impl FnMut(&[u8])) {
        if bytes.is_empty() || self.overflowed {
            return;
        }
        let mut rest = bytes;
        if self.after_cr {
            self.after_cr = false;
            if rest.first() == Some(&b'\n') {
                rest = &rest[1..];
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            let line = &rest[..end];
            let mut next = end + 1;
            if rest[end] == b'\r' {
                match rest.get(next) {
                    Some(b'\n') => next += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            // The common case is one event in one read: `data: ...\n\n`; nothing is copied then.
            if self.line.is_empty() {
                let blank_follows = matches!(rest.get(next), Some(b'\n'));
                if !self.has_data && blank_follows && line.starts_with(b"data:") {
                    event(field_value(&line[5..]));
                    next += 1;
                } else {
                    self.line(line, &mut event);
                }
            } else {
                self.line.extend_from_slice(line);
                let whole = std::mem::take(&mut self.line);
                self.line(&whole, &mut event);
                self.line = whole;
                self.line.clear();
            }
            rest = &rest[next..];
        }
        if self.line.len() + self.data.len() + rest.len() > LONGEST {
            self.overflowed = true;
            self.line = Vec::new();
            self.data = Vec::new();
            return;
        }
        self.line.extend_from_slice(rest);
    }

    /// At the end of the stream: the data of an event that lacks only its empty line, if there is one. The
    /// standard discards it; engines that end without it mean it.
    pub fn finish(&mut self, mut event: impl FnMut(&[u8])) {
        let whole = std::mem::take(&mut self.line);
        if !whole.is_empty() {
            self.line(&whole, &mut event);
        }
        self.line(b"", &mut event);
    }

    fn line(&mut self, line: &[u8], event: &mut impl FnMut(&[u8])) {
        if line.is_empty() {
            if self.has_data {
                event(&self.data);
            }
            self.data.clear();
            self.has_data = false;
        } else if let Some(value) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(field_value(value));
            self.has_data = true;
        }
    }
}

/// One leading space belongs to the format.
fn field_value(value: &[u8]) -> &[u8] {
    value.strip_prefix(b" ").unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(reads: &[&[u8]]) -> Vec<String> {
        let mut parser = SseParser::new();
        let mut events = Vec::new();
        for read in reads {
            parser.push(read, |e| events.push(String::from_utf8_lossy(e).into_owned()));
        }
        parser.finish(|e| events.push(String::from_utf8_lossy(e).into_owned()));
        events
    }

    #[test]
    fn events_however_they_are_cut_and_ended() {
        assert_eq!(parse(&[b"data: a\n\ndata:b\n\n"]), ["a", "b"]);
        assert_eq!(parse(&[b"data: a\r\n\r\ndata: b\r\rdata: c\n\n"]), ["a", "b", "c"]);
        assert_eq!(parse(&[b"da", b"ta: a\r", b"\n\r", b"\nda", b"ta: b\n", b"\n"]), ["a", "b"]);
        assert_eq!(parse(&[b": ping\n\nevent: x\nid: 3\ndata: a\ndata: b\n\n"]), ["a\nb"]);
        assert_eq!(parse(&[b"data:\n\ndata: last"]), ["", "last"]);
        assert_eq!(parse(&[b"data: a\n", b"data: b\n\n"]), ["a\nb"]);
        // A read of nothing between the two halves of a line end.
        assert_eq!(parse(&[b"data: a\r", b"", b"\ndata: b\r\n\r\n"]), ["a\nb"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// However the bytes are cut, the events are the same; nothing panics on any bytes.
        #[test]
        fn cuts_do_not_matter(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), Just(b'a'), Just(b't'), any::<u8>()],
                0..200,
            ),
            payloads in proptest::collection::vec("[^\r\n]{0,20}", 0..8),
            cuts in proptest::collection::vec(0usize..600, 0..12),
        ) {
            let mut stream: Vec<u8> = payloads.iter().flat_map(|p| format!("data: {p}\n\n").into_bytes()).collect();
            let whole = parse(&[&stream]);
            prop_assert_eq!(&whole, &payloads.iter().map(|p| String::from_utf8_lossy(p.as_bytes()).into_owned()).collect::<Vec<_>>());
            stream.extend(bytes);
            let whole = parse(&[&stream]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let reads: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            prop_assert_eq!(parse(&reads), whole);
        }
    }
}
