//! The figures of each part of a mixture, besides those of the whole.

use super::options::Goodput;
use super::outcome::{LoadResult, Row};
use super::summarize;
use crate::error::Result;
use crate::scenario::Key;
use crate::scenario::client_report::ComponentFigures;
use crate::units::Nanos;
use crate::workload::{WorkloadSpec, part_of_each};

impl LoadResult {
    /// Adds `components` to the result of a mixture: for each part its weight, and the result keys over its requests
    /// alone. Throughputs are over the duration of the whole run, so that those of the parts add up.
    pub fn add_components(&mut self, workload: &WorkloadSpec, goodput: Option<Goodput>) -> Result<()> {
        if workload.parts().is_empty() {
            return Ok(());
        }
        let part_of = part_of_each(workload)?;
        let duration = self.metrics.get(Key::Duration).unwrap_or_default();
        let figures = |(i, part): (usize, &crate::workload::Component)| {
            let of_part = |r: &&Row| part_of.get(r.id as usize) == Some(&i);
            let rows: Vec<Row> = self.rows.iter().filter(of_part).cloned().collect();
            let mut figures = summarize(&rows, Nanos::from_secs_f64(duration), goodput).known;
            // The length of the whole run is no figure of a part.
            figures.remove(&Key::Duration);
            ComponentFigures { workload: part.workload.label(), weight: part.weight, figures }
        };
        self.metrics.client.components = workload.parts().iter().enumerate().map(figures).collect();
        Ok(())
    }
}

/// One line of a part, as the remarks show it.
pub(super) fn remark(part: &ComponentFigures) -> String {
    let number = |key: Key| part.get(key).unwrap_or(f64::NAN);
    format!(
        "part {}: {:.0} requests, mean TTFT {:.1} ms (p99 {:.1}), TPOT {:.2} ms, E2EL {:.1} ms",
        part.workload,
        number(Key::Completed),
        number(Key::MeanTtftMs),
        number(Key::P99TtftMs),
        number(Key::MeanTpotMs),
        number(Key::MeanE2elMs),
    )
}

#[cfg(test)]
mod tests {
    use crate::load::paced::{Pace, PacedServer};
    use crate::load::{RunOptions, Target, run};
    use crate::scenario::Key;
    use crate::workload::{generate, parse};

    #[test]
    fn a_mixture_has_the_figures_of_its_parts_besides_the_pooled_ones() {
        let pace = Pace { ttft: std::time::Duration::from_millis(5), ..Pace::default() };
        let server = PacedServer::start(0, pace, 1).unwrap();
        let spec = parse("mix:3*random:16/2+1*random:40/6,n=16,concurrency=8").unwrap();
        let options = RunOptions { max_concurrency: Some(8), ..RunOptions::default() };
        let target = Target::new(server.base_url(), "paced");
        let mut result = run(&target, &generate(&spec, 500).unwrap(), &options).unwrap();
        result.add_components(&spec, None).unwrap();
        let parts = result.metrics.client.components.clone();
        assert_eq!(parts.len(), 2);
        for (part, (label, n, input, output)) in
            parts.iter().zip([("random:16/2", 12.0, 192.0, 24.0), ("random:40/6", 4.0, 160.0, 24.0)])
        {
            let figure = |key| part.get(key).unwrap();
            assert_eq!((part.workload.as_str(), figure(Key::Completed)), (label, n));
            assert_eq!(figure(Key::TotalInputTokens), input);
            assert_eq!(figure(Key::TotalOutputTokens), output);
        }
        let sum: f64 = parts.iter().map(|p| p.get(Key::OutputThroughput).unwrap()).sum();
        let whole = result.metrics.get(Key::OutputThroughput).unwrap();
        assert!((sum / whole - 1.0).abs() < 1e-6, "{sum} {whole}");
        // Six tokens take 40 ms longer than two.
        let e2e = |i: usize| parts[i].get(Key::MeanE2elMs).unwrap();
        assert!(e2e(1) - e2e(0) > 30.0, "{} {}", e2e(0), e2e(1));
        assert!(result.remarks().iter().any(|l| l.starts_with("part random:16/2: 12 requests")));
    }
}
