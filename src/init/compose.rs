//! Puts a recipe together: the flavour or the base, the project's packages, the account.

use crate::oci::DEFAULT_PATH;
use crate::recipe::Word;

use super::bases::{self, Chosen};
use super::dockerfile::{self, Dockerfile, Installed};
use super::draft::{Account, Apt, Base, Draft, Kind, Layer, Part, Text, Venv, itself};
use super::error::Error;
use super::found::{Defaults, Found, NGC, NGC_PYTHON, PLAIN};
use super::note::{Item, Note};
use super::order;
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

impl Answers {
    /// Whether the account can have its name.
    pub(super) fn has_user(&self) -> Result<(), Error> {
        let name = self.user.as_deref().filter(|name| *name != "root");
        name.map_or(Ok(()), |name| Word::Login.accepts(name).map_err(|_| Error::User { name: name.to_owned() }))
    }
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
    answers.has_user()?;
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
            Ok(()) => draft.config.env.push((name, Text::Plain(itself(&value)))),
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

/// A Dockerfile's layers and packages without its base, for a flavour: Debian's packages go
/// into the flavour's layer of them, and its account is the one.
fn rest_of(dockerfile: Dockerfile) -> (Vec<Part>, Vec<Note>, Packages) {
    let Dockerfile { draft, image, venv } = dockerfile;
    let mut notes = vec![Note::new(format!("the Dockerfile is on {image}; this is on the flavour's base"))];
    let (part, installed) = venv.map_or((None, Packages::default()), |venv| (Some(venv.part), venv.packages));
    let (mut packages, mut of_apt, mut parts) = (Vec::new(), Vec::new(), Vec::new());
    for (at, mut one) in draft.parts.into_iter().enumerate() {
        if Some(at) == part {
            continue;
        }
        match &mut one {
            Part::Layer(Layer { kind: Kind::Apt(apt), notes, .. }) => {
                packages.append(&mut apt.packages);
                of_apt.append(notes);
                continue;
            }
            Part::Layer(Layer { kind: Kind::Account(account), notes: places, .. }) => {
                let why = "the flavour has an account: --user gives it another name";
                let place = places.first().map(Note::first_line).unwrap_or_default();
                notes.push(Note::unsaid_at(place, &account.command, why));
                continue;
            }
            // A name of the flavour's would replace its layer.
            Part::Layer(layer) => {
                let name = layer.name.as_deref().unwrap_or(layer.kind.name());
                layer.name = Some(format!("dockerfile-{name}"));
                if let Kind::Run(run) = &mut layer.kind {
                    run.sees.iter_mut().filter(|name| name.starts_with("files")).for_each(|name| {
                        *name = format!("dockerfile-{name}");
                    });
                    run.sees.retain(|name| name == "python" || name.starts_with("dockerfile-"));
                }
            }
            Part::Note(_) => {}
        }
        parts.push(one);
    }
    if !packages.is_empty() {
        let kind = Kind::Apt(Apt { amends: true, packages, recommends: false });
        parts.insert(0, Part::Layer(Layer { notes: of_apt, name: Some("apt".into()), kind }));
    }
    (parts, notes, installed)
}

/// A recipe of nothing but the project's packages.
fn plain(packages: Packages, answers: &Answers, defaults: &Defaults) -> Result<Draft, Error> {
    let chosen = chosen(&packages, answers, defaults)?;
    let mut draft = Draft { base: Base::Image(Text::plain(chosen.image.clone())), ..Draft::default() };
    draft.config.env.push(("LANG".into(), Text::plain("C.UTF-8")));
    if chosen.needs_apt {
        let packages = ["python3", "python3-venv"].map(|name| Item::Said(name.to_owned())).to_vec();
        draft.push(Vec::new(), Kind::Apt(Apt { packages, ..Apt::default() }));
    }
    let (python, interpreter) = (Some(chosen.python.clone()), Some(chosen.interpreter.clone()));
    let venv = Venv { python, interpreter, packages, ..Venv::default() };
    push_venv(&mut draft, venv);
    let user = answers.user.as_deref().unwrap_or(&defaults.user);
    if user != "root" {
        draft.vars = vec![("user".into(), user.to_owned()), ("uid".into(), chosen.uid.to_string())];
        draft.config.workdir = Some(Text::WithVariables("/home/${user}".into()));
        draft.run = vec![("user", Text::WithVariables("${user}".into())), ("cwd", Text::plain("/workspace"))];
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

/// A recipe over the one on an NGC image: its CUDA, Python and packages are that image's.
fn on_ngc(mut packages: Packages, answers: &Answers, defaults: &Defaults) -> Draft {
    let mut draft = Draft { base: Base::Flavour { name: NGC.to_owned(), image: None }, ..Draft::default() };
    let user = answers.user.as_deref().filter(|user| *user != "root").unwrap_or(&defaults.user);
    draft.vars.push(("user".into(), user.to_owned()));
    if let Some(cuda) = answers.cuda.as_deref().filter(|cuda| *cuda != "none") {
        let note = format!("CUDA is that of the NGC image, whatever --cuda says ({cuda}): `base` takes another one.");
        draft.base_notes.push(Note::new(note));
    }
    // The flavour takes the project's requirements.txt by itself.
    packages.files.retain(|file| file != "requirements.txt");
    let python = answers.python.clone().filter(|python| python != NGC_PYTHON);
    if python.is_some() || !packages.is_empty() {
        // as later images have theirs
        let interpreter = python.as_ref().map(|python| format!("/usr/bin/python{python}"));
        push_venv(&mut draft, Venv { amends: true, python, interpreter, packages, ..Venv::default() });
    }
    draft
}

/// A recipe over one that comes with dlpack.
fn flavoured(flavour: &str, packages: Packages, answers: &Answers, defaults: &Defaults) -> Result<Draft, Error> {
    if flavour == NGC {
        return Ok(on_ngc(packages, answers, defaults));
    }
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
        let venv = Venv { amends: true, python, interpreter, packages, ..Venv::default() };
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
    let mut installed = venv.unwrap_or_else(|| Installed {
        part: draft.parts.len(),
        path: None,
        python: None,
        packages: Packages::default(),
    });
    let wants_more = !more.is_empty();
    installed.packages.add(more);
    installed.part = order::apt_before_accounts(&mut draft, installed.part);
    if installs || wants_more {
        finish_venv(&mut draft, &image, installed, installs, answers)?;
    }
    name_search_path(&mut draft, &image);
    if let Some(user) = answers.user.as_deref().filter(|user| *user != "root") {
        let makes = |layer: &Layer| match &layer.kind {
            Kind::Account(account) => account.user == Some(Text::plain(user)),
            Kind::Run(run) => dockerfile::makes(&run.command, user),
            _ => false,
        };
        if !draft.layers().any(makes) {
            let kind = Kind::Account(Account { user: Some(Text::plain(user)), ..Account::default() });
            draft.push(Vec::new(), kind);
        }
    }
    Ok(draft)
}

/// Lets steps that have the base's search path speak of it by a variable, where there are several.
fn name_search_path(draft: &mut Draft, image: &str) {
    const NAME: &str = "base_path";
    let base = bases::path_of(image).unwrap_or(DEFAULT_PATH);
    let paths = draft.parts.iter_mut().filter_map(|part| match part {
        Part::Layer(Layer { kind: Kind::Run(run), .. }) => run.env.iter_mut().find(|(name, _)| name == "PATH"),
        _ => None,
    });
    let first = |path: &Text| match path {
        Text::Plain(path) => path.strip_suffix(base).filter(|first| !first.contains('$')).map(str::to_owned),
        Text::WithVariables(_) => None,
    };
    let on_base: Vec<_> = paths.filter_map(|(_, path)| Some((first(path)?, path))).collect();
    if on_base.len() > 1 && draft.vars.iter().all(|(name, _)| name != NAME) {
        on_base.into_iter().for_each(|(first, path)| *path = Text::WithVariables(format!("{first}${{{NAME}}}")));
        draft.vars.push((NAME.into(), base.to_owned()));
    }
}

/// Fills in the layer that a Dockerfile's pip installed into.
fn finish_venv(
    draft: &mut Draft,
    image: &str,
    installed: Installed,
    has_part: bool,
    answers: &Answers,
) -> Result<(), Error> {
    let Installed { mut part, path, python, mut packages } = installed;
    let known = bases::python_of(image);
    let minor = match (&answers.python, python, &known) {
        (Some(version), ..) => bases::minor(version)?,
        (None, Some(minor), _) => minor,
        (None, None, Some((minor, _))) => *minor,
        (None, None, None) => return Err(Error::UnknownPython { base: image.to_owned() }),
    };
    // What is not known of a base is left to the lock to look for.
    let of_base = known.as_ref().map(|(minor, _)| *minor);
    let interpreter = known.filter(|(known, _)| *known == minor).map(|(_, interpreter)| interpreter);
    let brings = |layer: &Layer| {
        matches!(&layer.kind, Kind::Apt(Apt { packages, .. })
            if packages.iter().any(|item| matches!(item, Item::Said(name) if name.starts_with("python3"))))
    };
    let before = draft.parts.iter().take(part).filter_map(|part| match part {
        Part::Layer(layer) => Some(layer),
        Part::Note(_) => None,
    });
    let of_apt = interpreter.as_deref().is_some_and(|path| path.starts_with("/usr/bin/"));
    if of_apt && !bases::has_python(image) && !before.into_iter().any(brings) {
        let items = vec![Item::Said("python3".to_owned())];
        let kind = Kind::Apt(Apt { packages: items, ..Apt::default() });
        let note = Note::new("the venv's Python");
        let at = order::first_account(draft).map_or(part, |first| first.min(part));
        draft.parts.insert(at, Part::Layer(Layer { notes: vec![note], name: Some("apt-python".into()), kind }));
        part += 1;
    }
    let mut notes = std::mem::take(&mut packages.notes);
    if let Some(own) = of_base.filter(|own| *own != minor) {
        notes.push(Note::new(format!("The base's own Python is 3.{own}: `interpreter` says where 3.{minor} is.")));
    }
    let user = if bases::brings_packages(image) { account_before(draft, part) } else { None };
    if bases::brings_packages(image) && user.is_none() {
        notes.push(Note::new(
            "A venv does not see the packages that the base's own Python has. With `user`, an account that a layer\n\
             before this one makes, they are installed on top of those.",
        ));
    }
    let bin = match &user {
        Some((_, home)) => format!("{home}/.local/bin"),
        None => format!("{}/bin", path.as_deref().unwrap_or(VENV)),
    };
    let venv = Venv {
        amends: false,
        path: path.filter(|path| path != VENV && user.is_none()),
        user: user.map(|(user, _)| user),
        python: Some(format!("3.{minor}")),
        interpreter,
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
    find_first(draft, &bin);
    Ok(())
}

/// The account that a layer before the part makes, and its home.
fn account_before(draft: &Draft, part: usize) -> Option<(String, String)> {
    draft.parts.iter().take(part).find_map(|part| match part {
        Part::Layer(Layer { kind: Kind::Account(Account { user: Some(Text::Plain(user)), home, .. }), .. }) => {
            Some((user.clone(), home.clone().unwrap_or_else(|| format!("/home/{user}"))))
        }
        _ => None,
    })
}

/// Lets `PATH` begin with where the packages' programs are: in the image, where a Dockerfile
/// sets it, and in steps after they are installed.
fn find_first(draft: &mut Draft, bin: &str) {
    let default = format!("{VENV}/bin");
    for part in &mut draft.parts {
        let Part::Layer(Layer { kind: Kind::Run(run), .. }) = part else { continue };
        for (name, value) in &mut run.env {
            if let (true, Text::Plain(path)) = (name == "PATH", value) {
                let parts = path.split(':').map(|part| if part == default { bin } else { part });
                *path = parts.collect::<Vec<_>>().join(":");
            }
        }
    }
    // The layer of the packages puts them before what the base has.
    let env = &mut draft.config.env;
    env.retain(|(name, value)| {
        name != "PATH" || !matches!(value, Text::Plain(path) if *path == format!("{bin}:$PATH"))
    });
    for (name, value) in env {
        if let (true, Text::Plain(path)) = (name == "PATH", value)
            && !path.split(':').any(|part| part == bin || part == "$PATH")
        {
            *path = format!("{bin}:{path}");
        }
    }
}
