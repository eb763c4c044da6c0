use super::*;
use crate::hardware;
use crate::launch::EngineKind;
use crate::launch::{Candidate, FlagValue};
use crate::model::{self, Model};
use std::collections::BTreeSet;

fn hw(id: &str) -> hardware::Hardware {
    hardware::Catalog::load(None).unwrap().find(id).unwrap().clone()
}

fn model(name: &str) -> Model {
    model::Catalog::load(None).unwrap().with_hub_cache(None).find(name).unwrap()
}

fn vllm() -> Space {
    Space::load(EngineKind::Vllm, None).unwrap()
}

fn axis(axes: &[Axis], flag: &str) -> Vec<String> {
    axes.iter().filter(|a| a.flag == flag).flat_map(|a| a.values.iter().map(ToString::to_string)).collect()
}

const V11: Option<Version> = Some(Version(0, 11, 0));

#[test]
fn the_embedded_spaces_are_good_and_every_tuned_flag_says_why() {
    let spaces = Space::load_all(None).unwrap();
    assert_eq!(spaces.len(), data::SEARCH_SPACES.len());
    for s in &spaces {
        for f in s.flags.iter().filter(|f| !f.tune.is_empty()) {
            assert!(f.mechanism.len() > 40, "{}: --{}", s.engine, f.name);
        }
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("search-spaces");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), data::SEARCH_SPACES.len());
}

#[test]
fn the_published_a100_case_gets_the_axes_that_won_there() {
    let (h, m) = (hw("a100-sxm-80gb"), model("openai/gpt-oss-20b"));
    let ctx = Context { version: V11, ..Context::new(&h, &m) };
    let axes = vllm().tunable(&ctx);
    assert_eq!(axis(&axes, "async-scheduling"), ["true"]);
    assert_eq!(axis(&axes, "max-num-batched-tokens"), ["1024", "4096", "8192", "16384"]);
    assert_eq!(axis(&axes, "max-num-seqs"), ["64", "128", "512", "1024"]);
    for absent in
        ["kv-cache-dtype", "tensor-parallel-size", "enable-prefix-caching", "moe-backend", "watermark"]
    {
        assert!(axis(&axes, absent).is_empty(), "{absent}");
    }
    let recent = Context { version: Some(Version(0, 33, 0)), ..ctx.clone() };
    assert_eq!(axis(&vllm().tunable(&recent), "async-scheduling"), ["false"]);
}

#[test]
fn the_cpu_build_gets_its_own_axes() {
    let (h, m) = (hw("cpu"), model("Qwen/Qwen3-8B"));
    let axes = vllm().tunable(&Context::new(&h, &m));
    assert_eq!(axis(&axes, "max-num-seqs"), ["16", "32", "64", "256"]);
    assert_eq!(axis(&axes, "block-size"), ["32", "64"]);
    assert_eq!(axis(&axes, "enforce-eager"), ["true"]);
    for absent in ["async-scheduling", "gpu-memory-utilization", "compilation-config.cudagraph_mode"] {
        assert!(axis(&axes, absent).is_empty(), "{absent}");
    }
}

#[test]
fn load_fixed_flags_and_help_narrow_the_axes() {
    let (h, m) = (hw("h100-sxm-80gb"), model("Qwen/Qwen3-32B"));
    let load = Load { in_flight: Some(100.0), input_tokens: Some(128.0), ..Load::default() };
    let fixed = Candidate::baseline(EngineKind::Vllm).with("max-num-batched-tokens", FlagValue::Int(512));
    let ctx = Context { load, fixed: Some(&fixed), ..Context::new(&h, &m) };
    let axes = vllm().tunable(&ctx);
    assert!(axis(&axes, "max-num-batched-tokens").is_empty(), "fixed by the user");
    assert!(axis(&axes, "max-num-seqs").is_empty(), "no value under 200 is a multiple tried of 1024");
    assert!(axis(&axes, "long-prefill-token-threshold").is_empty(), "prompts are shorter");
    let names: BTreeSet<String> = ["max-num-seqs", "compilation-config"].map(str::to_owned).into();
    let ctx = Context { installed: Some(&names), ..Context::new(&h, &m) };
    let flags: Vec<String> = vllm().tunable(&ctx).into_iter().map(|a| a.flag).collect();
    assert_eq!(flags, ["max-num-seqs", "compilation-config.cudagraph_mode"]);
}

#[test]
fn changed_outputs_are_tuned_only_when_allowed() {
    let (h, m) = (hw("h100-sxm-80gb"), model("Qwen/Qwen3-32B"));
    let ctx = Context { allowed_output_change: super::OutputChange::Approximate, ..Context::new(&h, &m) };
    assert_eq!(axis(&vllm().tunable(&ctx), "kv-cache-dtype"), ["fp8"]);
    let ctx = Context::new(&h, &m);
    assert!(axis(&vllm().tunable(&ctx), "kv-cache-dtype").is_empty());
}

#[test]
fn violations_name_the_flag_and_the_reason() {
    let (h, m) = (hw("a100-sxm-80gb"), model("openai/gpt-oss-20b"));
    let ctx = Context { version: V11, ..Context::new(&h, &m) };
    let base = Candidate::baseline(EngineKind::Vllm);
    let s = vllm();
    let said = |c: &Candidate| {
        s.check(c, &ctx).iter().map(|v| format!("{}: {}", v.flag, v.message)).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&base), "");
    let text = said(&base.with("max-num-seqs", FlagValue::Int(4096)));
    assert!(text.contains("max-num-batched-tokens >= max-num-seqs"), "{text}");
    let text = said(&base.with("kv-cache-dtype", FlagValue::Text("fp8".into())));
    assert!(!text.contains("only FlashInfer"), "the backend is chosen by the engine, so not known: {text}");
    let text = said(&base.with("gpu-memory-utilization", FlagValue::Float(1.5)));
    assert!(text.contains("from 0.01 to 1"), "{text}");
    let text = said(&base.with("watermark", FlagValue::Float(0.1)));
    assert!(text.contains("not in release 0.11.0"), "{text}");
    let text = said(&base.with("tensor-parallel-size", FlagValue::Int(2)));
    assert!(text.contains("more GPUs than there are"), "{text}");
    let text = said(&base.with("kv-cache-dtype", FlagValue::Text("fp99".into())));
    assert!(text.contains("one of auto"), "{text}");
    assert_eq!(s.unknown_flags(&base.with("brand-new", FlagValue::Int(1))), ["brand-new"]);
}

#[test]
fn a_release_gets_the_flag_under_its_own_name() {
    let (h, m) = (hw("h100-sxm-80gb"), model("Qwen/Qwen3-32B"));
    let s = vllm();
    let c = Candidate::baseline(EngineKind::Vllm)
        .with("attention-backend", FlagValue::Text("FLASHINFER".into()))
        .with("cudagraph-capture-sizes", FlagValue::Text("1 2 4".into()));
    let old = s.spelled(&c, &Context { version: V11, ..Context::new(&h, &m) });
    assert_eq!(old.env.get("VLLM_ATTENTION_BACKEND").map(String::as_str), Some("FLASHINFER"));
    assert!(old.flags.contains_key("cuda-graph-sizes") && old.flags.len() == 1);
    let new = s.spelled(&c, &Context::new(&h, &m));
    assert_eq!(new, c);
}

#[test]
fn axes_and_constraints_know_a_flag_by_the_release_s_own_name() {
    let (h, m) = (hw("h100-sxm-80gb"), model("Qwen/Qwen3-32B"));
    let s = Space::load(EngineKind::Sglang, None).unwrap();
    let ctx = Context { version: Some(Version(0, 5, 12)), ..Context::new(&h, &m) };
    let flags: Vec<String> = s.tunable(&ctx).into_iter().map(|a| a.flag).collect();
    assert!(flags.contains(&"cuda-graph-max-bs".to_owned()), "{flags:?}");
    let fixed = Candidate::baseline(EngineKind::Vllm).with("tp", FlagValue::Int(2));
    let ctx = Context { fixed: Some(&fixed), num_gpus: 2, ..Context::new(&h, &m) };
    let bad = Candidate::baseline(EngineKind::Vllm).with("pipeline-parallel-size", FlagValue::Int(2));
    assert!(vllm().check(&bad, &ctx).iter().any(|v| v.message.contains("more GPUs")));
    let old = Context { version: V11, ..Context::new(&h, &m) };
    assert!(axis(&vllm().tunable(&old), "attention-backend").is_empty(), "there only by environment");
}

#[test]
fn tensorrt_llm_refuses_mxfp4_on_an_a100_and_nobody_else_does() {
    let (a100, h100, oss) = (hw("a100-sxm-80gb"), hw("h100-sxm-80gb"), model("openai/gpt-oss-20b"));
    let refused = |engine: EngineKind, h: &hardware::Hardware| {
        !Space::load(engine, None).unwrap().limits_broken(&Context::new(h, &oss)).is_empty()
    };
    assert!(refused(EngineKind::Trtllm, &a100) && !refused(EngineKind::Trtllm, &h100));
    assert!(
        !refused(EngineKind::Vllm, &a100)
            && !refused(EngineKind::Sglang, &a100)
            && !refused(EngineKind::Emulated, &a100)
    );
    assert!(refused(EngineKind::Sglang, &hw("cpu")));
}

#[test]
fn a_release_that_differs_from_the_table_is_reported() {
    let names: BTreeSet<String> = ["max-num-seqs", "watermark"].map(str::to_owned).into();
    let found = vllm().mismatches(Version(0, 11, 0), &names);
    assert!(found.iter().any(|m| m.flag == "watermark" && m.message.contains("lists it")));
    assert!(found.iter().any(|m| m.flag == "block-size" && m.message.contains("does not list")));
    assert!(found.iter().all(|m| m.flag != "max-num-seqs"));
}

#[test]
fn every_axis_value_stands_on_its_own_everywhere() {
    let models = model::Catalog::load(None).unwrap();
    for s in Space::load_all(None).unwrap() {
        let machines = ["l4-24gb", "a100-sxm-80gb", "h100-sxm-80gb", "b200-sxm-180gb", "mi300x-192gb", "cpu"];
        for (i, h) in machines.map(hw).into_iter().enumerate() {
            // A third of the models on each machine, another third on the next: every model comes up, at a third of the time.
            for m in models.iter().skip(i % 3).step_by(3) {
                for version in [s.oldest, s.newest] {
                    let ctx = Context { version: Some(version), num_gpus: 8, ..Context::new(&h, m) };
                    for a in s.tunable(&ctx) {
                        for v in &a.values {
                            let c = Candidate::baseline(s.engine).with(&a.flag, v.clone());
                            assert!(s.admits(&c, &ctx), "{} {} {}", h.id, m.id, c.label());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn all_problems_of_a_file_are_named() {
    let text = r#"
engine = "vllm"
oldest = "0.10.0"
newest = "0.9.0"
doc = "x"
[[flag]]
name = "a"
type = "int"
default = "1"
defaults = [{ value = "one" }]
phase = []
changes_output = false
doc = "x"
source = "x"
tune = [{ values = [1] }]
constraints = [{ need = "a >= bb", why = "x" }]
[[flag]]
name = "a"
type = "int"
default = "1"
phase = ["decode"]
changes_output = false
doc = "x"
source = "x"
since = "0.5.0"
removed = "0.4.0"
"#;
    let found: Vec<String> = check_text("f", text).into_iter().map(|p| p.key).collect();
    for key in ["newest", "flag.a", "flag.a.phase", "flag.a.mechanism", "flag.a.defaults", "flag.a.removed"] {
        assert!(found.iter().any(|k| k == key), "{key} in {found:?}");
    }
    assert!(check_text("f", text).iter().any(|p| p.message.contains("unknown name `bb`")));
    let shape = check_text("f", "engine = \"vllm\"\n[[flag]]\nname = \"zz\"\ntipe = 1\n");
    assert!(shape.iter().any(|p| p.message.contains("--zz")), "{shape:?}");
    assert!(check_text("f", "engine = ").len() == 1);
}

#[test]
fn speculation_has_the_values_that_model_draft_and_load_allow() {
    let hardware = crate::hardware::Catalog::load(None).unwrap();
    let models = crate::model::Catalog::load(None).unwrap();
    let values = |engine: EngineKind, model: &str, draft: Option<&str>, text: bool| -> Vec<String> {
        let space = Space::load(engine, None).unwrap();
        let model = models.find(model).unwrap();
        let mut ctx = Context::new(hardware.find("h100-sxm-80gb").unwrap(), &model);
        ctx.draft_model = draft;
        ctx.load.text = Some(text);
        let axes = space.tunable(&ctx);
        let axis = axes.into_iter().find(|a| a.flag.starts_with("specul"));
        axis.map_or(Vec::new(), |a| {
            assert_eq!(a.output, OutputChange::Lossless);
            a.values.iter().map(ToString::to_string).collect()
        })
    };
    for engine in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm] {
        assert!(values(engine, "Qwen/Qwen3-8B", None, false).is_empty(), "random tokens say nothing");
        let plain = values(engine, "Qwen/Qwen3-8B", None, true);
        assert!(
            plain.len() >= 2
                && plain.iter().all(|v| v.to_lowercase().contains("ngram") || v.contains("suffix"))
        );
        let drafted = values(engine, "Qwen/Qwen3-8B", Some("org/Qwen3-8B-EAGLE3"), true);
        assert!(drafted.len() > plain.len() && drafted.last().unwrap().contains("org/Qwen3-8B-EAGLE3"));
        // The checkpoint's own layers for multi-token prediction.
        let space = Space::load(engine, None).unwrap();
        let mut model = models.find("Qwen/Qwen3-8B").unwrap();
        model.rest.mtp = 1;
        let mut ctx = Context::new(hardware.find("h100-sxm-80gb").unwrap(), &model);
        ctx.load.text = Some(true);
        let axes = space.tunable(&ctx);
        let axis = axes.iter().find(|a| a.flag.starts_with("specul")).unwrap();
        let own = axis.values.iter().map(ToString::to_string);
        assert!(own.into_iter().any(|v| v.to_lowercase().contains("mtp") || v.contains("NEXTN")), "{axis:?}");
    }
}

#[test]
fn flags_that_only_go_together_are_launched_one_by_one_and_a_variant_is_the_model() {
    let text = r#"{"speculative-algorithm":"NGRAM","speculative-num-draft-tokens":4}"#;
    let c = Candidate::baseline(EngineKind::Sglang)
        .with("speculative", FlagValue::Text(text.into()))
        .with("model", FlagValue::Text("org/M-FP8".into()));
    assert_eq!(c.variant(), Some("org/M-FP8"));
    let label = c.spelled_out().label();
    assert_eq!(label, "--speculative-algorithm NGRAM --speculative-num-draft-tokens 4");
    let space = Space::load(EngineKind::Sglang, None).unwrap();
    assert_eq!(space.output_change(&c), OutputChange::Approximate);
    assert_eq!(
        space.output_change(&c.without("model", &Candidate::baseline(EngineKind::Sglang))),
        OutputChange::Lossless
    );
}

#[test]
fn a_users_own_flag_is_one_table_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let own = write(
        "own.toml",
        "engine = \"vllm\"\n[[flag]]\nname = \"my-flag\"\ntune = [{ values = [1, 2] }]\n\
         [[flag]]\nname = \"MY_SWITCH\"\ntune = [{ values = [true] }]\n",
    );
    let spaces = Space::load_with(None, std::slice::from_ref(&own)).unwrap();
    let space = spaces.iter().find(|s| s.engine == EngineKind::Vllm).unwrap();
    let (h, m) = (hw("h100-sxm-80gb"), model("Qwen/Qwen3-8B"));
    let axes = space.tunable(&Context::new(&h, &m));
    assert_eq!(
        (axis(&axes, "my-flag"), axis(&axes, "MY_SWITCH")),
        (vec!["1".into(), "2".into()], vec!["true".into()])
    );
    assert!(!axis(&axes, "max-num-seqs").is_empty(), "the engine's own flags stay");
    // A known flag's own values: what they do to the answers is known without a word of the user's.
    let known = write(
        "known.toml",
        "engine = \"vllm\"\n[[flag]]\nname = \"kv-cache-dtype\"\ntune = [{ values = [\"fp8_e5m2\"] }]\n\
         [[flag]]\nname = \"max-num-seqs\"\ntune = [{ values = [3] }]\n",
    );
    let spaces = Space::load_with(None, &[known]).unwrap();
    let space = spaces.iter().find(|s| s.engine == EngineKind::Vllm).unwrap();
    let change = |flag: &str, value: FlagValue| {
        space.output_change(&Candidate::baseline(EngineKind::Vllm).with(flag, value))
    };
    assert_eq!(change("kv-cache-dtype", FlagValue::Text("fp8_e5m2".into())), OutputChange::Approximate);
    assert_eq!(change("max-num-seqs", FlagValue::Int(3)), OutputChange::None);
    let wrong = write("wrong.toml", "engine = \"vllm\"\n[[flag]]\nname = \"x\"\ntune = [{ valus = [1] }]\n");
    let e = Space::load_with(None, &[own, wrong]).unwrap_err();
    assert!(e.problems.len() <= 2 && e.problems.iter().any(|p| p.to_string().contains("valus")), "{e:?}");
    let nothing = write("nothing.toml", "[[flag]]\nname = \"x\"\n");
    assert!(Space::load_with(None, &[nothing]).unwrap_err().problems[0].key == "engine");
}

#[test]
fn environment_variables_are_axes_and_launched_as_such() {
    let (h, m) = (hw("mi300x-192gb"), model("Qwen/Qwen3-8B"));
    let ctx = Context::new(&h, &m);
    assert_eq!(axis(&vllm().tunable(&ctx), "VLLM_ROCM_USE_AITER"), ["true"]);
    let none = BTreeSet::new();
    let listed = Context { installed: Some(&none), ..ctx };
    assert_eq!(axis(&vllm().tunable(&listed), "VLLM_ROCM_USE_AITER"), ["true"], "no help lists variables");
    let (h, m) = (hw("h100-sxm-80gb"), model("openai/gpt-oss-20b"));
    let old = Context { version: V11, ..Context::new(&h, &m) };
    assert_eq!(axis(&vllm().tunable(&old), "VLLM_USE_FLASHINFER_MOE_MXFP4_BF16"), ["true"]);
    assert!(axis(&vllm().tunable(&Context::new(&h, &m)), "VLLM_USE_FLASHINFER_MOE_MXFP4_BF16").is_empty());
}

#[test]
fn layouts_use_the_gpus_at_hand_and_fit_the_model() {
    let (h, m) = (hw("h100-sxm-80gb"), model("openai/gpt-oss-120b"));
    let ctx = Context { num_gpus: 4, ..Context::new(&h, &m) };
    let layouts = axis(&vllm().tunable(&ctx), "layout");
    assert!(
        layouts.contains(&r#"{"tensor-parallel-size":2,"data-parallel-size":2}"#.to_owned()),
        "{layouts:?}"
    );
    assert!(layouts.contains(&r#"{"tensor-parallel-size":4,"enable-expert-parallel":true}"#.to_owned()));
    let dense = model("Qwen/Qwen3-8B");
    let ctx = Context { num_gpus: 4, ..Context::new(&h, &dense) };
    assert!(axis(&vllm().tunable(&ctx), "layout").iter().all(|l| !l.contains("expert")));
    let fixed = Candidate::baseline(EngineKind::Vllm).with("tensor-parallel-size", FlagValue::Int(4));
    let ctx = Context { fixed: Some(&fixed), ..ctx };
    assert!(axis(&vllm().tunable(&ctx), "layout").is_empty());
    let ctx = Context { num_gpus: 1, ..Context::new(&h, &dense) };
    assert!(axis(&vllm().tunable(&ctx), "layout").is_empty());
}
