//! Other weights, first candidates and earlier campaigns that a request names.

use super::problems::Problems;
use super::request::TuneRequest;
use crate::launch::EngineKind;
use crate::model;
use crate::store::Variant;
use std::path::Path;

impl TuneRequest {
    /// Commands of `--try` that no candidate can be made of.
    pub(super) fn tries(&self, engines: &[EngineKind], p: &mut Problems) {
        for command in &self.tries {
            if let Err(why) = super::tries::read(command, engines) {
                p.add(
                    "--try",
                    &format!("`{command}` {why}"),
                    "such as --try 'vllm serve MODEL --max-num-seqs 512'",
                );
            }
        }
    }

    /// Directories of `--prior` without a campaign.
    pub(super) fn priors(&self, p: &mut Problems) {
        for dir in &self.prior {
            if let Err(e) = crate::store::read_run(Path::new(dir)) {
                p.add("--prior", &format!("{dir}: {}", e.what), "name the --out of an earlier `dyno tune`");
            }
        }
    }

    pub(super) fn quality_loss(&self, p: &mut Problems) -> f64 {
        let Some(text) = &self.max_quality_loss else { return 0.01 };
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().map(|x| x / 100.0),
            None => text.parse::<f64>(),
        };
        share.ok().filter(|x| *x > 0.0 && *x < 1.0).unwrap_or_else(|| {
            p.add("--max-quality-loss", &format!("`{text}` is no share between 0 and 100 %"), "such as 1%");
            0.01
        })
    }

    /// Other weights: names that stand once, models that are known.
    pub(super) fn variants(&self, p: &mut Problems) -> Vec<Variant> {
        let dir = self.data_dir.as_deref().map(Path::new);
        let catalog = model::Catalog::load(dir).ok();
        let mut out: Vec<Variant> = Vec::new();
        for text in &self.variants {
            let Some((name, model)) = text.split_once('=').filter(|(n, m)| !n.is_empty() && !m.is_empty())
            else {
                p.add(
                    "--variant",
                    &format!("`{text}` is not NAME=MODEL"),
                    "such as --variant fp8=org/Model-FP8",
                );
                continue;
            };
            if out.iter().any(|v| v.name == name) || Some(model) == self.model.as_deref() {
                p.add("--variant", &format!("`{text}`: name and model must differ from the others"), "");
            }
            if let Some(Err(e)) = catalog.as_ref().map(|c| c.find(model)) {
                p.error("--variant", &e);
            }
            out.push(Variant { name: name.to_owned(), model: model.to_owned() });
        }
        out
    }
}
