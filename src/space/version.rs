//! Release numbers of engines.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;
use std::str::FromStr;

/// A release, compared by its three numbers; suffixes such as `rc4`, `.post1` or `+cpu` are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl FromStr for Version {
    type Err = String;

    fn from_str(s: &str) -> Result<Version, String> {
        let bad = || format!("\"{s}\" is no version such as 0.11.0");
        let mut parts = [0u32; 3];
        let core = s.trim().trim_start_matches('v').split(['+', '-']).next().unwrap_or("");
        for (i, part) in core.split('.').enumerate() {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            if i < 2 && digits == 0 {
                return Err(bad());
            }
            if i < 3 && digits > 0 {
                parts[i] = part[..digits].parse().map_err(|_| bad())?;
            }
        }
        if core.contains('.') { Ok(Version(parts[0], parts[1], parts[2])) } else { Err(bad()) }
    }
}

impl From<(u32, u32, u32)> for Version {
    fn from(v: (u32, u32, u32)) -> Version {
        Version(v.0, v.1, v.2)
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
        assert!(v("0.9.1").unwrap() < v("0.10.0").unwrap());
        for bad in ["", "latest", "12", ".1"] {
            assert!(v(bad).is_err(), "{bad}");
        }
    }
}
