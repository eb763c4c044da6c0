//! Every launch in its order, one dot a run.

use super::axis::Axis;
use super::svg::{Shape, Svg, Tone, WIDTH, wrapped};

#[derive(Debug, Clone)]
pub(in crate::report) struct Launch {
    /// Number and stage.
    pub(in crate::report) head: String,
    pub(in crate::report) label: String,
    pub(in crate::report) values: Vec<f64>,
    /// Where there is no value: why.
    pub(in crate::report) none: String,
    pub(in crate::report) tone: Tone,
    pub(in crate::report) shape: Shape,
    pub(in crate::report) tip: String,
    pub(in crate::report) engine: String,
}

const LEFT: f64 = 300.0;
const RIGHT: f64 = 706.0;
const ROW: f64 = 32.0;

pub(in crate::report) fn launches(
    title: String,
    description: String,
    rows: &[Launch],
    unit: &str,
    legend: &[(Shape, Tone, &'static str)],
) -> Svg {
    let bottom = 10.0 + ROW * rows.len() as f64;
    let mut svg = Svg::new(bottom + 70.0, title, description);
    let axis = Axis::around(rows.iter().flat_map(|r| r.values.iter().copied()), 0.06, LEFT, RIGHT);
    if rows.iter().any(|r| !r.values.is_empty()) {
        for t in axis.ticks(5) {
            svg.line("grid", (axis.at(t), 6.0), (axis.at(t), bottom));
            svg.text("tick mid", axis.at(t), bottom + 16.0, &crate::report::words::number(t));
        }
        svg.text("tick end", RIGHT, bottom + 34.0, unit);
    }
    for (i, r) in rows.iter().enumerate() {
        let y = 10.0 + ROW * (i as f64 + 0.5);
        svg.mark(&r.tip, Some(&r.engine), |svg| {
            svg.rect("hit", (0.0, y - ROW / 2.0), (WIDTH, ROW));
            svg.text("tick", 4.0, y + 4.0, &r.head);
            let lines = wrapped(&r.label, 30);
            let first = y + 4.5 - 7.5 * (lines.len() - 1) as f64;
            for (j, l) in lines.iter().enumerate() {
                svg.text("end", LEFT - 12.0, first + 15.0 * j as f64, l);
            }
            for v in &r.values {
                svg.shape(r.shape, r.tone, (axis.at(*v), y), 4.5);
            }
            if r.values.is_empty() {
                if r.tone == Tone::Bad {
                    svg.shape(Shape::Cross, Tone::Bad, (LEFT + 6.0, y), 5.0);
                }
                svg.text("tick", LEFT + 18.0, y + 4.0, &r.none);
            }
        });
    }
    super::scatter::legend(&mut svg, legend, bottom + 56.0);
    svg
}
