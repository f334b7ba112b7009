//! Logging in and out, and where credentials are found.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use dlpack::registry::{Credential, Credentials, Environment, Error, Registries, Secret, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::output;
use crate::support::registry::{DebianRegistry, PASSWORD, USER};

/// A credential helper as Docker defines them, which keeps secrets in files
/// beside itself.
const HELPER: &str = r#"#!/bin/sh
kept="$(dirname "$0")/kept"
mkdir -p "$kept"
input="$(cat)"
name() { printf %s "$1" | tr -c 'a-zA-Z0-9.\n' _; }
case "$1" in
get)
  [ "$input" != broken.example ] || { echo 'the keychain is locked' >&2; exit 1; }
  [ "$input" != nonsense.example ] || { echo 'password=hunter2'; exit 0; }
  [ -f "$kept/$(name "$input")" ] || { echo 'credentials not found in native keychain'; exit 1; }
  cat "$kept/$(name "$input")" ;;
store) server="$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/')"
  printf %s "$input" >"$kept/$(name "$server")" ;;
erase) rm "$kept/$(name "$input")" ;;
esac
"#;

/// A home of its own.
struct Home {
    directory: TempDir,
}

impl Home {
    fn new() -> Self {
        let home = Self { directory: tempfile::tempdir().unwrap() };
        let helper = home.path().join("bin/docker-credential-test");
        fs::create_dir_all(home.path().join("bin")).unwrap();
        fs::write(&helper, HELPER).unwrap();
        fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
        home
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, file: &str, content: &Value) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    fn docker_config(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path().join(".docker/config.json")).unwrap()).unwrap()
    }

    fn environment(&self) -> Environment {
        let path = format!("{}:/usr/bin:/bin", self.path().join("bin").display());
        Environment::from([("HOME", self.path().to_str().unwrap()), ("PATH", &path)])
    }

    fn credentials(&self) -> Credentials {
        Credentials::from_environment(&self.environment())
    }

    fn registries(&self) -> Registries {
        Registries::new(Settings::from_environment(&self.environment()).unwrap()).unwrap()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future)
}

fn found(user: &str, password: &str) -> Option<Credential> {
    Some(Credential::basic(user, password))
}

/// `me:secret`, as `auth` holds it.
const AUTH: &str = "bWU6c2VjcmV0";

#[test]
fn logging_in_tries_the_password_and_keeps_it_for_its_owner_alone() {
    let (debian, home) = (DebianRegistry::start_with_password(), Home::new());
    home.write(".docker/config.json", &json!({"psFormat": "kept", "auths": {"other.example": {"auth": AUTH}}}));
    let registries = home.registries();
    block_on(async {
        let wrong = registries.login(debian.address(), USER, Secret::new("guess")).await.unwrap_err();
        assert!(matches!(wrong, Error::Unauthorized { anonymous: false, .. }), "{wrong}");
        assert!(home.docker_config()["auths"].get(debian.address()).is_none(), "nothing is kept");

        registries.login(debian.address(), USER, Secret::new(PASSWORD)).await.unwrap();
        let reference = debian.reference("image").parse().unwrap();
        let repository = home.registries().repository(&reference).unwrap();
        assert_eq!(repository.has_manifest("latest").await.unwrap(), None, "it is used from now on");
    });
    let config = home.docker_config();
    assert_eq!(config["psFormat"], "kept");
    assert_eq!(config["auths"]["other.example"]["auth"], AUTH);
    let mode = fs::metadata(home.path().join(".docker/config.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert!(registries.logout(debian.address()).unwrap());
    assert!(!registries.logout(debian.address()).unwrap());
    assert_eq!(home.docker_config()["auths"], json!({"other.example": {"auth": AUTH}}));
}

#[test]
fn a_config_that_is_a_link_stays_one() {
    let home = Home::new();
    home.write("dotfiles/config.json", &json!({}));
    fs::create_dir_all(home.path().join(".docker")).unwrap();
    std::os::unix::fs::symlink("../dotfiles/config.json", home.path().join(".docker/config.json")).unwrap();
    home.credentials().store("registry.example", "me", &Secret::new("secret")).unwrap();
    assert!(home.path().join(".docker/config.json").is_symlink());
    assert_eq!(home.docker_config()["auths"]["registry.example"]["auth"], AUTH);
}

#[test]
fn a_registry_is_the_same_however_its_key_is_written() {
    let home = Home::new();
    for key in ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"] {
        home.write(".docker/config.json", &json!({"auths": {key: {"auth": AUTH}}}));
        assert_eq!(home.credentials().find("docker.io", "library/ubuntu").unwrap(), found("me", "secret"), "{key}");
    }
    for key in
        ["registry.example", "https://registry.example", "https://registry.example/v2/", "http://registry.example/v1/"]
    {
        home.write(".docker/config.json", &json!({"auths": {key: {"auth": AUTH}}}));
        assert_eq!(home.credentials().find("registry.example", "a/b").unwrap(), found("me", "secret"), "{key}");
        assert_eq!(home.credentials().find("registry.example.evil", "a/b").unwrap(), None);
        assert_eq!(home.credentials().find("registry.example:5000", "a/b").unwrap(), None);
    }
    home.credentials().store("docker.io", "me", &Secret::new("secret")).unwrap();
    assert!(home.docker_config()["auths"].get("https://index.docker.io/v1/").is_some(), "as Docker writes it");
}

#[test]
fn the_most_specific_key_wins() {
    let home = Home::new();
    let key = |name: &str| json!({"username": name, "password": "p"});
    home.write(
        ".docker/config.json",
        &json!({"auths": {"r.example": key("host"), "r.example/team": key("team"), "r.example/team/image": key("image")}}),
    );
    for (name, user) in [("other/image", "host"), ("team/x", "team"), ("team/image", "image"), ("teams/x", "host")] {
        assert_eq!(home.credentials().find("r.example", name).unwrap(), found(user, "p"), "{name}");
    }
}

#[test]
fn places_are_looked_at_in_their_order() {
    let home = Home::new();
    let key = |name: &str| json!({"auths": {"r.example": {"username": name, "password": "p"}}});
    let find = |pairs: &[(&str, &str)]| {
        let base = [("HOME", home.path().to_str().unwrap()), ("XDG_RUNTIME_DIR", "")];
        let mut all = [("", ""); 6];
        for (slot, pair) in all.iter_mut().zip(base.iter().chain(pairs)) {
            *slot = *pair;
        }
        Credentials::from_environment(&Environment::from(all)).find("r.example", "x").unwrap()
    };
    assert_eq!(find(&[]), None);
    home.write(".config/containers/auth.json", &key("person"));
    assert_eq!(find(&[]), found("person", "p"));
    home.write("run/containers/auth.json", &key("runtime"));
    let run = home.path().join("run").display().to_string();
    assert_eq!(find(&[("XDG_RUNTIME_DIR", &run)]), found("runtime", "p"));
    home.write(".docker/config.json", &key("docker"));
    assert_eq!(find(&[("XDG_RUNTIME_DIR", &run)]), found("docker", "p"));
    home.write("elsewhere/config.json", &key("elsewhere"));
    let elsewhere = home.path().join("elsewhere").display().to_string();
    assert_eq!(find(&[("DOCKER_CONFIG", &elsewhere)]), found("elsewhere", "p"));
    home.write("auth.json", &json!({"auths": {}}));
    let file = home.path().join("auth.json").display().to_string();
    assert_eq!(find(&[("REGISTRY_AUTH_FILE", &file)]), None, "that file and no other");
    let given = [("DLPACK_USERNAME", "ci"), ("DLPACK_PASSWORD", "t"), ("DLPACK_REGISTRY", "r.example")];
    assert_eq!(find(&given), found("ci", "t"));
    assert_eq!(find(&given[..2]), found("docker", "p"), "without a registry they are Docker Hub's");
}

#[test]
fn a_credential_helper_is_asked_told_and_made_to_forget() {
    let home = Home::new();
    home.write(".docker/config.json", &json!({"credHelpers": {"r.example": "test"}}));
    let credentials = home.credentials();
    assert_eq!(credentials.find("r.example", "x").unwrap(), None);
    credentials.store("r.example", "me", &Secret::new("se\"cret")).unwrap();
    assert_eq!(credentials.find("r.example", "x").unwrap(), found("me", "se\"cret"));
    assert!(!home.docker_config().to_string().contains("cret"), "the file holds no secret");
    assert_eq!(credentials.find("other.example", "x").unwrap(), None, "it is asked for its registry alone");
    assert!(credentials.forget("r.example").unwrap());
    assert_eq!(credentials.find("r.example", "x").unwrap(), None);

    home.write(".docker/config.json", &json!({"credsStore": "test"}));
    credentials.store("docker.io", "<token>", &Secret::new("refresh")).unwrap();
    let token = credentials.find("docker.io", "library/ubuntu").unwrap();
    assert_eq!(token, Some(Credential::IdentityToken(Secret::new("refresh"))));
    assert!(home.path().join("bin/kept/https___index.docker.io_v1_").exists(), "under Docker Hub's own key");
}

#[test]
fn a_helper_that_fails_or_is_missing_is_named_and_shows_no_secret() {
    let home = Home::new();
    home.write(".docker/config.json", &json!({"credsStore": "test", "credHelpers": {"gone.example": "gone"}}));
    let fails = |host: &str| home.credentials().find(host, "x").unwrap_err();
    let broken = "the credential helper docker-credential-test can't get the credentials of broken.example: the keychain is locked";
    assert_eq!(fails("broken.example").to_string(), broken);
    let error = fails("nonsense.example");
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    let error = fails("gone.example");
    assert!(error.to_string().starts_with("the credential helper docker-credential-gone can't get"), "{error}");
    assert!(error.hint().unwrap().contains("credHelpers"));
}

#[test]
fn a_file_that_is_no_json_is_named_with_its_line_and_none_of_its_secrets() {
    let home = Home::new();
    fs::create_dir_all(home.path().join(".docker")).unwrap();
    fs::write(home.path().join(".docker/config.json"), "{\n  \"auths\": hunter2\n}").unwrap();
    let error = home.credentials().find("r.example", "x").unwrap_err();
    assert!(error.to_string().contains("config.json is not a credentials file: line 2"), "{error}");
    let mut shown = format!("{error:?}");
    shown += &std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(home.credentials().store("r.example", "me", &Secret::new("s")).is_err(), "it is not overwritten");
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let home = Home::new();
    let environment = Environment::from([("DLPACK_USERNAME", "ci"), ("DLPACK_PASSWORD", "hunter2")]);
    let credentials = Credentials::from_environment(&environment);
    let credential = credentials.find("docker.io", "x").unwrap();
    let registries = Registries::new(Settings { credentials: credentials.clone(), ..Settings::default() }).unwrap();
    let repository = registries.repository(&"a/b".parse().unwrap()).unwrap();
    let shown = format!("{environment:?} {credentials:?} {credential:?} {registries:?} {repository:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    drop(home);
}

/// Types Ctrl-C at the prompt for a password; prints the exit status and whether the
/// terminal shows what is typed.
const INTERRUPT: &str = r#"
import os, pty, sys, termios
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], [sys.argv[1], "login", "registry.example", "--username", "me"])
said = b""
while b"password: " not in said:
    said += os.read(terminal, 100)
os.write(terminal, b"\x03")
while b"interrupted" not in said:
    said += os.read(terminal, 100)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), bool(termios.tcgetattr(terminal)[3] & termios.ECHO))
"#;

#[test]
fn an_interrupted_login_leaves_a_terminal_that_shows_what_is_typed() {
    let mut python = std::process::Command::new("python3");
    let said = output(python.args(["-c", INTERRUPT, env!("CARGO_BIN_EXE_dlpack")]), "python3");
    assert_eq!(said.stdout, b"130 True\n");
}
