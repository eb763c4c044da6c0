//! Search spaces: what flags an engine has in which release, what they may be, and which are worth trying.
//!
//! The knowledge is data (`search-spaces/*.toml`); this room reads it, judges candidates by it and turns it
//! into axes to search.

mod context;
pub mod expr;
mod flag;
mod judge;
mod read;

use crate::launch::Version;
pub use context::{Context, Load};
pub use flag::{
    Choice, Constraint, DefaultRule, Flag, FlagType, OtherName, OutputChange, Phase, Role, Span, TuneRule,
};
pub use judge::{Axis, Mismatch, Spelling, Violation};

use crate::data::{self, Document};
use crate::error::{Error, Problem, Result};
use crate::launch::EngineKind;
use std::collections::BTreeMap;
use std::path::Path;

/// The flags of one engine over a range of releases.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    pub engine: EngineKind,
    /// Releases that the table was checked against, both ends included.
    pub oldest: Version,
    pub newest: Version,
    pub doc: String,
    /// Names without a row that change nothing of a prediction: identity, address, access, where files lie.
    pub neutral: Vec<String>,
    /// What the engine needs of hardware and model, whatever the flags.
    pub limits: Vec<Constraint>,
    pub flags: Vec<Flag>,
}

impl Space {
    /// The space of an engine, embedded or from `data_dir/search-spaces/`.
    ///
    /// Errors: no such space; every problem of its file.
    pub fn load(engine: EngineKind, data_dir: Option<&Path>) -> Result<Space> {
        let all = Space::load_all(data_dir)?;
        all.into_iter()
            .find(|s| s.engine == engine)
            .ok_or_else(|| Error::usage(format!("there is no search space for engine `{engine}`")))
    }

    /// Every space; a file of the data directory replaces the embedded one of the same engine.
    ///
    /// Errors: every problem of every file.
    pub fn load_all(data_dir: Option<&Path>) -> Result<Vec<Space>> {
        let documents = data::documents("search-spaces", data::SEARCH_SPACES, data_dir)?;
        let mut out: Vec<Space> = Vec::new();
        let mut problems = Vec::new();
        for d in &documents {
            match read::read(d, &documents) {
                Ok(space) => match out.iter_mut().find(|s| s.engine == space.engine) {
                    Some(earlier) => *earlier = space,
                    None => out.push(space),
                },
                Err(p) => problems.extend(p),
            }
        }
        if problems.is_empty() {
            Ok(out)
        } else {
            Err(Error::problems("the search spaces have problems", problems))
        }
    }

    /// Every space, with the rows of a user's own files (`--space FILE`) laid over the tables of their engines.
    ///
    /// Errors: every problem of every file; a file that cannot be read.
    pub fn load_with(data_dir: Option<&Path>, own: &[String]) -> Result<Vec<Space>> {
        let mut spaces = Space::load_all(data_dir)?;
        let documents = data::documents("search-spaces", data::SEARCH_SPACES, data_dir)?;
        let (mut problems, mut done) = (Vec::new(), Vec::new());
        for file in own {
            match read::read_over(&data::document(Path::new(file))?, &documents) {
                Ok(space) if done.contains(&space.engine) => {
                    problems.push(Problem::new(
                        file,
                        "engine",
                        "has a --space file already: put all rows into one",
                    ));
                }
                Ok(mut space) => {
                    done.push(space.engine);
                    if let Some(known) = spaces.iter().find(|s| s.engine == space.engine) {
                        space.keep_output_classes(known);
                    }
                    spaces.retain(|s| s.engine != space.engine);
                    spaces.push(space);
                }
                Err(p) => problems.extend(p),
            }
        }
        if problems.is_empty() { Ok(spaces) } else { Err(Error::problems("--space has problems", problems)) }
    }

    /// A user's row of a known flag that does not say what its values do to the answers keeps the strongest class of the
    /// known row: the gate has to look at them all the same.
    fn keep_output_classes(&mut self, known: &Space) {
        for flag in &mut self.flags {
            let Some(row) = known.flag(&flag.name).filter(|row| row.tune != flag.tune) else { continue };
            let class = row.tune.iter().map(|rule| judge::output_of(row, rule)).max();
            let class = class.filter(|c| *c > OutputChange::None);
            for rule in flag.tune.iter_mut().filter(|r| r.output.is_none() && !r.changes_output) {
                rule.output = class;
            }
        }
    }

    /// What a prediction makes of each name that stands in the table: of the rows, their other names, and the neutral
    /// names. Names are without dashes in front and with `-` inside.
    pub fn roles(&self) -> BTreeMap<String, Role> {
        let dashed = |n: &str| n.trim_start_matches('-').replace('_', "-");
        let neutral = self.neutral.iter().map(|n| (dashed(n), Role::Neutral));
        let others = self.flags.iter().flat_map(|f| f.aliases.iter().map(move |a| (dashed(&a.name), f.role)));
        let own = self.flags.iter().map(|f| (dashed(&f.name), f.role));
        neutral.chain(others).chain(own).collect()
    }

    /// The row of a flag by its name or any of its other names; dashes in front and `_` are forgiven.
    pub fn flag(&self, name: &str) -> Option<&Flag> {
        let dashed = |n: &str| n.trim_start_matches('-').replace('_', "-");
        let wanted = dashed(name);
        let is = |n: &str| dashed(n) == wanted;
        self.flags
            .iter()
            .find(|f| is(&f.name))
            .or_else(|| self.flags.iter().find(|f| f.aliases.iter().any(|a| is(&a.name))))
    }
}

/// Every problem of one search-space file; empty when it is good.
pub fn check_text(file: &str, text: &str) -> Vec<Problem> {
    let own = Document { file: file.to_owned(), text: text.to_owned(), embedded: false };
    let embedded = data::SEARCH_SPACES.iter().map(|(n, t)| Document {
        file: format!("search-spaces/{n}"),
        text: (*t).to_owned(),
        embedded: true,
    });
    let all: Vec<Document> = embedded.collect();
    read::read(&own, &all).err().unwrap_or_default()
}

#[cfg(test)]
mod tests;
