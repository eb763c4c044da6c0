//! What engines write: logs, step lines, help texts, Prometheus metrics.
//!
//! - no panic, whatever the bytes;
//! - the line named is a line of the log, and what is quoted of it is bounded;
//! - the same log gives the same verdict, told whole or read as a stream.

use llm_dyno::engine::failure::{Excerpt, assess, speed_warnings};
use llm_dyno::engine::{HelpFlags, Samples, adapter, config_facts, redact, steps};
use llm_dyno::launch::EngineKind;

const ENGINES: [EngineKind; 4] =
    [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm, EngineKind::Emulated];

pub(crate) fn log(input: &[u8]) {
    let log = String::from_utf8_lossy(input);
    let whole = assess(&Excerpt::whole(&log), None);
    let read = Excerpt::read(log.as_bytes()).expect("bytes in memory");
    assert_eq!(whole, assess(&read, None), "a stream was judged otherwise");
    // Bytes that are no text are left out of a stream; what is left may be judged otherwise.
    let _ = assess(&Excerpt::read(input).expect("bytes in memory"), None);
    if let Some(v) = &whole {
        let lines = log.split('\n').count();
        assert!(v.line.is_none_or(|n| (1..=lines).contains(&n)), "line {:?} of {lines}", v.line);
        assert!(
            v.root_cause.len() < 20_000 && v.next.len() < 20_000,
            "a verdict of {} bytes",
            v.root_cause.len()
        );
    }
    for w in speed_warnings(&read) {
        assert!(w.count >= 1 && w.line >= 1);
    }
    for engine in ENGINES {
        let _ = adapter(engine).log_facts(&log);
        let rows = steps::read(engine, &log);
        assert!(rows.len() <= input.len(), "more steps than bytes");
    }
    assert!(HelpFlags::parse(&log).flags.len() <= input.len());
    let clean = redact::text(&log);
    assert_eq!(clean, redact::text(&clean), "what was cleaned was not clean");
}

pub(crate) fn metrics(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let samples = Samples::parse(&text);
    for engine in ENGINES {
        let names = adapter(engine).metric_names();
        let _ = config_facts(&names, &samples);
        for name in [names.prompt_tokens, names.running, names.kv_usage, names.queue_time] {
            assert_eq!(samples.sum(name).is_some(), samples.max(name).is_some());
        }
    }
    if let Ok(info) = serde_json::from_str(&text) {
        for engine in ENGINES {
            let _ = adapter(engine).info_facts(&info);
        }
    }
}
