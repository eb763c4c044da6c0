//! Durations on the command line: one grammar everywhere.

/// A positive time: a number of seconds (`90`, `1.5`), or numbers with units (`90s`, `30m`, `1h 30m`, `250ms`).
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = match text.trim().parse::<f64>() {
        Ok(number) => number,
        Err(_) => humantime::parse_duration(text.trim())
            .map_err(|e| format!("{e}; such as 90, 90s, 30m or 1h30m"))?
            .as_secs_f64(),
    };
    // Longer than this no clock of the run could hold.
    if seconds > 0.0 && seconds <= 1e9 {
        Ok(seconds)
    } else {
        Err("must be a time above 0, such as 90s or 30m".into())
    }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn numbers_are_seconds_and_units_are_understood() {
        for (text, value) in [("90", 90.0), ("1.5", 1.5), ("30m", 1800.0), ("1h30m", 5400.0), ("250ms", 0.25)]
        {
            assert_eq!(seconds(text), Ok(value), "{text}");
        }
        for bad in ["0", "-1", "inf", "nan", "1e300", "soon", "", "5 parsecs"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
