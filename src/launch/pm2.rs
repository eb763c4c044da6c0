//! Files of pm2, a manager of processes: `script`, `args` and `env` of an application, as strings of JavaScript.

/// The words that the first application of a file starts, with its environment in front; None where the text is no such file.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let apps = text.split_once("module.exports").map(|p| p.1).filter(|t| t.contains("apps"))?;
    let script = value(apps, "script")?;
    let args = value(apps, "args").unwrap_or_default();
    let mut out: Vec<String> = environment(apps);
    out.push(script);
    out.extend(super::words::split(&args).0);
    Some(out)
}

/// The string behind `key:`.
fn value(text: &str, key: &str) -> Option<String> {
    let at = text.match_indices(key).find_map(|(i, _)| {
        let before = text[..i].chars().next_back();
        let apart = before.is_none_or(|c| !(c.is_alphanumeric() || c == '_' || c == '-'));
        let rest = text[i + key.len()..].trim_start_matches(['"', '\'']).trim_start();
        rest.strip_prefix(':').filter(|_| apart)
    })?;
    string(at.trim_start())
}

/// A string in any of JavaScript's quotes.
fn string(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| "'\"`".contains(*c))?;
    text[1..].split_once(quote).map(|p| p.0.to_owned())
}

/// `env: { NAME: 'value' }` as `NAME=value`.
fn environment(text: &str) -> Vec<String> {
    let block = ["env:", "\"env\":"].iter().find_map(|k| text.split_once(k)?.1.split_once('{'));
    let Some((inner, _)) = block.and_then(|b| b.1.split_once('}')) else { return Vec::new() };
    let pair = |p: &str| {
        let (name, value) = p.split_once(':')?;
        let value = value.trim();
        let plain = string(value).unwrap_or_else(|| value.to_owned());
        Some(format!("{}={plain}", name.trim().trim_matches(['"', '\''])))
    };
    inner.split([',', '\n']).filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::Launch;

    #[test]
    fn an_application_is_its_script_and_arguments() {
        let text = "module.exports = {\n  apps: [{\n    name: 'x', script: '/v/bin/python', interpreter: 'none',\n    args: \"-m \
                    vllm.entrypoints.openai.api_server --model m -tp 2\",\n    env: {\n      CUDA_VISIBLE_DEVICES: '0,1',\n      N: 1\n    }\n  }]\n};";
        let l = Launch::parse(text);
        assert_eq!(
            (l.model.as_deref(), l.integer(&["tp"]), l.env["N"].as_str()),
            (Some("m"), Some(2), "1"),
            "{l:?}"
        );
        assert!(words("module.exports = {a: 1}").is_none() && words("apps script: 'x'").is_none());
    }
}
