//! The lines of a record and the seal that each one bears.

use super::verdict::Verdict;
use crate::quality;
use crate::search::{Ask, Stage};
use crate::trial::TrialResult;
use serde::{Deserialize, Serialize};
use sha2::Digest;

/// Name of a record in the campaign's directory.
pub(super) const FILE: &str = "trials.jsonl";

/// One finished launch, measured or failed, and what it was for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct TrialLine {
    pub seq: u32,
    pub stage: Stage,
    /// Number among the launches of this candidate in this stage.
    pub launch: u32,
    /// What the quality gate said of the answers, where they were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<quality::Check>,
    /// Why this trial is no part of the campaign's comparison, where it is none: its engine is of another version. It was
    /// measured, so it stays in the record, and answers nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    pub result: TrialResult,
}

impl TrialLine {
    /// Whether this line answers `ask`.
    pub fn answers(&self, ask: &Ask) -> bool {
        self.apart.is_none()
            && self.stage == ask.stage
            && self.launch == ask.launch
            && self.result.spec.candidate == ask.candidate
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// First line of the file.
    Header {
        schema: u32,
        dyno_version: String,
        run_id: String,
    },
    Trial(Box<TrialLine>),
    /// What the campaign concluded; the last one counts.
    Verdict(Box<Verdict>),
}

/// The line with its checksum as the last member.
pub(super) fn sealed(line: &Line) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(line)?;
    let sum = checksum(&bytes[..bytes.len() - 1]);
    bytes.pop();
    bytes.extend_from_slice(format!("{SEAL}{sum}\"}}\n").as_bytes());
    Ok(bytes)
}

pub(super) const SEAL: &str = ",\"sum\":\"";
const DIGITS: usize = 16;

fn checksum(bytes: &[u8]) -> String {
    let digest = sha2::Sha256::digest(bytes);
    digest.iter().take(DIGITS / 2).map(|b| format!("{b:02x}")).collect()
}

/// Whether the line is as it was written; one without a checksum is taken at its word.
pub(super) fn intact(line: &[u8]) -> bool {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let Some(at) = text.len().checked_sub(SEAL.len() + DIGITS + 2) else { return true };
    let (body, seal) = text.split_at(at);
    match seal.strip_prefix(SEAL.as_bytes()).and_then(|s| s.strip_suffix(b"\"}")) {
        Some(sum) => checksum(body).as_bytes() == sum,
        None => true,
    }
}
