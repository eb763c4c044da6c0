//! What stands around an engine's command: shells, containers, launchers. Taken off, so that the engine's own words are
//! left; what is told by it (environment, the image's release) is kept.

use super::shell::{Variables, defaulted, expanded};
use super::{Version, nim, words};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The engine's own words, and what was told around them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bare {
    pub(super) env: BTreeMap<String, String>,
    pub(super) argv: Vec<String>,
    /// The release in the tag of a container image.
    pub(super) version: Option<Version>,
    pub(super) problems: Vec<String>,
}

const DASHES: [char; 4] = ['\u{2013}', '\u{2014}', '\u{2212}', '\u{2011}'];

/// Takes apart the words of a line as far as the engine's program. Words without an engine in them stay as they are.
pub(super) fn strip(given: &[String]) -> Bare {
    let mut bare = Bare::default();
    let mut chosen: Option<Vec<String>> = None;
    let mut script = Variables::default();
    let plain = script.without_arrays(given);
    let mut commands = segments(&plain).into_iter();
    for mut words in commands.by_ref() {
        script.keywords(&mut words);
        if words.is_empty() {
            continue;
        }
        // `export A=b` and `A=b` alone set what later commands see.
        let exported =
            words.first().is_some_and(|w| matches!(w.as_str(), "export" | "local" | "declare" | "readonly"));
        if exported {
            words.remove(0);
        }
        let set = words.iter().take_while(|w| assignment(w).is_some()).count();
        if exported || set == words.len() {
            words[..set]
                .iter()
                .filter_map(|w| assignment(w))
                .for_each(|(name, value)| script.set(name, value));
            continue;
        }
        words = script.with_arrays(&words);
        let mut env = script.values.clone();
        assignments(&mut words, &mut env);
        bare.env.clone_from(&script.values);
        if let Some(inner) = engine_words(&words, &mut env, &mut bare) {
            bare.env.append(&mut env);
            chosen = Some(inner);
            break;
        }
        script.values.append(&mut env);
    }
    // What stands behind it is looked at for its number alone.
    let others = commands.filter(|words| program(words).is_some_and(|at| served(&words[at..]))).count();
    if others > 0 && chosen.as_deref().is_some_and(served) {
        bare.problems
            .push(format!("{} commands of the script start an engine; the first is read", others + 1));
    }
    if let Some(words) = chosen {
        bare.problems.extend(script.conditions(&words));
        bare.argv = words;
        expand(&mut bare);
    } else {
        bare.env = script.values;
        bare.argv = without_settings(given);
    }
    typography(&mut bare);
    bare
}

/// Puts what is known of variables into the engine's words. A variable of several flags is several words.
fn expand(bare: &mut Bare) {
    let env = bare.env.clone();
    for w in std::mem::take(&mut bare.argv) {
        let mut out = expanded(&w, &env);
        while let Some((name, default, whole)) = defaulted(&out) {
            bare.problems
                .push(format!("${name} is not known here; its default in the command, {default}, is taken"));
            out = out.replacen(&whole, &default, 1);
        }
        let variable = w.starts_with('$') && !w.contains(char::is_whitespace);
        if variable && out.is_empty() {
            continue;
        }
        if variable && out.starts_with('-') && out.contains(char::is_whitespace) {
            bare.argv.extend(words::split(&out).0);
        } else {
            bare.argv.push(out);
        }
    }
}

/// Whether the words start a server, and are not its benchmark or its help.
fn served(words: &[String]) -> bool {
    !words.iter().any(|w| w == "bench" || w == "--help" || w == "--version" || w.contains("bench_"))
}

fn without_settings(given: &[String]) -> Vec<String> {
    given.iter().skip_while(|w| assignment(w).is_some()).cloned().collect()
}

/// The commands of a line: `&&`, `||`, `;`, `|` and new commands; redirections and what follows them are cut off.
fn segments(given: &[String]) -> Vec<Vec<String>> {
    let mut out = vec![Vec::new()];
    let mut cut = false;
    // A backslash before blanks at a line's end leaves a word of blanks; an empty word was written on purpose.
    for w in given.iter().filter(|w| w.is_empty() || !w.trim().is_empty()) {
        match w.as_str() {
            "&&" | "||" | ";" | "|" | "&" | "|&" => {
                out.push(Vec::new());
                cut = false;
            }
            r if r.starts_with('>') || r.starts_with("2>") || r.starts_with("1>") || r.starts_with("&>") => {
                cut = true;
            }
            _ if cut => {}
            _ => {
                if let Some(last) = out.last_mut() {
                    last.push(w.clone());
                }
            }
        }
    }
    out.retain(|s| !s.is_empty());
    out
}

fn assignment(w: &str) -> Option<(&str, &str)> {
    let (name, value) = w.split_once('=')?;
    let ok = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ok.then_some((name, value))
}

fn assignments(words: &mut Vec<String>, env: &mut BTreeMap<String, String>) {
    let n = words.iter().take_while(|w| assignment(w).is_some()).count();
    for w in words.drain(..n) {
        if let Some((name, value)) = assignment(&w) {
            // `EP=$TP` takes what TP is by then; `export A=$A` keeps it.
            let value = expanded(value, env);
            env.insert(name.to_owned(), value);
        }
    }
}

fn base(w: &str) -> &str {
    w.rsplit('/').next().unwrap_or(w)
}

/// The words from the engine's program on; None when this command starts none.
fn engine_words(
    words: &[String],
    env: &mut BTreeMap<String, String>,
    bare: &mut Bare,
) -> Option<Vec<String>> {
    // A script may hold the runtime in a variable: `"$ENGINE" run … image`.
    if words.first()?.starts_with('$') && words.get(1).is_some_and(|w| w == "run") {
        return container(&words[2..], env, bare);
    }
    if matches!(base(words.first()?), "docker" | "podman" | "nerdctl" | "sudo")
        && let Some(run) = words.iter().position(|w| w == "run" || w == "exec").filter(|i| *i <= 3)
        && words[..run].iter().any(|w| matches!(base(w), "docker" | "podman" | "nerdctl"))
    {
        return container(&words[run + 1..], env, bare);
    }
    if matches!(base(words.first()?), "apptainer" | "singularity")
        && let Some(run) = words.iter().position(|w| w == "run").filter(|i| *i <= 2)
    {
        return container(&words[run + 1..], env, bare);
    }
    let shell = words.windows(2).position(|w| {
        matches!(base(&w[0]), "bash" | "sh" | "zsh") && w[1].starts_with('-') && w[1].ends_with('c')
    });
    if let Some(i) = shell {
        settings(&words[..i], env);
        let script = positional(words.get(i + 2)?, words.get(i + 4..).unwrap_or_default());
        let inner = strip(&words::commands(&script).0);
        env.extend(inner.env);
        bare.version = bare.version.or(inner.version);
        bare.problems.extend(inner.problems);
        return Some(inner.argv);
    }
    let start = program(words)?;
    settings(&words[..start], env);
    let mut own = words[start..].to_vec();
    if let Some(name) = by_variable(&own[0]) {
        bare.problems.push(format!("{} is not known here; by its name it is {name}", own[0]));
        name.clone_into(&mut own[0]);
    }
    Some(own)
}

/// A shell's script with the words that follow it (behind the name that `$0` gets) in place of `"$@"`.
fn positional(script: &str, given: &[String]) -> String {
    let all: Vec<String> = given.iter().map(|w| words::quote(w)).collect();
    ["\"$@\"", "\"${@}\"", "$@", "$*"]
        .iter()
        .fold(script.to_owned(), |s, form| s.replace(form, &all.join(" ")))
}

/// The engine's program where a variable holds its path (`$VLLM serve m`).
fn by_variable(word: &str) -> Option<&'static str> {
    let name = word.strip_prefix('$')?.trim_matches(['{', '}']).to_lowercase();
    ["vllm", "sglang"].into_iter().find(|e| name.contains(e))
}

/// Where an engine's program stands.
fn program(words: &[String]) -> Option<usize> {
    let next = |i: usize, n: usize| words.get(i + n).map_or("", String::as_str);
    (0..words.len()).find(|&i| {
        let w = base(&words[i]);
        match w {
            "vllm" => next(i, 1) == "serve" || next(i, 1) == "bench",
            "sglang" => next(i, 1) == "serve",
            "trtllm-serve" => true,
            "dyno" => next(i, 1) == "emulate",
            w if w.starts_with("python") => {
                // Options of Python itself: `python3 -u -X faulthandler -m module`.
                let rest = words[i + 1..].iter().take_while(|w| !is_module(w)).take(5);
                rest.clone().last().is_some_and(|w| w == "-m") && rest.count() < 5
            }
            "-m" => is_module(next(i, 1)),
            w if by_variable(w).is_some() => next(i, 1) == "serve",
            _ => false,
        }
    })
}

/// The module of Python that is an engine's server.
fn is_module(w: &str) -> bool {
    w.starts_with("vllm.entrypoints") || w.starts_with("sglang.") || w == "sglang_router.launch_server"
}

/// Environment that launchers pass on: `env A=b`, `-x A=b` (mpirun), `--export=ALL,A=b` (srun).
fn settings(before: &[String], env: &mut BTreeMap<String, String>) {
    for w in before {
        let list = w.strip_prefix("--export=").map_or_else(|| vec![w.as_str()], |l| l.split(',').collect());
        for (name, value) in list.into_iter().filter_map(assignment) {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Options of `docker run` and `apptainer run` that take no value; every other one does.
const PLAIN: &[&str] = &[
    "nv",
    "rocm",
    "cleanenv",
    "containall",
    "no-home",
    "fakeroot",
    "writable-tmpfs",
    "rm",
    "detach",
    "interactive",
    "tty",
    "privileged",
    "init",
    "publish-all",
    "read-only",
    "no-healthcheck",
    "oom-kill-disable",
    "sig-proxy",
    "quiet",
    "replace",
];

/// The words of a container: those after the image; where the image itself starts the engine, with its program in front.
fn container(words: &[String], env: &mut BTreeMap<String, String>, bare: &mut Bare) -> Option<Vec<String>> {
    let (mut i, mut entry) = (0, None);
    let option = |w: &&String| w.starts_with('-') && w.len() > 1 || w.starts_with("${") && w.contains("[@]");
    while let Some(w) = words.get(i).filter(option) {
        let name = w.trim_start_matches('-');
        let (name, mut value) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
        let flags = !w.starts_with("--") && name.chars().all(|c| "ditP".contains(c));
        if value.is_none() && !flags && !w.starts_with('$') && !PLAIN.contains(&name) {
            i += 1;
            value = words.get(i).cloned();
        }
        match (name, value) {
            ("e" | "env", Some(v)) => settings(&[v], env),
            ("entrypoint", Some(v)) => entry = Some(v),
            _ => {}
        }
        i += 1;
    }
    let image = &expanded(words.get(i)?, env);
    let rest = &words[i + 1..];
    // Apptainer keeps images as files: `vllm-openai_v0.10.2.sif`.
    let file = base(image).strip_suffix(".sif").and_then(|f| f.rsplit_once('_'));
    let tag = file.or_else(|| base(image).rsplit_once(':')).map_or("", |t| t.1);
    let release: String = tag.trim_start_matches('v').split(['-', '_']).next().unwrap_or_default().to_owned();
    // The tag of another image (`nvidia/cuda:12.4.1-devel`) is the release of something else.
    let engines = ["vllm", "sglang", "tensorrt", "trtllm", "trt-llm", "nim/"];
    let names = engines.iter().any(|e| image.to_lowercase().contains(e));
    bare.version = bare.version.or_else(|| Version::from_str(&release).ok().filter(|_| names));
    let own: Vec<String> = entry.into_iter().chain(rest.iter().cloned()).collect();
    if let Some(found) = engine_words(&own, env, bare) {
        return Some(found);
    }
    if nim::is_nim(image) {
        // The tag is the release of the container, not that of the engine in it.
        return match nim::words(image, bare.version.take().as_ref(), rest, env) {
            Ok(words) => Some(words),
            Err(told) => {
                bare.problems.push(told);
                None
            }
        };
    }
    let started: &[&str] = if image.contains("vllm") { &["vllm", "serve"] } else { return None };
    Some(started.iter().map(|w| (*w).to_owned()).chain(rest.iter().cloned()).collect())
}

/// Dashes and quotes of a text program, which no engine takes for its own. They are told, and not guessed around.
fn typography(bare: &mut Bare) {
    let (mut kept, mut skip) = (Vec::new(), false);
    for w in std::mem::take(&mut bare.argv) {
        if w.starts_with(DASHES) {
            let meant = format!("--{}", w.trim_start_matches(DASHES).trim_start_matches('-'));
            bare.problems.push(format!(
                "`{w}` begins with a typographic dash: no flag to the engine; `{meant}` was meant"
            ));
            skip = !w.contains('=');
            continue;
        }
        let value = std::mem::take(&mut skip) && !w.starts_with('-');
        if value {
            continue;
        }
        if w.contains(['\u{201c}', '\u{201d}', '\u{2018}', '\u{2019}']) {
            bare.problems.push(format!("`{w}` has typographic quotes, which a shell takes as letters"));
        }
        kept.push(w);
    }
    bare.argv = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{EngineKind, Launch};

    #[test]
    fn wrappers_come_off() {
        for (line, text) in [
            (
                "docker run --gpus all -it --rm --name vllm -v ~/.cache:/root/.cache -p 8000:8000 --ipc=host -e HF_HOME=/x \
                 vllm/vllm-openai:v0.11.0 --model Qwen/Qwen3-8B -tp 2",
                "HF_HOME=/x vllm serve --model Qwen/Qwen3-8B -tp 2",
            ),
            (
                "sudo podman run --device nvidia.com/gpu=all --shm-size 32g lmsysorg/sglang:v0.5.4-cu126 python3 -m \
                 sglang.launch_server --model-path m --tp 8",
                "python3 -m sglang.launch_server --model-path m --tp 8",
            ),
            (
                "mpirun -n 8 --allow-run-as-root -x A=1 trtllm-llmapi-launch trtllm-serve m --tp_size 8",
                "A=1 trtllm-serve m --tp_size 8",
            ),
            (
                "srun --mpi=pmix -N 2 --container-image x.sqsh --export=ALL,B=2 bash -c 'cd /w && TP=4 && vllm serve m -tp $TP'",
                "B=2 TP=4 vllm serve m -tp 4",
            ),
            (
                "env CUDA_VISIBLE_DEVICES=0,1 nohup vllm serve m -tp 2 > log.txt 2>&1 &",
                "CUDA_VISIBLE_DEVICES='0,1' vllm serve m -tp 2",
            ),
            (
                "export TP=8; vllm serve m --tensor-parallel-size ${TP} | tee log",
                "TP=8 vllm serve m --tensor-parallel-size 8",
            ),
            (
                "torchrun --nproc_per_node=2 -m sglang.launch_server --model-path m",
                "-m sglang.launch_server --model-path m",
            ),
            (
                "apptainer run --nv --bind /a:/data /x/vllm-openai_v0.10.2.sif --model /data/m --tensor-parallel-size 4",
                "vllm serve --model /data/m --tensor-parallel-size 4",
            ),
            (
                "python3 -u -X faulthandler -m sglang.launch_server --model-path m",
                "python3 -u -X faulthandler -m sglang.launch_server --model-path m",
            ),
            (
                "sh -c 'exec vllm serve \"$@\" --seed 1' name --model m '--x=a b'",
                "vllm serve --model m '--x=a b' --seed 1",
            ),
            (
                "IMAGE=x/vllm-openai:v1; \"$ENGINE\" run -d \"${OPTS[@]}\" -p 1:2 \"$IMAGE\" m -tp 2",
                "IMAGE=x/vllm-openai:v1 vllm serve m -tp 2",
            ),
            (
                "numactl --membind 0 uv run vllm serve m \\\n  --max-num-seqs 8",
                "vllm serve m --max-num-seqs 8",
            ),
        ] {
            assert_eq!(Launch::parse(line).to_text(), text, "{line}");
        }
        let docker = Launch::parse("docker run vllm/vllm-openai:v0.11.2 --model m");
        assert_eq!((docker.version, docker.engine), (Some(Version(0, 11, 2)), Some(EngineKind::Vllm)));
    }

    #[test]
    fn what_no_shell_means_is_told() {
        let l = Launch::parse("vllm serve m \u{2013}max-num-seqs 64 --max-model-len 8192");
        assert!(
            l.problems[0].contains("typographic dash") && l.problems[0].contains("`--max-num-seqs`"),
            "{:?}",
            l.problems
        );
        assert_eq!((l.model.as_deref(), l.integer(&["max-model-len"])), (Some("m"), Some(8192)));
        let l = Launch::parse("vllm serve $MODEL --tensor-parallel-size=$TP");
        assert_eq!(l.text(&["tensor-parallel-size"]), Some("$TP"));
    }
}
