//! What every executor can do.

use crate::error::Result;

/// A trial on its way to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Unique, in lower case with digits and dashes; it begins with the campaign's own prefix, by which a job that outlived
    /// its tuner is known.
    pub name: String,
    /// For `/bin/sh`: becomes `dyno trial --job -`, which reads the order from its standard input and prints its report.
    pub command: String,
    /// The order, one line of JSON.
    pub order: String,
    /// GPUs of one launch.
    pub gpus: u32,
}

impl Job {
    /// The command with the order in it, for schedulers that take a script.
    pub fn script(&self) -> String {
        // The order is one line, so that no line of it is the end.
        format!("{} <<'END_OF_ORDER'\n{}\nEND_OF_ORDER\n", self.command, self.order)
    }
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// Accepted and not yet begun; what it waits for, in the scheduler's words.
    Waiting {
        why: String,
    },
    Running {
        node: Option<String>,
    },
    /// Its script has ended, well or not: the output tells.
    Ended {
        node: Option<String>,
    },
    /// The node, or the job on it, was taken away before the script ended: nothing is said of the trial.
    Lost {
        node: Option<String>,
        why: String,
    },
    /// The scheduler gave it up before it began: no node was free for too long.
    NotPlaced {
        why: String,
    },
}

/// What a cluster has for launches of one size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Launches that can run at once when nothing else runs there.
    pub launches: u32,
    /// Most launches that one node takes.
    pub on_one_node: u32,
    /// In words: nodes and their GPUs.
    pub described: String,
}

/// Runs jobs on nodes. Each call blocks for seconds at most; calls come from several threads at once.
pub trait Executor: Send + Sync {
    /// As a message names it, such as `Ray at http://127.0.0.1:8265`.
    fn name(&self) -> String;

    /// What there is for launches with this many GPUs.
    ///
    /// Errors: the scheduler does not answer, or no node can ever take such a launch; in both cases what to do.
    fn places(&self, gpus: u32) -> Result<Places>;

    /// Hands a job over and returns the scheduler's own id of it.
    fn submit(&self, job: &Job) -> Result<String>;

    /// Errors: the scheduler did not answer this time. The job may be well.
    fn state(&self, id: &str) -> Result<JobState>;

    /// What [`Executor::submit`] would hand over, as text for a person or for a validator.
    fn shown(&self, job: &Job) -> String;

    /// What the job has printed, standard output and error together or the first alone. Asked once the job has ended.
    fn output(&self, id: &str) -> Result<String>;

    /// Asks for the job's end and does not wait for it. A job that has ended already is no error.
    fn stop(&self, id: &str) -> Result<()>;

    /// Keeps the jobs to come away from these nodes and no others; false where the scheduler cannot be told so.
    fn avoid(&self, _nodes: &[String]) -> bool {
        false
    }

    /// Ids of jobs that have not ended and whose names begin with `prefix`.
    fn alive(&self, prefix: &str) -> Result<Vec<String>>;
}
