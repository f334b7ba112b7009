//! The layers of a recipe, kind by kind: their keys, and what each may be.

use super::error::{Fault, Problem};
use super::model::{
    Account, Apt, AptSource, Files, FilesEntry, IdSetting, Interpreter, Jupyter, Layer, LayerKind, Sshd, Timezone,
    USER_SITE, Venv,
};
use super::requirement::{constraint, project_name, requirement};
use super::run::run;
use super::table::{Field, Table};
use super::tree::Value;
use super::values;

const KINDS: [&str; 8] = ["account", "apt", "files", "jupyter", "run", "sshd", "timezone", "venv"];

/// One `[[layer]]`.
pub(super) fn layer(field: Field<'_>) -> Result<Layer, Fault> {
    let Some(kind_field) = field.get("kind") else {
        return Err(Fault {
            origin: field.node.origin,
            problem: Problem::MissingKey { key: "kind", place: "a layer" },
        });
    };
    let kind_name = kind_field.text(values::any)?;
    let kind = match kind_name.as_str() {
        "account" => LayerKind::Account(account(field)?),
        "apt" => LayerKind::Apt(apt(field)?),
        "files" => LayerKind::Files(files(field)?),
        "jupyter" => LayerKind::Jupyter(jupyter(field)?),
        "run" => LayerKind::Run(run(field)?),
        "sshd" => LayerKind::Sshd(sshd(field)?),
        "timezone" => LayerKind::Timezone(timezone(field)?),
        "venv" => LayerKind::Venv(venv(field)?),
        _ => {
            let problem = Problem::UnknownKind { kind: kind_name, kinds: &KINDS };
            return Err(Fault { origin: kind_field.node.origin, problem });
        }
    };
    let name = field.get("name").map_or(Ok(kind_name), |name| name.text(values::layer_name))?;
    Ok(Layer { name, kind })
}

fn apt(field: Field<'_>) -> Result<Apt, Fault> {
    let keys = &["kind", "name", "after", "packages", "recommends", "sources"];
    let table = Table::open(field, "an apt layer", keys)?;
    Ok(Apt {
        packages: table.texts("packages", values::package)?,
        recommends: table.flag("recommends")?,
        sources: table.list("sources", apt_source)?,
    })
}

fn apt_source(field: Field<'_>) -> Result<AptSource, Fault> {
    let keys = &["url", "suites", "components", "key", "architectures"];
    let table = Table::open(field, "an entry of `sources`", keys)?;
    let suites =
        table.needs("suites", table.field("suites").map(|_| table.texts("suites", values::suite)).transpose()?)?;
    let components = table.texts("components", values::component)?;
    // sources.list(5): "If suite specifies an exact path, component must be omitted. If
    // suite does not specify an exact path, at least one component must be present."
    let exact = |suite: &String| suite.ends_with('/');
    match table.field("components").filter(|_| suites.iter().any(exact)) {
        Some(field) if !components.is_empty() => {
            let complaint = values::Complaint::new("a suite that is a path, with `/` at its end, has no components");
            return Err(field.refused(&components.join(" "), complaint));
        }
        _ if !suites.iter().all(exact) => table.needs("components", components.first())?,
        _ => "",
    };
    Ok(AptSource {
        url: table.needs("url", table.text("url", values::archive)?)?,
        suites,
        components,
        key: table.path("key")?,
        architectures: table.texts("architectures", values::architecture)?,
    })
}

fn venv(field: Field<'_>) -> Result<Venv, Fault> {
    const KEYS: [&str; 18] = [
        "kind",
        "name",
        "after",
        "path",
        "user",
        "python",
        "interpreter",
        "requirements",
        "requirements-files",
        "constraints",
        "index-url",
        "extra-index-url",
        "wheels",
        "projects",
        "no-binary",
        "build-requirements",
        "bytecode",
        "pip",
    ];
    let table = Table::open(field, "a venv layer", &KEYS)?;
    let user = table.text("user", values::login)?;
    if user.is_some() {
        check_user_site(&table)?;
    }
    let default = if user.is_some() { USER_SITE } else { "/opt/venv" };
    Ok(Venv {
        path: table.text("path", values::image_path)?.unwrap_or_else(|| default.into()),
        user,
        python: table.needs("python", table.text("python", values::python)?)?,
        interpreter: table.field("interpreter").map(interpreter).transpose()?,
        requirements: table.texts("requirements", requirement)?,
        requirements_files: table.list("requirements-files", Field::path)?,
        constraints: table.texts("constraints", constraint)?,
        index_url: table.text("index-url", values::index)?,
        extra_index_url: table.texts("extra-index-url", values::index)?,
        wheels: table.list("wheels", wheel)?,
        projects: table.list("projects", project)?,
        no_binary: table.texts("no-binary", project_name)?,
        build_requirements: table.texts("build-requirements", requirement)?,
        bytecode: table.flag("bytecode")?,
        pip: table.flag("pip")?,
    })
}

/// What packages for an account can't have: they lie where that Python looks for them, which is
/// the base's own.
fn check_user_site(table: &Table<'_>) -> Result<(), Fault> {
    let standalone = |field: &Field<'_>| matches!(field.node.value, Value::Table(_));
    let fields = [
        table.field("path").map(|field| (field, "packages for a `user` lie in its ~/.local")),
        table.field("bytecode").map(|field| (field, "there is bytecode of venvs alone, and with `user` there is none")),
        table.field("interpreter").filter(standalone).map(|field| (field, "with `user` it is one of the base")),
    ];
    match fields.into_iter().flatten().next() {
        Some((field, why)) => {
            let text = field.node.text().unwrap_or_default().to_owned();
            Err(field.refused(&text, values::Complaint::new(why)))
        }
        None => Ok(()),
    }
}

fn wheel(field: Field<'_>) -> Result<String, Fault> {
    let path = field.path()?;
    if path.ends_with(".whl") {
        return Ok(path);
    }
    let complaint = values::Complaint::new("a wheel's file name ends in .whl");
    Err(field.refused(&path, complaint.hint("`uv build --wheel` or `pip wheel .` makes one")))
}

fn project(field: Field<'_>) -> Result<String, Fault> {
    let path = field.path()?;
    let built = path.ends_with(".whl");
    let complaint = || values::Complaint::new("it is a wheel, with nothing left to build");
    if built { Err(field.refused(&path, complaint().hint("wheels on disk go into `wheels`"))) } else { Ok(path) }
}

fn interpreter(field: Field<'_>) -> Result<Interpreter, Fault> {
    if field.node.text().is_some() {
        return field.text(values::image_path).map(Interpreter::Path);
    }
    if !matches!(field.node.value, Value::Table(_)) {
        return Err(field.wrong_type("a path in the image, or a table with `url` and `sha256`", None));
    }
    let table = Table::open(field, "an interpreter", &["url", "sha256", "path"])?;
    let archive = |field: Field<'_>| {
        let text = field.text(values::something)?;
        if text.contains("://") { field.text(values::index) } else { field.path() }
    };
    Ok(Interpreter::Standalone {
        url: table.needs("url", table.field("url").map(archive).transpose()?)?,
        sha256: table.needs("sha256", table.text("sha256", values::sha256)?)?,
        path: table.text("path", values::image_path)?,
    })
}

fn account(field: Field<'_>) -> Result<Account, Fault> {
    const KEYS: [&str; 13] = [
        "kind",
        "name",
        "after",
        "user",
        "uid",
        "gid",
        "shell",
        "home",
        "groups",
        "authorized-keys",
        "authorized-keys-files",
        "password-secret",
        "venv",
    ];
    let table = Table::open(field, "an account layer", &KEYS)?;
    Ok(Account {
        user: table.needs("user", table.text("user", values::login)?)?,
        uid: table.field("uid").map(id).transpose()?,
        gid: table.field("gid").map(id).transpose()?,
        shell: table.text("shell", values::account_path)?,
        home: table.text("home", values::account_path)?,
        groups: table.texts("groups", values::login)?,
        authorized_keys: table.texts("authorized-keys", values::authorized_key)?,
        authorized_keys_files: table.list("authorized-keys-files", Field::home_path)?,
        password_secret: table.text("password-secret", values::secret)?,
        venv: table.text("venv", values::image_path)?,
    })
}

/// `"host"`, or a number. The highest is kept by chown(2) for "leave it".
fn id(field: Field<'_>) -> Result<IdSetting, Fault> {
    match &field.node.value {
        Value::String(text) | Value::Filled(text) if text == "host" => Ok(IdSetting::Host),
        Value::String(_) | Value::Float | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
            Err(field.wrong_type("a number or \"host\"", None))
        }
        Value::Integer(_) | Value::Filled(_) => {
            field.integer(0..=u32::MAX - 1, "a uid or gid is \"host\", or").map(IdSetting::Id)
        }
    }
}

fn sshd(field: Field<'_>) -> Result<Sshd, Fault> {
    let table = Table::open(field, "an sshd layer", &["kind", "name", "after", "port", "passwords"])?;
    Ok(Sshd { port: table.port("port")?, passwords: table.flag("passwords")? })
}

fn jupyter(field: Field<'_>) -> Result<Jupyter, Fault> {
    let keys = &["kind", "name", "after", "port", "root-dir", "venv", "user"];
    let table = Table::open(field, "a jupyter layer", keys)?;
    Ok(Jupyter {
        port: table.port("port")?,
        root_dir: table.text("root-dir", values::image_directory)?,
        venv: table.text("venv", values::image_path)?,
        user: table.text("user", values::login)?,
    })
}

fn files(field: Field<'_>) -> Result<Files, Fault> {
    let table = Table::open(field, "a files layer", &["kind", "name", "after", "files"])?;
    table.needs("files", table.field("files"))?;
    Ok(Files { files: table.list("files", files_entry)? })
}

fn files_entry(field: Field<'_>) -> Result<FilesEntry, Fault> {
    let table = Table::open(field, "an entry of `files`", &["from", "content", "to", "mode", "owner"])?;
    table.either("from", "content")?;
    // A directory may be laid over the image's root; a content is a file.
    let to = if table.field("from").is_some() { values::image_directory } else { values::image_path };
    Ok(FilesEntry {
        from: table.path("from")?,
        content: table.text("content", values::any)?,
        to: table.needs("to", table.text("to", to)?)?,
        mode: table.text("mode", values::mode)?,
        owner: table.text("owner", values::owner)?,
    })
}

fn timezone(field: Field<'_>) -> Result<Timezone, Fault> {
    let table = Table::open(field, "a timezone layer", &["kind", "name", "after", "zone"])?;
    Ok(Timezone { zone: table.needs("zone", table.text("zone", values::zone)?)? })
}
