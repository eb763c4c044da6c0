//! The report as one self-contained HTML file.

use super::charts::{Bar, bars};
use super::conclusion::title;
use super::subject::Subject;
use super::words::{duration, key_words, number, percent_interval};
use crate::error::{Error, Result};
use crate::store::TrialLine;
use crate::trial::Outcome;
use minijinja::{Environment, context};

const PAGE: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } td, th { border-bottom: 1px solid #ddd; padding: .25rem .5rem; text-align: left; }
td.n { text-align: right; white-space: nowrap; } pre { background: #f4f4f4; padding: .75rem; overflow-x: auto; }
svg { width: 100%; } rect.plain { fill: #9db4c8; } rect.strong { fill: #2166ac; } .better { color: #06682f; } .worse { color: #a4161a; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p>{{ sentence }}</p>
{% if command %}<pre>{{ command }}</pre>{% endif %}
{% for note in notes %}<p>{{ note }}</p>{% endfor %}
{% for w in workloads %}
<h2>{{ w.name }}: before and after</h2>
<table><tr><th>Metric</th><th>Defaults</th><th>Tuned</th><th>Change (95 % interval)</th><th>Beyond the noise</th></tr>
{% for m in w.metrics %}<tr><td>{{ m.name }}</td><td class="n">{{ m.before }}</td><td class="n">{{ m.after }}</td><td class="n">{{ m.change }}</td><td class="{{ m.class }}">{{ m.verdict }}</td></tr>
{% endfor %}</table>
{{ w.chart|safe }}
{% endfor %}
{% if flags %}<h2>Flags</h2>
<table><tr><th>Flag</th><th>Effect</th><th>In the command</th><th>How it works</th></tr>
{% for f in flags %}<tr><td><code>{{ f.label }}</code></td><td class="n">{{ f.effect }}</td><td>{{ f.kept }}</td><td>{{ f.mechanism }}</td></tr>
{% endfor %}</table>{% endif %}
<h2>Trials</h2>
<p>{{ objective }}, mean of the valid runs on {{ primary }}.</p>
{{ trials|safe }}
<p>{{ count }} launches, {{ spent }} of trial time. The whole record stands in trials.jsonl beside this file.</p>
</body>
</html>
"#;

/// The page; it needs no other file and runs no script.
pub fn html(s: &Subject<'_>) -> Result<String> {
    let mut env = Environment::new();
    let bad = |e: minijinja::Error| Error::failed("the HTML report cannot be rendered").source(e);
    // The name's ending turns HTML escaping on.
    env.add_template("report.html", PAGE).map_err(bad)?;
    let plan = &s.run.plan;
    let c = s.verdict.compared.as_ref();
    let page = env.get_template("report.html").map_err(bad)?;
    page.render(context! {
        title => title(s),
        sentence => plain(&s.sentence()),
        command => c.and_then(|c| s.command(&c.winner)),
        notes => s.verdict.notes.iter().map(|n| plain(n)).collect::<Vec<_>>(),
        workloads => workloads(s),
        flags => flags(s),
        objective => key_words(plan.objective.key().name()),
        primary => plan.primary().name.clone(),
        trials => bars(&s.trials.iter().map(|t| trial_bar(s, t)).collect::<Vec<_>>()),
        count => s.trials.len(),
        spent => duration(s.verdict.wall_s),
    })
    .map_err(bad)
}

/// Markdown's marks taken off.
fn plain(text: &str) -> String {
    text.replace("**", "").replace('`', "")
}

fn workloads(s: &Subject<'_>) -> Vec<minijinja::Value> {
    let rows = s.verdict.compared.iter().flat_map(|c| &c.workloads);
    rows.map(|w| {
        let metrics: Vec<_> = w
            .metrics
            .iter()
            .map(|m| {
                let (class, verdict) = match (m.significant, m.better) {
                    (false, _) => ("", "no"),
                    (true, true) => ("better", "yes, better"),
                    (true, false) => ("worse", "yes, worse"),
                };
                context! {
                    name => key_words(&m.key), before => number(m.before), after => number(m.after),
                    change => m.change.as_ref().map_or("–".to_owned(), percent_interval), class, verdict,
                }
            })
            .collect();
        let pair = w.metrics.iter().find(|m| m.key == s.run.plan.objective.key().name());
        let chart = pair.map(|m| {
            let bar =
                |label: &str, value, strong| Bar { label: label.into(), value, text: number(value), strong };
            bars(&[bar("Defaults", m.before, false), bar("Tuned", m.after, true)])
        });
        context! { name => w.name.clone(), metrics, chart => chart.unwrap_or_default() }
    })
    .collect()
}

fn flags(s: &Subject<'_>) -> Vec<minijinja::Value> {
    let row = |f: &crate::store::FlagEffect| {
        context! {
            label => format!("--{} {}", f.flag, f.value),
            effect => f.effect.as_ref().map_or("–".to_owned(), percent_interval),
            kept => if f.kept { "yes" } else { "" },
            mechanism => f.mechanism.clone(),
        }
    };
    s.verdict.flags.iter().map(row).collect()
}

fn trial_bar(s: &Subject<'_>, t: &TrialLine) -> Bar {
    let candidate = &t.result.spec.candidate;
    let primary = &s.run.plan.primary().spec;
    let values: Vec<f64> = Subject::runs(t)
        .iter()
        .filter(|m| m.invalid.is_empty() && m.workload.same_kind(primary))
        .filter_map(|m| s.run.plan.objective.value(&m.observation, &s.run.plan.slo))
        .collect();
    let value = if values.is_empty() { 0.0 } else { crate::stats::mean(&values) };
    let text = match &t.result.outcome {
        Outcome::Failed { failure, .. } => failure.class.clone(),
        Outcome::Measured { .. } if values.is_empty() => "probes".to_owned(),
        Outcome::Measured { .. } => number(value),
    };
    let strong = s.verdict.compared.as_ref().is_some_and(|c| c.winner == *candidate);
    Bar { label: format!("{} {} {}", t.seq, t.stage, candidate.label()), value, text, strong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_marks_are_taken_off() {
        assert_eq!(plain("`a` gives **+1 %**"), "a gives +1 %");
    }
}
