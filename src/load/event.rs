//! One event of an OpenAI-compatible stream: what it carries, without building the JSON tree.

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What one `data:` event says about the stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// None when the event has no choice (usage chunk).
    pub content: Option<Content>,
    /// Tokens in this chunk when the server gave their ids.
    pub token_ids: Option<u32>,
    pub finish: bool,
    pub usage: Option<Usage>,
    /// An error sent inside the stream.
    pub error: Option<String>,
}

/// What the choice of an event holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// Nothing that could be a token (`delta: {}`).
    Nothing,
    /// Only the role of a chat message.
    Role,
    /// A text that is there but empty: a token whose text is still held back, or none.
    Empty,
    /// Text, reasoning or a tool call.
    Full,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

impl Usage {
    /// Prompt tokens that the server took from its prefix cache, when it says so.
    pub fn cached_tokens(&self) -> Option<u32> {
        self.prompt_tokens_details.and_then(|d| d.cached_tokens)
    }
}

/// Absent or null, empty, or something: all that matters of a text, and nothing is copied to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Presence {
    #[default]
    Absent,
    Empty,
    Full,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Presence, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Presence;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_str<E>(self, s: &str) -> Result<Presence, E> {
                Ok(if s.is_empty() { Presence::Empty } else { Presence::Full })
            }
            fn visit_unit<E>(self) -> Result<Presence, E> {
                Ok(Presence::Absent)
            }
            fn visit_bool<E>(self, _: bool) -> Result<Presence, E> {
                Ok(Presence::Full)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Presence, E> {
                Ok(Presence::Full)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Presence, E> {
                Ok(Presence::Full)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Presence, E> {
                Ok(Presence::Full)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Presence, A::Error> {
                let mut any = Presence::Empty;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    any = Presence::Full;
                }
                Ok(any)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Presence, A::Error> {
                let mut any = Presence::Empty;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    any = Presence::Full;
                }
                Ok(any)
            }
        }
        d.deserialize_any(V)
    }
}

/// Length of an array that may be null.
#[derive(Debug, Clone, Copy, Default)]
struct Length(Option<u32>);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Length, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Length;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array or null")
            }
            fn visit_unit<E>(self) -> Result<Length, E> {
                Ok(Length(None))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
                let mut n = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Length(Some(n)))
            }
        }
        d.deserialize_any(V)
    }
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    choices: Option<Vec<Choice>>,
    #[serde(default)]
    usage: Option<Usage>,
    #[serde(default)]
    error: Presence,
    #[serde(default)]
    object: Kind,
}

/// `"object": "error"` marks an error of some engines.
#[derive(Default, PartialEq)]
enum Kind {
    #[default]
    Other,
    Error,
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Kind, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Kind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, s: &str) -> Result<Kind, E> {
                Ok(if s == "error" { Kind::Error } else { Kind::Other })
            }
            fn visit_unit<E>(self) -> Result<Kind, E> {
                Ok(Kind::Other)
            }
        }
        d.deserialize_any(V)
    }
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    text: Presence,
    #[serde(default)]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Presence,
    #[serde(default)]
    token_ids: Length,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta {
    role: Presence,
    content: Presence,
    reasoning: Presence,
    reasoning_content: Presence,
    tool_calls: Presence,
    function_call: Presence,
}

impl Choice {
    fn content(&self) -> Content {
        let delta = self.delta.as_ref();
        let texts = [
            self.text,
            delta.map_or(Presence::Absent, |d| d.content),
            delta.map_or(Presence::Absent, |d| d.reasoning),
            delta.map_or(Presence::Absent, |d| d.reasoning_content),
            delta.map_or(Presence::Absent, |d| d.tool_calls),
            delta.map_or(Presence::Absent, |d| d.function_call),
        ];
        let most = texts.into_iter().max().unwrap_or_default();
        let role = delta.is_some_and(|d| d.role != Presence::Absent);
        match most {
            Presence::Full => Content::Full,
            _ if role => Content::Role,
            Presence::Empty => Content::Empty,
            Presence::Absent => Content::Nothing,
        }
    }
}

/// Reads the data of one event; the error says why it is not JSON of the expected form.
pub fn read_event(data: &[u8]) -> Result<Event, String> {
    let wire: Wire = serde_json::from_slice(data).map_err(|e| e.to_string())?;
    if wire.error != Presence::Absent || wire.object == Kind::Error {
        let text = String::from_utf8_lossy(data);
        return Ok(Event { error: Some(text.chars().take(400).collect()), ..Event::default() });
    }
    let mut event = Event { usage: wire.usage, ..Event::default() };
    let Some(choices) = wire.choices else {
        return if event.usage.is_some() {
            Ok(event)
        } else {
            Err("neither choices, usage nor error".into())
        };
    };
    for choice in &choices {
        event.content = event.content.max(Some(choice.content()));
        event.finish |= choice.finish_reason == Presence::Full;
        if let Some(n) = choice.token_ids.0 {
            event.token_ids = Some(event.token_ids.unwrap_or(0) + n);
        }
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Event {
        read_event(text.as_bytes()).unwrap()
    }

    #[test]
    fn contents_of_all_engines_are_told_apart() {
        let content = |t: &str| read(t).content;
        assert_eq!(content(r#"{"choices":[{"text":"a","finish_reason":null}]}"#), Some(Content::Full));
        assert_eq!(content(r#"{"choices":[{"text":""}],"usage":null}"#), Some(Content::Empty));
        assert_eq!(
            content(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#),
            Some(Content::Role)
        );
        assert_eq!(
            content(r#"{"choices":[{"delta":{"role":"assistant","content":"x"}}]}"#),
            Some(Content::Full)
        );
        assert_eq!(content(r#"{"choices":[{"delta":{"content":""}}]}"#), Some(Content::Empty));
        assert_eq!(content(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#), Some(Content::Nothing));
        for key in ["reasoning", "reasoning_content"] {
            let t = format!(r#"{{"choices":[{{"delta":{{"{key}":"hm","content":null}}}}]}}"#);
            assert_eq!(content(&t), Some(Content::Full));
        }
        let tool = r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}"#;
        assert_eq!(content(tool), Some(Content::Full));
        assert_eq!(content(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#), None);
    }

    #[test]
    fn usage_ids_finish_and_errors() {
        let e = read(
            r#"{"choices":[{"text":"","token_ids":[1,2,3],"finish_reason":"length"}],
                "usage":{"prompt_tokens":5,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":2}}}"#,
        );
        assert_eq!((e.token_ids, e.finish), (Some(3), true));
        let usage = e.usage.unwrap();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens()), (5, 3, Some(2)));
        assert!(read(r#"{"error":{"message":"no"}}"#).error.is_some());
        assert!(read(r#"{"object":"error","message":"no"}"#).error.is_some());
        assert!(read(r#"{"error":null,"choices":[]}"#).error.is_none());
        for bad in ["", "{", "[]", "3", "{}", r#"{"choices":3}"#, "\u{0}"] {
            assert!(read_event(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
