//! What stands before a message: collectors, containers, processes, ranks, levels and times.
//!
//! Each prefix is taken off wherever it stands in the row, until none fits: engines nest them in any order
//! (`vllm-1  | (APIServer pid=1) (EngineCore pid=9) ERROR 11-22 …`).

use super::Level;
use regex::Regex;
use std::sync::LazyLock;

/// A line without what stands before its message.
#[derive(Debug)]
pub(super) struct Split<'a> {
    /// The process or rank that wrote it, as far as the line says; empty when it does not.
    pub(super) who: String,
    pub(super) level: Level,
    /// The message with its indentation.
    pub(super) body: &'a str,
}

/// What a prefix tells.
#[derive(Clone, Copy, PartialEq)]
enum Tells {
    Nothing,
    /// Group 1 names the process or rank; without a group the whole prefix does.
    Who,
    /// Group 1 is a level or its letter.
    Level,
}

/// At most this many prefixes are taken off one line.
const MOST: usize = 12;

static PREFIXES: LazyLock<Vec<(Regex, Tells)>> = LazyLock::new(|| {
    use Tells::{Level, Nothing, Who};
    [
        // Times of collectors (Kubernetes, containerd, Python's and Ray's loggers).
        (r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?(?: std(?:out|err) [FP])?(?:\s|$)", Nothing),
        // journald and syslog: `Nov 22 10:00:00 host unit[123]: `.
        (r"^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]+ [\w@./-]+(?:\[\d+\])?: ", Nothing),
        (r"^\[pod/[^\]]+\] ", Nothing),
        // Google's log explorer: its severity is the stream's, not the line's.
        (r"^(?:DEFAULT|DEBUG|INFO|NOTICE|WARNING|ERROR|CRITICAL) \d{4}-\d\d-\d\dT[\d:.]+Z ", Nothing),
        (r"^\[resource\.labels[^\]]*\] ", Nothing),
        // mpirun --tag-output.
        (r"^\[(\d+,\d+)\]<std(?:out|err)>: ?", Who),
        // vLLM's and Ray's processes.
        (r"^\s*\(([^()]*pid=\d+[^()]*)\) ?", Who),
        (r"^\[(rank\d+)\]:? ?", Who),
        // glog: PyTorch's C++ side, then Triton's server.
        (r"^\[([WIEFC])\d{4} [\d:.]+ [^\]]*\] ?", Level),
        (r#"^([WIEFC])\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\] "?"#, Level),
        // vLLM's logger.
        (r"^(ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG):?\s+\d\d-\d\d \d\d:\d\d(?::\d\d)?(?:\.\d+)? ?(?:\[[^\]]*\]|\S+\.py:\d+\])? ?", Level),
        // SGLang's, with and without a date; the rank stands in it.
        (r"^\[\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?([^\]]*)\] ?", Who),
        (r"^\[\d\d:\d\d:\d\d([^\]]*)\] ?", Who),
        // TensorRT-LLM's; the bindings to TensorRT write as TRT.
        (r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] ?", Nothing),
        (r"^\[(?:TRT-LLM|TensorRT-LLM|TRT|TensorRT)\] ?(?:\[RANK \d+\] ?)?\[([A-Z]+)\] ?", Level),
        // uvicorn, Python's logging, Ray, loguru.
        (r"^- (ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG) - ", Level),
        (r"^\[(ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG)\] (?:\[[\w.-]+\] )*(?:>>> ?)?", Level),
        (r"^\| (ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG)\s*\| ", Level),
        (r"^(ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG)(?::\s+| \S+\.py:\d+: |\s+\S+\.(?:py|cc):\d+ -- |:[\w.]+:\s*)", Level),
        // NCCL: `host:123:456 [0] NCCL INFO …`; its warnings tell of failures.
        (r"^[\w.-]+:\d+:\d+ \[\d+\] NCCL (INFO|TRACE|VERSION) ", Level),
        (r"^[│|] ?", Nothing),
    ]
    .into_iter()
    .map(|(r, tells)| (Regex::new(r).expect("constant"), tells))
    .collect()
});

/// Prefixes that only a whole log can tell from a message: the name of a container before a bar
/// (docker compose) or in brackets before a colon (Akash), the number of a task before a colon (srun --label).
#[derive(Debug, Default)]
pub(super) struct Common {
    container: bool,
    task: bool,
}

static CONTAINER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^(?:\[?([A-Za-z][\w.-]{0,80})\]? *\||\[([A-Za-z][\w.-]{0,80})\]:) ?").expect("constant")
});
static TASK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\s*(\d{1,4}): ").expect("constant"));

impl Common {
    /// Looks at the beginning of a log: most of its lines carry such a prefix, or none does.
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a str>) -> Common {
        let (mut all, mut containers, mut tasks) = (0, 0, 0);
        for line in lines.filter(|l| !l.trim().is_empty()).take(400) {
            all += 1;
            containers += usize::from(CONTAINER.is_match(line));
            tasks += usize::from(TASK.is_match(line));
        }
        Common { container: all > 0 && containers * 2 > all, task: all > 0 && tasks * 2 > all }
    }

    pub(super) fn split<'a>(&self, raw: &'a str) -> Split<'a> {
        let mut split = Split { who: String::new(), level: Level::None, body: raw };
        let common = [(self.container, &*CONTAINER), (self.task, &*TASK)];
        for (_, prefix) in common.into_iter().filter(|(on, _)| *on) {
            if let Some(found) = prefix.captures(split.body) {
                if let Some(name) = found.get(1).or_else(|| found.get(2)) {
                    note_who(&mut split.who, name.as_str());
                }
                split.body = &split.body[found[0].len()..];
            }
        }
        for _ in 0..MOST {
            if !strip_one(&mut split) {
                break;
            }
        }
        split
    }
}

fn note_who(who: &mut String, name: &str) {
    if !name.trim().is_empty() && !who.contains(name.trim()) {
        who.push_str(name.trim());
        who.push(' ');
    }
}

/// Takes the first prefix that fits off the body; false when none does.
fn strip_one(split: &mut Split) -> bool {
    for (prefix, tells) in &*PREFIXES {
        if *tells == Tells::Level && split.level != Level::None {
            // A level inside of a message is part of it, but for one that repeats the first (`E0106 … "ERROR: `).
            if split.level == Level::Quiet {
                continue;
            }
        }
        let Some(found) = prefix.captures(split.body) else { continue };
        match (tells, found.get(1)) {
            (Tells::Level, Some(level)) if split.level == Level::None => {
                split.level = Level::of(level.as_str());
            }
            (Tells::Who, Some(name)) => note_who(&mut split.who, name.as_str()),
            _ => {}
        }
        split.body = &split.body[found[0].len()..];
        return true;
    }
    false
}
