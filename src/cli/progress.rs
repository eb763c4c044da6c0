//! Progress that a person can follow: a live line on a terminal, one line a finished trial, or JSON lines.

use crate::scenario::Key;
use crate::search::Stage;
use crate::store::{Plan, TrialLine};
use crate::trial::{self, Observer, Outcome, without_secrets};
use crate::tune::{Event, Watcher, events};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal;
use std::time::Duration;

/// Shows events on stderr; stdout stays free for the result.
pub(super) struct Progress {
    quiet: bool,
    json: bool,
    bar: ProgressBar,
    unit: &'static str,
    incumbent: String,
}

impl Progress {
    pub(super) fn new(json: bool, plan: &Plan) -> Progress {
        let quiet = super::out::quiet();
        let live = !quiet && !json && std::io::stderr().is_terminal();
        let bar = ProgressBar::no_length();
        bar.set_draw_target(if live {
            ProgressDrawTarget::stderr_with_hz(4)
        } else {
            ProgressDrawTarget::hidden()
        });
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        if live {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Progress { quiet, json, bar, unit: plan.objective.unit(), incumbent: "defaults".into() }
    }

    /// A line above the live one.
    pub(super) fn say(&self, text: &str) {
        speak(&self.bar, self.quiet, self.json, text);
    }

    /// Says things from another thread.
    pub(super) fn speaker(&self) -> impl Fn(&str) + Send + 'static + use<> {
        let (bar, quiet, json) = (self.bar.clone(), self.quiet, self.json);
        move |text| speak(&bar, quiet, json, text)
    }

    /// Shows the steps inside a trial on the live line.
    pub(super) fn observer(&self) -> Steps {
        Steps { bar: self.bar.clone(), told: super::out::verbose() && !self.json }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn event_json(&self, value: &serde_json::Value) {
        if self.json && !self.quiet {
            line(&value.to_string());
        }
    }

    fn finished(&self, t: &TrialLine, value: Option<f64>, p: events::Progress) {
        let label = t.result.spec.candidate.label();
        let engine = &t.result.spec.candidate.engine;
        let failed = match &t.result.outcome {
            Outcome::Failed { failure, .. } => Some(format!("{}: {}", failure.class, failure.root_cause)),
            Outcome::Measured { .. } => None,
        };
        self.event_json(&json!({
            "event": "trial", "seq": t.seq, "stage": t.stage, "engine": engine, "candidate": label, "value": value,
            "failed": failed, "wall_s": t.result.wall_s, "done": p.done, "total": p.total, "eta_s": p.eta_s,
        }));
        if self.json {
            return;
        }
        let outcome = match (failed, value) {
            (Some(why), _) => format!("failed, {why}"),
            (None, Some(v)) => format!("{v:.1} {}", self.unit),
            (None, None) if t.stage == Stage::Calibrate => "probes for the cost model".to_owned(),
            (None, None) => "no valid run".to_owned(),
        };
        let count = format!("[{}/{}]", p.done, p.total);
        self.say(&format!(
            "{count:>8} {:<10} {engine} {label}: {outcome} ({:.1} s)",
            t.stage.name(),
            t.result.wall_s
        ));
    }
}

impl Watcher for Progress {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Note(text) => self.say(text),
            Event::Stage { stage, launches } => {
                self.event_json(&json!({"event": "stage", "stage": stage, "launches": launches}));
            }
            Event::Started { seq, stage, label, progress } => {
                self.event_json(&json!({"event": "start", "seq": seq, "stage": stage, "candidate": label}));
                let eta = progress.eta_s.map_or(String::new(), |s| {
                    format!(", {} left", humantime::format_duration(Duration::from_secs(s.round() as u64)))
                });
                self.bar.set_prefix(format!(
                    "{stage} {}/{}{eta}; best: {}; {label}",
                    seq, progress.total, self.incumbent
                ));
                self.bar.set_message("starting");
            }
            Event::Finished { line, value, progress } => self.finished(line, *value, *progress),
            Event::Replayed { line } => {
                self.event_json(&json!({"event": "replayed", "seq": line.seq, "stage": line.stage}));
            }
            Event::Incumbent { label, improvement } => {
                self.incumbent = format!("{label} {:+.1} %", 100.0 * improvement);
                self.event_json(
                    &json!({"event": "incumbent", "candidate": label, "improvement": improvement}),
                );
            }
        }
    }
}

/// Steps of the trial in flight: on the live line, and with `--verbose` as lines of their own.
pub(super) struct Steps {
    bar: ProgressBar,
    told: bool,
}

impl Steps {
    fn tell(&self, event: &trial::Event<'_>) {
        let text = match event {
            trial::Event::Launching { argv } => {
                format!("  starting: {}", crate::launch::Launch::from_argv(&without_secrets(argv)).to_text())
            }
            trial::Event::Ready { facts } => format!("  ready after {:.1} s", facts.startup_s),
            trial::Event::RunFinished { run } => {
                let figure = |key| run.observation.result.as_ref().and_then(|r| r.get(key)).unwrap_or(0.0);
                format!(
                    "  {}: {:.1} total tok/s, mean TTFT {:.1} ms, mean TPOT {:.2} ms",
                    run.workload.label(),
                    figure(Key::TotalTokenThroughput),
                    figure(Key::MeanTtftMs),
                    figure(Key::MeanTpotMs)
                )
            }
            trial::Event::Stopping => "  stopping".to_owned(),
            _ => return,
        };
        self.bar.suspend(|| line(&text));
    }
}

impl Observer for Steps {
    fn event(&self, event: &trial::Event<'_>) {
        if self.told {
            self.tell(event);
        }
        let text = match event {
            trial::Event::Launching { .. } => "starting".to_owned(),
            trial::Event::Waiting { elapsed_s, last_line } => {
                format!("starting, {elapsed_s:.0} s: {last_line}")
            }
            trial::Event::Ready { .. } => "ready".to_owned(),
            trial::Event::Running { completed, planned, .. } => format!("{completed} of {planned} requests"),
            trial::Event::Stopping => "stopping".to_owned(),
            trial::Event::RunStarted { .. } | trial::Event::RunFinished { .. } => return,
        };
        self.bar.set_message(text);
    }
}

fn speak(bar: &ProgressBar, quiet: bool, json: bool, text: &str) {
    if quiet {
        return;
    }
    let text = if json { json!({"event": "note", "text": text}).to_string() } else { text.to_owned() };
    bar.suspend(|| line(&text));
}

fn line(text: &str) {
    super::out::note(text);
}
