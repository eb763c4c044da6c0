//! Events like the one before.
//!
//! Nearly every event of a stream is the one before it with another text. Such an event says the same as that one, and
//! is known by comparing bytes, without reading its JSON once more.

use super::event::{Content, Event, read_event};
use memchr::memmem;

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(super) struct EventReader {
    before: Option<Frame>,
    /// Events in a row that were no repetition: where none ever is, none is looked for.
    strange: u8,
}

/// An event around its text.
#[derive(Debug)]
struct Frame {
    head: Vec<u8>,
    tail: Vec<u8>,
}

const PATIENCE: u8 = 32;
/// The keys whose strings are text: of their value it only matters whether it is empty.
const KEYS: [&[u8]; 4] = [b"\"text\":", b"\"content\":", b"\"reasoning_content\":", b"\"reasoning\":"];
/// What every repetition says.
const TEXT: Event =
    Event { content: Some(Content::Full), token_ids: None, finish: false, usage: None, error: None };

impl EventReader {
    /// As [`read_event`].
    pub(super) fn read(&mut self, data: &[u8]) -> Result<Event, String> {
        if self.before.as_ref().is_some_and(|f| f.holds(data)) {
            self.strange = 0;
            return Ok(TEXT);
        }
        let event = read_event(data)?;
        if self.strange < PATIENCE {
            self.strange += 1;
            if event == TEXT
                && let Some(frame) = Frame::of(data)
            {
                self.before = Some(frame);
            }
        }
        Ok(event)
    }
}

impl Frame {
    /// Of a valid event with exactly one text, a plain one. A key can be found only where it is one: inside a string
    /// its quotation marks would be escaped.
    fn of(data: &[u8]) -> Option<Frame> {
        let mut texts = KEYS.iter().flat_map(|key| {
            memmem::find_iter(data, key).filter_map(|at| {
                let value = at + key.len();
                let value = value + usize::from(data.get(value) == Some(&b' '));
                (data.get(value) == Some(&b'"')).then_some(value + 1)
            })
        });
        let (begin, None) = (texts.next()?, texts.next()) else { return None };
        let end = begin + memchr::memchr2(b'"', b'\\', &data[begin..])?;
        let frame = Frame { head: data[..begin].to_vec(), tail: data[end..].to_vec() };
        frame.holds(data).then_some(frame)
    }

    /// Whether this event is the frame around a text that is not empty and needs no unescaping.
    fn holds(&self, data: &[u8]) -> bool {
        let text = data.strip_prefix(self.head.as_slice()).and_then(|d| d.strip_suffix(self.tail.as_slice()));
        text.is_some_and(|t| {
            !t.is_empty()
                && t.iter().all(|&b| b >= b' ' && b != b'"' && b != b'\\')
                && std::str::from_utf8(t).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repetitions_are_known_and_nothing_else() {
        let event = |text: &str| {
            format!(r#"{{"id":"x","choices":[{{"delta":{{"content": "{text}"}},"finish_reason":null}}]}}"#)
        };
        let mut reader = EventReader::default();
        assert_eq!(reader.read(event("a").as_bytes()), Ok(TEXT));
        let frame = reader.before.as_ref().unwrap();
        assert!(frame.holds(event("é b").as_bytes()));
        for other in ["", r"\n", r#"","role":""#, "\n", r"\"] {
            assert!(!frame.holds(event(other).as_bytes()), "{other}");
        }
        assert!(!frame.holds(&[&frame.head[..], b"\xff", &frame.tail].concat()));
        assert!(!frame.holds(event("a").replace("null", r#""stop""#).as_bytes()));
        // The text of a choice beside its log-probabilities' texts: which of them is meant is not guessed.
        assert!(Frame::of(br#"{"choices":[{"text":"a","logprobs":{"text":"a"}}]}"#).is_none());
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z ]{0,4}",
            Just(r"\n".to_owned()),
            Just(r#"\"text\":\"x"#.to_owned()),
            Just("é".to_owned()),
            Just("\u{1}".to_owned()),
            Just("\"".to_owned()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        /// A stream read with the memory of what came before says what each event says by itself.
        #[test]
        fn a_remembered_event_reads_as_a_new_one(
            events in proptest::collection::vec((text(), 0usize..4, 0u8..6), 1..12),
        ) {
            let mut reader = EventReader::default();
            for (text, key, kind) in events {
                let key = ["text", "content", "reasoning", "role"][key];
                let choice = match kind {
                    0 => format!(r#"{{"delta":{{"{key}":"{text}"}},"finish_reason":"stop"}}"#),
                    1 => format!(r#"{{"{key}":"{text}","token_ids":[1,2]}}"#),
                    2 => format!(r#"{{"delta":{{"{key}":"{text}","content":"{text}"}}}}"#),
                    3 => format!(r#"{{"{key}":"{text}"}}"#),
                    _ => format!(r#"{{"delta":{{"{key}":"{text}"}},"finish_reason":null}}"#),
                };
                let data = format!(r#"{{"choices":[{choice}],"usage":null}}"#);
                prop_assert_eq!(reader.read(data.as_bytes()), read_event(data.as_bytes()), "{}", data);
            }
        }
    }
}
