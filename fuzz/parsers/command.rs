//! Command lines.
//!
//! - no panic; a word that was quoted is one word again;
//! - a launch of an engine written as text has the same environment and words when it is read, unless its first word begins a
//!   document (`FROM image` is a Dockerfile, whatever was quoted before);
//! - words without secrets stay so.

use llm_dyno::engine::redact;
use llm_dyno::launch::{Launch, quote, split};
use llm_dyno::load::base_url;

pub(crate) fn command(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (words, closed) = split(&text);
    if closed {
        let joined: Vec<String> = words.iter().map(|w| quote(w)).collect();
        assert_eq!(split(&joined.join(" ")), (words.clone(), true), "a quoted word is another word");
    }
    let launch = Launch::parse(&text);
    // Words in which no engine is found stay as they are, settings and separators among them, and nobody writes them down.
    let document = launch.argv.first().is_some_and(|program| ["FROM", "ARG"].contains(&program.as_str()));
    let several = launch.argv.iter().any(|w| ["&&", "||", ";", "|", "&", "|&"].contains(&w.as_str()));
    if launch.engine.is_some() && !document && !several {
        let again = Launch::parse(&launch.to_text());
        assert_eq!((&launch.env, &launch.argv), (&again.env, &again.argv), "{:?}", launch.to_text());
    }
    let hidden = redact::argv(&words);
    assert_eq!(hidden.len(), words.len());
    // A word of several secrets may be hidden as a whole the second time.
    let still = |(h, a): (&String, &String)| !h.contains("<redacted>") || a.contains("<redacted>");
    assert!(hidden.iter().zip(&redact::argv(&hidden)).all(still), "what was hidden was shown");
    let _ = base_url(&text);
}
