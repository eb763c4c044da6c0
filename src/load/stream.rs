//! The state of one response stream: bytes with their time stamps in, a [`Row`]'s measurements out.

use super::event::{Content, Usage, read_event};
use super::outcome::{ErrorKind, Oddity, Row};
use super::repeat::EventReader;
use super::sse::SseParser;
use crate::units::Nanos;

/// What was seen of one stream so far.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    parser: SseParser,
    marks: Marks,
}

#[derive(Debug, Default)]
struct Marks {
    reader: EventReader,
    chunks: Vec<Nanos>,
    chunk_tokens: Vec<u32>,
    /// Tokens of the chunks are known (ids, or running usage).
    exact: bool,
    events: u32,
    done: bool,
    finished: bool,
    /// A finish chunk without text: a token only if usage counts one more than the chunks before.
    pending_finish: Option<Nanos>,
    usage: Option<Usage>,
    /// Completion tokens of the running usage so far.
    running: u32,
    /// Most chunks that are kept: more tokens than were asked for are no answer to the request.
    most: Option<usize>,
    oddity: Option<Oddity>,
    error: Option<(ErrorKind, String)>,
}

impl StreamState {
    /// Of an answer to a request for this number of tokens.
    pub(super) fn of(tokens: u32) -> StreamState {
        let most = Some(tokens as usize * 2 + 1000);
        StreamState { parser: SseParser::new(), marks: Marks { most, ..Marks::default() } }
    }

    /// Why nothing more of this stream is to be read: it is longer than any honest answer.
    pub(super) fn excess(&self) -> Option<&'static str> {
        if self.parser.overflowed() {
            return Some("one event of the stream is longer than 16 MiB");
        }
        let most = self.marks.most.unwrap_or(usize::MAX);
        (self.marks.chunks.len() > most).then_some("the stream holds more than twice the tokens asked for")
    }

    /// No token has come yet.
    pub(super) fn untouched(&self) -> bool {
        self.marks.chunks.is_empty()
    }

    /// One read that arrived at `at`. Returns the number of token-carrying chunks in it.
    pub(super) fn push(&mut self, at: Nanos, bytes: &[u8]) -> u64 {
        let before = self.marks.chunks.len();
        let marks = &mut self.marks;
        self.parser.push(bytes, |data| marks.event(at, data));
        (self.marks.chunks.len() - before) as u64
    }

    /// The stream is over; `cut` is what the connection reported, if it did not end properly.
    pub(super) fn finish(mut self, at: Nanos, cut: Option<(ErrorKind, String)>, row: &mut Row) {
        // What a stream leaves without an empty line counts only if it is whole: the rest of a cut event is no
        // garbage of the server's.
        let marks = &mut self.marks;
        self.parser.finish(|data| {
            if data == b"[DONE]" || read_event(data).is_ok() {
                marks.event(at, data);
            }
        });
        self.marks.close(at, cut, row);
    }
}

impl Marks {
    fn event(&mut self, at: Nanos, data: &[u8]) {
        if data == b"[DONE]" {
            self.done = true;
            return;
        }
        let event = match self.reader.read(data) {
            Ok(event) => event,
            Err(why) => {
                let text: String = String::from_utf8_lossy(data).chars().take(120).collect();
                self.fail(ErrorKind::BadResponse, format!("{why}: `{text}`"));
                return;
            }
        };
        if let Some(message) = event.error {
            self.fail(ErrorKind::InBand, message);
            return;
        }
        self.events += 1;
        if self.done {
            // What comes after the end belongs to no answer; its time would be that of the last token.
            if event.content.is_some_and(|c| matches!(c, Content::Full)) {
                self.oddity = Some(Oddity::AfterDone);
            }
            return;
        }
        let counted = self.tokens_of(event.token_ids, event.usage, event.content.is_some());
        self.finished |= event.finish;
        let Some(content) = event.content else { return };
        match (counted, content) {
            (Some(0), _) | (None, Content::Role) => {}
            (Some(n), _) => {
                self.exact = true;
                self.token(at, n);
            }
            (None, Content::Empty | Content::Nothing) if event.finish => self.pending_finish = Some(at),
            (None, Content::Full | Content::Empty) => self.token(at, 0),
            (None, Content::Nothing) => {}
        }
    }

    /// Tokens of an event as far as the server says: by ids, or by the growth of a running usage.
    fn tokens_of(&mut self, ids: Option<u32>, usage: Option<Usage>, has_choice: bool) -> Option<u32> {
        let by_usage = usage.and_then(|u| {
            self.usage = Some(u);
            has_choice.then(|| {
                let grown = u.completion_tokens.saturating_sub(self.running);
                self.running = self.running.max(u.completion_tokens);
                grown
            })
        });
        ids.or(by_usage)
    }

    fn token(&mut self, at: Nanos, tokens: u32) {
        self.chunks.push(at);
        self.chunk_tokens.push(tokens);
    }

    fn fail(&mut self, kind: ErrorKind, why: String) {
        if self.error.is_none() {
            self.error = Some((kind, why));
        }
    }

    fn close(mut self, at: Nanos, cut: Option<(ErrorKind, String)>, row: &mut Row) {
        let total = self.usage.map(|u| u.completion_tokens);
        let known: u32 = self.chunk_tokens.iter().sum();
        if let Some(finish) = self.pending_finish {
            let before = if self.exact { known } else { self.chunks.len() as u32 };
            if total.is_some_and(|t| t > before) {
                self.token(finish, if self.exact { total.unwrap_or(0) - known } else { 0 });
            }
        }
        row.ended = at;
        row.counted = total.is_some() || self.exact;
        row.output_tokens = match total {
            Some(t) => t,
            None if self.exact => known,
            None => self.chunks.len() as u32,
        };
        if let Some(u) = self.usage {
            if u.prompt_tokens > 0 {
                row.input_tokens = u.prompt_tokens;
            }
            row.cached_tokens = u.cached_tokens();
        }
        // Some servers give no finish reason. An end that is marked, with tokens and their count, is an answer.
        let unfinished = !self.finished && self.done && self.usage.is_some() && !self.chunks.is_empty();
        if unfinished && self.error.is_none() {
            self.oddity = self.oddity.or(Some(Oddity::NoFinishReason));
        }
        row.oddity = self.oddity;
        let whole = unfinished || (self.finished && (self.done || self.usage.is_some()));
        let error = self.error.take().or(match cut {
            // Everything had arrived; how the server then closed does not matter.
            _ if whole => None,
            Some(cut) => Some(cut),
            None if self.events == 0 && !self.done => {
                Some((ErrorKind::BadResponse, "the answer holds no event of a stream".into()))
            }
            None if self.finished && self.chunks.is_empty() => None,
            None => {
                let missing = if self.finished { "[DONE] and usage" } else { "finish reason" };
                Some((ErrorKind::Truncated, format!("the stream ended without {missing}")))
            }
        });
        row.error = error.or_else(|| {
            self.chunks.is_empty().then(|| (ErrorKind::NoTokens, "the stream ended without a token".into()))
        });
        row.chunk_tokens = if self.exact { self.chunk_tokens } else { Vec::new() };
        row.chunks = self.chunks;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds events 10 ms apart, the first at 100 ms.
    fn stream(events: &[&str], cut: Option<ErrorKind>) -> Row {
        let mut state = StreamState::default();
        let mut at = Nanos(100_000_000);
        for e in events {
            state.push(at, format!("data: {e}\n\n").as_bytes());
            at += Nanos(10_000_000);
        }
        let mut row = Row { input_tokens: 7, ..Row::default() };
        state.finish(at, cut.map(|k| (k, "cut".to_owned())), &mut row);
        row
    }

    const TEXT: &str = r#"{"choices":[{"text":"a","finish_reason":null}]}"#;
    const EMPTY: &str = r#"{"choices":[{"text":"","finish_reason":null}]}"#;
    const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#;
    const WORD: &str = r#"{"choices":[{"delta":{"content":"a"}}]}"#;
    const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
    const LAST: &str = r#"{"choices":[{"text":"","finish_reason":"length"}]}"#;

    fn usage(n: u32) -> String {
        format!(r#"{{"choices":[],"usage":{{"prompt_tokens":9,"completion_tokens":{n}}}}}"#)
    }

    #[test]
    fn the_role_chunk_is_no_token_and_the_finish_chunk_only_if_counted() {
        let row = stream(&[ROLE, WORD, WORD, STOP, &usage(2), "[DONE]"], None);
        assert_eq!((row.chunks.len(), row.output_tokens, row.input_tokens), (2, 2, 9));
        assert_eq!(row.ttft(), Some(Nanos(110_000_000)));
        assert!(row.completed());
        let row = stream(&[ROLE, WORD, WORD, STOP, &usage(3), "[DONE]"], None);
        assert_eq!((row.chunks.len(), row.e2e()), (3, Some(Nanos(130_000_000))));
    }

    #[test]
    fn empty_texts_are_tokens() {
        let row = stream(&[EMPTY, TEXT, LAST, &usage(3), "[DONE]"], None);
        assert_eq!((row.chunks.len(), row.output_tokens), (3, 3));
        assert_eq!(row.ttft(), Some(Nanos(100_000_000)));
        let only = stream(&[LAST, &usage(1), "[DONE]"], None);
        assert_eq!((only.chunks.len(), only.completed()), (1, true));
    }

    #[test]
    fn tokens_are_counted_by_usage_and_ids_not_by_chunks() {
        let row = stream(&[TEXT, TEXT, LAST, &usage(12), "[DONE]"], None);
        assert_eq!((row.chunks.len(), row.output_tokens, row.counted), (3, 12, true));
        let four = r#"{"choices":[{"text":"abcd","token_ids":[1,2,3,4]}]}"#;
        let end = r#"{"choices":[{"text":"","token_ids":[],"finish_reason":"length"}]}"#;
        let row = stream(&[four, four, end, "[DONE]"], None);
        assert_eq!((row.chunk_tokens.as_slice(), row.output_tokens), (&[4, 4][..], 8));
        let running = |n: u32| {
            format!(r#"{{"choices":[{{"text":""}}],"usage":{{"prompt_tokens":1,"completion_tokens":{n}}}}}"#)
        };
        let row = stream(&[&running(0), &running(3), &running(5), LAST, &usage(6), "[DONE]"], None);
        assert_eq!((row.chunk_tokens.as_slice(), row.output_tokens), (&[3, 2, 1][..], 6));
    }

    #[test]
    fn lost_streams_are_lost() {
        let kind = |row: Row| row.error.map(|e| e.0);
        assert_eq!(kind(stream(&[TEXT, TEXT], None)), Some(ErrorKind::Truncated));
        assert_eq!(kind(stream(&[TEXT], Some(ErrorKind::Reset))), Some(ErrorKind::Reset));
        assert_eq!(kind(stream(&[TEXT, "[DONE]"], None)), Some(ErrorKind::Truncated));
        // Without a finish reason, but with its end and its count: an answer, and a note.
        let plain = stream(&[TEXT, TEXT, &usage(2), "[DONE]"], None);
        assert_eq!(
            (plain.completed(), plain.output_tokens, plain.oddity),
            (true, 2, Some(Oddity::NoFinishReason))
        );
        assert_eq!(kind(stream(&[TEXT, &usage(1)], None)), Some(ErrorKind::Truncated));
        assert_eq!(kind(stream(&[], None)), Some(ErrorKind::BadResponse));
        assert_eq!(kind(stream(&["nonsense"], None)), Some(ErrorKind::BadResponse));
        assert_eq!(kind(stream(&[TEXT, r#"{"error":{"message":"x"}}"#], None)), Some(ErrorKind::InBand));
        assert_eq!(kind(stream(&[STOP, &usage(0), "[DONE]"], None)), Some(ErrorKind::NoTokens));
        // All had arrived before the reset.
        assert_eq!(kind(stream(&[TEXT, LAST, &usage(2)], Some(ErrorKind::Reset))), None);
    }

    #[test]
    fn what_comes_after_the_end_is_no_token() {
        let row = stream(&[TEXT, LAST, &usage(2), "[DONE]", TEXT, TEXT], None);
        assert_eq!((row.chunks.len(), row.output_tokens, row.oddity), (2, 2, Some(Oddity::AfterDone)));
        assert_eq!(row.e2e(), Some(Nanos(110_000_000)));
    }

    #[test]
    fn a_stream_without_end_is_cut() {
        let mut long = StreamState::of(4);
        for i in 0..2000u64 {
            long.push(Nanos(i), format!("data: {TEXT}\n\n").as_bytes());
        }
        assert!(long.excess().is_some_and(|why| why.contains("twice the tokens")));
        let mut wide = StreamState::of(4);
        let piece = vec![b'x'; 1 << 20];
        wide.push(Nanos(1), b"data: ");
        for _ in 0..64 {
            wide.push(Nanos(2), &piece);
        }
        assert!(wide.excess().is_some_and(|why| why.contains("16 MiB")));
        assert!(wide.parser.held() <= 17 << 20, "{}", wide.parser.held());
    }

    #[test]
    fn without_usage_or_ids_the_count_is_marked() {
        let row = stream(&[TEXT, TEXT, LAST, "[DONE]"], None);
        assert_eq!((row.output_tokens, row.counted, row.completed()), (2, false, true));
    }

    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        /// However a stream is cut into reads, and whatever stands between its events, no token is lost or
        /// counted twice; nothing panics on bytes that mean nothing.
        #[test]
        fn no_cut_miscounts(
            chunks in proptest::collection::vec((1u32..5, any::<bool>(), 0u8..4), 1..20),
            cuts in proptest::collection::vec(0usize..4000, 0..20),
            noise in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut text = String::new();
            let mut total = 0;
            for (tokens, empty, kind) in &chunks {
                total += tokens;
                let word = if *empty { "" } else { r#"é \" \n"# };
                let ids = format!("{:?}", vec![1; *tokens as usize]);
                match kind {
                    0 => text.push_str(": keep-alive\n\n"),
                    1 => text.push_str("event: message\nid: 7\n"),
                    2 => text.push_str("\r\n"),
                    _ => {}
                }
                text.push_str(&format!(
                    "data: {{\"choices\":[{{\"text\":\"{word}\",\"token_ids\":{ids},\"finish_reason\":null}}]}}\n\n"
                ));
            }
            text.push_str("data: {\"choices\":[{\"text\":\"\",\"token_ids\":[],\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut state = StreamState::default();
            let mut seen = 0;
            for (w, at) in cuts.windows(2).zip(1u64..) {
                seen += state.push(Nanos(at), &text.as_bytes()[w[0]..w[1]]);
            }
            let mut row = Row::default();
            state.finish(Nanos(99), None, &mut row);
            prop_assert_eq!(seen, chunks.len() as u64);
            prop_assert_eq!(row.output_tokens, total);
            prop_assert_eq!(row.chunks.len(), chunks.len());
            prop_assert!(row.completed() && row.chunks.is_sorted());
            let mut state = StreamState::default();
            state.push(Nanos(1), &noise);
            state.finish(Nanos(2), None, &mut Row::default());
        }
    }
}
