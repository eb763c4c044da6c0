//! The reader of engines' logs on arbitrary bytes.
//!
//! - no panic, whatever the bytes;
//! - the line named is a line of the log, and what is quoted of it is bounded;
//! - the same log gives the same verdict, told whole or read as a stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llm_dyno::engine::failure::{Excerpt, assess, speed_warnings};

fuzz_target!(|input: &[u8]| {
    let log = String::from_utf8_lossy(input);
    let whole = assess(&Excerpt::whole(&log), None);
    let read = Excerpt::read(input).expect("bytes in memory");
    assert_eq!(whole, assess(&read, None), "a stream was judged otherwise");
    if let Some(v) = &whole {
        let lines = log.split('\n').count();
        assert!(v.line.is_none_or(|n| (1..=lines).contains(&n)), "line {:?} of {lines}", v.line);
        assert!(v.root_cause.len() < 20_000 && v.next.len() < 20_000, "a verdict of {} bytes", v.root_cause.len());
    }
    for w in speed_warnings(&read) {
        assert!(w.count >= 1 && w.line >= 1);
    }
});
