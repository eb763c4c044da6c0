//! The built-in prompts: fixed, short, of many kinds, some of them repetitive so that n-gram proposals are made.

const TOPICS: [&str; 16] = [
    "the water cycle",
    "how a bicycle stays upright",
    "the rules of chess",
    "why the sky is blue",
    "the history of the printing press",
    "how bread rises",
    "the moons of Jupiter",
    "how a refrigerator works",
    "the use of commas",
    "photosynthesis",
    "the causes of tides",
    "how vaccines work",
    "sorting algorithms",
    "the structure of a sonnet",
    "how bridges carry load",
    "the life of honey bees",
];

/// Sixty-four prompts; equal in every release, so that answers can be compared between campaigns.
pub fn builtin() -> Vec<String> {
    let forms: [fn(&str) -> String; 4] = [
        |t| format!("Question: Explain {t} to a curious child in three sentences.\nAnswer:"),
        |t| format!("Here is a short encyclopaedia entry on {t}.\n\n"),
        |t| format!("List of facts about {t}:\n1. A fact about {t}.\n2. A second fact about {t}.\n3."),
        |t| {
            let name: String = t.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
            format!("# Notes on {t}\ndef {name}(x):\n    return x + 1\n\ndef test_{name}():\n    assert")
        },
    ];
    forms.iter().flat_map(|form| TOPICS.iter().map(|t| form(t))).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_prompts_are_many_and_different() {
        let all = super::builtin();
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!((all.len(), unique.len()), (64, 64));
    }
}
