//! An engine in a container: which image, by which runtime, and the words of the run command.
//!
//! dyno owns what a measurement rests on: the container's name and label (what a killed dyno left is found by them), its
//! network, GPUs, shared memory, mounts and environment. Values of variables never stand in the command: they are named
//! there, and the runtime takes them from its own environment.

use super::EngineKind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The program that runs containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContainerRuntime {
    #[default]
    Docker,
    Podman,
    Nerdctl,
}

impl ContainerRuntime {
    pub const ALL: [ContainerRuntime; 3] =
        [ContainerRuntime::Docker, ContainerRuntime::Podman, ContainerRuntime::Nerdctl];

    /// The name of the program.
    pub fn program(self) -> &'static str {
        match self {
            ContainerRuntime::Docker => "docker",
            ContainerRuntime::Podman => "podman",
            ContainerRuntime::Nerdctl => "nerdctl",
        }
    }
}

impl fmt::Display for ContainerRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl FromStr for ContainerRuntime {
    type Err = String;

    fn from_str(s: &str) -> Result<ContainerRuntime, String> {
        ContainerRuntime::ALL
            .into_iter()
            .find(|r| r.program() == s)
            .ok_or_else(|| format!("unknown container runtime `{s}`; known: docker, podman, nerdctl"))
    }
}

/// How the server in the container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ContainerNetwork {
    /// The host's own network: no proxy between client and engine.
    #[default]
    Host,
    /// A port of the loopback that the runtime maps into the container.
    Mapped,
}

impl FromStr for ContainerNetwork {
    type Err = String;

    fn from_str(s: &str) -> Result<ContainerNetwork, String> {
        match s {
            "host" => Ok(ContainerNetwork::Host),
            "mapped" => Ok(ContainerNetwork::Mapped),
            _ => Err(format!("`{s}` is no network of a container; known: host, mapped")),
        }
    }
}

/// An image to start the engine from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Container {
    pub image: String,
    #[serde(default)]
    pub runtime: ContainerRuntime,
    #[serde(default)]
    pub network: ContainerNetwork,
    /// Words for the runtime's `run`, as the user gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// GPUs that a container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerGpus {
    None,
    Nvidia,
    Amd,
}

/// One directory or file of the host that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub host: String,
    pub inside: String,
    pub writable: bool,
}

/// What is particular to one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRun {
    /// Name, and mark of the launch that owns it; absent for a container that only answers a question and goes.
    pub owned: Option<(String, String)>,
    /// Port of the server, on the host and inside.
    pub port: Option<u16>,
    pub gpus: ContainerGpus,
    /// Which of them, by the driver's numbers; empty: all.
    pub devices: Vec<u32>,
    /// Names of variables that are passed on.
    pub env: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Identity of the image, so that a kept answer is not taken for that of another image of the same name.
    pub image_id: String,
}

/// Label that holds the mark of the launch.
pub const CONTAINER_LABEL: &str = "dyno.launch";
/// Shared memory of a container: the ranks of a tensor-parallel engine speak through it, and 64 MiB, the runtimes' own
/// default, is too little for any of them. It is a limit and costs nothing until used.
const SHM: &str = "16g";

impl Container {
    /// The command that runs `program` in the image: `docker run … --entrypoint PROGRAM[0] IMAGE PROGRAM[1..]`. What follows
    /// it are the engine's own arguments.
    pub fn run_words(&self, run: &ContainerRun, program: &[String]) -> Vec<String> {
        let mut out = vec![self.runtime.program().to_owned(), "run".to_owned()];
        let mut add = |words: &[&str]| out.extend(words.iter().map(|w| (*w).to_owned()));
        match &run.owned {
            Some((name, mark)) => {
                add(&["--name", name, "--label", &format!("{CONTAINER_LABEL}={mark}")]);
            }
            None => add(&["--rm"]),
        }
        add(&["--label", &format!("dyno.image={}", run.image_id), "--shm-size", SHM]);
        match (self.network, run.port) {
            (ContainerNetwork::Host, _) => add(&["--network", "host"]),
            (ContainerNetwork::Mapped, Some(port)) => add(&["-p", &format!("127.0.0.1:{port}:{port}")]),
            (ContainerNetwork::Mapped, None) => {}
        }
        match (run.gpus, self.runtime) {
            (ContainerGpus::None, _) => {}
            (ContainerGpus::Nvidia, ContainerRuntime::Podman) if run.devices.is_empty() => {
                add(&["--device", "nvidia.com/gpu=all"]);
            }
            (ContainerGpus::Nvidia, ContainerRuntime::Podman) => {
                run.devices.iter().for_each(|d| add(&["--device", &format!("nvidia.com/gpu={d}")]));
            }
            (ContainerGpus::Nvidia, _) if run.devices.is_empty() => add(&["--gpus", "all"]),
            // The value is a line of comma-separated fields, so that a list of numbers stands in quotes.
            (ContainerGpus::Nvidia, _) => add(&["--gpus", &format!("\"device={}\"", listed(&run.devices))]),
            (ContainerGpus::Amd, _) => {
                add(&["--device", "/dev/kfd", "--device", "/dev/dri", "--group-add", "video"]);
                if !run.devices.is_empty() {
                    add(&["-e", &format!("HIP_VISIBLE_DEVICES={}", listed(&run.devices))]);
                }
            }
        }
        for m in &run.mounts {
            let mode = if m.writable { "" } else { ":ro" };
            add(&["-v", &format!("{}:{}{mode}", m.host, m.inside)]);
        }
        run.env.iter().for_each(|name| add(&["-e", name]));
        self.options.iter().for_each(|o| add(&[o]));
        let (first, rest) = program.split_first().map_or(("", &[][..]), |(f, r)| (f.as_str(), r));
        add(&["--entrypoint", first, &self.image]);
        out.extend(rest.iter().cloned());
        out
    }

    /// The engine's program inside the image, unless the user names another.
    pub fn program(engine: EngineKind, usual: Option<&[&str]>) -> Vec<String> {
        let embedded: &[&str] = &["dyno", "emulate"];
        let words = if engine == EngineKind::Emulated { embedded } else { usual.unwrap_or_default() };
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    /// The engine's arguments for this network: behind a mapped port it must not bind to the loopback alone.
    pub fn addressed(&self, mut args: Vec<String>) -> Vec<String> {
        if self.network == ContainerNetwork::Mapped {
            match args.iter().position(|a| a == "--host") {
                Some(i) if i + 1 < args.len() => "0.0.0.0".clone_into(&mut args[i + 1]),
                _ => args.extend(["--host".to_owned(), "0.0.0.0".to_owned()]),
            }
        }
        args
    }
}

fn listed(devices: &[u32]) -> String {
    devices.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> ContainerRun {
        ContainerRun {
            owned: Some(("dyno-1".into(), "1-2/t".into())),
            port: Some(8123),
            gpus: ContainerGpus::Nvidia,
            devices: Vec::new(),
            env: vec!["HF_TOKEN".into()],
            mounts: vec![Mount { host: "/m".into(), inside: "/m".into(), writable: false }],
            image_id: "sha256:ab".into(),
        }
    }

    fn container(runtime: ContainerRuntime, network: ContainerNetwork) -> Container {
        Container { image: "vllm/vllm-openai:v0.19.0".into(), runtime, network, options: Vec::new() }
    }

    #[test]
    fn each_runtime_is_asked_for_gpus_in_its_own_way() {
        let words =
            |r| container(r, ContainerNetwork::Host).run_words(&run(), &["vllm".into(), "serve".into()]);
        let docker = words(ContainerRuntime::Docker).join(" ");
        assert_eq!(
            docker,
            "docker run --name dyno-1 --label dyno.launch=1-2/t --label dyno.image=sha256:ab --shm-size 16g --network host \
             --gpus all -v /m:/m:ro -e HF_TOKEN --entrypoint vllm vllm/vllm-openai:v0.19.0 serve"
        );
        assert!(words(ContainerRuntime::Podman).join(" ").contains("--device nvidia.com/gpu=all"));
        let some = |r| {
            let run = ContainerRun { devices: vec![2, 3], ..run() };
            container(r, ContainerNetwork::Host).run_words(&run, &["vllm".into()]).join(" ")
        };
        assert!(some(ContainerRuntime::Docker).contains("--gpus \"device=2,3\" "));
        assert!(
            some(ContainerRuntime::Podman).contains("--device nvidia.com/gpu=2 --device nvidia.com/gpu=3 ")
        );
    }

    #[test]
    fn a_mapped_port_is_on_the_loopback_and_the_engine_on_every_address_inside() {
        let c = container(ContainerRuntime::Podman, ContainerNetwork::Mapped);
        assert!(c.run_words(&run(), &["dyno".into()]).join(" ").contains("-p 127.0.0.1:8123:8123"));
        let args = ["--host", "127.0.0.1", "--port", "8123"].map(str::to_owned).to_vec();
        assert_eq!(c.addressed(args)[1], "0.0.0.0");
        assert_eq!(c.addressed(vec!["--port".into()])[1..], ["--host", "0.0.0.0"]);
    }
}
