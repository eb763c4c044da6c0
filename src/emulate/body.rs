//! Bodies of `/v1/completions` and `/v1/chat/completions` as they come over the wire.

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use std::fmt;

/// A prompt or several: text or token ids.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Many(Vec<Prompt>),
}

/// Reads the four shapes without an intermediate tree: a long prompt is a hundred kilobytes of digits.
impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Prompt, D::Error> {
        d.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

/// One element of a prompt array.
enum Element {
    Id(u32),
    Prompt(Prompt),
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Element, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Element;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a token id, a string or a list of token ids")
            }
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Element, E> {
                // An id beyond 32 bits is out of every vocabulary; kept as the largest so that it is refused.
                Ok(Element::Id(u32::try_from(n).unwrap_or(u32::MAX)))
            }
            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Element, E> {
                Ok(Element::Id(u32::MAX))
            }
            fn visit_str<E: de::Error>(self, s: &str) -> Result<Element, E> {
                Ok(Element::Prompt(Prompt::Text(s.to_owned())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Element, A::Error> {
                PromptVisitor.visit_seq(seq).map(Element::Prompt)
            }
        }
        d.deserialize_any(V)
    }
}

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = Prompt;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of token ids or a list of lists of token ids")
    }
    fn visit_str<E: de::Error>(self, s: &str) -> Result<Prompt, E> {
        Ok(Prompt::Text(s.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Prompt, A::Error> {
        let mut ids = Vec::with_capacity(seq.size_hint().unwrap_or(0));
        let mut many = Vec::new();
        while let Some(e) = seq.next_element::<Element>()? {
            match e {
                Element::Id(id) if many.is_empty() => ids.push(id),
                Element::Prompt(p) if ids.is_empty() && !matches!(p, Prompt::Many(_)) => many.push(p),
                _ => return Err(de::Error::custom("prompt mixes token ids, strings and lists")),
            }
        }
        Ok(if many.is_empty() { Prompt::Ids(ids) } else { Prompt::Many(many) })
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct StreamOptions {
    /// Absent: the engine version's own default.
    pub(super) include_usage: Option<bool>,
    #[serde(default)]
    pub(super) continuous_usage_stats: bool,
}

/// Fields that both endpoints share; unknown fields are ignored, as vLLM does.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sampling {
    pub(super) model: Option<String>,
    pub(super) max_tokens: Option<i64>,
    pub(super) max_completion_tokens: Option<i64>,
    pub(super) min_tokens: Option<i64>,
    pub(super) ignore_eos: Option<bool>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) return_token_ids: Option<bool>,
    pub(super) n: Option<i64>,
    pub(super) temperature: Option<f64>,
    pub(super) priority: Option<i32>,
    pub(super) cache_salt: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct CompletionBody {
    pub(super) prompt: Prompt,
    #[serde(flatten)]
    pub(super) sampling: Sampling,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ChatBody {
    pub(super) messages: Vec<Message>,
    #[serde(flatten)]
    pub(super) sampling: Sampling,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Part {
    #[serde(default)]
    text: Option<String>,
}

/// A plain template: role line, content, end mark for each message, then the assistant's turn.
pub(super) fn render(messages: &[Message]) -> String {
    let mut out = String::new();
    for m in messages {
        out.push_str("<|");
        out.push_str(&m.role);
        out.push_str("|>\n");
        match &m.content {
            Some(Content::Text(t)) => out.push_str(t),
            Some(Content::Parts(parts)) => {
                parts.iter().filter_map(|p| p.text.as_deref()).for_each(|t| out.push_str(t));
            }
            None => {}
        }
        out.push_str("<|end|>\n");
    }
    out.push_str("<|assistant|>\n");
    out
}
