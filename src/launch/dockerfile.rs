//! The commands of Dockerfiles and of systemd's and podman's units.

use super::words;

/// Whether words start an engine.
type Starts = fn(&[String]) -> bool;

/// The lines of a text with its continuations joined.
fn logical(text: &str) -> Vec<String> {
    text.replace("\\\r\n", " ").replace("\\\n", " ").lines().map(|l| l.trim().to_owned()).collect()
}

/// `ENTRYPOINT` and `CMD` of a Dockerfile, in either of their forms.
pub(super) fn dockerfile(text: &str, starts: Starts) -> Option<Vec<String>> {
    let (mut image, mut env, mut entry, mut cmd) = (String::new(), Vec::new(), Vec::new(), Vec::new());
    let form =
        |rest: &str| serde_json::from_str::<Vec<String>>(rest).unwrap_or_else(|_| words::split(rest).0);
    for line in logical(text) {
        match line.split_once(char::is_whitespace) {
            Some(("FROM", rest)) => {
                rest.split_whitespace().find(|w| !w.starts_with("--"))?.clone_into(&mut image);
            }
            Some(("ENV", rest)) if rest.contains('=') => env.append(&mut words::split(rest).0),
            Some(("ENV", rest)) => env.extend(rest.split_once(' ').map(|(k, v)| format!("{k}={v}"))),
            Some(("ENTRYPOINT", rest)) => entry = form(rest.trim()),
            Some(("CMD", rest)) => cmd = form(rest.trim()),
            _ => {}
        }
    }
    let mut out: Vec<String> = vec!["docker".into(), "run".into()];
    out.extend(env.into_iter().flat_map(|e| ["-e".to_owned(), e]));
    out.push(image);
    out.append(&mut entry);
    out.append(&mut cmd);
    starts(&out).then_some(out)
}

/// `ExecStart=` of a systemd unit with its `Environment=`, or `Exec=` of podman's units with their `Image=`.
pub(super) fn unit(text: &str, starts: Starts) -> Option<Vec<String>> {
    let lines = logical(text);
    let values = |name: &str| {
        lines.iter().filter_map(|l| Some(l.strip_prefix(name)?.strip_prefix('=')?.trim())).collect::<Vec<_>>()
    };
    let env: Vec<String> = values("Environment").iter().flat_map(|v| words::split(v).0).collect();
    let mut out = Vec::new();
    if let Some(image) = values("Image").first() {
        out.extend(["docker".to_owned(), "run".to_owned()]);
        out.extend(env.into_iter().flat_map(|e| ["-e".to_owned(), e]));
        out.push((*image).to_owned());
        out.extend(words::split(values("Exec").last()?).0);
    } else {
        out.extend(env);
        out.extend(words::split(values("ExecStart").last()?.trim_start_matches(['-', '@', ':', '+', '!'])).0);
    }
    starts(&out).then_some(out)
}

#[cfg(test)]
mod tests {
    use crate::launch::testing::read;
    use crate::launch::{EngineKind, Launch};

    #[test]
    fn images_and_units_start_what_they_name() {
        let file = "FROM lmsysorg/sglang:v0.5.4\nENV A=b\nCMD [\"python\", \"-m\", \"sglang.launch_server\", \"--model-path\", \"m\"]";
        assert_eq!(read(file), (Some(EngineKind::Sglang), "m".into(), 1));
        let unit = "[Unit]\nAfter=network.target\n[Service]\nEnvironment=\"CUDA_VISIBLE_DEVICES=0,1\"\nExecStart=/usr/bin/taskset -c 0-15 \
                    /x/python -m vllm.entrypoints.openai.api_server \\\n  --model m -tp 2\n";
        assert_eq!(read(unit), (Some(EngineKind::Vllm), "m".into(), 2));
        assert_eq!(Launch::parse(unit).env["CUDA_VISIBLE_DEVICES"], "0,1");
        assert_eq!(read("[Container]\nImage=vllm/vllm-openai:v0.9.0\nExec=--model m -tp 2\n").2, 2);
    }
}
