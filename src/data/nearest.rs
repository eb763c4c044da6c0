//! Names close to a mistyped one.

/// Up to `n` of `known` that are nearest to `name`: those that contain it or are contained in it first, then
/// by edit distance, and none that differ in more than a third of their letters. Case is ignored.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, n: usize) -> Vec<String> {
    let wanted = name.to_lowercase();
    let short = wanted.rsplit('/').next().unwrap_or(&wanted).to_owned();
    let mut scored: Vec<(usize, &str)> = known
        .into_iter()
        .filter_map(|k| {
            let lower = k.to_lowercase();
            let tail = lower.rsplit('/').next().unwrap_or(&lower);
            let d = distance(&short, tail).min(distance(&wanted, &lower));
            let close = d <= short.len().max(tail.len()).div_ceil(3);
            let within = short.len() >= 3 && (tail.contains(&short) || short.contains(tail));
            (close || within).then_some((if within { d / 4 } else { d }, k))
        })
        .collect();
    scored.sort_unstable();
    scored.truncate(n);
    scored.into_iter().map(|(_, k)| k.to_owned()).collect()
}

/// Hint text for an unknown name: `did you mean …?` or the whole list.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let near = nearest(name, known.clone(), 3);
    if near.is_empty() {
        format!("known: {}", known.into_iter().collect::<Vec<_>>().join(", "))
    } else {
        format!("did you mean {}?", near.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" or "))
    }
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_and_a_part_find_the_name_and_nonsense_finds_none() {
        let known = ["a100-sxm-80gb", "a100-pcie-80gb", "h100-sxm-80gb", "cpu"];
        assert_eq!(nearest("a100-smx-80gb", known, 1), ["a100-sxm-80gb"]);
        assert!(nearest("h100", known, 3).contains(&"h100-sxm-80gb".to_owned()));
        assert!(nearest("zzzzzzzzzzzzzzzzzz", known, 3).is_empty());
        assert_eq!(did_you_mean("zzzzzzzzzzzzzzzzzz", ["cpu", "b"]), "known: cpu, b");
    }

    #[test]
    fn distance_is_symmetric_and_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("sitting", "kitten"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
