//! Secrets never reach a record, a report or a log of ours.

use std::collections::BTreeMap;

const HIDDEN: &str = "<redacted>";

/// Environment names and flags whose value is secret.
fn is_secret(name: &str) -> bool {
    let upper = name.trim_start_matches('-').to_ascii_uppercase().replace('-', "_");
    let token = upper.ends_with("TOKEN") || upper.contains("_TOKEN_") || upper == "HUGGING_FACE_HUB_TOKEN";
    token || ["API_KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"].iter().any(|s| upper.contains(s))
}

/// Looks like a hub or API token, wherever it stands.
fn is_token(value: &str) -> bool {
    value.len() >= 20
        && ["hf_", "sk-", "ghp_", "nvapi-"].iter().any(|p| value.starts_with(p))
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// The arguments with the values of secret flags hidden.
pub fn argv(args: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut hide = false;
    for arg in args {
        let flag = arg.starts_with('-');
        match arg.split_once('=') {
            _ if hide && !flag => out.push(HIDDEN.to_owned()),
            Some((name, _)) if is_secret(name) => out.push(format!("{name}={HIDDEN}")),
            _ if is_token(arg) => out.push(HIDDEN.to_owned()),
            _ => out.push(arg.clone()),
        }
        // `--api-key A B` takes several.
        hide = if flag { is_secret(arg) && !arg.contains('=') } else { hide };
    }
    out
}

/// The environment with secret values hidden.
pub fn env(vars: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    vars.iter()
        .map(|(k, v)| (k.clone(), if is_secret(k) || is_token(v) { HIDDEN.to_owned() } else { v.clone() }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_are_hidden_and_counts_of_tokens_are_not() {
        let args: Vec<String> = [
            "--api-key",
            "k1",
            "k2",
            "--max-num-batched-tokens",
            "8192",
            "--hf-token=abc",
            "--x",
            "hf_abcdefghijklmnopqrstuvwxyz",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            argv(&args).join(" "),
            "--api-key <redacted> <redacted> --max-num-batched-tokens 8192 --hf-token=<redacted> --x <redacted>"
        );
        let vars = BTreeMap::from([
            ("HF_TOKEN".to_owned(), "x".to_owned()),
            ("VLLM_API_KEY".to_owned(), "x".to_owned()),
            ("VLLM_CPU_KVCACHE_SPACE".to_owned(), "1".to_owned()),
        ]);
        let shown = env(&vars);
        assert_eq!((shown["HF_TOKEN"].as_str(), shown["VLLM_CPU_KVCACHE_SPACE"].as_str()), (HIDDEN, "1"));
        assert_eq!(shown["VLLM_API_KEY"], HIDDEN);
    }
}
