//! What a container runs: the image's command, another, or a shell.

use super::Error;
use crate::oci::ContainerConfig;

/// bash where there is one. It is no login shell: those set `PATH` anew, and the image's
/// own venvs would be gone from it.
const SHELL: [&str; 3] = ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash; exec sh"];

/// What a container is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The image's entrypoint, with these arguments or, without any, the image's.
    Arguments(Vec<String>),
    /// Another entrypoint, with these arguments.
    Entrypoint(String, Vec<String>),
    /// A shell.
    Shell,
}

impl Wanted {
    /// The words of the command, for an image of this config.
    ///
    /// # Errors
    /// [`Error::NoCommand`].
    pub(super) fn words(&self, config: &ContainerConfig) -> Result<Vec<String>, Error> {
        let own = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
        let words = match self {
            // image-spec `config.md`, Cmd: "default arguments to the entrypoint of the container"
            Self::Arguments(arguments) if arguments.is_empty() => [own(&config.entrypoint), own(&config.cmd)].concat(),
            Self::Arguments(arguments) => [own(&config.entrypoint), arguments.clone()].concat(),
            // docker-run(1), --entrypoint: an empty one leaves the arguments alone
            Self::Entrypoint(program, arguments) if program.is_empty() => arguments.clone(),
            Self::Entrypoint(program, arguments) => [std::slice::from_ref(program), arguments].concat(),
            Self::Shell => SHELL.map(str::to_owned).into(),
        };
        if words.is_empty() { Err(Error::NoCommand) } else { Ok(words) }
    }

    /// Whether a person named it, and wants no services beside it.
    pub(super) fn is_named(&self) -> bool {
        !matches!(self, Self::Arguments(arguments) if arguments.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_take_the_place_of_the_images_and_an_entrypoint_that_of_both() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let config =
            ContainerConfig { entrypoint: Some(words("start -x")), cmd: Some(words("serve")), ..Default::default() };
        let run = |wanted: Wanted, config: &ContainerConfig| wanted.words(config).map(|words| words.join(" ")).ok();
        let arguments = |text| Wanted::Arguments(words(text));
        let entrypoint = |program: &str, text| Wanted::Entrypoint(program.into(), words(text));
        assert_eq!(run(arguments(""), &config).as_deref(), Some("start -x serve"));
        assert_eq!(run(arguments("a b"), &config).as_deref(), Some("start -x a b"));
        assert_eq!(run(entrypoint("sh", "-c x"), &config).as_deref(), Some("sh -c x"));
        assert_eq!(run(entrypoint("", "a"), &config).as_deref(), Some("a"));
        assert_eq!(run(entrypoint("", ""), &config), None);
        assert_eq!(run(arguments(""), &ContainerConfig::default()), None);
        assert_eq!(run(arguments("a"), &ContainerConfig::default()).as_deref(), Some("a"));
    }
}
