//! What is done to the config of an image that more is laid over: as data, so that it can be told
//! of, and done again to another image's.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{DEFAULT_PATH, ImageConfig};
use super::variable::substitute;

/// One change to a config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amendment {
    /// Sets an environment variable.
    Env(String, String),
    /// Sets environment variables to values that may speak of what the image has for a variable
    /// before any of these is set: see [`substitute`].
    EnvFrom(BTreeMap<String, String>),
    /// Lets a venv's programs be found first, unless one that is found already builds on it.
    Venv(String),
    /// Puts directories before all others in `PATH`, where none of them stands a second time.
    FirstInPath(Vec<String>),
    /// Sets a label.
    Label(String, String),
    /// Exposes a port such as `8888/tcp`.
    Expose(String),
    /// Sets the working directory.
    Workdir(String),
    /// Sets the user.
    User(String),
    /// Sets the entrypoint. The arguments that there are go, as with `docker build`: they are for
    /// the other entrypoint.
    Entrypoint(Vec<String>),
    /// Sets the entrypoint's arguments.
    Cmd(Vec<String>),
}

impl Amendment {
    /// Makes the change.
    pub fn apply(&self, config: &mut ImageConfig) {
        let container = &mut config.config;
        match self {
            Self::Env(name, value) => container.set_env(name, value),
            Self::EnvFrom(values) => {
                // "Environment variable substitution use the same value for each variable throughout the
                // entire instruction."
                let value = |text: &String| {
                    let known = |name: &str| container.env(name).map(str::to_owned);
                    substitute(text, &known).unwrap_or_else(|_| text.clone())
                };
                let values: Vec<_> = values.iter().map(|(name, text)| (name, value(text))).collect();
                values.iter().for_each(|(name, value)| container.set_env(name, value));
            }
            Self::Venv(prefix) => {
                let bin = format!("{prefix}/bin");
                let path = container.env("PATH").unwrap_or(DEFAULT_PATH);
                let is_found = path.split(':').any(|directory| directory == bin);
                if is_found && container.env("VIRTUAL_ENV").is_some() {
                    return;
                }
                let path = format!("{bin}:{path}");
                container.set_env("PATH", &path);
                container.set_env("VIRTUAL_ENV", prefix);
            }
            Self::FirstInPath(first) => {
                let path = container.env("PATH").unwrap_or_default().to_owned();
                let rest = path.split(':').filter(|part| !first.iter().any(|bin| bin == part));
                let path: Vec<&str> = first.iter().map(String::as_str).chain(rest).collect();
                container.set_env("PATH", &path.join(":"));
            }
            Self::Label(name, value) => {
                container.labels.get_or_insert_default().insert(name.clone(), value.clone());
            }
            Self::Expose(port) => container.expose(port),
            Self::Workdir(directory) => container.working_dir = Some(directory.clone()),
            Self::User(user) => container.user = Some(user.clone()),
            Self::Entrypoint(entrypoint) => {
                container.entrypoint = Some(entrypoint.clone());
                container.cmd = None;
            }
            Self::Cmd(cmd) => container.cmd = Some(cmd.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path_after(path: &str, amendments: &[Amendment]) -> String {
        let mut config = ImageConfig::default();
        config.config.set_env("PATH", path);
        amendments.iter().for_each(|amendment| amendment.apply(&mut config));
        config.config.env("PATH").unwrap().to_owned()
    }

    #[test]
    fn an_accounts_own_venv_comes_before_the_shared_one_in_either_order() {
        let shared = Amendment::Venv("/opt/venv".into());
        let own = Amendment::FirstInPath(vec!["/home/dev/.venv/bin".into(), "/opt/venv/bin".into()]);
        let active = Amendment::Env("VIRTUAL_ENV".into(), "/home/dev/.venv".into());
        let expected = "/home/dev/.venv/bin:/opt/venv/bin:/usr/bin:/bin";
        assert_eq!(path_after("/usr/bin:/bin", &[shared.clone(), own.clone(), active.clone()]), expected);
        assert_eq!(path_after("/usr/bin:/bin", &[own, active, shared]), expected);
    }

    #[test]
    fn values_speak_of_what_the_image_had_before_any_of_them() {
        let mut config = ImageConfig::default();
        config.config.set_env("A", "old");
        let values = [("A", "new"), ("B", "$A:${C:-none}"), ("PATH", "/x:$PATH")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let amendments = [Amendment::Venv("/opt/venv".into()), Amendment::EnvFrom(values)];
        amendments.iter().for_each(|amendment| amendment.apply(&mut config));
        assert_eq!((config.config.env("A"), config.config.env("B")), (Some("new"), Some("old:none")));
        assert_eq!(config.config.env("PATH"), Some(format!("/x:/opt/venv/bin:{DEFAULT_PATH}").as_str()));
    }

    #[test]
    fn what_an_image_tells_is_what_was_done() {
        let amendments = vec![
            Amendment::Env("A".into(), "b".into()),
            Amendment::Entrypoint(vec!["/init".into()]),
            Amendment::Expose("22/tcp".into()),
        ];
        let told = serde_json::to_string(&amendments).unwrap();
        assert_eq!(told, r#"[{"env":["A","b"]},{"entrypoint":["/init"]},{"expose":"22/tcp"}]"#);
        assert_eq!(serde_json::from_str::<Vec<Amendment>>(&told).unwrap(), amendments);
    }
}
