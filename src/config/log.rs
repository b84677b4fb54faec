//! The value of `--log`: directives of tracing's `EnvFilter`, or a level.

use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// The default of `--log`.
pub(super) fn default_directives() -> String {
    level_directives("info")
}

/// A level applies to this program. Messages of its libraries are useful only if they are warnings.
fn level_directives(level: &str) -> String {
    match level {
        "off" | "error" | "warn" => level.to_owned(),
        _ => format!("warn,bimcc_rtc={level}"),
    }
}

/// Reads `--log`: a level, or a list of `target=level`.
///
/// # Errors
/// A sentence that says what is accepted. A misspelt level would otherwise pass as the name of a target.
pub(super) fn directives(text: &str) -> Result<String, String> {
    if LEVELS.contains(&text) {
        return Ok(level_directives(text));
    }
    let misspelt = text.split(',').find(|part| match part.rsplit_once('=') {
        Some((_, level)) => !LEVELS.contains(&level.trim()),
        None => !LEVELS.contains(&part.trim()),
    });
    if misspelt.is_some() || EnvFilter::try_new(text).is_err() {
        return Err(format!(
            "{text:?} is no log level: expected {} (or a list such as info,bimcc_rtc::turn=trace)",
            LEVELS.join(", ")
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_lists() {
        assert_eq!(directives("debug").unwrap(), "warn,bimcc_rtc=debug");
        assert_eq!(directives("error").unwrap(), "error");
        assert_eq!(directives("info,bimcc_rtc::turn=trace").unwrap(), "info,bimcc_rtc::turn=trace");
    }

    #[test]
    fn misspelt_levels() {
        for text in ["", "inof", "INFO!", "info,debgu", "bimcc_rtc=loud", "=", ","] {
            assert!(directives(text).is_err(), "{text:?}");
        }
    }
}
