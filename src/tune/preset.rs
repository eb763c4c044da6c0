//! What one word of `--preset` stands for: an objective, and what must hold meanwhile.

/// MLPerf Inference's bounds for language models, by model and scenario: TTFT and TPOT at the 99th percentile, in
/// milliseconds. Source: the limits in `tools/submission` of mlcommons/inference (rounds 5.0 to 6.0).
const MLPERF: [(&str, &str, u32, u32); 11] = [
    ("deepseek-r1", "interactive", 1500, 15),
    ("deepseek-r1", "server", 2000, 80),
    ("gpt-oss-120b", "interactive", 2000, 15),
    ("gpt-oss-120b", "server", 3000, 80),
    ("llama2-70b", "interactive", 450, 40),
    ("llama2-70b", "server", 2000, 200),
    ("llama3.1-405b", "interactive", 4500, 80),
    ("llama3.1-405b", "server", 6000, 175),
    ("llama3.1-8b", "interactive", 500, 30),
    ("llama3.1-8b", "server", 2000, 100),
    ("mixtral-8x7b", "server", 2000, 200),
];

/// Objective and SLO of a preset, as the command line would say them.
///
/// Errors: there is no such preset; which there are.
pub(super) fn meaning(name: &str) -> Result<(&'static str, Option<String>), String> {
    match name {
        "latency" => return Ok(("e2e.mean", None)),
        "throughput" => return Ok(("total-throughput", None)),
        "balanced" => return Ok(("output-throughput", Some("ttft.p99=2s,tpot.p99=50ms".to_owned()))),
        _ => {}
    }
    let named = |m: &&(&str, &str, u32, u32)| name == format!("mlperf:{}:{}", m.0, m.1);
    if let Some((_, _, ttft, tpot)) = MLPERF.iter().find(named) {
        return Ok(("output-throughput", Some(format!("ttft.p99={ttft}ms,tpot.p99={tpot}ms"))));
    }
    let known: Vec<String> = MLPERF.iter().map(|m| format!("mlperf:{}:{}", m.0, m.1)).collect();
    Err(format!("`{name}` is none of latency, throughput, balanced, {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Objective, Slo};

    #[test]
    fn every_preset_can_be_read_as_the_command_line_would_be() {
        let names = MLPERF.iter().map(|m| format!("mlperf:{}:{}", m.0, m.1));
        for name in names.chain(["latency", "throughput", "balanced"].map(str::to_owned)) {
            let (objective, slo) = meaning(&name).unwrap();
            assert!(objective.parse::<Objective>().is_ok(), "{name}");
            assert!(slo.is_none_or(|s| s.parse::<Slo>().is_ok_and(|s| s.0.len() == 2)), "{name}");
        }
        let (_, slo) = meaning("mlperf:deepseek-r1:interactive").unwrap();
        assert_eq!(slo.unwrap(), "ttft.p99=1500ms,tpot.p99=15ms");
        assert!(meaning("mlperf:gpt-2:server").unwrap_err().contains("mlperf:llama2-70b:interactive"));
    }
}
