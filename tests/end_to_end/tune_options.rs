//! What a user gives to `dyno tune` beside model and load, as whole commands on the embedded engine: questions with answers for
//! the quality gate, flags of his own, a recipe to try first, an earlier campaign, and the plan alone.

use llm_dyno::emulate::text;
use llm_dyno::quality::Question;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs `dyno tune` on the embedded engine: exit code, and what it said.
fn tune(words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(["tune", "--engine", "emulated", "--hardware", "a100-sxm-80gb", "--repeats", "2"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    assert!(!text.contains("panicked"), "{text}");
    (status.code(), text)
}

fn trials(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("trials.jsonl")).unwrap_or_default();
    let lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    lines.filter(|l| l["kind"] == "trial").collect()
}

const VOCAB: u32 = 1000;
const SEED: u64 = 7;

/// A tiny model in a directory; another vocabulary makes the embedded engine answer otherwise.
fn model(dir: &Path, vocab: u32) -> String {
    std::fs::create_dir(dir).unwrap();
    let config = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "dtype": "bfloat16", "vocab_size": vocab,
        "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 2, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 2048,
    });
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    dir.display().to_string()
}

/// So many questions of which the embedded engine answers all but every sixth rightly.
fn questions(number: usize) -> String {
    let line = |i: usize, answer: &str| {
        json!({"question": format!("What is said of {i}?"), "answer": answer, "max_tokens": 4}).to_string()
            + "\n"
    };
    let one = |i: usize| {
        let prompt = &Question::read(&line(i, "x")).unwrap()[0].prompt;
        let print = text::fingerprint(SEED, &text::encode(prompt, VOCAB));
        let said: Vec<u8> = (1..=4).flat_map(|k| text::decode(text::generated(print, k, VOCAB))).collect();
        line(i, if i % 6 == 5 { "nothing" } else { std::str::from_utf8(&said).unwrap() })
    };
    (0..number).map(one).collect()
}

/// A campaign over the weights alone: a copy that answers alike, and a model that answers otherwise.
fn judged(tmp: &Path, name: &str, number: usize) -> (Vec<Value>, String, String) {
    let [own, copy, other] = [("own", VOCAB), ("copy", VOCAB), ("other", VOCAB + 1)].map(|(n, v)| {
        let dir = tmp.join(n);
        if dir.exists() { dir.display().to_string() } else { model(&dir, v) }
    });
    let (file, out) = (tmp.join(format!("{name}.jsonl")), tmp.join(name));
    std::fs::write(&file, questions(number)).unwrap();
    let (code, said) = tune(&[
        "--model",
        &own,
        "--variant",
        &format!("copy={copy}"),
        "--variant",
        &format!("other={other}"),
        "--eval",
        &file.display().to_string(),
        "--max-quality-loss",
        "10%",
        "--workload",
        "random:16/4,n=4",
        "--search",
        "one-factor",
        "--flags",
        "model",
        "--max-trials",
        "10",
        "--out",
        &out.display().to_string(),
        "--",
        "--seed",
        &SEED.to_string(),
    ]);
    assert_eq!(code, Some(0), "{said}");
    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    let gated = trials(&out).into_iter().filter(|t| t["quality"].is_object()).collect();
    (gated, report, said)
}

fn outcome(gated: &[Value], model: &str) -> (String, Value) {
    let of = |t: &&Value| t["result"]["spec"]["model"].as_str().is_some_and(|m| m.ends_with(model));
    let quality = &gated.iter().find(of).expect("judged")["quality"];
    (quality["outcome"].as_str().unwrap().to_owned(), quality["accuracy"].clone())
}

#[test]
fn questions_with_answers_pass_a_copy_put_other_weights_out_and_too_few_decide_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (gated, report, _) = judged(tmp.path(), "many", 60);
    let (copy, accuracy) = outcome(&gated, "copy");
    assert_eq!((copy.as_str(), &accuracy["lost"], &accuracy["questions"]), ("passed", &json!(0), &json!(60)));
    assert!((accuracy["baseline"].as_f64().unwrap() - 50.0 / 60.0).abs() < 1e-9, "{accuracy}");
    let (other, accuracy) = outcome(&gated, "other");
    assert_eq!((other.as_str(), &accuracy["lost"]), ("failed", &json!(50)));
    assert!(report.contains("Right answers to the questions of --eval"), "{report}");
    assert!(report.contains("0 % of 60 questions rightly, where the defaults answer 83"), "{report}");
    let few = judged(tmp.path(), "few", 5);
    assert_eq!(outcome(&few.0, "copy").0, "not-decided");

    // What the file lacks is said before anything is launched, every line at once; and that it would be of no use.
    let (own, file) = (tmp.path().join("own").display().to_string(), tmp.path().join("wrong.jsonl"));
    std::fs::write(&file, "{\"question\": \"q\"}\nno\n").unwrap();
    let out = tmp.path().join("none").display().to_string();
    let (code, said) = tune(&["--model", &own, "--eval", &file.display().to_string(), "--out", &out]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("line 1: ") && said.contains("line 2: ") && said.contains("no question would be put"),
        "{said}"
    );
    assert!(!Path::new(&out).exists());
}

#[test]
fn own_flags_a_recipe_and_an_earlier_campaign_are_taken_up() {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| tmp.path().join(name).display().to_string();
    std::fs::write(
        path("own.toml"),
        "engine = \"emulated\"\n[[flag]]\nname = \"max-logprobs\"\ntune = [{ values = [7] }]\n",
    )
    .unwrap();
    std::fs::write(path("recipe.yaml"), "max-num-seqs: 96\nno-enable-prefix-caching: true\n").unwrap();
    let own = model(&tmp.path().join("model"), VOCAB);
    let common = ["--model", &own, "--workload", "random:16/4,n=4", "--max-trials", "12"];
    let flags = ["--flags", "max-logprobs,max-num-seqs,enable-prefix-caching", "--space", &path("own.toml")];

    let dry = tune(&[&common[..], &flags, &["--dry-run"]].concat());
    assert_eq!(dry.0, Some(0), "{}", dry.1);
    for part in [
        "emulated: ",
        "--max-logprobs 7 (to be learned by launches)",
        "launches: 2 of the defaults",
        "of load",
    ] {
        assert!(dry.1.contains(part), "{part} is missing in\n{}", dry.1);
    }

    let (code, said) =
        tune(&[&common[..], &flags, &["--try", &path("recipe.yaml"), "--out", &path("first")]].concat());
    assert_eq!(code, Some(0), "{said}");
    let all = trials(&tmp.path().join("first"));
    let set = |t: &Value| t["result"]["spec"]["candidate"]["flags"].clone();
    let first = all.iter().find(|t| t["stage"] == "search").expect("a search");
    assert_eq!(
        set(first),
        json!({"max-num-seqs": 96, "enable-prefix-caching": false}),
        "the recipe is tried first"
    );
    assert!(all.iter().any(|t| set(t)["max-logprobs"] == 7), "{said}");

    let (code, said) =
        tune(&[&common[..], &flags, &["--prior", &path("first"), "--out", &path("second")]].concat());
    assert_eq!(code, Some(0), "{said}");
    let report = std::fs::read_to_string(tmp.path().join("second/report.md")).unwrap();
    assert!(report.contains("launches of the campaign in"), "{report}");

    let (code, said) = tune(&[&common[..], &["--try", &path("none.yaml"), "--out", &path("third")]].concat());
    assert!(code == Some(2) && said.contains("none.yaml"), "{said}");
}
