//! The sources of settings: flags, then the environment, then the file, and which of them gave which value.
//!
//! Values remain text here. The parent module decides what a setting means.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// One setting: `--name` as a flag, `BIMCC_RTC_NAME` in the environment, `name` in the file.
#[derive(Debug)]
pub struct SettingKey {
    /// The long flag without its dashes.
    pub name: &'static str,
    /// Whether it may be given several times (in the environment: a list with commas).
    pub repeatable: bool,
}

const fn one(name: &'static str) -> SettingKey {
    SettingKey { name, repeatable: false }
}

const fn many(name: &'static str) -> SettingKey {
    SettingKey { name, repeatable: true }
}

/// All settings.
pub const KEYS: &[SettingKey] = &[
    many("listen"),
    many("turn-listen"),
    many("turns-listen"),
    many("public-ip"),
    one("public-host"),
    one("relay-ports"),
    one("admin-listen"),
    one("tls"),
    one("tls-cert"),
    one("tls-key"),
    one("local-ca-any-ip"),
    one("realm"),
    many("secret"),
    many("secret-file"),
    one("credential-ttl"),
    one("peer-policy"),
    one("api-peer-policy"),
    many("allow-peer"),
    many("deny-peer"),
    many("trusted-proxy"),
    many("origin"),
    one("dangerously-allow-loopback-peers"),
    one("max-peers-per-room"),
    one("max-rooms"),
    one("max-message-bytes"),
    one("max-connections-per-ip"),
    one("max-websockets"),
    one("max-websockets-per-ip"),
    one("max-allocations"),
    one("max-allocations-per-user"),
    one("max-allocations-per-ip"),
    one("allocation-lifetime"),
    one("max-bitrate-per-allocation"),
    many("alternate-server"),
    one("workers"),
    one("relay-latency-budget"),
    one("state-dir"),
    one("log"),
    one("log-format"),
    one("log-people"),
];

/// The environment variable of a setting.
pub(super) fn env_name(key: &str) -> String {
    format!("BIMCC_RTC_{}", key.to_ascii_uppercase().replace('-', "_"))
}

/// The source of a value. A smaller source has precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SettingSource {
    Flag,
    Environment,
    File(PathBuf),
}

/// The values of one setting, all from the first source in order of precedence that has any.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) key: &'static str,
    pub(super) source: SettingSource,
    pub(super) values: Vec<String>,
}

impl fmt::Display for Given {
    /// The place where a person finds the value. Each mistake begins with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            SettingSource::Flag => write!(f, "--{}", self.key),
            SettingSource::Environment => f.write_str(&env_name(self.key)),
            SettingSource::File(path) => write!(f, "{} in {}", self.key, path.display()),
        }
    }
}

/// All settings that were given, each from its strongest source.
#[derive(Debug, Default)]
pub(super) struct Settings {
    given: BTreeMap<&'static str, Given>,
}

impl Settings {
    /// Merges the sources: flags have precedence over the environment, and that over the file. Everything that cannot
    /// be read becomes a mistake.
    pub(super) fn collect(
        flags: &[(&'static str, Vec<String>)],
        config_flag: Option<&str>,
        env: &dyn Fn(&str) -> Option<OsString>,
        mistakes: &mut Vec<String>,
    ) -> Self {
        let mut settings = Self::default();
        for (key, values) in flags {
            settings.offer(key, SettingSource::Flag, values.clone());
        }
        for key in KEYS {
            if let Some(values) = from_env(key, env, mistakes) {
                settings.offer(key.name, SettingSource::Environment, values);
            }
        }
        let config_env = env_name("config");
        let file = match config_flag {
            Some(path) => Some(("--config", PathBuf::from(path))),
            None => env(&config_env).filter(|v| !v.is_empty()).map(|path| (config_env.as_str(), path.into())),
        };
        if let Some((place, path)) = file {
            match std::fs::read_to_string(&path) {
                Ok(text) => settings.add_file(&path, &text, mistakes),
                Err(error) => mistakes.push(format!("{place}: cannot read {}: {error}", path.display())),
            }
        }
        settings
    }

    fn offer(&mut self, key: &'static str, source: SettingSource, values: Vec<String>) {
        self.given.entry(key).or_insert(Given { key, source, values });
    }

    fn add_file(&mut self, path: &Path, text: &str, mistakes: &mut Vec<String>) {
        let shown = path.display();
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                // The whole error would quote the line, which may contain a secret.
                let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
                mistakes.push(format!("{shown}, line {line}: not TOML: {}", error.message()));
                return;
            }
        };
        for (name, value) in table {
            let Some(key) = KEYS.iter().find(|key| key.name == name) else {
                mistakes.push(format!("{name:?} in {shown}: there is no such setting{}", did_you_mean(&name)));
                continue;
            };
            match from_toml(key, value) {
                Ok(values) => self.offer(key.name, SettingSource::File(path.to_owned()), values),
                Err(expected) => mistakes.push(format!("{name} in {shown}: expected {expected}")),
            }
        }
    }

    /// The values of a repeatable setting.
    pub(super) fn all(&self, key: &'static str) -> Option<&Given> {
        self.given.get(key)
    }

    /// The value of any other setting.
    pub(super) fn one(&self, key: &'static str) -> Option<(&Given, &str)> {
        let given = self.given.get(key)?;
        Some((given, given.values.last()?))
    }
}

/// An empty variable counts as absent, because compose files and unit files often leave empty ones.
fn from_env(
    key: &SettingKey,
    env: &dyn Fn(&str) -> Option<OsString>,
    mistakes: &mut Vec<String>,
) -> Option<Vec<String>> {
    let name = env_name(key.name);
    let value = match env(&name)?.into_string() {
        Ok(value) => value,
        Err(_) => {
            mistakes.push(format!("{name}: is not valid UTF-8"));
            return None;
        }
    };
    if value.trim().is_empty() {
        return None;
    }
    // A secret may contain commas and spaces.
    if key.name == "secret" {
        return Some(vec![value]);
    }
    if key.repeatable {
        return Some(value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect());
    }
    Some(vec![value.trim().to_owned()])
}

fn from_toml(key: &SettingKey, value: toml::Value) -> Result<Vec<String>, &'static str> {
    fn scalar(value: toml::Value) -> Option<String> {
        match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(switch) => Some(switch.to_string()),
            _ => None,
        }
    }
    match value {
        toml::Value::Array(values) if key.repeatable => {
            values.into_iter().map(|value| scalar(value).ok_or("a list of texts")).collect()
        }
        value if key.repeatable => scalar(value).map(|text| vec![text]).ok_or("a text or a list of texts"),
        value => scalar(value).map(|text| vec![text]).ok_or("a text, a number, true or false"),
    }
}

/// A sentence for each variable among `names` that looks like a setting but is not one; most likely it is misspelt. It
/// does not count as a mistake, because other programs may use the same prefix.
pub fn unknown_variables(names: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let prefix = env_name("");
    let is_known = |name: &str| name == env_name("config") || KEYS.iter().any(|key| name == env_name(key.name));
    let mut names: Vec<_> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
    names.sort_unstable();
    let unknown = names.iter().filter(|name| name.starts_with(&prefix) && !is_known(name));
    let hint = |name: &str| closest(&name[prefix.len()..]).map(|key| format!(" (did you mean {}?)", env_name(key)));
    unknown.map(|name| format!("{name} is not a setting and does nothing{}", hint(name).unwrap_or_default())).collect()
}

/// A hint for a misspelt key, if one is close.
fn did_you_mean(name: &str) -> String {
    closest(name).map_or_else(String::new, |key| format!(" (did you mean {key}?)"))
}

fn closest(name: &str) -> Option<&'static str> {
    let canonical = name.to_ascii_lowercase().replace('_', "-");
    KEYS.iter()
        .map(|key| (distance(&canonical, key.name), key.name))
        .min()
        .filter(|(distance, key)| *distance <= 2 && distance * 3 <= key.len())
        .map(|(_, name)| name)
}

/// Levenshtein distance, for texts of a few dozen bytes.
fn distance(a: &str, b: &str) -> usize {
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_env(_: &str) -> Option<OsString> {
        None
    }

    fn file(text: &str) -> (Settings, Vec<String>) {
        let mut mistakes = Vec::new();
        let mut settings = Settings::default();
        settings.add_file(Path::new("x.toml"), text, &mut mistakes);
        (settings, mistakes)
    }

    #[test]
    fn the_stronger_source_wins_whole() {
        let env = |name: &str| (name == "BIMCC_RTC_LISTEN").then(|| OsString::from("1, 2,"));
        let mut mistakes = Vec::new();
        let mut settings = Settings::collect(&[("realm", vec!["flag".to_owned()])], None, &env, &mut mistakes);
        settings.add_file(Path::new("x.toml"), "listen = '3'\nrealm = 'file'\nmax-rooms = 7", &mut mistakes);
        assert!(mistakes.is_empty());
        assert_eq!(settings.all("listen").unwrap().values, ["1", "2"]);
        assert_eq!(settings.one("realm").unwrap().1, "flag");
        assert_eq!(settings.one("max-rooms").unwrap().1, "7");
    }

    #[test]
    fn a_mistake_can_be_traced_to_its_place() {
        let given = |source| Given { key: "max-rooms", source, values: Vec::new() }.to_string();
        assert_eq!(given(SettingSource::Flag), "--max-rooms");
        assert_eq!(given(SettingSource::Environment), "BIMCC_RTC_MAX_ROOMS");
        assert_eq!(given(SettingSource::File("a/b.toml".into())), "max-rooms in a/b.toml");
    }

    #[test]
    fn empty_variables_are_absent_and_secrets_keep_their_commas() {
        let env = |name: &str| match name {
            "BIMCC_RTC_REALM" => Some(OsString::from(" ")),
            "BIMCC_RTC_SECRET" => Some(OsString::from("a,b ")),
            _ => None,
        };
        let settings = Settings::collect(&[], None, &env, &mut Vec::new());
        assert!(settings.one("realm").is_none());
        assert_eq!(settings.all("secret").unwrap().values, ["a,b "]);
    }

    #[test]
    fn misspelt_variables_are_noticed() {
        let unknown = |names: &[&str]| unknown_variables(names.iter().map(OsString::from));
        assert_eq!(unknown(&["BIMCC_RTC_TLS", "BIMCC_RTC_CONFIG", "BIMCC_RTC", "HOME"]), [""; 0]);
        let said = unknown(&["BIMCC_RTC_XYZZY", "BIMCC_RTC_PUBLICIP"]);
        assert_eq!(said[0], "BIMCC_RTC_PUBLICIP is not a setting and does nothing (did you mean BIMCC_RTC_PUBLIC_IP?)");
        assert_eq!(said[1], "BIMCC_RTC_XYZZY is not a setting and does nothing");
    }

    #[test]
    fn files_take_texts_numbers_switches_and_lists() {
        let (settings, mistakes) = file("listen = [3000, '[::1]:1']\ntls = true\nturn-listen = 5");
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(settings.all("listen").unwrap().values, ["3000", "[::1]:1"]);
        assert_eq!(settings.one("tls").unwrap().1, "true");
        assert_eq!(settings.all("turn-listen").unwrap().values, ["5"]);
    }

    #[test]
    fn every_mistake_in_a_file_is_found() {
        let (_, mistakes) = file("max_rooms = 1\nrealm = ['a']\nfoo = 1\n[listen]\na = 1");
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(mistakes.iter().any(|m| m.contains("did you mean max-rooms?")));
        assert!(mistakes.iter().any(|m| m.starts_with("\"foo\" in x.toml") && !m.contains("mean")));
    }

    #[test]
    fn broken_toml_names_the_line_and_shows_no_secret() {
        let (_, mistakes) = file("realm = 'x'\nsecret = 'hush\n");
        assert_eq!(mistakes.len(), 1);
        assert!(mistakes[0].starts_with("x.toml, line 2:"), "{mistakes:?}");
        assert!(!mistakes[0].contains("hush"));
    }

    #[test]
    fn a_missing_file_is_a_mistake() {
        let mut mistakes = Vec::new();
        Settings::collect(&[], Some("/nonexistent/x.toml"), &no_env, &mut mistakes);
        assert!(mistakes[0].starts_with("--config: cannot read /nonexistent/x.toml"), "{mistakes:?}");
    }
}
