//! Throughput and latency over load, with zones below them and the band of the prediction.

use super::axis::Axis;
use super::svg::{Shape, Svg, Tone};
use crate::report::words::{self, number};

/// One line over load: load, value, and the ends of its interval.
#[derive(Debug, Clone, Default)]
pub(in crate::report) struct Curve {
    pub(in crate::report) name: String,
    pub(in crate::report) points: Vec<[f64; 4]>,
    pub(in crate::report) look: Look,
}

/// How a curve stands among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::report) enum Look {
    /// The one that the picture is about, with the band of its interval.
    #[default]
    Pick,
    /// With dashes and without a band: what it is compared with.
    Faint,
    /// One of several equals, without a band: its place among them gives colour, dashes and shape.
    Equal(usize),
}

impl Look {
    fn class(self) -> String {
        match self {
            Look::Pick => "curve pick".to_owned(),
            Look::Faint => "curve dash flat".to_owned(),
            Look::Equal(place) => format!("curve s{}", place % EQUALS),
        }
    }

    fn mark(self) -> Option<(Shape, String)> {
        match self {
            Look::Pick => Some((Shape::Circle, Tone::Pick.class().to_owned())),
            Look::Faint => None,
            Look::Equal(place) => {
                let shape = [Shape::Circle, Shape::Diamond, Shape::Square, Shape::Cross][place % 4];
                Some((shape, format!("s{}", place % EQUALS)))
            }
        }
    }
}

/// Equals that a picture tells apart.
pub(in crate::report) const EQUALS: usize = 6;

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
    let mut svg = Svg::new(bottom + legend_height(&p.throughput), p.title.clone(), p.description.clone());
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
    legend(&mut svg, p, bottom);
    svg
}

/// The height that the names of the curves take.
fn legend_height(curves: &[Curve]) -> f64 {
    let equals = curves.iter().any(|c| matches!(c.look, Look::Equal(_)));
    // Names of models are long: each has a line of its own.
    if equals { 62.0 + 20.0 * (curves.len() as f64 - 1.0) } else { 62.0 }
}

fn legend(svg: &mut Svg, p: &LoadPicture, bottom: f64) {
    let (mut x, mut y) = (LEFT, bottom + 50.0);
    for c in &p.throughput {
        svg.line(&c.look.class(), (x, y), (x + 26.0, y));
        svg.text("tick", x + 32.0, y + 4.0, &c.name);
        match c.look {
            Look::Equal(_) => y += 20.0,
            _ => x += 60.0 + 7.0 * c.name.chars().count() as f64,
        }
    }
    if p.throughput.iter().any(|c| c.look == Look::Pick) {
        svg.rect("band", (x, y - 6.0), (26.0, 12.0));
        svg.text("tick", x + 32.0, y + 4.0, "90 % interval");
    }
}

fn panel(svg: &mut Svg, xs: &Axis, (curves, name): (&[Curve], &str), top: f64) {
    let values = curves.iter().flat_map(|c| {
        let end = if c.look == Look::Pick { 3 } else { 1 };
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
        if c.look == Look::Pick {
            let up = c.points.iter().map(|q| (xs.at(q[0]), ys.at(q[3])));
            let down = c.points.iter().rev().map(|q| (xs.at(q[0]), ys.at(q[2])));
            svg.polygon("band", &up.chain(down).collect::<Vec<_>>());
        }
        svg.polyline(&c.look.class(), &line);
        let Some((shape, class)) = c.look.mark() else { continue };
        let whose = if matches!(c.look, Look::Equal(_)) { format!("{}, ", c.name) } else { String::new() };
        for (q, at) in c.points.iter().zip(&line) {
            let tip = format!(
                "{whose}{} in flight: {name} {} (90 % interval {} to {})",
                words::load(q[0]),
                number(q[1]),
                number(q[2]),
                number(q[3])
            );
            svg.mark(&tip, None, |svg| {
                svg.shaped(shape, &class, *at, 3.0);
                svg.rect("hit", (at.0 - 9.0, at.1 - 9.0), (18.0, 18.0));
            });
        }
    }
}
