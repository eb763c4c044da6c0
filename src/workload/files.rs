//! Reading a workload's file, and estimating token counts of its texts.

use crate::error::{Error, Problem, Result};
use std::path::Path;

/// The whole file as text.
pub(super) fn text(path: &str) -> Result<String> {
    crate::host::read_text(Path::new(path), crate::host::WORKLOAD_LIMIT).map_err(|e| {
        Error::problems("the workload's file cannot be read", vec![Problem::new(path, "", e.to_string())])
    })
}

/// Tokens of a text without its tokenizer: a word of up to six letters, a punctuation mark or three digits is
/// about one token, each further six letters one more, and outside of Latin script a character is about one.
/// Good to some 15 % on English prose and code with today's large vocabularies; the exact count comes back from
/// the server.
pub(super) fn estimate_tokens(text: &str) -> u32 {
    let mut tokens = 0u32;
    let (mut letters, mut digits) = (0u32, 0u32);
    let mut flush = |letters: &mut u32, digits: &mut u32| {
        tokens += letters.div_ceil(6) + digits.div_ceil(3);
        (*letters, *digits) = (0, 0);
    };
    let mut others = 0u32;
    for c in text.chars() {
        if c.is_ascii_alphabetic() || ('\u{c0}'..='\u{24f}').contains(&c) {
            letters += 1;
        } else if c.is_ascii_digit() {
            digits += 1;
        } else {
            flush(&mut letters, &mut digits);
            // A single blank belongs to the word after it.
            if c != ' ' {
                others += 1;
            }
        }
    }
    flush(&mut letters, &mut digits);
    tokens + others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near_what_tokenizers_give() {
        // 10 words and a full stop: 11 tokens with GPT-2, Llama-3 and Qwen alike.
        assert_eq!(estimate_tokens("The quick brown fox jumps over the very lazy dog."), 11);
        assert_eq!(estimate_tokens(""), 0);
        assert_eq!(estimate_tokens("12345"), 2);
        assert_eq!(estimate_tokens("你好"), 2);
    }
}
