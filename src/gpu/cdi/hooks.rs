//! Hooks of specifications: programs that a runtime runs on the machine, as its root. dlpack runs
//! none; what the container toolkit's do is done inside, by what their arguments say.

use super::specification::Hook;
use crate::sandbox::Link;

/// What a hook is there for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Symbolic links, before the command starts.
    Links(Vec<Link>),
    /// Directories in which the loader is to find libraries.
    Libraries(Vec<String>),
    /// The image's own libcuda, if it is newer than the driver's.
    Compatibility {
        /// Where the image has it.
        directory: String,
        /// The driver's version.
        driver: Option<String>,
    },
    /// Nothing that a container without privileges could do, or needs.
    Nothing,
}

/// Where NVIDIA's images have a libcuda of their own.
pub(in super::super) const COMPATIBILITY: &str = "/usr/local/cuda/compat";

impl Action {
    /// What `hook` is there for; none if nobody here knows.
    pub fn of(hook: &Hook) -> Option<Self> {
        let program = hook.path.rsplit('/').next().unwrap_or_default();
        let mut arguments = hook.args.iter().skip(1).map(String::as_str);
        // `nvidia-ctk hook NAME …` and `nvidia-cdi-hook NAME …` are the same
        let name = match program {
            "nvidia-cdi-hook" => arguments.next()?,
            "nvidia-ctk" => arguments.next().filter(|verb| *verb == "hook").and_then(|_| arguments.next())?,
            _ => return None,
        };
        let options = options(arguments);
        let all = |wanted: &'static str| {
            options.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.clone())
        };
        Some(match name {
            "create-symlinks" => Self::Links(all("link").map(|link| link_of(&link)).collect::<Option<_>>()?),
            "update-ldcache" => Self::Libraries(all("folder").collect()),
            "enable-cuda-compat" => Self::Compatibility {
                directory: all("cuda-compat-container-root").next().unwrap_or_else(|| COMPATIBILITY.to_owned()),
                driver: all("host-driver-version").next(),
            },
            // chmod: directories under /dev are made with mode 0755 here.
            // disable-device-node-modification: mknod(2) of a device is refused in a user namespace.
            // update-application-profile: which GPUs EGL lists; those without a node open for nobody.
            "chmod" | "disable-device-node-modification" | "update-application-profile" | "noop" => Self::Nothing,
            _ => return None,
        })
    }
}

/// `--name value` and `--name=value`.
fn options<'a>(arguments: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut options = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        let Some(option) = argument.strip_prefix("--") else { continue };
        match option.split_once('=') {
            Some((name, value)) => options.push((name.to_owned(), value.to_owned())),
            None => {
                let value = arguments.next_if(|next| !next.starts_with("--")).unwrap_or_default();
                options.push((option.to_owned(), value.to_owned()));
            }
        }
    }
    options
}

/// `target::link`.
fn link_of(text: &str) -> Option<Link> {
    let (target, path) = text.split_once("::")?;
    let whole = !target.is_empty() && path.starts_with('/') && !path.contains("::");
    whole.then(|| Link { target: target.to_owned(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(line: &str) -> Option<Action> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Action::of(&Hook { path: format!("/usr/bin/{}", args[0]), args })
    }

    #[test]
    fn the_toolkits_hooks_are_known_in_both_their_forms() {
        let link = |target: &str, path: &str| Link { target: target.into(), path: path.into() };
        let links = vec![link("libcuda.so.1", "/usr/lib64/libcuda.so"), link("../a", "/b")];
        for program in ["nvidia-cdi-hook", "nvidia-ctk hook"] {
            let line = format!("{program} create-symlinks --link libcuda.so.1::/usr/lib64/libcuda.so --link=../a::/b");
            assert_eq!(action(&line), Some(Action::Links(links.clone())));
            let line = format!("{program} update-ldcache --ldconfig-path /sbin/ldconfig --folder /a --folder /b");
            assert_eq!(action(&line), Some(Action::Libraries(vec!["/a".into(), "/b".into()])));
        }
        let compatibility = Action::Compatibility { directory: COMPATIBILITY.into(), driver: Some("550.54.15".into()) };
        assert_eq!(action("nvidia-cdi-hook enable-cuda-compat --host-driver-version=550.54.15"), Some(compatibility));
        assert_eq!(action("nvidia-cdi-hook chmod --mode 755 --path /dev/dri"), Some(Action::Nothing));
    }

    #[test]
    fn others_are_not() {
        for line in ["nvidia-cdi-hook make-coffee", "nvidia-cdi-hook", "nvidia-ctk cdi generate", "sh -c true"] {
            assert_eq!(action(line), None, "{line}");
        }
        assert_eq!(action("nvidia-cdi-hook create-symlinks --link a:/b"), None);
    }
}
