//! The known models: embedded files, overridden by a data directory.

use super::{Model, Precision, config, hub, names};
use crate::data::nearest::nearest;
use crate::data::schema::{self, Key, Shape, opt, req};
use crate::data::{self, Document};
use crate::error::{Error, Problem, Result};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// The files under `models/`, compiled in.
        const EMBEDDED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/models/", $name)))),*];
    };
}
files!(
    "gpt-oss-20b.toml",
    "gpt-oss-120b.toml",
    "llama-3.1-8b.toml",
    "llama-3.1-70b.toml",
    "qwen3-8b.toml",
    "qwen3-14b.toml",
    "qwen3-32b.toml",
    "qwen3-30b-a3b.toml",
    "qwen3-235b-a22b.toml",
    "gemma-3-27b.toml",
    "llama-4-scout-17b-16e.toml",
    "glm-4.5-air.toml",
    "deepseek-r1.toml",
);

const PRECISIONS: Shape =
    Shape::OneOf(&["fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4", "nvfp4", "fp4"]);

const MOE: &[Key] = &[
    req("experts", Shape::Count),
    req("top_k", Shape::Count),
    req("expert_ffn", Shape::Count),
    opt("shared_expert_ffn", Shape::Count),
    opt("dense_layers", Shape::Count),
    opt("every", Shape::Count),
];
const MLA: &[Key] = &[
    req("kv_lora_rank", Shape::Count),
    req("rope_head_dim", Shape::Count),
    opt("q_lora_rank", Shape::Count),
    opt("nope_head_dim", Shape::Count),
    opt("v_head_dim", Shape::Count),
];
const SLIDING: &[Key] = &[req("window", Shape::Count), req("layers", Shape::Count)];
const VARIANT: &[Key] = &[req("name_part", Shape::Text), req("max_position", Shape::Count)];
const KEYS: &[Key] = &[
    req("id", Shape::Text),
    opt("aliases", Shape::List(&Shape::Text)),
    opt("architecture", Shape::Text),
    req("layers", Shape::Count),
    req("hidden", Shape::Count),
    req("q_heads", Shape::Count),
    req("kv_heads", Shape::Count),
    req("head_dim", Shape::Count),
    req("ffn", Shape::Count),
    req("vocab", Shape::Count),
    opt("tied_embeddings", Shape::Bool),
    opt("gated_ffn", Shape::Bool),
    req("max_position", Shape::Count),
    opt("moe", Shape::Table(MOE)),
    opt("mla", Shape::Table(MLA)),
    opt("sliding", Shape::Table(SLIDING)),
    opt("attention_sinks", Shape::Bool),
    opt("towers", Shape::Count),
    req("precision", PRECISIONS),
    opt("weights_gb", Shape::Positive),
    opt("note", Shape::Text),
    req("source", Shape::Text),
    opt("variants", Shape::List(&Shape::Table(VARIANT))),
    opt("unverified", Shape::List(&Shape::Text)),
];

/// All known models by hub name, in a stable order.
#[derive(Debug, Clone)]
pub struct Catalog {
    models: IndexMap<String, Model>,
    hub_cache: Option<PathBuf>,
}

impl Catalog {
    /// The embedded models, then those under `data_dir/models/`.
    ///
    /// Errors: every problem of every file at once.
    pub fn load(data_dir: Option<&Path>) -> Result<Catalog> {
        let mut models = IndexMap::new();
        let mut problems = Vec::new();
        for Document { file, text, .. } in data::documents("models", EMBEDDED, data_dir)? {
            match parse(&file, &text) {
                Ok(m) => {
                    models.insert(m.id.clone(), m);
                }
                Err(p) => problems.extend(p),
            }
        }
        if problems.is_empty() {
            Ok(Catalog { models, hub_cache: crate::host::hub_cache() })
        } else {
            Err(Error::problems("the model data has problems", problems))
        }
    }

    /// Looks for models that no file describes in this hub cache instead of the environment's.
    pub fn with_hub_cache(mut self, cache: Option<PathBuf>) -> Catalog {
        self.hub_cache = cache;
        self
    }

    /// The model behind a hub name or a local directory, at the precision that the name or the directory's
    /// config says.
    ///
    /// Errors: as [`Catalog::find_as`].
    pub fn find(&self, name: &str) -> Result<Model> {
        self.find_as(name, None)
    }

    /// As [`Catalog::find`]; `precision`, when given, wins over what the name says. The returned model's id is
    /// `name` itself. Looked for in this order: a path (of a hub cache elsewhere, the name in it); a known hub name; a directory of that name; the
    /// hub's cache on this machine; the family of a variant's name.
    ///
    /// Errors: an unknown name, with the closest known ones; a directory whose `config.json` is absent or
    /// cannot be used.
    pub fn find_as(&self, name: &str, precision: Option<Precision>) -> Result<Model> {
        let path = Path::new(name);
        let is_path = path.is_absolute() || name.starts_with("./") || name.starts_with("../");
        if let Some(hub) = hub::of_snapshot(path).filter(|_| !path.exists()) {
            return Ok(Model { id: name.to_owned(), ..self.find_as(&hub, precision)? });
        }
        if is_path {
            return Ok(hub::from_directory(path, name)?.at_precision(precision));
        }
        if let Some(m) = self.exact(name) {
            return Ok(m.variant(name, precision));
        }
        if path.is_dir() {
            return Ok(hub::from_directory(path, name)?.at_precision(precision));
        }
        if let Some(dir) = self.hub_cache.as_deref().and_then(|c| hub::cached(c, name)) {
            return Ok(hub::from_directory(&dir, name)?.at_precision(precision));
        }
        let family = self.family(name).ok_or_else(|| self.unknown(name))?;
        // A name without a format is not in the format of a packager's copy: `google/gemma-4-31B-it` is bf16, though
        // `nvidia/Gemma-4-31B-IT-NVFP4` is the one that is described.
        let asked = precision.or(names::parse(name).precision);
        let copy = names::parse(&family.id).precision.is_some_and(|p| p == family.precision);
        Ok(family.variant(name, asked.or(copy.then_some(Precision::Bf16))))
    }

    /// By id or another name: the files first, then what is embedded by hub name.
    fn exact(&self, name: &str) -> Option<Model> {
        let same = |a: &str| a.eq_ignore_ascii_case(name.trim());
        self.choose(|id, aliases| same(id) || aliases.iter().any(|a| same(a)))
    }

    fn family(&self, name: &str) -> Option<Model> {
        let family = names::parse(name).family;
        let of = |n: &str| names::parse(n).family == family;
        self.choose(|id, aliases| of(id) || aliases.iter().any(|a| of(a)))
    }

    fn choose(&self, wanted: impl Fn(&str, &[String]) -> bool) -> Option<Model> {
        let file = self.models.values().find(|m| wanted(&m.id, &m.aliases)).cloned();
        file.or_else(|| {
            config::hub_names()
                .find(|(id, aliases)| wanted(id, aliases))
                .and_then(|(id, _)| config::hub_model(id))
        })
    }

    fn unknown(&self, name: &str) -> Error {
        let near = nearest(name, self.ids(), 3);
        let near = if near.is_empty() {
            "`dyno list models` shows the known ones".to_owned()
        } else {
            format!("did you mean {}", near.join(" or "))
        };
        Error::usage(format!("unknown model `{name}`"))
            .hint(format!("{near}; for any other model give a directory with its config.json"))
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        let known = config::hub_names().map(|(id, _)| id).filter(|id| !self.models.contains_key(*id));
        self.models.keys().map(String::as_str).chain(known)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        let known = config::hub_models().iter().filter(|m| !self.models.contains_key(&m.id));
        self.models.values().chain(known)
    }
}

impl Model {
    /// This architecture under another hub name: precision from `precision`, else from the name's suffix,
    /// else as it is published. "fp4" of a model published in MXFP4 means MXFP4.
    pub fn variant(&self, name: &str, precision: Option<Precision>) -> Model {
        let mut m = self.clone();
        name.clone_into(&mut m.id);
        let lower = name.to_lowercase();
        if let Some(v) = self.variants.iter().find(|v| lower.contains(&v.name_part)) {
            m.max_position = v.max_position;
        }
        m.at_precision(precision.or(names::parse(name).precision))
    }
}

/// Every problem of one model file; empty when it is good.
pub fn check_text(file: &str, text: &str) -> Vec<Problem> {
    parse(file, text).err().unwrap_or_default()
}

fn parse(file: &str, text: &str) -> Result<Model, Vec<Problem>> {
    let value = data::toml_value(file, text).map_err(|p| vec![p])?;
    let problems = schema::check(file, "", &value, KEYS);
    if !problems.is_empty() {
        return Err(problems);
    }
    let m: Model = data::decode(file, &value).map_err(|p| vec![p])?;
    let problems = meaning(file, &m);
    if problems.is_empty() { Ok(m) } else { Err(problems) }
}

/// Sizes with the most that is plausible: far above any model, and such that no product of them overflows.
fn sizes(m: &Model) -> Vec<(&'static str, u32, u32)> {
    let mut out = vec![
        ("layers", m.layers, 2_000),
        ("hidden", m.hidden, 200_000),
        ("q_heads", m.q_heads, 4_096),
        ("kv_heads", m.kv_heads, 4_096),
        ("head_dim", m.head_dim, 16_384),
        ("ffn", m.ffn, 1_000_000),
        ("vocab", m.vocab, 100_000_000),
        ("max_position", m.max_position, 1_000_000_000),
    ];
    if let Some(e) = &m.moe {
        out.extend([
            ("moe.experts", e.experts, 8_192),
            ("moe.expert_ffn", e.expert_ffn, 1_000_000),
            ("moe.shared_expert_ffn", e.shared_expert_ffn, 1_000_000),
        ]);
    }
    if let Some(a) = &m.mla {
        out.extend([
            ("mla.kv_lora_rank", a.kv_lora_rank, 65_536),
            ("mla.rope_head_dim", a.rope_head_dim, 65_536),
            ("mla.q_lora_rank", a.q_lora_rank, 65_536),
            ("mla.nope_head_dim", a.nope_head_dim, 65_536),
            ("mla.v_head_dim", a.v_head_dim, 65_536),
        ]);
    }
    out
}

/// What a well-formed description may still have wrong.
pub(super) fn meaning(file: &str, m: &Model) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut bad = |key: &str, message: String| out.push(Problem::new(file, key, message));
    for (key, n, most) in sizes(m) {
        let may_be_zero = matches!(
            key,
            "ffn" | "moe.shared_expert_ffn" | "mla.q_lora_rank" | "mla.nope_head_dim" | "mla.v_head_dim"
        );
        if n == 0 && !may_be_zero {
            bad(key, "must be above 0".into());
        } else if n > most {
            bad(key, format!("{n} is out of range: at most {most}"));
        }
    }
    if m.kv_heads != 0 && !m.q_heads.is_multiple_of(m.kv_heads) {
        bad("kv_heads", format!("{} does not divide q_heads = {}", m.kv_heads, m.q_heads));
    }
    if m.sliding.as_ref().is_some_and(|s| s.layers > m.layers || s.window == 0) {
        bad("sliding", format!("needs a window above 0 and at most {} layers", m.layers));
    }
    if let Some(moe) = &m.moe {
        if moe.top_k == 0 || moe.top_k > moe.experts {
            bad("moe.top_k", format!("{} is not between 1 and experts = {}", moe.top_k, moe.experts));
        }
        if moe.dense_layers >= m.layers || moe.every == 0 {
            bad("moe", "no layer is left for experts".into());
        }
    }
    let all_moe = m.moe.as_ref().is_some_and(|e| e.dense_layers == 0 && e.every <= 1);
    if m.ffn == 0 && !all_moe {
        bad("ffn", "must be above 0: the model has dense layers".into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_good() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut embedded: Vec<String> = EMBEDDED.iter().map(|(n, _)| (*n).to_owned()).collect();
        on_disk.sort();
        embedded.sort();
        assert_eq!(on_disk, embedded);
        for (name, text) in EMBEDDED {
            let m = parse(name, text).unwrap_or_else(|p| panic!("{p:?}"));
            assert_eq!(format!("{}.toml", names::parse(&m.id).family), *name);
        }
    }

    #[test]
    fn the_schema_names_exactly_the_keys_of_the_struct() {
        let c = Catalog::load(None).unwrap();
        let keys = serde_json::to_value(c.find("openai/gpt-oss-20b").unwrap()).unwrap();
        let derived = ["stack", "rest", "quantisation", "caveats"];
        let mut of_struct: Vec<&str> =
            keys.as_object().unwrap().keys().map(String::as_str).filter(|k| !derived.contains(k)).collect();
        // The parameters of towers go into `rest`.
        let mut of_schema: Vec<&str> = KEYS.iter().map(|k| k.name).filter(|k| *k != "towers").collect();
        of_struct.sort_unstable();
        of_schema.sort_unstable();
        assert_eq!(of_struct, of_schema);
    }

    #[test]
    fn names_resolve_to_architecture_and_precision() {
        let c = Catalog::load(None).unwrap();
        let m = c.find("qwen/qwen3-32b-FP8").unwrap();
        assert_eq!((m.layers, m.precision, m.id.as_str()), (64, Precision::Fp8, "qwen/qwen3-32b-FP8"));
        let m = c.find("unsloth/gpt-oss-20b-BF16").unwrap();
        assert_eq!(m.precision, Precision::Bf16);
        let m = c.find_as("openai/gpt-oss-120b", Some(Precision::Fp4)).unwrap();
        assert_eq!(m.precision, Precision::Mxfp4);
    }

    #[test]
    fn an_unknown_model_is_a_usage_error_with_the_closest_names() {
        let e = Catalog::load(None).unwrap().find("openai/gpt-os-20b").unwrap_err();
        assert_eq!(e.kind.exit_code(), 2);
        let text = e.to_string();
        assert!(text.contains("openai/gpt-oss-20b") && text.contains("config.json"), "{text}");
    }

    #[test]
    fn all_problems_of_a_file_are_reported() {
        let good = EMBEDDED.iter().find(|(n, _)| *n == "gpt-oss-20b.toml").unwrap().1;
        let bad = good.replace("kv_heads = 8", "kv_heads = 7").replace("top_k = 4", "top_k = 99");
        let keys: Vec<String> = check_text("f", &bad).into_iter().map(|p| p.key).collect();
        assert_eq!(keys, ["kv_heads", "moe.top_k"]);
        assert!(check_text("f", good).is_empty());
        assert_eq!(check_text("f", "layers = \"x\"").len(), 11);
    }
}
