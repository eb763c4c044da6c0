//! KServe's `InferenceService` whose model is served by the runtime for Hugging Face's format, and so by vLLM, without a command.
//!
//! The runtime passes its arguments on to vLLM; `workerSpec` gives the parallel sizes of one launch over several pods
//! (kserve.github.io, "Multi-node inference").

use super::part::{environment, image_of, list, scalar};
use super::program::program_of;
use super::{EngineKind, program};
use serde_json::{Map, Value};

/// The words of the service's launch, and what is to be told of it.
pub(super) fn launch(documents: &[Value]) -> Option<(Vec<String>, Vec<String>)> {
    documents.iter().find_map(service)
}

fn service(document: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let of_service = document.get("kind").and_then(Value::as_str) == Some("InferenceService");
    let predictor = document.get("spec")?.get("predictor").filter(|_| of_service)?;
    let model = predictor.get("model")?.as_object()?;
    let format = model.get("modelFormat")?.get("name")?.as_str()?;
    let mut told = Vec::new();
    let engine = if format.eq_ignore_ascii_case("huggingface") {
        told.push(
            "no engine is named; KServe's runtime for the format huggingface serves text models by vLLM"
                .to_owned(),
        );
        EngineKind::Vllm
    } else {
        let runtime = model.get("runtime").and_then(Value::as_str).unwrap_or_default();
        program::named(format).or_else(|| program::named(runtime))?
    };
    let env = environment(model).into_iter().flat_map(|(k, v)| ["-e".to_owned(), format!("{k}={v}")]);
    let image = image_of(model).unwrap_or_else(|| engine.to_string());
    let mut words: Vec<String> = ["docker".to_owned(), "run".to_owned()].into_iter().chain(env).collect();
    words.push(image);
    words.extend(program_of(engine).iter().map(|w| (*w).to_owned()));
    words.push(name(model).unwrap_or_else(|| {
        told.push("the service names no model".to_owned());
        "$MODEL".to_owned()
    }));
    words.extend(arguments(model));
    let workers = predictor.get("workerSpec");
    let size = |key: &str, flag: &str| {
        let value = workers.and_then(|w| w.get(key)).and_then(scalar);
        value.into_iter().flat_map(|v| [format!("--{flag}"), v]).collect::<Vec<_>>()
    };
    words.extend(size("tensorParallelSize", "tensor-parallel-size"));
    words.extend(size("pipelineParallelSize", "pipeline-parallel-size"));
    Some((words, told))
}

/// The model by `--model_id`, or by where its files are.
fn name(model: &Map<String, Value>) -> Option<String> {
    let args = list(model, "args");
    let given = |flag: &str| {
        let inline = args.iter().find_map(|a| a.strip_prefix(&format!("{flag}=")));
        let next = || args.get(args.iter().position(|a| a == flag)? + 1).map(String::as_str);
        inline.or_else(next).map(str::to_owned)
    };
    let stored = || model.get("storageUri").or_else(|| model.get("storage")?.get("uri")).and_then(scalar);
    given("--model_id").or_else(stored).map(|uri| uri.strip_prefix("hf://").unwrap_or(&uri).to_owned())
}

/// The arguments that are vLLM's: the runtime's own names say where the model is and what it is called.
fn arguments(model: &Map<String, Value>) -> Vec<String> {
    const OWN: [&str; 4] = ["--model_id", "--model_name", "--model_dir", "--backend"];
    let mut out = Vec::new();
    let mut args = list(model, "args").into_iter().peekable();
    while let Some(word) = args.next() {
        let flag = word.split('=').next().unwrap_or_default().to_owned();
        if !OWN.contains(&flag.as_str()) {
            out.push(word);
        } else if !word.contains('=') {
            args.next_if(|w| !w.starts_with("--"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::launch::testing::read;
    use crate::launch::{EngineKind, Launch};

    #[test]
    fn a_service_for_hugging_faces_format_is_vllm_over_its_pods() {
        let text = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: x\nspec:\n  predictor:\n    model:\n      \
                    modelFormat:\n        name: huggingface\n      storageUri: pvc://claim/hf/8b\n    workerSpec:\n      pipelineParallelSize: 2\n      \
                    tensorParallelSize: 4\n";
        assert_eq!(read(text), (Some(EngineKind::Vllm), "pvc://claim/hf/8b".into(), 8));
        assert!(Launch::parse(text).problems.iter().any(|p| p.contains("format huggingface")));
        let given = "kind: InferenceService\nspec:\n  predictor:\n    model:\n      modelFormat: {name: huggingface}\n      args:\n        - --model_name=x\n        \
                     - --model_id=org/m\n        - --max-model-len=4096\n";
        assert_eq!(read(given), (Some(EngineKind::Vllm), "org/m".into(), 1));
        assert_eq!(Launch::parse(given).integer(&["max-model-len"]), Some(4096));
        let other = "kind: InferenceService\nspec:\n  predictor:\n    model:\n      modelFormat: {name: sklearn}\n      storageUri: gs://x\n";
        assert_eq!(read(other).0, None);
    }
}
