//! AIConfigurator's samples of silicon (`silicon_sample.csv`): what InferenceX measured, a point of load a row, beside the layout.
//!
//! A row of `mode` `disagg` is of prefill and decode on GPUs of their own, which is no single launch: such rows are left out and told.

use super::content::Content;
use super::parallel::{self, Shares, engine_named};
use crate::error::Problem;
use crate::launch::EngineKind;
use crate::scenario::Key;
use serde_json::{Map, Value, json};

pub(super) fn is(head: &[String]) -> bool {
    let has = |name: &str| head.iter().any(|h| h == name);
    ["silicon_ttft_ms", "silicon_tpot_ms", "silicon_data_source", "model_path", "mode"].iter().all(|n| has(n))
}

/// The rows of single launches as records of our own format.
pub(super) fn read(file: &str, rows: &[(usize, Map<String, Value>)]) -> Result<Content, Problem> {
    let apart = |row: &Map<String, Value>| row.get("mode").is_some_and(|m| m == "disagg");
    let left_out = rows.iter().filter(|(_, row)| apart(row)).count();
    if left_out == rows.len() {
        return Err(Problem::new(file, "", "every row is of prefill and decode apart (mode disagg)")
            .hint("rows of mode agg are read: each is one launch"));
    }
    let kept = rows.iter().filter(|(_, row)| !apart(row));
    Ok(Content::Many(kept.map(|(line, row)| (*line, Value::Object(one(row, left_out)))).collect()))
}

fn one(row: &Map<String, Value>, left_out: usize) -> Map<String, Value> {
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let count = |name: &str| row.get(name).and_then(Value::as_f64).filter(|n| *n >= 1.0).map(|n| n as u32);
    let source = text("silicon_data_source").unwrap_or_default();
    let mut record = Map::new();
    for (key, column) in [("model", "model_path"), ("hardware", "system"), ("precision", "precision")] {
        record.extend(text(column).map(|t| (key.to_owned(), json!(t))));
    }
    let version = row.get("backend_version").map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    record.extend(version.map(|v| ("engine_version".to_owned(), json!(v))));
    if let Some(engine) = text("backend").and_then(engine_named) {
        record.insert("engine".into(), json!(engine));
        let shares = shares(engine, &count);
        let command = text("model_path").map(|model| parallel::command(engine, model, shares));
        record.extend(command.map(|c| ("serve_command".to_owned(), json!(c))));
    }
    let [tensor, pipeline, data] = ["tp_size", "pp_size", "attention_dp_size"].map(count);
    if let Some(tensor) = tensor {
        record.insert("num_gpus".into(), json!(tensor * pipeline.unwrap_or(1) * data.unwrap_or(1)));
    }
    record.insert("workload".into(), Value::Object(workload(count("isl").zip(count("osl")), source)));
    let figure = |name: &str| row.get(name).and_then(Value::as_f64);
    let mut result = Map::new();
    for (key, column) in [(Key::MeanTtftMs, "silicon_ttft_ms"), (Key::MeanTpotMs, "silicon_tpot_ms")] {
        result.extend(figure(column).map(|v| (key.name().to_owned(), json!(v))));
    }
    record.insert("result".into(), Value::Object(result));
    record.insert("source".into(), json!(format!("AIConfigurator's samples of silicon: {source}")));
    let mut note =
        "the file does not say which statistic its TTFT and TPOT are: they are read as means".to_owned();
    if left_out > 0 {
        note += &format!("; {left_out} rows of prefill and decode apart (mode disagg) are left out");
    }
    record.insert("note".into(), json!(note));
    record
}

/// The load of a row: its lengths are those that were asked for, its concurrency stands in the provenance.
fn workload(lengths: Option<(u32, u32)>, source: &str) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("dataset".into(), json!(if lengths.is_some() { "random" } else { "custom" }));
    if let Some((input, output)) = lengths {
        out.extend([("input_len".to_owned(), json!(input)), ("output_len".to_owned(), json!(output))]);
    }
    let asked = source.split(';').find_map(|part| part.trim().strip_prefix("silicon_concurrency="));
    let asked = asked.and_then(|n| n.parse::<u32>().ok()).filter(|n| *n > 0);
    out.extend(asked.map(|n| ("max_concurrency".to_owned(), json!(n))));
    out
}

/// How the GPUs share the work. The file's `tp_size` is that of attention: where attention runs in several ranks, SGLang's and
/// TensorRT-LLM's own flag counts the GPUs of all of them.
fn shares(engine: EngineKind, count: &dyn Fn(&str) -> Option<u32>) -> Shares {
    let (tensor, data) = (count("tp_size"), count("attention_dp_size").filter(|d| *d > 1));
    let attention = data.is_some() && engine != EngineKind::Vllm;
    let whole = tensor.zip(data).map(|(t, d)| t * d);
    Shares {
        tensor: if attention { whole } else { tensor },
        pipeline: count("pp_size"),
        expert: count("moe_ep_size"),
        data,
        attention,
    }
}

#[cfg(test)]
mod tests {
    use crate::launch::GpuLayout;
    use crate::scenario::load_text;

    const HEAD: &str = "silicon_data_source,backend,model_path,system,mode,isl,osl,tp_size,pp_size,attention_dp_size,moe_ep_size,silicon_ttft_ms,silicon_tpot_ms";

    #[test]
    fn the_gpus_of_a_row_are_those_of_its_launch() {
        for (backend, sizes, gpus) in [
            ("vllm", "4,1,2,8", 8),
            ("sglang", "1,1,8,8", 8),
            ("sglang", "2,1,4,8", 8),
            ("trtllm", "4,2,1,1", 8),
        ] {
            let text = format!(
                "{HEAD}\nx; silicon_concurrency=4,{backend},o/m,h100_sxm,agg,1024,512,{sizes},70.5,9\n"
            );
            let r = load_text("x.csv", &text).unwrap().records.remove(0);
            assert_eq!(
                (r.num_gpus, GpuLayout::of(&r.launch()).gpus()),
                (Some(gpus), gpus),
                "{backend} {sizes}: {r:?}"
            );
            assert_eq!(r.workload.unwrap().max_concurrency, Some(4));
        }
    }

    #[test]
    fn rows_of_prefill_and_decode_apart_are_told() {
        let row = |mode: &str| format!("x,vllm,o/m,b200_sxm,{mode},8,8,1,1,1,1,70.5,9\n");
        let both = load_text("x.csv", &format!("{HEAD}\n{}{}", row("agg"), row("disagg"))).unwrap().records;
        assert_eq!(both.len(), 1);
        assert!(both[0].note.as_deref().unwrap().contains("1 rows of prefill and decode apart"), "{both:?}");
        let none = load_text("x.csv", &format!("{HEAD}\n{}", row("disagg"))).unwrap_err().to_string();
        assert!(none.contains("every row is of prefill and decode apart"), "{none}");
    }
}
