//! Puts a recipe together: the flavour or the base, the project's packages, the account.

use crate::recipe::Word;

use super::bases::{self, Chosen};
use super::dockerfile::{Dockerfile, Installed};
use super::draft::{Account, Base, Draft, Kind, Layer, Part, Text, Venv};
use super::error::Error;
use super::found::{Defaults, Found, PLAIN};
use super::note::{Item, Note};
use super::packages::Packages;
use super::render::render;

/// What a person chose; what is none is as the files suggest it.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// One of [`super::flavours`].
    pub flavour: Option<String>,
    /// A version of CUDA, or `none`.
    pub cuda: Option<String>,
    /// A version of Python.
    pub python: Option<String>,
    /// The account's name; `root` for none.
    pub user: Option<String>,
}

/// A recipe in writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The recipe.
    pub text: String,
    /// How many of its comments are about what it does not say.
    pub unsaid: usize,
}

/// Where the packages of a venv lie if nothing says so.
const VENV: &str = "/opt/venv";

/// The recipe for what was found and chosen. Paths start `above` the files: `../` for a
/// recipe that lies in a directory beside them, nothing for one that lies with them.
///
/// # Errors
/// If there is no such flavour, or no base with that CUDA and Python.
pub fn compose(found: Found, answers: &Answers, above: &str) -> Result<Written, Error> {
    let defaults = found.defaults(answers.flavour.as_deref())?;
    if let Some(user) = &answers.user
        && user != "root"
    {
        Word::Login.accepts(user).map_err(|_| Error::User { name: user.clone() })?;
    }
    let about = about(&found);
    let Found { packages, dockerfile, variables, .. } = found;
    let mut draft = match (dockerfile, defaults.flavour) {
        (Some(dockerfile), PLAIN) => on_dockerfile(dockerfile, packages, answers)?,
        (dockerfile, flavour) => {
            let from_file = dockerfile.map(rest_of);
            let mut packages = packages;
            let (parts, notes) = from_file.map_or_else(Default::default, |(parts, notes, installed)| {
                packages.add(installed);
                (parts, notes)
            });
            let mut draft = if flavour == PLAIN {
                plain(packages, answers, &defaults)?
            } else {
                flavoured(flavour, packages, answers, &defaults)?
            };
            draft.parts.extend(parts);
            draft.base_notes.extend(notes);
            draft
        }
    };
    for (name, value) in variables {
        match Word::Variable.accepts(&name) {
            Ok(()) => draft.config.env.push((name, Text::Plain(value))),
            Err(why) => draft.config.notes.push(Note::new(format!("not said here: {name}={value}: {why}"))),
        }
    }
    draft.about = [about, std::mem::take(&mut draft.about)].concat();
    draft.rebase(above);
    let (text, unsaid) = render(&draft);
    Ok(Written { text, unsaid })
}

/// What the recipe is written from, at its top.
fn about(found: &Found) -> Vec<Note> {
    let from = match &found.read[..] {
        [] => String::new(),
        names => format!(" from {}", names.join(", ")),
    };
    let mut notes = vec![Note::new(format!(
        "Written by `dlpack init`{from}. It is yours to change: docs/recipes.md has every key.\n\
         `dlpack plan` shows its layers, `dlpack build` makes the image."
    ))];
    if !found.left.is_empty() {
        let names = found.left.join(", ");
        notes.push(Note::new(format!("Not read: {names}. `dlpack init --from FILE` takes another file, or several.")));
    }
    notes
}

/// A Dockerfile's layers and packages without its base, for a flavour.
fn rest_of(dockerfile: Dockerfile) -> (Vec<Part>, Vec<Note>, Packages) {
    let Dockerfile { draft, image, venv } = dockerfile;
    let note = Note::new(format!("the Dockerfile is on {image}; this is on the flavour's base"));
    let Some(Installed { part, packages, .. }) = venv else { return (draft.parts, vec![note], Packages::default()) };
    let mut parts = draft.parts;
    parts.remove(part);
    (parts, vec![note], packages)
}

/// A recipe of nothing but the project's packages.
fn plain(packages: Packages, answers: &Answers, defaults: &Defaults) -> Result<Draft, Error> {
    let chosen = chosen(&packages, answers, defaults)?;
    let mut draft = Draft { base: Base::Image(Text::plain(chosen.image.clone())), ..Draft::default() };
    draft.config.env.push(("LANG".into(), Text::plain("C.UTF-8")));
    if chosen.needs_apt {
        let packages = ["python3", "python3-venv"].map(|name| Item::Said(name.to_owned())).to_vec();
        draft.push(Vec::new(), Kind::Apt { packages, recommends: false });
    }
    let venv = Venv {
        amends: false,
        path: None,
        python: Some(chosen.python.clone()),
        interpreter: Some(chosen.interpreter.clone()),
        packages,
    };
    push_venv(&mut draft, venv);
    let user = answers.user.as_deref().unwrap_or(&defaults.user);
    if user != "root" {
        draft.vars = vec![("user".into(), user.to_owned()), ("uid".into(), chosen.uid.to_string())];
        draft.config.workdir = Some(Text::WithVariables("/home/${user}".into()));
        draft.push(Vec::new(), Kind::Account(account()));
    }
    Ok(draft)
}

/// The account that `[vars]` speaks of.
fn account() -> Account {
    Account {
        user: Some(Text::WithVariables("${user}".into())),
        uid: Some(Text::WithVariables("${uid}".into())),
        venv: Some(VENV.into()),
        ..Account::default()
    }
}

/// A recipe over one that comes with dlpack.
fn flavoured(flavour: &str, packages: Packages, answers: &Answers, defaults: &Defaults) -> Result<Draft, Error> {
    let own = bases::choose((flavour != "quickstart").then_some(bases::DEFAULT_CUDA), None, &[])?;
    let chosen = chosen(&packages, answers, defaults)?;
    // quickstart is on Debian's own packages, whose Python is 3.11.
    let is_own = match flavour {
        "quickstart" => {
            answers.cuda.as_deref().is_none_or(|cuda| cuda == "none")
                && answers.python.as_deref().is_none_or(|python| python == "3.11")
                && packages.python.iter().all(|wanted| wanted.takes(11))
        }
        _ => chosen == own,
    };
    let image = (!is_own).then(|| chosen.image.clone());
    let mut draft = Draft { base: Base::Flavour { name: flavour.to_owned(), image }, ..Draft::default() };
    let user = answers.user.as_deref().unwrap_or(&defaults.user);
    if user == "root" {
        let note = Note::new("the flavour's layers are set up for an account: this one has its name");
        draft.base_notes.push(note);
    } else {
        draft.vars.push(("user".into(), user.to_owned()));
    }
    if !is_own && chosen.uid != own.uid {
        draft.vars.push(("uid".into(), chosen.uid.to_string()));
    }
    let of_base = (!is_own).then_some(chosen);
    if of_base.is_some() || !packages.is_empty() {
        let (python, interpreter) = of_base.map(|chosen| (chosen.python, chosen.interpreter)).unzip();
        let venv = Venv { amends: true, path: None, python, interpreter, packages };
        push_venv(&mut draft, venv);
    }
    Ok(draft)
}

/// The base that the answers, or the defaults for want of any, come to.
fn chosen(packages: &Packages, answers: &Answers, defaults: &Defaults) -> Result<Chosen, Error> {
    let cuda = answers.cuda.as_deref().unwrap_or(&defaults.cuda);
    let cuda = (cuda != "none").then_some(cuda);
    bases::choose(cuda, answers.python.as_deref(), &packages.python)
}

/// Adds the venv, with what is noted of its packages over it.
fn push_venv(draft: &mut Draft, mut venv: Venv) {
    let notes = std::mem::take(&mut venv.packages.notes);
    draft.parts.push(Part::Layer(Layer { notes, name: Some("python".into()), kind: Kind::Venv(venv) }));
}

/// A recipe that says what a Dockerfile says, with the packages of further files.
fn on_dockerfile(dockerfile: Dockerfile, more: Packages, answers: &Answers) -> Result<Draft, Error> {
    let Dockerfile { mut draft, image, venv } = dockerfile;
    let installs = venv.is_some();
    let mut installed =
        venv.unwrap_or_else(|| Installed { part: draft.parts.len(), path: None, packages: Packages::default() });
    let wants_more = !more.is_empty();
    installed.packages.add(more);
    if installs || wants_more {
        finish_venv(&mut draft, &image, installed, installs, answers)?;
    }
    if let Some(user) = answers.user.as_deref().filter(|user| *user != "root") {
        let has = draft
            .layers()
            .any(|layer| matches!(&layer.kind, Kind::Account(account) if account.user == Some(Text::plain(user))));
        if !has {
            let kind = Kind::Account(Account { user: Some(Text::plain(user)), ..Account::default() });
            draft.push(Vec::new(), kind);
        }
    }
    Ok(draft)
}

/// Fills in the layer that a Dockerfile's pip installed into.
fn finish_venv(
    draft: &mut Draft,
    image: &str,
    installed: Installed,
    has_part: bool,
    answers: &Answers,
) -> Result<(), Error> {
    let Installed { mut part, path, mut packages } = installed;
    let known = bases::python_of(image);
    let minor = match (&answers.python, &known) {
        (Some(version), _) => bases::minor(version)?,
        (None, Some((minor, _))) => *minor,
        (None, None) => return Err(Error::UnknownPython { base: image.to_owned() }),
    };
    let own = known.filter(|(known, _)| *known == minor).map(|(_, interpreter)| interpreter);
    let interpreter = own.unwrap_or_else(|| format!("/usr/bin/python3.{minor}"));
    let brings = |layer: &Layer| {
        matches!(&layer.kind, Kind::Apt { packages, .. }
            if packages.iter().any(|item| matches!(item, Item::Said(name) if name.starts_with("python3"))))
    };
    let before = draft.parts.iter().take(part).filter_map(|part| match part {
        Part::Layer(layer) => Some(layer),
        Part::Note(_) => None,
    });
    let of_apt = interpreter.starts_with("/usr/bin/");
    if of_apt && !bases::has_python(image) && bases::python_of(image).is_some() && !before.into_iter().any(brings) {
        let items = vec![Item::Said("python3".to_owned())];
        let kind = Kind::Apt { packages: items, recommends: false };
        let note = Note::new("the venv's Python");
        draft.parts.insert(part, Part::Layer(Layer { notes: vec![note], name: Some("apt-python".into()), kind }));
        part += 1;
    }
    let notes = std::mem::take(&mut packages.notes);
    let bin = format!("{}/bin", path.as_deref().unwrap_or(VENV));
    let venv = Venv {
        amends: false,
        path: path.filter(|path| path != VENV),
        python: Some(format!("3.{minor}")),
        interpreter: Some(interpreter),
        packages,
    };
    if has_part {
        if let Some(Part::Layer(layer)) = draft.parts.get_mut(part) {
            layer.notes.extend(notes);
            layer.kind = Kind::Venv(venv);
        }
    } else {
        draft.parts.push(Part::Layer(Layer { notes, name: Some("python".into()), kind: Kind::Venv(venv) }));
    }
    for (name, value) in &mut draft.config.env {
        if let (true, Text::Plain(path)) = (name == "PATH", value)
            && !path.split(':').any(|part| part == bin)
        {
            *path = format!("{bin}:{path}");
        }
    }
    Ok(())
}
