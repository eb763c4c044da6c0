//! Parts by the names that people, drivers and result files give them.

use super::{Hardware, has_word};

/// The parts that a name may mean: by the name of a data sheet or driver first, then by the words of the id, then by its
/// beginning. One where the name is clear, several where it is not.
pub(super) fn meant<'a>(name: &str, parts: impl Iterator<Item = &'a Hardware> + Clone) -> Vec<&'a Hardware> {
    let words = words(name);
    if words.is_empty() {
        return Vec::new();
    }
    let bare = words.concat();
    let by = |holds: &dyn Fn(&Hardware) -> bool| parts.clone().filter(|h| holds(h)).collect::<Vec<_>>();
    let driver = words.join(" ");
    let ways: [&dyn Fn(&Hardware) -> bool; 5] = [
        &|h| compact(&h.id) == bare || compact(&h.name) == bare,
        &|h| h.short_name.as_deref().is_some_and(|s| compact(s) == bare),
        &|h| {
            // What the driver says of the memory in its name tells the parts of one name apart.
            !h.match_name.is_empty()
                && h.match_name.iter().all(|w| has_word(&driver, w))
                && !h.match_not.iter().any(|w| has_word(&driver, w))
                && words
                    .iter()
                    .filter_map(|w| w.strip_suffix("gb")?.parse::<f64>().ok())
                    .all(|gb| gb == h.memory_gb)
        },
        &|h| {
            let own = self::words(&h.id);
            words.iter().all(|w| own.iter().any(|o| o == w || *o == format!("{w}x")))
        },
        &|h| bare.len() >= 4 && compact(&h.id).starts_with(&bare),
    ];
    ways.into_iter().map(by).find(|found| !found.is_empty()).unwrap_or_default()
}

/// Lower-case words without the maker, and without the number in `SXM5`, which the ids leave out.
fn words(name: &str) -> Vec<String> {
    let lower = name.to_lowercase();
    lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty() && !["nvidia", "amd", "instinct", "tesla", "geforce"].contains(w))
        .map(|w| if w.len() == 4 && w.starts_with("sxm") { "sxm".to_owned() } else { w.to_owned() })
        .collect()
}

fn compact(name: &str) -> String {
    words(name).concat()
}
