//! Recipes of the vLLM project as serving commands: a file of options (as `--config` takes it), or a file of its catalogue with
//! `model`, `features`, `variants` and `hardware_overrides`.

use super::{EngineKind, LaunchFile, quote, yaml};
use serde_json::Value;
use std::fmt::Write as _;

/// Whether a text of `--try` names a recipe and is no command.
pub fn is_recipe(text: &str) -> bool {
    let text = text.trim();
    let named = std::path::Path::new(text).extension().is_some_and(|e| e == "yaml" || e == "yml");
    named && !text.contains(char::is_whitespace)
}

/// The commands that a recipe stands for: that of its options; for a file of the catalogue the model's own arguments with those of
/// its default variant and of this hardware (by any of these names), and the same with each opt-in feature, where it has some.
///
/// Errors: the text is no recipe, in words.
pub fn recipe_commands(text: &str, hardware: &[String]) -> Result<Vec<String>, String> {
    let root = match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(map)) => Value::Object(map),
        Ok(_) => return Err("is no table of options".to_owned()),
        Err(e) => return Err(format!("is not YAML: {e}")),
    };
    if root.get("meta").is_none() && !root["model"].is_object() {
        return of_options(text).map(|c| vec![c]);
    }
    let mut plain = Part::of(&root["model"], "base_args", "base_env");
    // A variant with weights of its own is another model: `--variant` offers those.
    let variant = &root["variants"]["default"];
    if variant["model_id"].is_null() {
        plain.add(Part::of(variant, "extra_args", "extra_env"));
    }
    for name in hardware {
        plain.add(Part::of(&root["hardware_overrides"][name], "extra_args", "extra_env"));
    }
    let opt_in = root["opt_in_features"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let features =
        opt_in.map(|name| Part::of(&root["features"][name], "args", "env")).filter(|p| !p.is_empty());
    let with = features.map(|p| plain.clone().with(p));
    let all: Vec<Part> = std::iter::once(plain.clone()).chain(with).filter(|p| !p.is_empty()).collect();
    let model = root["model"]["model_id"].as_str().unwrap_or("MODEL");
    Ok(all.iter().map(|p| p.command(model)).collect())
}

/// A file whose keys are flags.
fn of_options(text: &str) -> Result<String, String> {
    let file = LaunchFile { path: "recipe".to_owned(), text: text.to_owned() };
    let (flags, wrong) = yaml::flags(Some(EngineKind::Vllm), &file);
    if let Some(why) = wrong {
        return Err(why);
    }
    let mut part = Part::default();
    for (name, value) in flags {
        part.args.push(format!("--{name}"));
        part.args.extend(value);
    }
    if part.is_empty() { Err("sets no option".to_owned()) } else { Ok(part.command("MODEL")) }
}

/// Words and variables of one part of a recipe.
#[derive(Debug, Clone, Default)]
struct Part {
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl Part {
    fn of(table: &Value, args: &str, env: &str) -> Part {
        let args = table[args].as_array().into_iter().flatten().map(word).collect();
        let env = table[env].as_object().into_iter().flatten();
        Part { args, env: env.map(|(name, value)| (name.clone(), word(value))).collect() }
    }

    fn add(&mut self, other: Part) {
        self.args.extend(other.args);
        self.env.extend(other.env);
    }

    fn with(mut self, other: Part) -> Part {
        self.add(other);
        self
    }

    fn is_empty(&self) -> bool {
        self.args.is_empty() && self.env.is_empty()
    }

    fn command(&self, model: &str) -> String {
        let mut out = String::new();
        for (name, value) in &self.env {
            let _ = write!(out, "{name}={} ", quote(value));
        }
        let _ = write!(out, "vllm serve {}", quote(model));
        for a in &self.args {
            let _ = write!(out, " {}", quote(a));
        }
        out
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_of_the_catalogue_becomes_commands_for_this_hardware() {
        let text = "meta: {title: x}\nmodel:\n  model_id: org/M\n  base_args: [\"--max-num-seqs\", 64]\n  base_env: {VLLM_A: \"1\"}\n\
                    features:\n  tools: {args: [\"--tool-call-parser\", hermes]}\n  spec:\n    args:\n      - --speculative-config\n      \
                    - '{\"method\": \"ngram\"}'\nopt_in_features: [spec]\nvariants:\n  default: {extra_args: [--async-scheduling]}\n  \
                    fp8: {model_id: org/M-FP8, extra_args: [--kv-cache-dtype, fp8]}\nhardware_overrides:\n  blackwell: {extra_env: \
                    {VLLM_B: 2}}\n  hopper: {extra_args: [--x, y]}\n";
        let plain = "VLLM_A=1 VLLM_B=2 vllm serve org/M --max-num-seqs 64 --async-scheduling";
        let all = recipe_commands(text, &["blackwell".to_owned(), "b200".to_owned()]).unwrap();
        assert_eq!(
            all,
            [plain.to_owned(), format!("{plain} --speculative-config '{{\"method\": \"ngram\"}}'")]
        );
    }

    #[test]
    fn a_file_of_options_becomes_a_command_and_other_files_are_refused() {
        let text = "async-scheduling: true\nno-enable-prefix-caching: true\nmax-num-batched-tokens: 8192\n";
        let all = recipe_commands(text, &[]).unwrap();
        assert_eq!(all.len(), 1);
        for flag in ["--async-scheduling", "--no-enable-prefix-caching", "--max-num-batched-tokens 8192"] {
            assert!(all[0].contains(flag), "{all:?}");
        }
        assert!(recipe_commands("- 1\n", &[]).is_err() && recipe_commands("a: [", &[]).is_err());
        assert!(is_recipe("x/GPT-OSS_Hopper.yaml") && !is_recipe("vllm serve m --config f.yaml"));
    }
}
