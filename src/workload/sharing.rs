//! What requests have in common, without their prompts: shared prefixes, the history of a session, hashed blocks.
//!
//! The simulator needs no token ids, only which prompts begin alike. A prompt is a row of spans; equal spans in
//! equal places are equal tokens. [`generate()`](fn@super::generate) makes the prompts that these spans describe.

use super::draft::Draft;
use super::generate::drafts;
use super::trace::HASHED_BLOCK;
use super::{Dataset, Follows, WorkloadSpec, mix};
use crate::error::Result;

/// A piece of a prompt: the first `tokens` tokens of a content that other prompts may have too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Equal numbers are equal contents.
    pub content: u64,
    pub tokens: u32,
}

/// What one request shares with others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shared {
    /// The prompt from its beginning. What is not listed at its end is the request's own.
    pub spans: Vec<Span>,
    /// The request is a later turn of a session.
    pub follows: Option<Follows>,
}

/// Kinds of contents, so that their numbers do not meet.
const PREFIX: u64 = 1 << 60;
const SESSION: u64 = 2 << 60;
const HASHED: u64 = 3 << 60;

/// What each request of a workload shares, in the order of [`shapes`](super::shapes); `None` where none shares
/// anything that is known. Texts from a file are not compared.
///
/// Errors: those of [`shapes`](super::shapes).
pub fn sharing(spec: &WorkloadSpec) -> Result<Option<Vec<Shared>>> {
    let nothing_known = match spec.dataset {
        Dataset::Random => spec.random_prefix_len.unwrap_or(0) == 0,
        Dataset::Sharegpt | Dataset::Custom => true,
        Dataset::Trace | Dataset::Chat | Dataset::Mix => false,
    };
    if nothing_known {
        return Ok(None);
    }
    let drafts = drafts(spec)?;
    let parts = mix::parts(spec);
    let prefix_len = |part: usize| parts.get(part).and_then(|p| p.random_prefix_len).unwrap_or(0);
    let all: Vec<Shared> =
        drafts.iter().zip(0..).map(|((_, d), id)| shared(d, id, prefix_len(d.part))).collect();
    Ok(all.iter().any(|s| !s.spans.is_empty() || s.follows.is_some()).then_some(all))
}

fn shared(draft: &Draft, id: u64, prefix_len: u32) -> Shared {
    let part = (draft.part as u64) << 40;
    let mut spans = Vec::new();
    if let Some((session, ..)) = draft.turn {
        // Each turn begins with the whole prompt of the one before.
        spans.push(Span { content: SESSION | part | u64::from(session), tokens: draft.input });
    } else if let Some(group) = draft.prefix {
        spans.push(Span { content: PREFIX | part | u64::from(group), tokens: prefix_len.min(draft.input) });
    }
    for hash in &draft.hash_ids {
        spans.push(Span { content: HASHED | hash, tokens: HASHED_BLOCK });
    }
    let follows = draft.turn.filter(|t| t.1 > 0).map(|t| Follows { id: id - 1, think: t.2 });
    Shared { spans, follows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Prompt, generate, parse};

    /// Token ids that two prompts have in common at their beginning.
    fn common(a: &Prompt, b: &Prompt) -> usize {
        let (Prompt::TokenIds(a), Prompt::TokenIds(b)) = (a, b) else { panic!("not token ids") };
        a.iter().zip(b).take_while(|(x, y)| x == y).count()
    }

    /// The same by spans.
    fn common_spans(a: &Shared, b: &Shared) -> usize {
        let mut sum = 0;
        for (x, y) in a.spans.iter().zip(&b.spans) {
            if x.content != y.content {
                break;
            }
            sum += x.tokens.min(y.tokens) as usize;
            if x.tokens != y.tokens {
                break;
            }
        }
        sum
    }

    #[test]
    fn prompts_have_in_common_what_their_spans_say() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let trace = "{\"timestamp\":0,\"input_length\":1100,\"output_length\":3,\"hash_ids\":[7,8,9]}\n\
                     {\"timestamp\":9,\"input_length\":1500,\"output_length\":3,\"hash_ids\":[7,8,5]}\n\
                     {\"timestamp\":20,\"input_length\":300,\"output_length\":3,\"hash_ids\":[4]}\n";
        std::fs::write(file.path(), trace).unwrap();
        let trace = format!("trace:{}", file.path().display());
        for (text, most) in [
            ("random:40/4,n=30,prefix=64,prefix-groups=2,prefix-share=0.7", 64),
            ("chat,n=5,turns=3,context=50-200,output=5", 125),
            (trace.as_str(), 1024),
        ] {
            let spec = parse(text).unwrap();
            let (requests, spans) = (generate(&spec, 5000).unwrap(), sharing(&spec).unwrap().unwrap());
            assert_eq!(requests.len(), spans.len());
            let mut longest = 0;
            for i in 0..requests.len() {
                assert_eq!(requests[i].follows, spans[i].follows);
                for j in 0..i {
                    let real = common(&requests[i].prompt, &requests[j].prompt);
                    let told = common_spans(&spans[i], &spans[j]);
                    // A token of their own may be equal by chance.
                    assert!(
                        (told..told + 3).contains(&real),
                        "{text}: {i} and {j} share {real}, told {told}"
                    );
                    longest = longest.max(real);
                }
            }
            assert!((most..most + 3).contains(&longest), "{text}: {longest}");
        }
        assert_eq!(sharing(&parse("random:40/4,n=30").unwrap()).unwrap(), None);
    }
}
