//! Packages for an account, on top of those that the base's Python has: where they lie, and what
//! of the base they rely on.

use super::base;
use super::error::Error;
use super::interpreter;
use super::model::{LockedBase, LockedInterpreter, LockedLayer, LockedPresent, LockedUser};
use super::present::distributions;
use super::venv::Context;
use crate::python::resolve;
use crate::python::source::Metadata;
use crate::python::uv;
use crate::python::wheel::normalize;
use crate::recipe::{Layer, LayerKind, USER_SITE};

/// Where packages for `user` lie, whose account is made by one of `layers`, locked as `locked` so
/// far: as that layer will make it on the account files of `base`.
pub(super) fn of_account(
    user: &str,
    layers: &[Layer],
    locked: &[LockedLayer],
    base: &LockedBase,
) -> Option<LockedUser> {
    let (recipe, uid, gid) = layers.iter().zip(locked).find_map(|(layer, locked)| match (&layer.kind, locked) {
        (LayerKind::Account(recipe), LockedLayer::Account { uid, gid, .. }) if recipe.user == user => {
            Some((recipe, *uid, *gid))
        }
        _ => None,
    })?;
    // passwd(5): name, password, uid, gid, comment, directory, shell; group(5): name, password, gid, members
    let in_base = entry(base, base::ACCOUNT_FILES[0], user);
    let group = entry(base, base::ACCOUNT_FILES[1], user);
    let number = |entry: &Option<Vec<String>>, field: usize| entry.as_ref()?.get(field)?.parse().ok();
    let home = in_base.as_ref().and_then(|fields| fields.get(5).cloned());
    let home = recipe.home.clone().or(home).unwrap_or_else(|| format!("/home/{user}"));
    Some(LockedUser {
        base: format!("{}{}", home.trim_end_matches('/'), USER_SITE.trim_start_matches('~')),
        uid: number(&in_base, 2).unwrap_or(uid),
        gid: number(&in_base, 3).or_else(|| number(&group, 2)).unwrap_or(gid),
        present: Vec::new(),
    })
}

/// The fields of the line of `name` in an account file of the base.
fn entry(base: &LockedBase, path: &str, name: &str) -> Option<Vec<String>> {
    let text = String::from_utf8(base.file(path)?.bytes().ok()?).ok()?;
    let mut entries = text.lines().map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>());
    entries.find(|fields| fields.first().is_some_and(|first| first == name))
}

/// What the base's Python has already, if packages lie on top of it.
pub(super) fn present(context: &Context<'_>, interpreter: &LockedInterpreter, python: &str) -> Vec<Metadata> {
    match (&context.user, context.files) {
        (Some(_), Some(files)) => distributions(files, &interpreter.path, &interpreter::short(python)),
        _ => Vec::new(),
    }
}

/// Those of `present` whose names are among `names`.
pub(super) fn relied_on(present: &[Metadata], names: &[String]) -> Vec<LockedPresent> {
    let locked = |metadata: &Metadata| {
        let (name, version) = (normalize(&metadata.name), metadata.version.clone().unwrap_or_default());
        names.contains(&name).then_some(LockedPresent { name, version })
    };
    let mut relied_on: Vec<LockedPresent> = present.iter().filter_map(locked).collect();
    relied_on.sort_by(|one, other| one.name.cmp(&other.name));
    relied_on
}

/// `error`, if uv says no, with what the base has of the packages that it speaks of.
pub(super) fn explained(layer: &str, error: Error, present: &[Metadata]) -> Error {
    let Error::Resolve(resolve::Error::Uv(uv::Error::Refused { source, .. })) = &error else { return error };
    let said = source.to_string();
    let mentions = |name: &str| {
        said.split(|c: char| !c.is_alphanumeric() && !"-_.".contains(c)).any(|word| normalize(word) == name)
    };
    let named = relied_on(present, &present.iter().map(|one| normalize(&one.name)).collect::<Vec<_>>());
    let named = named.into_iter().filter(|one| mentions(&one.name));
    let named: Vec<String> = named.map(|one| format!("{} {}", one.name, one.version)).collect();
    match (named.is_empty(), error) {
        (false, Error::Resolve(source)) => {
            Error::OnBase { layer: layer.to_owned(), base: named.join(", "), source: Box::new(source) }
        }
        (_, error) => error,
    }
}
