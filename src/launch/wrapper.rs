//! What stands around an engine's command: shells, containers, launchers. Taken off, so that the engine's own words are
//! left; what is told by it (environment, the image's release) is kept.

use super::branches::{Join, nested};
use super::copied::{pinned, releases, without_prompt};
use super::defaults::defaulted;
use super::program::{base, by_variable, engine_of, is_other_program, program};
use super::script::{positional, shell_script};
use super::shell::{Variables, assignment, expanded};
use super::{Version, nim, runtime, typography, words};
use std::collections::BTreeMap;

/// The engine's own words, and what was told around them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bare {
    pub(super) env: BTreeMap<String, String>,
    pub(super) argv: Vec<String>,
    /// The release in the tag of a container image.
    pub(super) version: Option<Version>,
    pub(super) problems: Vec<String>,
    /// Whether an engine's program is among the words, and not another's.
    pub(super) found: bool,
    pub(super) beside: Beside,
    /// Scripts within scripts around it.
    depth: u8,
}

/// Commands of a script that start engines too, besides the one that is read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Beside {
    pub(super) commands: Vec<Vec<String>>,
    /// A condition or a loop decides which of them run, or how often.
    pub(super) decided: bool,
}

impl Beside {
    fn add(&mut self, other: Beside) {
        self.commands.extend(other.commands);
        self.decided |= other.decided;
    }
}

/// Scripts within scripts that are read; what a person writes has two.
const DEEPEST: u8 = 8;

/// Takes apart the words of a line as far as the engine's program. Words without an engine in them stay as they are.
pub(super) fn strip(given: &[String]) -> Bare {
    strip_within(given, 0, BTreeMap::new())
}

/// `env`: what is set where a script within a script stands.
fn strip_within(given: &[String], depth: u8, env: BTreeMap<String, String>) -> Bare {
    let mut bare = Bare { depth, ..Bare::default() };
    let mut chosen: Option<Vec<String>> = None;
    let mut script = Variables::with(env);
    let plain = script.without_arrays(given);
    let mut commands = segments(&plain).into_iter();
    let mut pins = Vec::new();
    for (join, mut words) in commands.by_ref() {
        without_prompt(&mut words, &script);
        script.keywords(&mut words);
        script.chained(join, &words);
        script.take_arrays(&mut words);
        pins.extend(releases(&words));
        if words.first().is_some_and(|w| pinned(w).is_some()) {
            continue;
        }
        if words.is_empty() || script.skipped() || says(&words) || set_alone(&mut words, &mut script) {
            continue;
        }
        words = script.with_arrays(&words);
        words = script.spelled(words, |w| program(w).is_some());
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
    bare.found = chosen.is_some();
    if let Some(words) = chosen {
        bare.problems.extend(script.conditions(&words));
        let counted = served(&words);
        bare.argv = words;
        expand(&mut bare);
        if counted {
            bare.beside.add(beside(commands, &script));
        }
        let program: Vec<&str> =
            bare.argv.iter().map(String::as_str).take_while(|w| !w.starts_with("--")).collect();
        let of = pins.iter().rev().find(|p| Some(p.0) == engine_of(&program)).map(|p| p.1);
        bare.version = bare.version.or(of);
    } else {
        bare.problems.extend(script.unread());
        bare.env = script.values;
        bare.argv = without_settings(given);
    }
    bare.argv = typography::plain(std::mem::take(&mut bare.argv), &mut bare.problems);
    bare
}

/// The commands behind the one that is read that start engines too.
fn beside(behind: impl Iterator<Item = (Join, Vec<String>)>, script: &Variables) -> Beside {
    let starts = |words: &[String]| !says(words) && program(words).is_some_and(|at| served(&words[at..]));
    let mut found = Beside { commands: Vec::new(), decided: script.decides() };
    let mut depth = 0;
    for (join, words) in behind {
        depth = nested(&words, depth);
        if starts(&words) {
            found.decided |= depth > 0 || join != Join::Apart;
            found.commands.push(words.iter().map(|w| expanded(w, &script.values)).collect());
        }
    }
    found
}

/// Whether a command only prints its words.
fn says(words: &[String]) -> bool {
    words.first().is_some_and(|w| w == "echo" || w == "printf")
}

/// `export A=b` and `A=b` alone set what later commands see; false where the words are another command.
fn set_alone(words: &mut Vec<String>, script: &mut Variables) -> bool {
    let exported =
        words.first().is_some_and(|w| matches!(w.as_str(), "export" | "local" | "declare" | "readonly"));
    if exported {
        words.remove(0);
    }
    let set = words.iter().take_while(|w| setting(w).is_some()).count();
    if !exported && set < words.len() {
        return false;
    }
    for (name, value, added) in words[..set].iter().filter_map(|w| setting(w)) {
        script.set(name, value, added);
    }
    true
}

/// Puts what is known of variables into the engine's words. A variable of several flags is several words.
fn expand(bare: &mut Bare) {
    let env = bare.env.clone();
    for w in std::mem::take(&mut bare.argv) {
        let mut out = expanded(&w, &env);
        while let Some((name, default, whole)) = defaulted(&out) {
            let taken = if default.is_empty() { "nothing" } else { &default };
            bare.problems
                .push(format!("${name} is not known here; its default in the command, {taken}, is taken"));
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

/// The commands of a line, and how each hangs on the one before it: `&&`, `||`, `;`, `|` and new commands; redirections and
/// what follows them are cut off.
fn segments(given: &[String]) -> Vec<(Join, Vec<String>)> {
    let mut out = vec![(Join::Apart, Vec::new())];
    let mut cut = false;
    // A backslash before blanks at a line's end leaves a word of blanks; an empty word was written on purpose.
    for w in given.iter().filter(|w| w.is_empty() || !w.trim().is_empty()) {
        match w.as_str() {
            "&&" | "||" | ";" | "|" | "&" | "|&" => {
                let join = match w.as_str() {
                    "&&" => Join::And,
                    "||" => Join::Or,
                    _ => Join::Apart,
                };
                out.push((join, Vec::new()));
                cut = false;
            }
            r if r.starts_with('>') || r.starts_with("2>") || r.starts_with("1>") || r.starts_with("&>") => {
                cut = true;
            }
            _ if cut => {}
            _ => {
                if let Some((_, last)) = out.last_mut() {
                    last.push(w.clone());
                }
            }
        }
    }
    out.retain(|(_, words)| !words.is_empty());
    out
}

/// `A=b`, or `A+=b`, which adds to it.
fn setting(w: &str) -> Option<(&str, &str, bool)> {
    if let Some((name, value)) = assignment(w) {
        return Some((name, value, false));
    }
    let (name, value) = w.split_once("+=")?;
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some((name, value, true))
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
        if words[run] == "exec" {
            // What is named is a container that runs, and no image.
            let inside = runtime::run(&words[run + 1..], env)?;
            settings(&inside.env, env);
            return engine_words(&inside.words, env, bare);
        }
        return container(&words[run + 1..], env, bare);
    }
    if matches!(base(words.first()?), "apptainer" | "singularity")
        && let Some(run) = words.iter().position(|w| w == "run").filter(|i| *i <= 2)
    {
        return container(&words[run + 1..], env, bare);
    }
    if let Some((i, at)) = shell_script(words).filter(|_| bare.depth < DEEPEST) {
        settings(&words[..i], env);
        let script = positional(words.get(at)?, words.get(at + 2..).unwrap_or_default());
        let inner = strip_within(&words::commands(&script).0, bare.depth + 1, env.clone());
        if !inner.found {
            bare.problems.extend(inner.problems.into_iter().filter(|p| p.contains(nim::UNTOLD)));
            return None;
        }
        env.extend(inner.env);
        bare.version = bare.version.or(inner.version);
        bare.problems.extend(inner.problems);
        bare.beside.add(inner.beside);
        return Some(inner.argv);
    }
    let start = program(words)?;
    settings(&words[..start], env);
    bare.version = bare.version.or_else(|| beside_image(&words[..start], env));
    let mut own = words[start..].to_vec();
    if let Some(name) = by_variable(&own[0]) {
        bare.problems.push(format!("{} is not known here; by its name it is {name}", own[0]));
        name.clone_into(&mut own[0]);
    }
    Some(own)
}

/// The release in the image that a launcher of a cluster is given (`shifter --image=…`, `srun --container-image …`).
fn beside_image(before: &[String], env: &BTreeMap<String, String>) -> Option<Version> {
    let at = before.iter().position(|w| w.starts_with("--image") || w.starts_with("--container-image"))?;
    let image =
        before[at].split_once('=').map_or_else(|| before.get(at + 1).cloned(), |p| Some(p.1.to_owned()));
    runtime::release(&expanded(&image?, env))
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

/// The words of a container: those after the image; where the image itself starts the engine, with its program in front.
fn container(words: &[String], env: &mut BTreeMap<String, String>, bare: &mut Bare) -> Option<Vec<String>> {
    let run = runtime::run(words, env)?;
    settings(&run.env, env);
    bare.version = bare.version.or(run.version);
    let own: Vec<String> = run.entrypoint.into_iter().chain(run.words.iter().cloned()).collect();
    if let Some(found) = engine_words(&own, env, bare) {
        return Some(found);
    }
    if nim::is_nim(&run.image) {
        // The tag is the release of the container, not that of the engine in it.
        return match nim::words(&run.image, bare.version.take().as_ref(), &run.words, env) {
            Ok(words) => Some(words),
            Err(told) => {
                bare.problems.push(told);
                None
            }
        };
    }
    if own.first().is_some_and(|w| is_other_program(w)) {
        return None;
    }
    let named = run.words.iter().any(|w| w.starts_with("--model"));
    let started: &[&str] = if run.image.contains("vllm") {
        &["vllm", "serve"]
    } else if run.image.contains("sglang") && named {
        bare.problems.push(format!(
            "the image {} starts no server by itself; sglang.launch_server is taken, whose flags these are",
            run.image
        ));
        &["python3", "-m", "sglang.launch_server"]
    } else {
        return None;
    };
    Some(started.iter().map(|w| (*w).to_owned()).chain(run.words).collect())
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
}
