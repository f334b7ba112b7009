//! Where a recipe says what a layer is a function of: from a field's name to a line of a file.

use crate::lock::SCRIPT;
use crate::plan::Step;
use crate::python::wheel::normalize;
use crate::recipe::{LayerKind, Location, Recipe, Sources};

/// The lines of a recipe. Where the recipe itself is not at hand, there are none.
#[derive(Clone, Copy, Debug)]
pub struct Lines<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// Where its values stand.
    pub sources: Option<&'a Sources>,
}

impl Lines<'_> {
    /// Where the base is named.
    pub(super) fn base(&self) -> Option<String> {
        self.at(&["base"])
    }

    /// Where the layer of `step` says what `field` follows from; where it leaves that to a
    /// default, where the layer begins.
    pub(super) fn field(&self, step: &Step, field: &str) -> Option<String> {
        let key = match field {
            // These are no person's doing.
            "payload" | "account-files" => return None,
            "compression" => return self.at(&["compression"]),
            "version" => "python",
            "manual" | "debs" => "packages",
            "password" => "password-secret",
            "home-files" => "authorized-keys",
            "sha256" => "interpreter",
            key => key,
        };
        self.at(&["layer", &step.layer, key]).or_else(|| self.at(&["layer", &step.layer]))
    }

    /// Where the layer of `step` names a part of `field`; nothing where it does not, such as for a
    /// wheel that another one requires.
    pub(super) fn part(&self, step: &Step, field: &str, name: &str) -> Option<String> {
        let layer = &self.recipe.layers.get(step.index)?.kind;
        let item = |key: &str, position: Option<usize>| self.at(&["layer", &step.layer, key, &position?.to_string()]);
        match (field, layer) {
            ("env", _) => self.at(&["layer", &step.layer, "env", name]),
            ("sha256", _) => self.at(&["layer", &step.layer, "interpreter"]),
            ("debs", LayerKind::Apt(apt)) => {
                item("packages", apt.packages.iter().position(|asked| package(asked) == package(name)))
            }
            ("requires", LayerKind::Venv(venv)) => {
                item("build-requirements", venv.build_requirements.iter().position(|asked| project(asked) == name))
            }
            (_, LayerKind::Venv(venv)) => {
                let file = |path: &String| project(path.rsplit('/').next().unwrap_or(path)) == name;
                item("requirements", venv.requirements.iter().position(|asked| project(asked) == name))
                    .or_else(|| item("wheels", venv.wheels.iter().position(file)))
                    .or_else(|| item("projects", venv.projects.iter().position(file)))
            }
            (_, LayerKind::Files(files)) => item("files", files.files.iter().position(|entry| covers(&entry.to, name))),
            (_, LayerKind::Run(_)) if name.trim_start_matches('/') == SCRIPT => {
                self.at(&["layer", &step.layer, "script"])
            }
            (_, LayerKind::Run(run)) => item("mounts", run.mounts.iter().position(|mount| covers(&mount.to, name))),
            _ => None,
        }
    }

    fn at(&self, path: &[&str]) -> Option<String> {
        let Location { file, line, .. } = self.sources?.locate(path)?;
        Some(format!("{file}:{line}"))
    }
}

/// The name of a package, without what apt-get(8) takes behind it: `=version`, `:architecture`.
fn package(asked: &str) -> &str {
    asked.split(['=', ':', '/']).next().unwrap_or(asked)
}

/// The project of a requirement or of a wheel's file name, normalised.
fn project(asked: &str) -> String {
    // PyPA, dependency specifiers: names are letters, digits, `.`, `-` and `_`. A wheel's ends at
    // its first `-`, which is in no escaped name.
    let end = match asked.ends_with(".whl") && !asked.contains(' ') {
        true => asked.find('-'),
        false => asked.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))),
    };
    normalize(asked[..end.unwrap_or(asked.len())].trim())
}

/// Whether what goes to `to` comprises `path`.
fn covers(to: &str, path: &str) -> bool {
    let (to, path) = (to.trim_matches('/'), path.trim_matches('/'));
    to.is_empty() || path.strip_prefix(to).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_and_a_wheels_file_are_of_a_project() {
        for asked in ["Foo.Bar", "foo-bar[x,y]>=1", "foo_bar @ https://h/x.whl ; a", "foo_bar-1.0-py3-none-any.whl"] {
            assert_eq!(project(asked), "foo-bar", "{asked}");
        }
        assert_eq!(package("libc6:i386=2.36-9"), "libc6");
        assert!(covers("/etc/x/", "/etc/x/y") && covers("/", "/a") && !covers("/etc/x", "/etc/xy"));
    }
}
