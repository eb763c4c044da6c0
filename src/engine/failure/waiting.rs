//! Logs that end without an error and without readiness: how far the start came, and what it waits for.

use super::text::{Line, Part, Speaker};
use super::{Class, life};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// How far a start came, finer than a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Arguments, configuration, devices.
    Start,
    /// Processes spawn and find each other: NCCL, MPI, Gloo, Ray.
    Connect,
    Weights,
    KvCache,
    Compile,
    Graphs,
    WarmUp,
    /// Ready, and no longer answering.
    Run,
}

impl Stage {
    pub fn id(self) -> &'static str {
        match self {
            Stage::Start => "start",
            Stage::Connect => "nccl",
            Stage::Weights => "weights",
            Stage::KvCache => "kv-cache",
            Stage::Compile => "compile",
            Stage::Graphs => "graphs",
            Stage::WarmUp => "warm-up",
            Stage::Run => "run",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Stage::Start => "the log ends while the engine reads its configuration",
            Stage::Connect => {
                "the log ends while the processes connect: check P2P (nvidia-smi topo -p2p r), the IOMMU and the network; try NCCL_P2P_DISABLE=1, and NCCL_DEBUG=INFO for where it stands"
            }
            Stage::Weights => {
                "the log ends while the weights are read: give the start more time, or read them from a faster disk"
            }
            Stage::KvCache => {
                "the log ends while memory is measured and the KV cache laid out: give the start more time"
            }
            Stage::Compile => {
                "the log ends while the model is compiled: give the start more time (a first compilation takes minutes) and keep the compile cache"
            }
            Stage::Graphs => {
                "the log ends while graphs are captured: give the start more time, or capture fewer sizes"
            }
            Stage::WarmUp => "the log ends during the warm-up: give the start more time",
            Stage::Run => "the server no longer answers",
        }
    }
}

/// Text that opens a stage, over the engines and releases.
const OPENS: &[(&str, Stage)] = &[
    ("is using nccl==", Stage::Connect),
    ("Init torch distributed begin", Stage::Connect),
    // Before SGLang 0.3.
    ("Init nccl begin", Stage::Connect),
    ("MpiPoolSession", Stage::Connect),
    ("run mgmn leader node", Stage::Connect),
    ("run mgmn worker node", Stage::Connect),
    ("start MpiSession", Stage::Connect),
    ("Initializing MPI", Stage::Connect),
    ("NCCL INFO", Stage::Connect),
    ("Connecting to existing Ray cluster", Stage::Connect),
    ("placement group", Stage::Connect),
    ("distributed_init_method", Stage::Connect),
    ("Starting to load model", Stage::Weights),
    ("Loading safetensors", Stage::Weights),
    ("Loading weights:", Stage::Weights),
    ("Load weight begin", Stage::Weights),
    ("Loading checkpoint shards", Stage::Weights),
    ("Prefetching ", Stage::Weights),
    ("Model loading took", Stage::KvCache),
    ("Loading weights took", Stage::KvCache),
    ("Load weight end", Stage::KvCache),
    ("Available KV cache memory", Stage::KvCache),
    ("KV Cache is allocated", Stage::KvCache),
    ("Memory pool end", Stage::KvCache),
    ("torch.compile takes", Stage::Compile),
    ("Dynamo bytecode transform", Stage::Compile),
    ("Compiling a graph", Stage::Compile),
    ("torch_compile_cache", Stage::Compile),
    ("Capture cuda graph begin", Stage::Graphs),
    ("CUDA graph begin", Stage::Graphs),
    ("Capturing CUDA graph", Stage::Graphs),
    ("Creating CUDA graph", Stage::Graphs),
    ("Graph capturing finished", Stage::WarmUp),
    ("Autotuning process", Stage::WarmUp),
    ("Warming up", Stage::WarmUp),
    ("Started server process", Stage::WarmUp),
];

/// What a log shows that never became ready.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) class: Class,
    pub(super) stage: Stage,
    pub(super) at: usize,
    pub(super) next: String,
}

/// Lines by which an engine tells what it waits for, and the class of an endless wait.
static WAITS: LazyLock<Vec<(Regex, Class, &'static str)>> = LazyLock::new(|| {
    [
        (
            r"No available shared memory broadcast block|shm_broadcast.*(?:waiting|found in)",
            Class::HangAtStart,
            "the workers do not answer: the GPUs probably hang in their first collective; try NCCL_P2P_DISABLE=1 or --disable-custom-all-reduce, check P2P (nvidia-smi topo -p2p r) and the IOMMU, and NCCL_DEBUG=INFO for where it stands",
        ),
        (
            r"[Ww]aiting for creating a placement group|The following resource request cannot be scheduled|Insufficient resources",
            Class::NoDevice,
            "the cluster has fewer free GPUs than the parallel sizes ask for: look at `ray status`, end what holds them, or lower the parallel sizes",
        ),
        (
            r"run mgmn (?:leader|worker) node|using MpiPoolSession to spawn MPI processes|Initializing MPI with thread mode|MPI size: \d+",
            Class::HangAtStart,
            "the MPI workers were spawned and do not go on: the GPUs probably hang in their first collective; try NCCL_P2P_DISABLE=1, check P2P (nvidia-smi topo -p2p r; none on many L40S machines), the IOMMU and /dev/shm (--ipc=host), and NCCL_DEBUG=INFO for where it stands",
        ),
        (
            r"ncclCommInitRank|Init START|NCCL INFO (?:Bootstrap|Channel|Connected|NET/|Using )|is using nccl==|Init torch distributed begin|Init nccl begin|custom_all_reduce.*(?:P2P|disabled)",
            Class::HangAtStart,
            "the start stops while NCCL connects the GPUs: try NCCL_P2P_DISABLE=1 or NCCL_IB_DISABLE=1 (and --disable-custom-all-reduce), check P2P (nvidia-smi topo -p2p r), the IOMMU and the network, and NCCL_DEBUG=INFO for where it stands",
        ),
        (
            r"(?i)waiting for .*(?:engine|core|worker|rank|process|node|connection|ready|model|server)|still waiting|Health check .*(?:fail|wait)|not ready yet",
            Class::NotReady,
            "",
        ),
    ]
    .into_iter()
    .map(|(r, class, next)| (Regex::new(r).expect("constant"), class, next))
    .collect()
});

/// A server that became ready and at the end of its log no longer answers.
pub(super) fn stuck(lines: &[Line], start: &Range<usize>, speaker: Speaker) -> Option<Waiting> {
    static STUCK: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"No available shared memory broadcast block|Avg generation throughput: 0\.0 tokens/s, Running: [1-9]").expect("constant")
    });
    let ready = life::ready(&lines[start.clone()], speaker).filter(|_| speaker.certain)?;
    let after = start.start + ready + 1..start.end;
    let served = after.clone().rev().find(|i| life::serves(&lines[*i])).map_or(after.start, |i| i + 1);
    let told: Vec<usize> = (served..after.end).filter(|i| STUCK.is_match(&lines[*i].text)).collect();
    let stopped = lines[served..after.end].iter().any(life::stops);
    let at = *told.first().filter(|_| told.len() >= STUCK_LINES && !stopped)?;
    Some(Waiting {
        class: Class::HangInRun,
        stage: Stage::Run,
        at,
        next: "requests run and no token comes: the GPUs probably hang in a collective or a kernel; look at the ranks' stacks (py-spy dump --pid PID) and at nvidia-smi, try NCCL_P2P_DISABLE=1 or --disable-custom-all-reduce, and NCCL_DEBUG=INFO for the transport".to_owned(),
    })
}

/// So many lines without a token are a hang: engines write one in ten or sixty seconds.
const STUCK_LINES: usize = 3;

/// A start that its log neither ends nor makes ready.
pub(super) fn waiting(lines: &[Line], start: &Range<usize>, speaker: Speaker) -> Option<Waiting> {
    let window = &lines[start.clone()];
    if !speaker.certain || life::ready(window, speaker).is_some() {
        return None;
    }
    let (mut stage, mut opened) = (Stage::Start, 0);
    for (i, line) in window.iter().enumerate().filter(|(_, l)| l.part == Part::Text) {
        for (text, opens) in OPENS {
            if *opens > stage && line.text.contains(text) {
                (stage, opened) = (*opens, i);
            }
        }
    }
    // The line that waits for processes or the network must not have been outlived by a later stage.
    let wait = WAITS.iter().find_map(|(pattern, class, next)| {
        let at = window.iter().rposition(|l| l.part == Part::Text && pattern.is_match(&l.text))?;
        let first = window.iter().position(|l| l.part == Part::Text && pattern.is_match(&l.text))?;
        (at >= opened || stage <= Stage::Connect).then_some((first, *class, *next))
    });
    let last = window.iter().rposition(|l| !l.text.is_empty())?;
    let (at, class, next) = match wait {
        Some((at, class, "")) => (at, class, stage.advice()),
        Some(found) => found,
        None => (last, Class::NotReady, stage.advice()),
    };
    Some(Waiting { class, stage, at: start.start + at, next: next.to_owned() })
}
