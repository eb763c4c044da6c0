//! Release numbers of engines, in the forms of PEP 440 that they print.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A release, compared by its first three numbers.
///
/// Suffixes such as `rc4`, `.post1`, `.dev12` and `+cpu` are read and dropped: what an engine can do is listed by
/// release, and a release candidate has the flags of the release that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl FromStr for Version {
    type Err = String;

    /// Errors: a text that is no PEP 440 version, or one with a single number, such as a build number.
    fn from_str(s: &str) -> Result<Version, String> {
        let bad = || format!("\"{s}\" is no version such as 0.11.0");
        // Builds from source print names such as `0.11.0-5-gabcdef`, which are no PEP 440: the part before counts.
        let text = s.trim();
        let parsed = pep440_rs::Version::from_str(text)
            .or_else(|_| pep440_rs::Version::from_str(text.split(['+', '-']).next().unwrap_or_default()))
            .map_err(|_| bad())?;
        let numbers: Vec<u32> = parsed
            .release()
            .iter()
            .map(|n| u32::try_from(*n))
            .collect::<Result<_, _>>()
            .map_err(|_| bad())?;
        match numbers[..] {
            [major, minor] => Ok(Version(major, minor, 0)),
            [major, minor, patch, ..] => Ok(Version(major, minor, patch)),
            _ => Err(bad()),
        }
    }
}

impl From<(u32, u32, u32)> for Version {
    fn from(v: (u32, u32, u32)) -> Version {
        Version(v.0, v.1, v.2)
    }
}

impl PartialEq<(u32, u32, u32)> for Version {
    fn eq(&self, other: &(u32, u32, u32)) -> bool {
        *self == Version::from(*other)
    }
}

impl PartialOrd<(u32, u32, u32)> for Version {
    fn partial_cmp(&self, other: &(u32, u32, u32)) -> Option<Ordering> {
        Some(self.cmp(&Version::from(*other)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Version, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_dropped_and_order_is_numeric() {
        let v = |s: &str| s.parse::<Version>();
        assert_eq!(v("0.11.2"), Ok(Version(0, 11, 2)));
        assert_eq!(v("v0.32.0+cpu"), Ok(Version(0, 32, 0)));
        assert_eq!(v("0.5.4.post2"), Ok(Version(0, 5, 4)));
        assert_eq!(v("1.3.0rc4"), Ok(Version(1, 3, 0)));
        assert_eq!(v("0.11.1rc2.dev57+gabcdef123.d20251003"), Ok(Version(0, 11, 1)));
        assert_eq!(v("0.11.0-5-gabcdef"), Ok(Version(0, 11, 0)));
        assert_eq!(v("0.19"), Ok(Version(0, 19, 0)));
        assert!(v("0.9.1").unwrap() < v("0.10.0").unwrap());
        assert!(v("0.9.1").unwrap() < (0, 10, 0) && v("0.10.0").unwrap() == (0, 10, 0));
        for bad in ["", "latest", "12", "nightly"] {
            assert!(v(bad).is_err(), "{bad}");
        }
    }
}
