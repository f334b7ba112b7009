//! What pip's own settings say about indexes, for those who have no uv set up.

use std::env;
use std::fs;
use std::path::PathBuf;

/// `index-url` and `extra-index-url` as pip would take them: the environment, then
/// the user's file, then the machine's.
#[derive(Debug, Default)]
pub(super) struct PipSettings {
    pub(super) index: Option<String>,
    pub(super) extra: Vec<String>,
}

impl PipSettings {
    pub(super) fn read() -> Self {
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut settings =
            Self { index: variable("PIP_INDEX_URL"), extra: words(variable("PIP_EXTRA_INDEX_URL").as_deref()) };
        for path in files() {
            if let Ok(text) = fs::read_to_string(path) {
                settings.fill(&text);
            }
        }
        settings
    }

    /// Takes from a `pip.conf` what is not set yet.
    fn fill(&mut self, text: &str) {
        self.index = self.index.take().or_else(|| global(text, "index-url"));
        if self.extra.is_empty() {
            self.extra = words(global(text, "extra-index-url").as_deref());
        }
    }
}

fn words(text: Option<&str>) -> Vec<String> {
    text.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

/// pip's documentation, "Configuration": the environment's file, the user's two,
/// the machine's; the first here is the strongest.
fn files() -> Vec<PathBuf> {
    let named = env::var_os("PIP_CONFIG_FILE").map(PathBuf::from);
    let home = env::var_os("HOME").map(PathBuf::from);
    let config = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(|| home.as_ref().map(|h| h.join(".config")));
    let machine = [PathBuf::from("/etc/xdg/pip/pip.conf"), PathBuf::from("/etc/pip.conf")];
    let user = config.map(|config| config.join("pip/pip.conf"));
    let old = home.map(|home| home.join(".pip/pip.conf"));
    let venv = env::var_os("VIRTUAL_ENV").map(|venv| PathBuf::from(venv).join("pip.conf"));
    named.into_iter().chain(venv).chain(user).chain(old).chain(machine.into_iter().rev()).collect()
}

/// The value of `key` in `[global]`, its continuation lines joined.
fn global(text: &str, key: &str) -> Option<String> {
    let mut inside = false;
    let mut value: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) {
            continue;
        }
        match (&mut value, line.starts_with([' ', '\t'])) {
            (Some(value), true) => {
                value.push(' ');
                value.push_str(trimmed);
                continue;
            }
            (Some(_), false) => break,
            (None, _) => {}
        }
        if trimmed.starts_with('[') {
            inside = trimmed == "[global]";
        } else if let Some((name, rest)) = trimmed.split_once(['=', ':'])
            && inside
            && name.trim().replace('_', "-") == key
        {
            value = Some(rest.trim().to_owned());
        }
    }
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_section_of_a_pip_conf_is_read_with_its_continuation_lines() {
        let text = "[install]\nindex-url = http://wrong/\n[global]\n# a comment\nindex_url: http://a/simple\n\
                    extra-index-url =\n    http://b/simple\n    http://c/simple\ntimeout = 3\n";
        let mut settings = PipSettings::default();
        settings.fill(text);
        assert_eq!(settings.index.as_deref(), Some("http://a/simple"));
        assert_eq!(settings.extra, ["http://b/simple", "http://c/simple"]);
    }
}
