//! Where the time of a step goes, as bars of parts.

use super::svg::Svg;
use crate::report::words::number;

/// One bar.
#[derive(Debug, Clone)]
pub(in crate::report) struct Budget {
    pub(in crate::report) name: String,
    /// Name and milliseconds, one after another.
    pub(in crate::report) parts: Vec<(String, f64)>,
    /// What runs beside them.
    pub(in crate::report) beside: Option<(String, f64)>,
    /// Milliseconds from one step to the next.
    pub(in crate::report) period_ms: f64,
}

const LEFT: f64 = 150.0;
const RIGHT: f64 = 620.0;
const ROW: f64 = 56.0;

/// Parts keep one order and one colour over all bars; `host` has its own.
pub(in crate::report) fn budget(title: String, description: String, bars: &[Budget]) -> Svg {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in bars.iter().flat_map(|b| b.parts.iter().chain(&b.beside)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let lines = names.len().div_ceil(2) as f64;
    let bottom = 14.0 + ROW * bars.len() as f64;
    let mut svg = Svg::new(bottom + 24.0 + 22.0 * lines, title, description);
    let length =
        |b: &Budget| b.parts.iter().map(|p| p.1).sum::<f64>().max(b.beside.as_ref().map_or(0.0, |p| p.1));
    let most = bars.iter().map(length).fold(1e-9, f64::max);
    let scale = (RIGHT - LEFT) / most;
    for (i, b) in bars.iter().enumerate() {
        let y = 10.0 + ROW * i as f64;
        svg.text("end", LEFT - 10.0, y + 21.0, &b.name);
        let mut x = LEFT;
        for (name, ms) in &b.parts {
            let class = class_of(&names, name);
            svg.mark(&format!("{}: {name}, {} ms", b.name, number(*ms)), None, |svg| {
                svg.rect(&format!("seg {class}"), (x, y), (ms * scale, 30.0));
            });
            x += ms * scale;
        }
        if let Some((name, ms)) = &b.beside {
            let class = class_of(&names, name);
            svg.mark(&format!("{}: {name}, {} ms", b.name, number(*ms)), None, |svg| {
                svg.rect(&format!("seg {class}"), (LEFT, y + 31.0), (ms * scale, 10.0));
            });
            x = x.max(LEFT + ms * scale);
        }
        svg.text("grp", x + 8.0, y + 20.0, &format!("{} ms", number(b.period_ms)));
    }
    for (i, name) in names.iter().enumerate() {
        let (x, y) = (10.0 + 350.0 * (i % 2) as f64, bottom + 16.0 + 22.0 * (i / 2) as f64);
        svg.rect(&format!("seg {}", class_of(&names, name)), (x, y - 10.0), (14.0, 12.0));
        svg.text("tick", x + 20.0, y, name);
    }
    svg
}

fn class_of(names: &[&str], name: &str) -> String {
    if name.starts_with("host") {
        return "host".to_owned();
    }
    let place = names.iter().filter(|n| !n.starts_with("host")).position(|n| *n == name).unwrap_or(0);
    format!("p{}", place.min(5))
}
