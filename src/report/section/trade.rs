//! Trade-offs: what all users get against what one user sees.

use super::super::chart::{Dot, Scatter, Shape, Tone, scatter};
use super::super::doc::{Block, Section, text};
use super::super::subject::Subject;
use super::super::words::number;

pub(in super::super) fn section(s: &Subject<'_>) -> Option<Section> {
    let dots = dots(s);
    if dots.len() < 2 {
        return None;
    }
    let best = |f: fn(&Dot) -> f64| dots.iter().map(f).fold(0.0, f64::max);
    let svg = scatter(&Scatter {
        title: "Throughput of a GPU against the speed one user sees".to_owned(),
        description: format!(
            "{} candidates on the first workload: up to {} total tok/s a GPU, up to {} output tok/s a user. The line joins \
             those that nothing beats in both.",
            dots.len(),
            number(best(|d| d.y)),
            number(best(|d| d.x))
        ),
        x: "output tokens a second that one user sees (1 / mean TPOT)",
        y: "total tokens a second and GPU",
        dots,
        legend: vec![
            (Shape::Square, Tone::Base, "defaults"),
            (Shape::Diamond, Tone::Pick, "recommended"),
            (Shape::Circle, Tone::Flat, "other candidates"),
        ],
    });
    let blocks = vec![
        Block::Figure { name: "trade-off", svg: Box::new(svg) },
        Block::Para(text![
            "Right is faster for each user, up is cheaper for all. A candidate below and left of another is worse in both."
        ]),
    ];
    Some(Section { id: "trade-offs", title: "Trade-offs", blocks })
}

/// One dot for each candidate that was measured.
fn dots(s: &Subject<'_>) -> Vec<Dot> {
    let gpus = f64::from(s.run.plan.num_gpus.max(1));
    let mut dots: Vec<Dot> = Vec::new();
    for m in s.measured() {
        let (Some(total), Some(tpot)) = (m.total_throughput, m.mean_tpot_ms.filter(|t| *t > 0.0)) else {
            continue;
        };
        let is_base = Some(m.candidate) == s.baseline();
        let (tone, shape) = if s.has_win() && Some(m.candidate) == s.winner() {
            (Tone::Pick, Shape::Diamond)
        } else if is_base {
            (Tone::Base, Shape::Square)
        } else {
            (Tone::Flat, Shape::Circle)
        };
        let (x, y) = (1e3 / tpot, total / gpus);
        dots.push(Dot {
            x,
            y,
            tone,
            shape,
            tip: format!(
                "{} {}: {} tok/s a GPU, {} tok/s a user, mean of {} runs",
                m.candidate.engine,
                m.candidate.label(),
                number(y),
                number(x),
                m.runs
            ),
            engine: m.candidate.engine.to_string(),
        });
    }
    dots
}
