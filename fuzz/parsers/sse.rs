//! The event-stream parser and the event reader on arbitrary bytes, however they are cut.
//!
//! - no panic, and memory that does not grow beyond the input;
//! - cut anywhere, the same bytes give the same events, and each reads the same;
//! - the shortcut for repeated events reads what the reader without it does;
//! - a whole HTTP answer, its body arbitrary and in transfer chunks, gives the same requests, tokens and fate however it is
//!   cut;
//! - tokens that are put into the stream come out: none lost, none counted twice, whatever stands before them.

use llm_dyno::load::{Event, Row, SseParser, fuzzing, read_event};

/// The events of these reads.
fn events(reads: &[&[u8]], close: bool) -> Vec<Vec<u8>> {
    let mut parser = SseParser::new();
    let mut all = Vec::new();
    for read in reads {
        parser.push(read, |data| all.push(data.to_vec()));
    }
    if close {
        parser.finish(|data| all.push(data.to_vec()));
    }
    all
}

/// Cuts `bytes` where the first bytes say; a cut a byte, counted from the cut before.
fn cut<'a>(bytes: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut reads = Vec::new();
    let mut rest = bytes;
    for &c in cuts {
        let (read, after) = rest.split_at(usize::from(c).min(rest.len()));
        reads.push(read);
        rest = after;
    }
    reads.push(rest);
    reads
}

fn tokens(events: &[Vec<u8>]) -> u64 {
    events.iter().filter_map(|e| read_event(e).ok()).map(|e| u64::from(e.token_ids.unwrap_or(0))).sum()
}

pub(crate) fn sse(input: &[u8]) {
    let Some((&n, rest)) = input.split_first() else { return };
    let (cuts, bytes) = rest.split_at(usize::from(n % 16).min(rest.len()));
    let whole = events(&[bytes], true);
    let pieces = events(&cut(bytes, cuts), true);
    assert_eq!(whole, pieces, "the cuts changed the events");
    assert!(whole.iter().map(Vec::len).sum::<usize>() <= bytes.len(), "more came out than went in");
    let read: Vec<Result<Event, String>> = whole.iter().map(|e| read_event(e)).collect();
    for (event, data) in read.iter().zip(&whole) {
        assert_eq!(*event, read_event(data), "the same bytes were read differently");
    }

    assert!(fuzzing::shortcut_agrees(&whole), "a repeated event was read differently");

    let mut http = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in cut(bytes, cuts).into_iter().filter(|p| !p.is_empty()) {
        http.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        http.extend_from_slice(piece);
        http.extend_from_slice(b"\r\n");
    }
    http.extend_from_slice(b"0\r\n\r\n");
    let fate =
        |row: Row| (row.output_tokens, row.input_tokens, row.chunks.len(), row.chunk_tokens, row.error);
    let one = fate(fuzzing::answer(&[&http]));
    assert_eq!(one, fate(fuzzing::answer(&cut(&http, cuts))), "the cuts changed the answer");
    // The bytes as an answer of their own, with head and all.
    let own = fate(fuzzing::answer(&[bytes]));
    assert_eq!(own, fate(fuzzing::answer(&cut(bytes, cuts))), "the cuts changed an arbitrary answer");

    // An empty line ends whatever the arbitrary bytes had begun; then come tokens that must all be seen.
    let mut stream = bytes.to_vec();
    stream.extend_from_slice(b"\n\n");
    let before = tokens(&events(&[&stream], false));
    let mut offered = 0;
    for &c in cuts {
        let ids = vec!["7"; usize::from(c % 5)].join(",");
        offered += u64::from(c % 5);
        let end = ["\n\n", "\r\n\r\n", "\r\r"][usize::from(c) % 3];
        stream.extend_from_slice(
            format!("data: {{\"choices\":[{{\"text\":\"a\",\"token_ids\":[{ids}]}}]}}{end}").as_bytes(),
        );
    }
    let seen = tokens(&events(&cut(&stream, cuts), false));
    assert_eq!(seen, before + offered, "tokens were lost or counted twice");
}
