//! Turns what was typed into a [`Config`], or into a list of all mistakes.

use std::{ffi::OsString, fmt};

use super::{decided::Config, reader::Reader, settings::Settings};

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The mistakes, one sentence each; the list is never empty.
    pub mistakes: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.mistakes.iter().enumerate() {
            write!(f, "{}{mistake}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// A configuration together with its mistakes. A wrong value is replaced by its default, so that later checks (of the
/// disk, for example) can add their mistakes before all of them are reported.
#[derive(Debug)]
pub struct Draft {
    config: Config,
    settings: Settings,
    mistakes: Vec<String>,
}

impl Draft {
    /// Reads the typed settings, the file of `--config`, and the environment.
    pub fn read(
        flags: &[(&'static str, Vec<String>)],
        config_flag: Option<&str>,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        let mut mistakes = Vec::new();
        let settings = Settings::collect(flags, config_flag, env, &mut mistakes);
        let mut reader = Reader::new(settings, mistakes);
        let config = reader.config(env);
        let (settings, mistakes) = reader.into_parts();
        Self { config, settings, mistakes }
    }

    /// The configuration so far.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds a mistake in a setting. The setting is named as the person gave it (as a flag, a variable, or a line in the
    /// file).
    pub fn note(&mut self, key: &'static str, problem: impl fmt::Display) {
        let place = self.settings.all(key).map_or_else(|| format!("--{key}"), ToString::to_string);
        self.mistakes.push(format!("{place}: {problem}"));
    }

    /// # Errors
    /// All mistakes at once.
    pub fn finish(self) -> Result<Config, ConfigError> {
        let Self { config, mistakes, .. } = self;
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError { mistakes }) }
    }
}
