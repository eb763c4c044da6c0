//! The inside of the reader for `fuzz/`: what the client does with the bytes of an answer, without sockets and clocks.

use super::event::read_event;
use super::http::Response;
use super::outcome::{ErrorKind, Row};
use super::repeat::EventReader;
use super::stream::StreamState;
use crate::units::Nanos;

/// An HTTP answer as it came, read by read; the k-th read arrives at second k, the end of the connection after the last.
pub fn answer(reads: &[&[u8]]) -> Row {
    let (mut row, mut stream, mut response) = (Row::default(), StreamState::default(), Response::new());
    let mut cut = None;
    let mut at = Nanos::ZERO;
    for bytes in reads.iter().filter(|bytes| !bytes.is_empty()) {
        at += Nanos(1_000_000_000);
        let mut chunks = 0;
        let result = response.push(bytes, |status, piece| {
            if status == 200 {
                chunks += stream.push(at, piece);
            }
        });
        if let Err(why) = result {
            cut = Some((ErrorKind::BadResponse, why));
        }
        if cut.is_some() || response.done() {
            break;
        }
    }
    if cut.is_none() && !response.done() && !response.done_at_end() {
        cut = Some((ErrorKind::Truncated, "the connection ended".into()));
    }
    stream.finish(at, cut, &mut row);
    row
}

/// Whether the shortcut for repeated events reads all of them as the reader without it does.
pub fn shortcut_agrees(events: &[Vec<u8>]) -> bool {
    let mut reader = EventReader::default();
    events.iter().all(|data| reader.read(data) == read_event(data))
}
