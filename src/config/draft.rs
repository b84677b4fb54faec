//! From what was typed to a [`Config`], or to all its mistakes.

use std::{ffi::OsString, fmt};

use super::{decided::Config, reader::Reader, settings::Settings};

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// One sentence each; never empty.
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

/// A configuration with the mistakes in it. Where a value is wrong its default stands, so that whoever knows more (of
/// the disk, for example) finds the rest of the mistakes before anybody is told.
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

    /// What was decided so far.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Adds a mistake in a setting, which is named as the person knows it who gave it.
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
