//! The known parts: embedded files, overridden by a data directory.

use super::{Hardware, names};
use crate::data::nearest::did_you_mean;
use crate::data::schema::{self, Key, Shape, opt, req};
use crate::data::{self, Document};
use crate::error::{Error, Problem, Result};
use crate::units::Bytes;
use indexmap::IndexMap;
use std::path::Path;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// The files under `hardware/`, compiled in.
        const EMBEDDED: &[(&str, &str)] =
            &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/hardware/", $name)))),*];
    };
}
files!(
    "a10-24gb.toml",
    "l4-24gb.toml",
    "l40s-48gb.toml",
    "a100-pcie-40gb.toml",
    "a100-sxm-40gb.toml",
    "a100-pcie-80gb.toml",
    "a100-sxm-80gb.toml",
    "h100-pcie-80gb.toml",
    "h100-sxm-80gb.toml",
    "h100-nvl-94gb.toml",
    "h20-96gb.toml",
    "h200-sxm-141gb.toml",
    "b200-sxm-180gb.toml",
    "gb200-186gb.toml",
    "rtx-4090-24gb.toml",
    "rtx-5090-32gb.toml",
    "rtx-pro-6000-blackwell-96gb.toml",
    "mi300x-192gb.toml",
    "mi325x-256gb.toml",
    "mi350x-288gb.toml",
    "mi355x-288gb.toml",
    "t4-16gb.toml",
    "v100-sxm-32gb.toml",
    "a30-24gb.toml",
    "a40-48gb.toml",
    "rtx-a5000-24gb.toml",
    "rtx-a6000-48gb.toml",
    "rtx-3090-24gb.toml",
    "rtx-6000-ada-48gb.toml",
    "l20-48gb.toml",
    "a800-sxm-80gb.toml",
    "h800-sxm-80gb.toml",
    "b300-sxm-288gb.toml",
    "gb300-288gb.toml",
    "gb10-128gb.toml",
    "a10g-24gb.toml",
    "l40-48gb.toml",
    "h20-141gb.toml",
    "gh200-96gb.toml",
    "gh200-144gb.toml",
    "rtx-4090-d-24gb.toml",
    "rtx-4080-16gb.toml",
    "rtx-4080-super-16gb.toml",
    "rtx-4070-ti-super-16gb.toml",
    "rtx-4060-ti-16gb.toml",
    "rtx-5080-16gb.toml",
    "rtx-5070-ti-16gb.toml",
    "rtx-5060-ti-16gb.toml",
    "rtx-3060-12gb.toml",
    "rtx-2080-ti-11gb.toml",
    "mi210-64gb.toml",
    "mi250x-64gb.toml",
    "rtx-4070-12gb.toml",
    "rtx-5070-12gb.toml",
    "rtx-3050-8gb.toml",
    "quadro-rtx-5000-16gb.toml",
    "p40-24gb.toml",
    "r9700-32gb.toml",
    "cpu.toml",
);

const KEYS: &[Key] = &[
    req("id", Shape::Text),
    req("name", Shape::Text),
    opt("match_name", Shape::List(&Shape::Text)),
    opt("match_not", Shape::List(&Shape::Text)),
    opt("short_name", Shape::Text),
    req("vendor", Shape::OneOf(&["nvidia", "amd", "cpu"])),
    opt("sm", Shape::Count),
    req("memory_gb", Shape::Positive),
    opt("memory_mib", Shape::Count),
    opt("unified_memory", Shape::Bool),
    req("bandwidth_gbps", Shape::Positive),
    req("bf16_tflops", Shape::Positive),
    opt("fp8_tflops", Shape::Positive),
    opt("fp4_tflops", Shape::Positive),
    opt("int8_tops", Shape::Positive),
    req("link_gbps", Shape::Positive),
    opt("link", Shape::Text),
    opt("sm_count", Shape::Count),
    opt("tdp_w", Shape::Positive),
    opt("usd_per_hour", Shape::Positive),
    opt("note", Shape::Text),
    req("source", Shape::Text),
    opt("unverified", Shape::List(&Shape::Text)),
];

/// All known parts by id, in a stable order.
#[derive(Debug, Clone)]
pub struct Catalog {
    parts: IndexMap<String, Hardware>,
}

impl Catalog {
    /// The embedded parts, then those under `data_dir/hardware/`.
    ///
    /// Errors: every problem of every file at once.
    pub fn load(data_dir: Option<&Path>) -> Result<Catalog> {
        let mut parts = IndexMap::new();
        let mut problems = Vec::new();
        for Document { file, text, .. } in data::documents("hardware", EMBEDDED, data_dir)? {
            match parse(&file, &text) {
                Ok(h) => {
                    parts.insert(h.id.clone(), h);
                }
                Err(p) => problems.extend(p),
            }
        }
        if problems.is_empty() {
            Ok(Catalog { parts })
        } else {
            Err(Error::problems("the hardware data has problems", problems))
        }
    }

    /// The part with this id, or whose name this is: `h100-sxm-80gb`, `H100_SXM`, `h100`, `NVIDIA A100-SXM4-80GB` as
    /// `nvidia-smi` prints it. Case, blanks, `-` and `_` do not matter.
    ///
    /// Errors: an unknown name, with the nearest known ones; a name that several parts may mean, with all of them.
    pub fn find(&self, name: &str) -> Result<&Hardware> {
        if let Some(h) = self.parts.get(&name.to_lowercase()) {
            return Ok(h);
        }
        match names::meant(name, self.parts.values()).as_slice() {
            [one] => Ok(one),
            [] => Err(Error::usage(format!("unknown hardware `{name}`")).hint(format!(
                "{}; `dyno list hardware` shows all, --data-dir DIR adds DIR/hardware/*.toml",
                did_you_mean(name, self.ids())
            ))),
            several => {
                let ids: Vec<&str> = several.iter().map(|h| h.id.as_str()).collect();
                Err(Error::usage(format!("`{name}` may be {}", ids.join(" or ")))
                    .hint("give one of these ids"))
            }
        }
    }

    pub fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        self.parts.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Hardware> {
        self.parts.values()
    }

    /// The parts that a driver's device name and memory may mean: none, one, or several.
    pub fn matching(&self, device_name: &str, memory: Bytes) -> Vec<&Hardware> {
        self.parts.values().filter(|h| h.matches(device_name, memory)).collect()
    }
}

/// Every problem of one hardware file; empty when it is good.
pub fn check_text(file: &str, text: &str) -> Vec<Problem> {
    parse(file, text).err().unwrap_or_default()
}

fn parse(file: &str, text: &str) -> Result<Hardware, Vec<Problem>> {
    let value = data::toml_value(file, text).map_err(|p| vec![p])?;
    let problems = schema::check(file, "", &value, KEYS);
    if !problems.is_empty() {
        return Err(problems);
    }
    let h: Hardware = data::decode(file, &value).map_err(|p| vec![p])?;
    let problems = meaning(file, &h);
    if problems.is_empty() { Ok(h) } else { Err(problems) }
}

/// What a well-formed file may still have wrong.
fn meaning(file: &str, h: &Hardware) -> Vec<Problem> {
    let mut out = Vec::new();
    if h.id.is_empty() || h.id.chars().any(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')) {
        out.push(
            Problem::new(file, "id", format!("\"{}\" is not a hardware id", h.id))
                .hint("lower-case letters, digits and dashes, such as a100-sxm-80gb"),
        );
    }
    if h.vendor == super::Vendor::Nvidia && h.sm.is_none() {
        out.push(
            Problem::new(file, "sm", "missing for an NVIDIA part")
                .hint("compute capability as major*10+minor, such as 80, 90, 120"),
        );
    }
    if h.sm.is_some_and(|sm| !(50..200).contains(&sm)) {
        out.push(
            Problem::new(file, "sm", "out of range").hint("major*10+minor: compute capability 9.0 is 90"),
        );
    }
    let rates = [("fp8_tflops", h.fp8_tflops, h.bf16_tflops), ("fp4_tflops", h.fp4_tflops, h.bf16_tflops)];
    for (key, rate, bf16) in rates {
        if rate.is_some_and(|r| r < bf16) {
            out.push(
                Problem::new(file, key, "below the bf16 rate").hint("leave it out when the part lacks it"),
            );
        }
    }
    for key in &h.unverified {
        if !KEYS.iter().any(|k| k.name == key) {
            out.push(Problem::new(file, "unverified", format!("`{key}` is no key of this file")));
        }
    }
    for w in h.match_name.iter().chain(&h.match_not) {
        if w.is_empty() || *w != w.to_lowercase() {
            out.push(Problem::new(file, "match_name", format!("\"{w}\" must be lower-case and not empty")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_embedded_and_named_by_its_id() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("hardware");
        let mut on_disk: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut embedded: Vec<String> = EMBEDDED.iter().map(|(n, _)| (*n).to_owned()).collect();
        on_disk.sort();
        embedded.sort();
        assert_eq!(on_disk, embedded);
        for (name, text) in EMBEDDED {
            let h = parse(name, text).unwrap_or_else(|p| panic!("{p:?}"));
            assert_eq!(format!("{}.toml", h.id), *name);
        }
    }

    #[test]
    fn the_schema_names_exactly_the_keys_of_the_struct() {
        let c = Catalog::load(None).unwrap();
        let keys = serde_json::to_value(c.find("cpu").unwrap()).unwrap();
        let mut of_struct: Vec<&str> = keys.as_object().unwrap().keys().map(String::as_str).collect();
        let mut of_schema: Vec<&str> = KEYS.iter().map(|k| k.name).collect();
        of_struct.sort_unstable();
        of_schema.sort_unstable();
        assert_eq!(of_struct, of_schema);
    }

    #[test]
    fn driver_names_are_told_apart() {
        let c = Catalog::load(None).unwrap();
        for h in c.iter().filter(|h| h.is_gpu()) {
            let found: Vec<&str> = c.matching(&h.name, h.memory()).iter().map(|h| h.id.as_str()).collect();
            assert_eq!(found, [h.id.as_str()], "{}", h.name);
        }
        let gib = Bytes::from_gib;
        assert!(c.matching("NVIDIA A10M", gib(22.5)).is_empty());
        assert!(c.matching("NVIDIA GeForce RTX 4090 Laptop GPU", gib(24.0)).is_empty());
        assert!(c.matching("NVIDIA H20-3e", gib(95.6)).is_empty(), "141 GB is another part than 96 GB");
        let found = |name: &str, memory: f64| {
            c.matching(name, gib(memory)).iter().map(|h| h.id.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(found("NVIDIA H20-3e", 140.4), ["h20-141gb"]);
        assert_eq!(found("NVIDIA GH200 480GB", 95.0), ["gh200-96gb"]);
        assert_eq!(found("NVIDIA GeForce RTX 4080 SUPER", 15.99), ["rtx-4080-super-16gb"]);
        assert!(c.matching("NVIDIA A100-SXM4-80GB", gib(40.0)).is_empty(), "a MIG slice is not the part");
    }

    #[test]
    fn names_as_people_and_drivers_write_them() {
        let c = Catalog::load(None).unwrap();
        for (name, id) in [
            ("NVIDIA A100-SXM4-80GB", "a100-sxm-80gb"),
            ("NVIDIA-H100-80GB-HBM3", "h100-sxm-80gb"),
            ("NVIDIA H100 PCIe", "h100-pcie-80gb"),
            ("h100", "h100-sxm-80gb"),
            ("h100_sxm", "h100-sxm-80gb"),
            ("H100-SXM5-80GB", "h100-sxm-80gb"),
            ("H200", "h200-sxm-141gb"),
            ("Tesla T4", "t4-16gb"),
            ("NVIDIA GeForce RTX 3090", "rtx-3090-24gb"),
            ("RTX4090", "rtx-4090-24gb"),
            ("a6000", "rtx-a6000-48gb"),
            ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada-48gb"),
            ("AMD Instinct MI300X", "mi300x-192gb"),
            ("mi355x", "mi355x-288gb"),
            ("B300", "b300-sxm-288gb"),
            ("GB10", "gb10-128gb"),
            ("A10G", "a10g-24gb"),
            ("L40", "l40-48gb"),
            ("H20", "h20-96gb"),
            ("H20-3e", "h20-141gb"),
            ("GH200", "gh200-96gb"),
            ("RTX 4080", "rtx-4080-16gb"),
            ("rtx-4090", "rtx-4090-24gb"),
            ("RTX 4090 D", "rtx-4090-d-24gb"),
        ] {
            assert_eq!(c.find(name).map(|h| h.id.as_str()).map_err(|e| e.to_string()), Ok(id), "{name}");
        }
        for h in c.iter() {
            assert_eq!(c.find(&h.name).unwrap().id, h.id);
        }
        let e = c.find("a100").unwrap_err().to_string();
        assert!(e.contains("a100-sxm-40gb") && e.contains("a100-pcie-80gb"), "{e}");
        assert!(c.find("NVIDIA A10M").is_err() && c.find("gpu").is_err() && c.find("").is_err());
    }

    #[test]
    fn an_unknown_id_names_the_nearest() {
        let e = Catalog::load(None).unwrap().find("a100-smx-80gb").unwrap_err();
        assert_eq!(e.kind.exit_code(), 2);
        assert!(e.to_string().contains("`a100-sxm-80gb`"), "{e}");
    }

    #[test]
    fn a_data_directory_replaces_and_adds_and_reports_all_problems() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("hardware");
        std::fs::create_dir(&folder).unwrap();
        let cpu = EMBEDDED.iter().find(|(n, _)| *n == "cpu.toml").unwrap().1;
        std::fs::write(folder.join("a.toml"), cpu.replace("memory_gb = 16.0", "memory_gb = 64.0")).unwrap();
        std::fs::write(folder.join("b.toml"), cpu.replace("id = \"cpu\"", "id = \"big-cpu\"")).unwrap();
        let c = Catalog::load(Some(dir.path())).unwrap();
        assert_eq!(c.find("cpu").unwrap().memory_gb, 64.0);
        assert_eq!(c.find("big-cpu").unwrap().memory_gb, 16.0);

        std::fs::write(folder.join("a.toml"), "id = \"X\"\nvendor = \"intel\"\n").unwrap();
        std::fs::write(folder.join("b.toml"), "id = ").unwrap();
        let e = Catalog::load(Some(dir.path())).unwrap_err();
        assert!(e.problems.iter().any(|p| p.key == "vendor"), "{e}");
        assert!(e.problems.iter().any(|p| p.key == "bandwidth_gbps"), "{e}");
        assert!(e.problems.iter().any(|p| p.message.contains("line 1")), "{e}");
        assert!(Catalog::load(Some(&dir.path().join("absent"))).is_err());
    }
}
