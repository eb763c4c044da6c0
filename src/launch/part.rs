//! What one part of a document says of the container that it stands for: its image, environment, words and copies.

use super::{ray, words};
use serde_json::{Map, Value};

/// Copies that a part of a document asks for.
pub(super) fn replicas(map: &Map<String, Value>) -> Option<u64> {
    let own = ["replicas", "replicaCount", "minReplicas"].iter().find_map(|k| map.get(*k)?.as_u64());
    // A group of dstack's: of a range the least.
    let group = || {
        let count = map.get("count").filter(|_| map.contains_key("commands")).and_then(scalar)?;
        count.split("..").next()?.parse().ok()
    };
    let under = |key: &str| map.get(key)?.get("replicas")?.as_u64();
    own.or_else(group)
        .or_else(|| under("deploy"))
        .or_else(|| under("deploymentConfig"))
        .or_else(|| ray::replicas(map))
}

pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether a list is one word with blanks in it: a program of that name, which nobody means.
pub(super) fn is_one_line(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(line)]) if line.trim().contains(' '))
}

/// A command as one string for a shell, or as its words.
pub(super) fn list(map: &Map<String, Value>, key: &str) -> Vec<String> {
    match map.get(key) {
        Some(Value::String(line)) => words::split(line).0,
        Some(list @ Value::Array(items)) if key != "args" && is_one_line(list) => {
            items.iter().filter_map(scalar).flat_map(|line| words::split(&line).0).collect()
        }
        Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
        _ => Vec::new(),
    }
}

/// `K: V`, `- K=V` and `- name: K`, `value: V`.
pub(super) fn environment(map: &Map<String, Value>) -> Vec<(String, String)> {
    let pair = |text: &str| text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let of = |value: &Value| match value {
        Value::String(text) => pair(text),
        Value::Object(one) => Some((scalar(one.get("name")?)?, scalar(one.get("value")?)?)),
        _ => None,
    };
    match ["env", "environment", "extraEnv"].iter().find_map(|key| map.get(*key)) {
        Some(Value::Array(items)) => items.iter().filter_map(of).collect(),
        Some(Value::Object(own)) => own.iter().filter_map(|(k, v)| Some((k.clone(), scalar(v)?))).collect(),
        _ => Vec::new(),
    }
}

/// `image: x:tag`, or repository and tag apart.
pub(super) fn image_of(map: &Map<String, Value>) -> Option<String> {
    let tagged = |of: &Map<String, Value>| {
        let repository = scalar(of.get("repository")?)?;
        Some(
            of.get("tag")
                .and_then(scalar)
                .map_or_else(|| repository.clone(), |t| format!("{repository}:{t}")),
        )
    };
    let deployed = || scalar(map.get("deploymentConfig")?.get("image")?.get("name")?);
    match map.get("image") {
        Some(Value::String(image)) => Some(image.clone()),
        Some(Value::Object(parts)) => tagged(parts),
        _ => tagged(map).or_else(deployed),
    }
}
