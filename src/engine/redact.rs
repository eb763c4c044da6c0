//! Secrets never reach a record, a report or a log of ours.
//!
//! A secret is the value of a name that says so (`--api-key K`, `HF_TOKEN=K`, `"api_key": "K"`, `Bearer K`), a password in
//! an address, or a word that looks like a token. It is found wherever it stands: as a word, behind an equals sign, inside
//! a JSON value, or inside a word that is a command line itself (`sh -c '...'`).

use regex::{Captures, Regex};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const HIDDEN: &str = "<redacted>";

/// Environment names, keys and flags whose value is secret.
fn is_secret(name: &str) -> bool {
    let upper = name.trim_start_matches('-').to_ascii_uppercase().replace('-', "_");
    let token = upper.ends_with("TOKEN") || upper.contains("_TOKEN_");
    let parts =
        ["API_KEY", "APIKEY", "ACCESS_KEY", "PRIVATE_KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"];
    token || upper == "AUTHORIZATION" || parts.iter().any(|s| upper.contains(s))
}

/// Looks like a hub or API token, wherever it stands.
fn is_token(value: &str) -> bool {
    value.len() >= 20
        && ["hf_", "sk-", "ghp_", "github_pat_", "glpat-", "nvapi-", "AKIA"]
            .iter()
            .any(|p| value.starts_with(p))
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Where a secret may stand inside of a text: after its name in JSON, in Python's `name='value'` and `'name': ['value']`,
/// in a URL's query, before the `@` of a URL, after `Bearer`, and tokens that tell themselves.
static INSIDE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?xi)
        (?P<name>\b[\w-]*(?:api[_-]?key|secret|passw(?:or)?d|credential|token)[\w-]*)
            (?: \\?["']?\s*[:=]\s*\[?\\?["'](?P<quoted>[^"'\\]+) | =(?P<bare>[^\s&"',;)\]}]+) )
        | ://[^/\s:@"']*:(?P<user>[^/\s@"']+)@
        | \bBearer\s+(?P<bearer>[\w.~+/-]{8,}=*)
        | (?-i:\b(?P<token>(?:hf_|sk-|ghp_|nvapi-)[A-Za-z0-9_-]{17,}))"#,
    )
    .expect("constant")
});

/// The secret of a match, where it is one: `max_tokens=5` is none.
fn secret_in<'t>(found: &Captures<'t>) -> Option<regex::Match<'t>> {
    let named = found.name("name").is_none_or(|n| is_secret(n.as_str()));
    let value = ["quoted", "bare", "user", "bearer", "token"].iter().find_map(|g| found.name(g))?;
    let nothing = ["None", "null", "True", "False", "true", "false", HIDDEN].contains(&value.as_str());
    (named && !nothing).then_some(value)
}

/// The secrets that stand inside of a text.
pub fn found_in(text: &str) -> Vec<String> {
    INSIDE.captures_iter(text).filter_map(|c| Some(secret_in(&c)?.as_str().to_owned())).collect()
}

/// A text with the secrets inside of it hidden.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for found in INSIDE.captures_iter(text) {
        if let Some(secret) = secret_in(&found) {
            out.push_str(&text[from..secret.start()]);
            out.push_str(HIDDEN);
            from = secret.end();
        }
    }
    out.push_str(&text[from..]);
    out
}

/// A file of options (`key: value` a line) with the values of secret keys hidden.
pub fn options(file: &str) -> String {
    let hidden = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let name = key.trim().trim_matches(['"', '\'', '-', ' ', '{', ',']);
        (is_secret(&name.replace('-', "_")) && !value.trim().is_empty()).then(|| format!("{key}: {HIDDEN}"))
    };
    let lines = file.lines().map(|l| hidden(l).unwrap_or_else(|| text(l)));
    lines.map(|l| l + "\n").collect()
}

/// The arguments with the values of secret flags hidden.
pub fn argv(args: &[String]) -> Vec<String> {
    hidden(args, &mut Vec::new())
}

/// The secrets of the arguments themselves, so that a log can be cleaned of them.
pub fn values(args: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    hidden(args, &mut found);
    found
}

fn hidden(args: &[String], found: &mut Vec<String>) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut hide = false;
    for arg in args {
        let flag = arg.starts_with('-');
        out.push(if hide && !flag { secret(arg, found) } else { word(arg, found) });
        // `--api-key A B` takes several.
        let names = |a: &str| a.eq_ignore_ascii_case("bearer") || flag && is_secret(a) && !a.contains('=');
        hide = if flag || arg.eq_ignore_ascii_case("bearer") { names(arg) } else { hide };
    }
    out
}

fn secret(value: &str, found: &mut Vec<String>) -> String {
    // Inside a shell's words the value may carry quotes and the end of a command.
    let bare = value.trim_matches(['"', '\'', ',', ';']);
    if !bare.is_empty() {
        found.push(bare.to_owned());
    }
    HIDDEN.to_owned()
}

/// One word, with what is secret inside it hidden.
fn word(text: &str, found: &mut Vec<String>) -> String {
    let bare = text.trim_matches(['"', '\'', ',', ';']);
    if is_token(bare) {
        return text.replace(bare, &secret(bare, found));
    }
    let parsed = text.starts_with(['{', '[']).then(|| serde_json::from_str::<Value>(text).ok());
    if let Some(mut value) = parsed.flatten() {
        let before = found.len();
        json(&mut value, found);
        return if found.len() == before { text.to_owned() } else { value.to_string() };
    }
    if text.contains(char::is_whitespace) {
        let before = found.len();
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let shown = hidden(&words, found);
        return if found.len() == before { text.to_owned() } else { shown.join(" ") };
    }
    if let Some((name, value)) = text.split_once('=') {
        if is_secret(name) {
            return format!("{name}={}", secret(value, found));
        }
        return format!("{name}={}", word(value, found));
    }
    address(text, found).unwrap_or_else(|| text.to_owned())
}

/// `https://user:password@host`
fn address(text: &str, found: &mut Vec<String>) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (user, host) = rest[..end].rsplit_once('@')?;
    let shown = match user.split_once(':') {
        Some((name, password)) => format!("{name}:{}", secret(password, found)),
        None => secret(user, found),
    };
    Some(format!("{scheme}://{shown}@{host}{}", &rest[end..]))
}

fn json(value: &mut Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map.iter_mut() {
                match inner {
                    Value::String(s) if is_secret(key) => *s = secret(s, found),
                    _ => json(inner, found),
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|v| json(v, found)),
        Value::String(s) => *s = word(s, found),
        _ => {}
    }
}

/// The environment with secret values hidden.
pub fn env(vars: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shown = |k: &str, v: &str| if is_secret(k) { HIDDEN.to_owned() } else { word(v, &mut Vec::new()) };
    vars.iter().map(|(k, v)| (k.clone(), shown(k, v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn secrets_inside_of_json_urls_and_logs_are_hidden_and_nothing_else() {
        for (plain, shown) in [
            (r#"{"api_key": "k-123", "max_tokens": 5}"#, r#"{"api_key": "<redacted>", "max_tokens": 5}"#),
            (r#"{\"aws_secret_access_key\": \"abc/def\"}"#, r#"{\"aws_secret_access_key\": \"<redacted>\"}"#),
            ("s3://user:pass@host/bucket", "s3://user:<redacted>@host/bucket"),
            ("http://10.0.0.1:8000/v1?api_key=abc&n=1", "http://10.0.0.1:8000/v1?api_key=<redacted>&n=1"),
            (
                "non-default args: {'api_key': ['k1'], 'port': 1}",
                "non-default args: {'api_key': ['<redacted>'], 'port': 1}",
            ),
            (
                "ServerArgs(api_key='k1', max_total_tokens=None, tp_size=2)",
                "ServerArgs(api_key='<redacted>', max_total_tokens=None, tp_size=2)",
            ),
            ("ServerArgs(api_key=None)", "ServerArgs(api_key=None)"),
            ("Authorization: Bearer abcdefgh1234", "Authorization: Bearer <redacted>"),
            ("token hf_abcdefghijklmnopqrstuvwxyz was refused", "token <redacted> was refused"),
            (
                "INFO 11-22 10:00:01 [utils.py:1] max_num_batched_tokens=8192.",
                "INFO 11-22 10:00:01 [utils.py:1] max_num_batched_tokens=8192.",
            ),
            ("10-12 07:02:44 http://127.0.0.1:8000/health", "10-12 07:02:44 http://127.0.0.1:8000/health"),
        ] {
            assert_eq!(text(plain), shown);
            assert_eq!(found_in(plain).is_empty(), plain == shown, "{plain}");
        }
    }

    #[test]
    fn keys_and_tokens_are_hidden_and_counts_of_tokens_are_not() {
        let args = words(&[
            "--api-key",
            "k1",
            "k2",
            "--max-num-batched-tokens",
            "8192",
            "--hf-token=abc",
            "--x",
            "hf_abcdefghijklmnopqrstuvwxyz",
        ]);
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

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let places = [
            words(&["docker", "run", "-e", "HF_TOKEN=s3cr3t", "img"]),
            words(&["docker", "run", "--env=HF_TOKEN=s3cr3t", "img"]),
            words(&["sh", "-c", "HF_TOKEN=s3cr3t exec vllm serve m"]),
            words(&["sh", "-c", "vllm serve m --api-key s3cr3t --port 1"]),
            words(&["--engine-command", "docker run -e HF_TOKEN=s3cr3t img vllm"]),
            words(&["--header", "Authorization: Bearer s3cr3t"]),
            words(&["--config", r#"{"a":[{"api_key":"s3cr3t"}],"n":1}"#]),
            words(&["--config={\"password\":\"s3cr3t\"}"]),
            words(&["--proxy", "https://me:s3cr3t@host:8/x"]),
            words(&["--aws-secret-access-key", "s3cr3t"]),
        ];
        for place in places {
            let shown = argv(&place).join(" ");
            assert!(!shown.contains("s3cr3t") && shown.contains(HIDDEN), "{place:?}: {shown}");
            assert_eq!(values(&place), ["s3cr3t"], "{place:?}");
        }
        // What holds no secret stays as it is, to the blank.
        let plain = words(&[
            "--hf-overrides",
            r#"{"max_position_embeddings":  8192}"#,
            "sh",
            "-c",
            "a  b",
            "--served-model-name=a=b",
            "http://host/x@y",
            "--tokenizer",
            "m",
        ]);
        assert_eq!(argv(&plain), plain);
    }
}
