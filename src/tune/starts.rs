//! Other weights, first candidates and earlier campaigns that a request names.

use super::problems::Problems;
use super::request::TuneRequest;
use crate::hardware;
use crate::launch::{EngineKind, is_recipe, recipe_commands};
use crate::model;
use crate::store::Variant;
use std::path::Path;

const QUESTIONS: &str = "one JSON object a line, with `question`, `answer` and, for a choice, `options`";

impl TuneRequest {
    /// The commands of `--try`, those of recipes written out; problems of files that are none and of commands that no candidate
    /// can be made of.
    pub(super) fn tries(&self, engines: &[EngineKind], hardware: &str, p: &mut Problems) -> Vec<String> {
        let commands: Vec<String> =
            self.tries.iter().flat_map(|t| self.written_out(t, hardware, p)).collect();
        for command in &commands {
            if let Err(why) = super::tries::read(command, engines) {
                p.add(
                    "--try",
                    &format!("`{command}` {why}"),
                    "such as --try 'vllm serve MODEL --max-num-seqs 512'",
                );
            }
        }
        commands
    }

    /// A command as it stands; the commands of a recipe for this hardware that set something.
    fn written_out(&self, text: &str, hardware: &str, p: &mut Problems) -> Vec<String> {
        if !is_recipe(text) {
            return vec![text.to_owned()];
        }
        let read = std::fs::read_to_string(text).map_err(|e| e.to_string());
        let names = self.hardware_names(hardware);
        let wrong = match read.and_then(|yaml| recipe_commands(&yaml, &names)) {
            Ok(all) if all.is_empty() => "sets nothing for this hardware".to_owned(),
            Ok(all) => return all,
            Err(why) => why,
        };
        p.add("--try", &format!("{text}: {wrong}"), "name a recipe of the vLLM project, or give a command");
        Vec::new()
    }

    /// What recipes call this hardware: its short name, and its generation.
    fn hardware_names(&self, id: &str) -> Vec<String> {
        let dir = self.data_dir.as_deref().map(Path::new);
        let Some(gpu) = hardware::Catalog::load(dir).ok().and_then(|c| c.find(id).cloned().ok()) else {
            return Vec::new();
        };
        let generation = match gpu.sm {
            Some(90..=99) => Some("hopper"),
            Some(100..) => Some("blackwell"),
            _ if gpu.vendor == hardware::Vendor::Amd => Some("amd"),
            _ => None,
        };
        generation.map(str::to_owned).into_iter().chain(gpu.short_name.clone()).collect()
    }

    /// Directories of `--prior` without a campaign.
    pub(super) fn priors(&self, p: &mut Problems) {
        for dir in &self.prior {
            if let Err(e) = crate::store::read_run(Path::new(dir)) {
                p.add("--prior", &format!("{dir}: {}", e.what), "name the --out of an earlier `dyno tune`");
            }
        }
    }

    /// The checksum of the questions' file; what is wrong with it, every line at once.
    pub(super) fn questions(&self, p: &mut Problems) -> Option<(String, String)> {
        let file = self.eval.as_ref()?;
        match crate::trial::read_questions(Path::new(file)) {
            Ok((_, sum)) => return Some((file.clone(), sum)),
            Err(all) => all.iter().for_each(|why| p.add("--eval", &format!("{file}: {why}"), QUESTIONS)),
        }
        None
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

    /// Numbers of replicas: each more than one, and the GPUs can be shared out among them.
    pub(super) fn copies(&self, p: &mut Problems) -> Vec<u32> {
        let mut out = self.replicas.clone();
        out.sort_unstable();
        out.dedup();
        for n in out.iter().filter(|n| **n < 2 || !self.num_gpus.is_multiple_of(**n)) {
            let what = format!("{n} replicas cannot share {} GPUs", self.num_gpus);
            p.add("--replicas", &what, "numbers from 2 on that divide --num-gpus");
        }
        let template = self.router.iter().flatten();
        let takes = |name: &str| template.clone().any(|w| w.contains(name));
        if self.router.is_some() && !(takes("{urls}") || takes("{urls_comma}")) | !takes("{port}") {
            p.add(
                "--router-command",
                "the command does not take the replicas' addresses and its port",
                "such as 'python -m sglang_router.launch_router --worker-urls {urls} --port {port}'",
            );
        }
        out
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
