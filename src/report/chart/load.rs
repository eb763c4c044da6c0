//! Throughput and latency over load, with zones below them and the band of the prediction.

use super::axis::Axis;
use super::svg::Svg;
use crate::report::words::{self, number};

/// One line over load: load, value, and the ends of its interval.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct Curve {
    pub(in crate::report) name: &'static str,
    pub(in crate::report) points: Vec<[f64; 4]>,
    /// Drawn with dashes and without a band: what it is compared with.
    pub(in crate::report) faint: bool,
}

/// A zone of load.
#[derive(Debug, Clone)]
pub(in crate::report) struct Span {
    pub(in crate::report) name: String,
    pub(in crate::report) from: f64,
    pub(in crate::report) to: f64,
}

#[derive(Debug, Clone)]
pub(in crate::report) struct LoadPicture {
    pub(in crate::report) title: String,
    pub(in crate::report) description: String,
    pub(in crate::report) x: &'static str,
    pub(in crate::report) throughput: Vec<Curve>,
    pub(in crate::report) latency: Vec<Curve>,
    pub(in crate::report) names: (&'static str, &'static str),
    pub(in crate::report) zones: Vec<Span>,
    /// A load to plan with.
    pub(in crate::report) plan: Option<f64>,
}

const LEFT: f64 = 78.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 40.0;
const PANEL: f64 = 170.0;
const GAP: f64 = 44.0;

pub(in crate::report) fn load(p: &LoadPicture) -> Svg {
    let bottom = TOP + 2.0 * PANEL + GAP;
    let mut svg = Svg::new(bottom + 62.0, p.title.clone(), p.description.clone());
    let loads = p.throughput.iter().flat_map(|c| c.points.iter().map(|q| q[0]));
    let (low, high) = loads.fold((f64::INFINITY, 0.0f64), |(l, h), x| (l.min(x), h.max(x)));
    let xs = Axis::log(if low.is_finite() { low } else { 1.0 }, high, LEFT, RIGHT);
    for (i, z) in p.zones.iter().enumerate() {
        let (a, b) = (xs.at(z.from), xs.at(z.to));
        svg.rect(&format!("z{}", i.min(3)), (a, TOP), (b - a, bottom - TOP));
        // Narrow zones keep their name in the text below the picture.
        if b - a > 7.0 * z.name.chars().count() as f64 {
            svg.text("tick mid", f64::midpoint(a, b), TOP - 8.0, &z.name);
        }
    }
    for t in xs.ticks(9) {
        svg.text("tick mid", xs.at(t), bottom + 17.0, &words::load(t));
    }
    svg.text("tick end", RIGHT, bottom + 36.0, p.x);
    panel(&mut svg, &xs, (&p.throughput, p.names.0), TOP);
    panel(&mut svg, &xs, (&p.latency, p.names.1), TOP + PANEL + GAP);
    if let Some(plan) = p.plan {
        let x = xs.at(plan);
        svg.mark(&format!("load to plan with: {}", words::load(plan)), None, |svg| {
            svg.line("plan mark", (x, TOP), (x, bottom));
            svg.text(
                if x > 560.0 { "end" } else { "" },
                x + if x > 560.0 { -6.0 } else { 6.0 },
                TOP + PANEL + 16.0,
                &format!("plan with {}", words::load(plan)),
            );
        });
    }
    let mut x = LEFT;
    for c in &p.throughput {
        let class = if c.faint { "curve dash flat" } else { "curve pick" };
        svg.line(class, (x, bottom + 50.0), (x + 26.0, bottom + 50.0));
        svg.text("tick", x + 32.0, bottom + 54.0, c.name);
        x += 60.0 + 7.0 * c.name.chars().count() as f64;
    }
    svg.rect("band", (x, bottom + 44.0), (26.0, 12.0));
    svg.text("tick", x + 32.0, bottom + 54.0, "90 % interval");
    svg
}

fn panel(svg: &mut Svg, xs: &Axis, (curves, name): (&[Curve], &str), top: f64) {
    let values = curves.iter().flat_map(|c| {
        let end = if c.faint { 1 } else { 3 };
        c.points.iter().map(move |q| q[end].max(q[1]))
    });
    let most = values.filter(|v| v.is_finite()).fold(0.0, f64::max);
    let ys = Axis::linear(0.0, most.max(1e-9) * 1.05, top + PANEL, top);
    for t in ys.ticks(4) {
        svg.line("grid", (LEFT, ys.at(t)), (RIGHT, ys.at(t)));
        svg.text("tick end", LEFT - 6.0, ys.at(t) + 4.0, &number(t));
    }
    svg.text("grp", LEFT + 4.0, top + 16.0, name);
    for c in curves {
        let line: Vec<(f64, f64)> = c.points.iter().map(|q| (xs.at(q[0]), ys.at(q[1]))).collect();
        if !c.faint {
            let up = c.points.iter().map(|q| (xs.at(q[0]), ys.at(q[3])));
            let down = c.points.iter().rev().map(|q| (xs.at(q[0]), ys.at(q[2])));
            svg.polygon("band", &up.chain(down).collect::<Vec<_>>());
        }
        svg.polyline(if c.faint { "curve dash flat" } else { "curve pick" }, &line);
        if c.faint {
            continue;
        }
        for (q, at) in c.points.iter().zip(&line) {
            let tip = format!(
                "{} in flight: {name} {} (90 % interval {} to {})",
                words::load(q[0]),
                number(q[1]),
                number(q[2]),
                number(q[3])
            );
            svg.mark(&tip, None, |svg| {
                svg.shape(super::Shape::Circle, super::Tone::Pick, *at, 3.0);
                svg.rect("hit", (at.0 - 9.0, at.1 - 9.0), (18.0, 18.0));
            });
        }
    }
}
