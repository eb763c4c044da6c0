//! Named workloads: the five of the published engine comparisons (seed 42, all sent at once).

use super::{Arrivals, Dataset, RequestRate, WorkloadSpec};

/// A named workload and what it stands for.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    pub name: &'static str,
    pub doc: &'static str,
    dataset: Dataset,
    lengths: Option<(u32, u32)>,
    /// Ranges of input and output, where they are no fixed lengths.
    ranges: Option<((u32, u32), (u32, u32))>,
    num_prompts: u32,
    /// Most requests in flight, and requests a second, where the scenario says them.
    load: (Option<u32>, Option<f64>),
}

/// A scenario of InferenceBench (repository of aisa-group at commit 24cdf88): lengths uniform in [0.8 L, L].
const fn inference_bench(
    name: &'static str,
    doc: &'static str,
    (input, output): (u32, u32),
    num_prompts: u32,
    load: (Option<u32>, Option<f64>),
) -> Preset {
    Preset {
        name,
        doc,
        dataset: Dataset::Random,
        lengths: Some((input, output)),
        ranges: Some(((input * 4 / 5, input), (output * 4 / 5, output))),
        num_prompts,
        load,
    }
}

/// A bucket of the FIB client: prompts uniform in a range of lengths, 5 or 100 tokens out. (That tool's `uniform 5 6`
/// excludes its upper end.)
const fn bucket(name: &'static str, doc: &'static str, input: (u32, u32), output: u32) -> Preset {
    Preset {
        name,
        doc,
        dataset: Dataset::Random,
        lengths: Some((input.0.midpoint(input.1), output)),
        ranges: Some((input, (output, output))),
        num_prompts: 1000,
        load: (None, None),
    }
}

const SEED: u64 = 42;

/// Every preset, in the order of the published comparisons.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "sharegpt-lengths",
        doc: "the lengths of ShareGPT (mean about 217 in, 201 out), random token ids; sharegpt:FILE has the text",
        dataset: Dataset::Sharegpt,
        lengths: None,
        ranges: None,
        num_prompts: 1000,
        load: (None, None),
    },
    Preset {
        name: "short",
        doc: "128 in, 4 out: classification and routing; bound by the front end and prefill",
        dataset: Dataset::Random,
        lengths: Some((128, 4)),
        ranges: None,
        num_prompts: 1000,
        load: (None, None),
    },
    Preset {
        name: "medium",
        doc: "2000 in, 100 out: summaries and retrieval",
        dataset: Dataset::Random,
        lengths: Some((2000, 100)),
        ranges: None,
        num_prompts: 500,
        load: (None, None),
    },
    Preset {
        name: "long",
        doc: "4000 in, 200 out: long documents",
        dataset: Dataset::Random,
        lengths: Some((4000, 200)),
        ranges: None,
        num_prompts: 500,
        load: (None, None),
    },
    Preset {
        name: "very-long",
        doc: "32000 in, 100 out: whole books and repositories",
        dataset: Dataset::Random,
        lengths: Some((32000, 100)),
        ranges: None,
        num_prompts: 100,
        load: (None, None),
    },
    bucket("fib-63", "1 to 63 in, 100 out", (1, 63), 100),
    bucket("fib-255", "64 to 255 in, 100 out", (64, 255), 100),
    bucket("fib-511", "256 to 511 in, 100 out", (256, 511), 100),
    bucket("fib-1024", "512 to 1024 in, 100 out", (512, 1024), 100),
    bucket("fib-63-short", "1 to 63 in, 5 out", (1, 63), 5),
    bucket("fib-255-short", "64 to 255 in, 5 out", (64, 255), 5),
    bucket("fib-511-short", "256 to 511 in, 5 out", (256, 511), 5),
    bucket("fib-1024-short", "512 to 1024 in, 5 out", (512, 1024), 5),
    inference_bench(
        "inferencebench-a",
        "8192 in, 1024 out, 1 in flight: TTFT",
        (8192, 1024),
        128,
        (Some(1), None),
    ),
    inference_bench(
        "inferencebench-b",
        "1024 in, 8192 out, 1 in flight: TPOT",
        (1024, 8192),
        64,
        (Some(1), None),
    ),
    inference_bench(
        "inferencebench-c-burst",
        "1024 in, 1024 out, 64 in flight: requests/s",
        (1024, 1024),
        256,
        (Some(64), None),
    ),
    inference_bench(
        "inferencebench-c-poisson",
        "1024 in, 1024 out, 32 requests/s, 32 in flight",
        (1024, 1024),
        256,
        (Some(32), Some(32.0)),
    ),
    inference_bench(
        "inferencebench-c-constant",
        "1024 in, 1024 out, 16 requests/s evenly, 16 in flight",
        (1024, 1024),
        256,
        (Some(16), Some(16.0)),
    ),
    inference_bench(
        "inferencebench-d",
        "4096 in, 2048 out, 4 in flight: TTFT, TPOT, requests/s",
        (4096, 2048),
        96,
        (Some(4), None),
    ),
];

impl Preset {
    /// The preset as a workload.
    pub fn spec(&self) -> WorkloadSpec {
        let mut spec = WorkloadSpec::empty(self.dataset);
        if let Some((input, output)) = self.lengths {
            (spec.input_len, spec.output_len) = (Some(input), Some(output));
        }
        if let Some((input, output)) = self.ranges {
            (spec.input_range, spec.output_range) = (Some(input), Some(output));
        }
        spec.num_prompts = Some(self.num_prompts);
        spec.max_concurrency = self.load.0;
        if let Some(rate) = self.load.1 {
            spec.request_rate = RequestRate::PerSecond(rate);
            if self.name.ends_with("-constant") {
                spec.arrivals = Some(Arrivals::Constant);
            }
        }
        spec.seed = Some(SEED);
        spec
    }
}

impl Preset {
    fn same_load(&self, spec: &WorkloadSpec) -> bool {
        let own = self.spec();
        own.max_concurrency == spec.max_concurrency
            && own.request_rate == spec.request_rate
            && own.arrivals == spec.arrivals
    }
}

/// The preset of this name. `sharegpt` without a file is the older name of `sharegpt-lengths`.
pub fn preset(name: &str) -> Option<&'static Preset> {
    let name = if name == "sharegpt" { "sharegpt-lengths" } else { name };
    PRESETS.iter().find(|p| p.name == name)
}

impl WorkloadSpec {
    /// A short name for tables: the preset's name where lengths and data set are those of a preset, else the
    /// command-line form of data set and lengths.
    pub fn label(&self) -> String {
        if self.dataset == Dataset::Mix {
            let part = |c: &super::Component| format!("{}*{}", c.weight, c.workload.label());
            return format!("mix:{}", self.parts().iter().map(part).collect::<Vec<_>>().join("+"));
        }
        let lengths = self.input_len.zip(self.output_len);
        let plain = self.random_range_ratio.unwrap_or(0.0) == 0.0 && self.random_prefix_len.unwrap_or(0) == 0;
        let ranges = self.input_range.zip(self.output_range);
        let named = PRESETS.iter().find(|p| {
            p.dataset == self.dataset
                && self.path.is_none()
                && (p.load == (None, None) || p.same_load(self))
                && (p.dataset != Dataset::Random || (p.lengths == lengths && plain && ranges == p.ranges))
        });
        if let Some(p) = named {
            return p.name.to_owned();
        }
        if let (Dataset::Random, Some((i, o))) = (self.dataset, lengths)
            && (self.input_range.is_some() || self.output_range.is_some())
        {
            let text =
                |range: Option<(u32, u32)>, len| range.map_or(format!("{len}"), |(a, b)| format!("{a}-{b}"));
            return format!("random:{}/{}", text(self.input_range, i), text(self.output_range, o));
        }
        match (self.dataset, lengths, &self.path) {
            (Dataset::Random, Some((i, o)), _) => format!("random:{i}/{o}"),
            (d, _, Some(path)) => {
                let file = std::path::Path::new(path).file_name().map(|f| f.to_string_lossy().into_owned());
                format!("{}:{}", d.id(), file.unwrap_or_else(|| path.clone()))
            }
            (d, _, None) => d.id().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_published_workloads() {
        let long = preset("long").unwrap().spec();
        assert_eq!(long, WorkloadSpec::random(4000, 200, 500, 42));
        assert_eq!(long.label(), "long");
        assert_eq!(WorkloadSpec::random(4001, 200, 500, 42).label(), "random:4001/200");
        for name in ["sharegpt", "sharegpt-lengths"] {
            let lengths = preset(name).unwrap().spec();
            assert_eq!((lengths.num_prompts, lengths.label().as_str()), (Some(1000), "sharegpt-lengths"));
            assert!(!lengths.is_text());
        }
        assert_eq!(preset("fib-63").unwrap().spec().label(), "fib-63");
        let text = crate::workload::parse("random:3-9/5").unwrap().label();
        assert_eq!(text, "random:3-9/5");
        let c = preset("inferencebench-c-constant").unwrap().spec();
        assert_eq!((c.label().as_str(), c.max_concurrency), ("inferencebench-c-constant", Some(16)));
        assert_eq!(c.input_range, Some((819, 1024)), "each length is uniform in [0.8 L, L]");
        assert!(preset("huge").is_none());
    }
}
