//! What lies in an account's home: the base's skeleton, authorised keys, and a
//! small venv over the shared one, so that `pip install` works for the account.

use serde_json::{Value, json};

use super::account::{Error, Identity, content};
use super::entries::Entries;
use crate::lock::{BaseFile, FileKind, Lock, LockedLayer, LockedVenv};
use crate::oci::{Amendment, Digest};
use crate::python::scheme::Scheme;
use crate::python::venv::{Item, SHARED, Skeleton, shared};
use crate::recipe::LayerKind;

/// Debian's adduser.conf(5), DIR_MODE.
const HOME_MODE: u32 = 0o700;

/// A home directory.
#[derive(Clone, Debug)]
pub(super) struct Home {
    identity: Identity,
    /// Files of the base's `/etc/skel`, with their content.
    skeleton: Vec<(BaseFile, Vec<u8>)>,
    authorized_keys: Vec<String>,
    venv: Option<OwnVenv>,
}

/// `~/.venv`: the account's own, with the shared venv's packages in sight.
#[derive(Clone, Debug)]
struct OwnVenv {
    /// The shared venv, absolute.
    shared: String,
    /// Its own files, but for what leads to the shared one.
    skeleton: Skeleton,
    /// Whether the shared venv has them.
    pip: bool,
    ipykernel: bool,
}

impl Home {
    pub(super) fn new(
        identity: &Identity,
        venv: Option<&str>,
        authorized_keys: &[String],
        lock: &Lock,
    ) -> Result<Self, Error> {
        let skeleton = skeleton(identity, &lock.base.files)?;
        let venv = venv.map(|path| OwnVenv::over(path, identity, lock)).transpose()?;
        Ok(Self { identity: identity.clone(), skeleton, authorized_keys: authorized_keys.to_vec(), venv })
    }

    /// The same for `identity`, which has the same home, with the skeleton among `files`.
    pub(super) fn on(&self, identity: &Identity, files: &[BaseFile]) -> Result<Self, Error> {
        let skeleton = skeleton(identity, files)?;
        Ok(Self { identity: identity.clone(), skeleton, ..self.clone() })
    }

    /// Adds what lies in the home to a layer.
    pub(super) fn entries(&self, entries: &mut Entries) {
        let account = &self.identity;
        let home = account.home.trim_start_matches('/');
        // A home that the base has keeps its attributes; it may be a link, as `/bin` is sync's.
        if !account.taken_over {
            entries.directory(home, account.owns(HOME_MODE));
        }
        for (file, bytes) in &self.skeleton {
            let path = format!("{home}/{}", file.path.trim_start_matches("etc/skel/"));
            let attributes = account.owns(file.mode);
            match file.kind {
                FileKind::Directory => entries.directory(path, attributes),
                FileKind::File => entries.file(path, attributes, bytes.clone()),
                FileKind::Symlink => entries.symlink(path, attributes, String::from_utf8_lossy(bytes)),
            }
        }
        if !self.authorized_keys.is_empty() {
            // sshd(8), FILES: neither may be writable by others.
            entries.directory(format!("{home}/.ssh"), account.owns(0o700));
            let lines: String = self.authorized_keys.iter().flat_map(|key| [key.as_str(), "\n"]).collect();
            entries.file(format!("{home}/.ssh/authorized_keys"), account.owns(0o600), lines);
        }
        if let Some(venv) = &self.venv {
            venv.entries(account, entries);
        }
    }

    /// Lets programs of the account's venv be found before those of the shared one.
    pub(super) fn amendments(&self) -> Vec<Amendment> {
        let Some(venv) = &self.venv else { return Vec::new() };
        let own = venv.skeleton.scheme.prefix();
        let env = |name: &str, value: String| Amendment::Env(name.to_owned(), value);
        let mut amendments = vec![
            Amendment::FirstInPath(vec![format!("{own}/bin"), format!("{}/bin", venv.shared)]),
            env("VIRTUAL_ENV", own.to_owned()),
        ];
        if venv.ipykernel {
            // A notebook's kernel is then the account's Python, not that of Jupyter's venv.
            amendments.push(env("JUPYTER_PATH", format!("{own}/share/jupyter")));
        }
        amendments
    }

    /// What stands for it in a key.
    pub(super) fn fingerprint(&self) -> Value {
        let file = |(file, bytes): &(BaseFile, Vec<u8>)| {
            json!([file.path, file.kind, file.mode, Digest::of(bytes).to_string()])
        };
        json!({
            "skeleton": self.skeleton.iter().map(file).collect::<Vec<_>>(),
            "authorized-keys": self.authorized_keys,
            "venv": self.venv.as_ref().map(|venv| {
                let Skeleton { interpreter, version, .. } = &venv.skeleton;
                let payload = venv.skeleton.fingerprint().to_string();
                json!([venv.shared, interpreter, version, payload, venv.pip, venv.ipykernel])
            }),
        })
    }
}

/// The files of `/etc/skel` among `files`. A home that the base has is not filled a
/// second time.
fn skeleton(identity: &Identity, files: &[BaseFile]) -> Result<Vec<(BaseFile, Vec<u8>)>, Error> {
    let of_skeleton = files.iter().filter(|file| !identity.taken_over && file.path.starts_with("etc/skel/"));
    of_skeleton.map(|file| Ok((file.clone(), content(file)?))).collect()
}

impl OwnVenv {
    /// A venv over the one that `lock` has at `path`.
    fn over(path: &str, account: &Identity, lock: &Lock) -> Result<Self, Error> {
        let layers = lock.recipe.layers.iter().zip(&lock.layers);
        let locked = layers.into_iter().find_map(|(layer, locked)| match (&layer.kind, locked) {
            (LayerKind::Venv(venv), LockedLayer::Venv(locked)) if venv.path == path => Some(locked),
            _ => None,
        });
        let Some(LockedVenv { interpreter, python, wheels, sources, .. }) = locked else {
            return Err(Error::NoVenv { user: account.user.clone(), path: path.to_owned() });
        };
        let version = python.parse().map_err(|source| Error::Python {
            user: account.user.clone(),
            path: path.to_owned(),
            source,
        })?;
        let built = |name: &str| sources.iter().any(|source| source.name == name);
        let has = |name: &str| wheels.iter().any(|wheel| wheel.name == name) || built(name);
        Ok(Self {
            shared: path.trim_end_matches('/').to_owned(),
            skeleton: Skeleton {
                scheme: Scheme::new(&format!("{}/.venv", account.home), version),
                interpreter: interpreter.path.clone(),
                version: python.clone(),
            },
            pip: has("pip"),
            ipykernel: has("ipykernel"),
        })
    }

    fn entries(&self, account: &Identity, entries: &mut Entries) {
        let scheme = &self.skeleton.scheme;
        let root = scheme.prefix().trim_start_matches('/');
        let (directory, file, link) = (account.owns(0o755), account.owns(0o644), account.owns(0o777));
        for (path, item) in self.skeleton.items() {
            let path = format!("{root}/{path}").trim_end_matches('/').to_owned();
            match item {
                Item::Directory => entries.directory(path, directory),
                Item::File(content) => entries.file(path, file, content),
                Item::Link(target) => entries.symlink(path, link, target),
            }
        }
        let pth = format!("{root}/{}/{SHARED}", scheme.site_packages());
        entries.file(pth, file, shared(&format!("{}/{}", self.shared, scheme.site_packages())));
        if self.pip {
            let pip = format!(
                "#!{}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n",
                scheme.interpreter()
            );
            for name in ["pip", "pip3"] {
                entries.file(format!("{root}/bin/{name}"), directory, pip.as_str());
            }
        }
        if self.ipykernel {
            for path in ["share", "share/jupyter", "share/jupyter/kernels", "share/jupyter/kernels/python3"] {
                entries.directory(format!("{root}/{path}"), directory);
            }
            // jupyter_client, "Kernel specs": the first `python3` that is found is the default.
            let kernel = json!({
                "argv": [scheme.interpreter().as_str(), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "metadata": { "debugger": true },
            });
            entries.file(format!("{root}/share/jupyter/kernels/python3/kernel.json"), file, format!("{kernel:#}\n"));
        }
    }
}
