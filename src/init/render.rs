//! Writes a draft as a recipe: TOML as a person would lay it out.

use super::draft::{Account, Base, Config, Draft, File, From, Kind, Layer, Part, Run, Text, Venv};
use super::note::{Item, Note, joined};
use super::packages::Packages;

/// How long a line with a list on it may be.
const WIDTH: usize = 100;

/// The recipe's text, and how many comments of it are about what it does not say.
pub(super) fn render(draft: &Draft) -> (String, usize) {
    let mut page = Page::default();
    page.notes(&draft.about);
    page.gap();
    page.notes(&draft.base_notes);
    match &draft.base {
        Base::Image(image) => page.set("base", &text(image)),
        Base::Flavour { name, image } => {
            page.set("extends", &plain(name));
            image.iter().for_each(|image| page.set("base", &plain(image)));
        }
    }
    draft.platform.iter().for_each(|platform| page.set("platform", &plain(platform)));
    if !draft.vars.is_empty() {
        page.header("[vars]");
        draft.vars.iter().for_each(|(name, value)| page.set(&key(name), &default(value)));
    }
    page.config(&draft.config);
    if !draft.run.is_empty() {
        page.gap();
        page.line("# How `dlpack run` and `shell` start it, with this directory at `cwd`; no part of the image.");
        page.line("[run]");
        draft.run.iter().for_each(|(key, value)| page.set(key, &text(value)));
    }
    for part in &draft.parts {
        match part {
            Part::Note(note) => {
                page.gap();
                page.notes(std::slice::from_ref(note));
            }
            Part::Layer(layer) => page.layer(layer),
        }
    }
    (page.text, page.unsaid)
}

#[derive(Default)]
struct Page {
    text: String,
    unsaid: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// An empty line, unless there is one.
    fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    fn header(&mut self, header: &str) {
        self.gap();
        self.line(header);
    }

    fn notes(&mut self, notes: &[Note]) {
        self.indented_notes(notes, "");
    }

    fn indented_notes(&mut self, notes: &[Note], indent: &str) {
        self.unsaid += notes.iter().filter(|note| note.is_unsaid()).count();
        for line in joined(notes) {
            self.line(&format!("{indent}# {line}"));
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {value}"));
    }

    fn optional(&mut self, key: &str, value: Option<&String>) {
        value.into_iter().for_each(|value| self.set(key, &plain(value)));
    }

    fn list(&mut self, key: &str, items: &[String]) {
        if !items.is_empty() {
            self.rows(key, &items.iter().map(|item| Row::Value(plain(item))).collect::<Vec<_>>());
        }
    }

    fn items(&mut self, key: &str, items: &[Item]) {
        let row = |item: &Item| match item {
            Item::Said(text) => Row::Value(plain(text)),
            Item::Note(note) => Row::Note(note.clone()),
        };
        if !items.is_empty() {
            self.rows(key, &items.iter().map(row).collect::<Vec<_>>());
        }
    }

    /// A list on one line where it fits and has no comments.
    fn rows(&mut self, key: &str, rows: &[Row]) {
        let values: Vec<&str> = rows.iter().filter_map(Row::value).collect();
        let line = format!("{key} = [{}]", values.join(", "));
        if values.len() == rows.len() && line.len() <= WIDTH {
            return self.line(&line);
        }
        self.line(&format!("{key} = ["));
        for together in rows.chunk_by(|one, next| one.value().is_none() && next.value().is_none()) {
            together.iter().filter_map(Row::value).for_each(|value| self.line(&format!("    {value},")));
            let notes: Vec<Note> = together.iter().filter_map(Row::note).cloned().collect();
            self.indented_notes(&notes, "    ");
        }
        self.line("]");
    }

    /// A table of strings, on one line where it fits.
    fn strings(&mut self, name: &str, pairs: &[(String, Text)]) {
        if pairs.is_empty() {
            return;
        }
        let shown: Vec<String> = pairs.iter().map(|(name, value)| format!("{} = {}", key(name), text(value))).collect();
        let line = format!("{name} = {{ {} }}", shown.join(", "));
        if line.len() <= WIDTH {
            return self.line(&line);
        }
        for (entry, value) in pairs {
            self.set(&format!("{name}.{}", key(entry)), &text(value));
        }
    }

    fn config(&mut self, config: &Config) {
        let before = self.text.len();
        self.header("[config]");
        let header = self.text.len();
        self.notes(&config.notes);
        self.strings("env", &config.env);
        self.strings("labels", &config.labels);
        self.list("expose", &config.expose);
        config.workdir.iter().for_each(|workdir| self.set("workdir", &text(workdir)));
        config.user.iter().for_each(|user| self.set("user", &text(user)));
        for (key, command) in [("entrypoint", &config.entrypoint), ("cmd", &config.cmd)] {
            if let Some(words) = command {
                self.rows(key, &words.iter().map(|word| Row::Value(plain(word))).collect::<Vec<_>>());
            }
        }
        if self.text.len() == header {
            self.text.truncate(before);
        }
    }

    fn layer(&mut self, layer: &Layer) {
        self.gap();
        self.notes(&layer.notes);
        self.line("[[layer]]");
        if !layer.kind.amends() {
            self.set("kind", &plain(layer.kind.name()));
        }
        self.optional("name", layer.name.as_ref());
        match &layer.kind {
            Kind::Apt(apt) => {
                self.items("packages", &apt.packages);
                if apt.recommends {
                    self.set("recommends", "true");
                }
            }
            Kind::Run(run) => self.run(run),
            Kind::Venv(venv) => self.venv(venv),
            Kind::Account(account) => self.account(account),
            Kind::Files(files) => self.rows("files", &files.iter().map(file).collect::<Vec<_>>()),
        }
    }

    fn run(&mut self, run: &Run) {
        self.set("command", &command(&run.command));
        self.list("shell", &run.shell);
        self.strings("env", &run.env);
        self.optional("workdir", run.workdir.as_ref());
        self.optional("user", run.user.as_ref());
        if run.network {
            self.set("network", "true");
        }
        let secret = |(name, to): &(String, Option<String>)| match to {
            None => Row::Value(plain(name)),
            Some(to) => Row::Value(format!("{{ name = {}, to = {} }}", plain(name), plain(to))),
        };
        if !run.secrets.is_empty() {
            self.rows("secrets", &run.secrets.iter().map(secret).collect::<Vec<_>>());
        }
        self.list("caches", &run.caches);
        let mount =
            |(from, to): &(String, String)| Row::Value(format!("{{ from = {}, to = {} }}", plain(from), plain(to)));
        if !run.mounts.is_empty() {
            self.rows("mounts", &run.mounts.iter().map(mount).collect::<Vec<_>>());
        }
        self.list("sees", &run.sees);
    }

    fn venv(&mut self, venv: &Venv) {
        self.optional("user", venv.user.as_ref());
        self.optional("path", venv.path.as_ref());
        self.optional("python", venv.python.as_ref());
        self.optional("interpreter", venv.interpreter.as_ref());
        let packages: &Packages = &venv.packages;
        self.list("requirements-files", &packages.files);
        self.items("requirements", &packages.requirements);
        self.items("constraints", &packages.constraints);
        self.optional("index-url", packages.index_url.as_ref());
        self.list("extra-index-url", &packages.extra_index_url);
        self.list("wheels", &packages.wheels);
        self.list("projects", &packages.projects);
        self.list("no-binary", &packages.no_binary);
        if packages.pip {
            self.set("pip", "true");
        }
    }

    fn account(&mut self, account: &Account) {
        account.user.iter().for_each(|user| self.set("user", &text(user)));
        account.uid.iter().for_each(|uid| match uid {
            Text::Plain(number) => self.set("uid", number),
            variable => self.set("uid", &text(variable)),
        });
        account.gid.iter().for_each(|gid| self.set("gid", &gid.to_string()));
        self.optional("home", account.home.as_ref());
        self.optional("shell", account.shell.as_ref());
        self.list("groups", &account.groups);
        self.optional("venv", account.venv.as_ref());
    }
}

/// A line of a list.
enum Row {
    Value(String),
    Note(Note),
}

impl Row {
    fn value(&self) -> Option<&str> {
        match self {
            Self::Value(value) => Some(value),
            Self::Note(_) => None,
        }
    }

    fn note(&self) -> Option<&Note> {
        match self {
            Self::Value(_) => None,
            Self::Note(note) => Some(note),
        }
    }
}

fn file(file: &File) -> Row {
    let mut fields = match &file.from {
        From::Path(path) => vec![format!("from = {}", plain(path))],
        From::Content(content) => vec![format!("content = {}", plain(content))],
    };
    fields.push(format!("to = {}", plain(&file.to)));
    fields.extend(file.mode.iter().map(|mode| format!("mode = {}", plain(mode))));
    fields.extend(file.owner.iter().map(|owner| format!("owner = {}", plain(owner))));
    Row::Value(format!("{{ {} }}", fields.join(", ")))
}

/// A variable's default: a number where it is one.
fn default(value: &str) -> String {
    let is_number = value.parse::<u32>().is_ok_and(|number| number.to_string() == value);
    if is_number { value.to_owned() } else { plain(value) }
}

fn text(text: &Text) -> String {
    match text {
        Text::Plain(text) => plain(text),
        Text::WithVariables(text) => quoted(text),
    }
}

/// A string that means itself: docs/recipes.md, "`$$` is a `$`. A `$` before anything but
/// `{` and `$` stays".
fn plain(text: &str) -> String {
    quoted(&escaped(text))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        out.push(c);
        if c == '$' && matches!(rest.peek(), Some('$' | '{')) {
            out.push('$');
        }
    }
    out
}

/// A TOML string of one line: basic, or literal where that spares escapes.
fn quoted(text: &str) -> String {
    let escapes = |c: char| matches!(c, '"' | '\\');
    if text.contains(escapes) && !text.contains('\'') && !text.contains(char::is_control) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            // TOML 1.0: "Any Unicode character may be escaped with the \uXXXX or \UXXXXXXXX forms"
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out + "\""
}

/// A command over several lines as it is typed, where a literal string can hold it.
fn command(command: &str) -> String {
    let escaped = escaped(command);
    // TOML 1.0: "Since there is no escaping, there is no way to write a single quote inside a literal string"
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let literal = escaped.contains('\n') && !escaped.contains("'''") && !escaped.contains(odd);
    if literal && !escaped.ends_with('\'') { format!("'''\n{escaped}'''") } else { quoted(&escaped) }
}

/// A key, bare where it can be.
fn key(name: &str) -> String {
    // TOML 1.0: bare keys "may only contain ASCII letters, ASCII digits, underscores, and dashes"
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if bare { name.to_owned() } else { quoted(name) }
}

#[cfg(test)]
mod tests {
    use super::{command, escaped, quoted};

    #[test]
    fn what_means_itself_is_not_taken_for_a_variable() {
        for (text, expected) in [("$HOME", "$HOME"), ("${HOME}", "$${HOME}"), ("$$", "$$$"), ("a$${b}", "a$$$${b}")] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_command_of_several_lines_stays_readable() {
        assert_eq!(command("a\nb \"c\"\n"), "'''\na\nb \"c\"\n'''");
        assert_eq!(command("a\n'''\n"), "\"a\\n'''\\n\"");
        assert_eq!((quoted("a"), quoted("a\"b"), quoted("'\"")), ("\"a\"".into(), "'a\"b'".into(), "\"'\\\"\"".into()));
    }
}
