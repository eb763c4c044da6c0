//! Two figures of each candidate against one another, with the front that nothing beats in both.

use super::axis::Axis;
use super::svg::{Shape, Svg, Tone};
use crate::report::words::number;

#[derive(Debug, Clone)]
pub(in crate::report) struct Dot {
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    pub(in crate::report) tone: Tone,
    pub(in crate::report) shape: Shape,
    pub(in crate::report) tip: String,
    pub(in crate::report) engine: String,
}

#[derive(Debug, Clone)]
pub(in crate::report) struct Scatter {
    pub(in crate::report) title: String,
    pub(in crate::report) description: String,
    pub(in crate::report) x: &'static str,
    pub(in crate::report) y: &'static str,
    pub(in crate::report) dots: Vec<Dot>,
    pub(in crate::report) legend: Vec<(Shape, Tone, &'static str)>,
}

const BOX: (f64, f64, f64, f64) = (78.0, 30.0, 700.0, 300.0);

pub(in crate::report) fn scatter(s: &Scatter) -> Svg {
    let (left, top, right, bottom) = BOX;
    let mut svg = Svg::new(bottom + 74.0, s.title.clone(), s.description.clone());
    let xs = Axis::around(s.dots.iter().map(|d| d.x), 0.08, left, right);
    let ys = Axis::around(s.dots.iter().map(|d| d.y), 0.08, bottom, top);
    for t in xs.ticks(6) {
        svg.line("grid", (xs.at(t), top), (xs.at(t), bottom));
        svg.text("tick mid", xs.at(t), bottom + 16.0, &number(t));
    }
    for t in ys.ticks(5) {
        svg.line("grid", (left, ys.at(t)), (right, ys.at(t)));
        svg.text("tick end", left - 6.0, ys.at(t) + 4.0, &number(t));
    }
    svg.text("tick", 4.0, 16.0, s.y);
    svg.text("tick end", right, bottom + 34.0, s.x);
    let steps = front(&s.dots);
    let mut corners = Vec::new();
    for (i, d) in steps.iter().enumerate() {
        if i > 0 {
            corners.push((xs.at(steps[i - 1].x), ys.at(d.y)));
        }
        corners.push((xs.at(d.x), ys.at(d.y)));
    }
    if corners.len() > 1 {
        svg.polyline("curve dash flat", &corners);
    }
    for d in &s.dots {
        svg.mark(&d.tip, Some(&d.engine), |svg| svg.shape(d.shape, d.tone, (xs.at(d.x), ys.at(d.y)), 6.0));
    }
    legend(&mut svg, &s.legend, bottom + 60.0);
    svg
}

/// The dots that no other beats in both figures, from left to right.
fn front(dots: &[Dot]) -> Vec<&Dot> {
    let mut sorted: Vec<&Dot> = dots.iter().collect();
    sorted.sort_by(|a, b| b.x.total_cmp(&a.x).then(b.y.total_cmp(&a.y)));
    let mut best = f64::NEG_INFINITY;
    let mut out: Vec<&Dot> = sorted
        .into_iter()
        .filter(|d| {
            let better = d.y > best;
            best = best.max(d.y);
            better
        })
        .collect();
    out.reverse();
    out
}

/// Marks and their names in one line.
pub(super) fn legend(svg: &mut Svg, entries: &[(Shape, Tone, &'static str)], y: f64) {
    let mut x = 10.0;
    for (shape, tone, name) in entries {
        svg.shape(*shape, *tone, (x + 2.0, y - 4.0), 4.5);
        svg.text("tick", x + 13.0, y, name);
        x += 34.0 + 7.4 * name.chars().count() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_holds_what_nothing_beats() {
        let dot = |x, y| Dot {
            x,
            y,
            tone: Tone::Flat,
            shape: Shape::Circle,
            tip: String::new(),
            engine: String::new(),
        };
        let dots = [dot(1.0, 9.0), dot(2.0, 5.0), dot(3.0, 7.0), dot(4.0, 1.0), dot(2.5, 7.0)];
        let f: Vec<(f64, f64)> = front(&dots).iter().map(|d| (d.x, d.y)).collect();
        assert_eq!(f, [(1.0, 9.0), (3.0, 7.0), (4.0, 1.0)]);
    }
}
