//! Every error that a person can cause in a recipe, as it is shown: the snapshots
//! have each recipe, and below it what is said.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use dlpack::cli::error::{Colour, Failure};
use dlpack::recipe::Recipe;
use snapbox::{assert_data_eq, file, str};

use super::{files, settings};

/// Files of a recipe, and what is set.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

/// What a person is shown when these files (or the files that they name) are wrong.
fn said(given: &[(&str, &str)], set: &[(&str, &str)]) -> String {
    let directory = files(given);
    let loaded = Recipe::load(&directory.path().join("dlpack.toml"), &settings(set));
    let error = loaded.and_then(|loaded| loaded.check_files()).expect_err("nothing was found wrong");
    let here = format!("{}/", directory.path().display());
    shown(error).replace(&here, "")
}

fn shown(error: dlpack::recipe::Error) -> String {
    let mut shown = Vec::new();
    Failure::from(error).show(&mut shown, Colour::Never);
    String::from_utf8(shown).unwrap()
}

fn said_of_files(cases: &[Case<'_>]) -> String {
    cases.iter().fold(String::new(), |mut transcript, (files, set)| {
        for (name, text) in *files {
            writeln!(transcript, "$ cat {name}\n{}", text.trim_end()).unwrap();
        }
        let options: String = set.iter().map(|(name, value)| format!(" --set {name}='{value}'")).collect();
        writeln!(transcript, "$ dlpack lock{options}\n{}", said(files, set)).unwrap();
        transcript
    })
}

fn said_of_recipes(recipes: &[&str]) -> String {
    recipes.iter().map(|recipe| said_of_files(&[(&[("dlpack.toml", recipe)], &[])])).collect()
}

fn said_of_layers(layers: &[&str]) -> String {
    let recipe = |layer: &&str| format!("base = 'debian:12'\n[[layer]]\n{layer}\n");
    layers.iter().map(|layer| said_of_recipes(&[&recipe(layer)])).collect()
}

#[test]
fn what_is_not_toml() {
    let said = said_of_recipes(&["base = 'debian:12\n", "base = 'a'\nbase = 'b'\n", "base = debian\n", "[config\n"]);
    assert_data_eq!(said, file!["../snapshots/recipes/what_is_not_toml.txt"]);
}

#[test]
fn an_unknown_key() {
    let said = said_of_recipes(&[
        "base = 'debian:12'\nlayers = []\n",
        "base = 'debian:12'\n[config]\nenviroment = {}\n",
        "base = { layuot = 'image' }\n",
        "base = 'debian:12'\ncolour = 'red'\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_unknown_key.txt"]);
}

#[test]
fn an_unknown_key_in_a_layer() {
    let said = said_of_layers(&[
        "kind = 'venv'\npyhton = '3.11'",
        "kind = 'venv'\nindex_url = 'https://example.org'",
        "kind = 'files'\nfiles = [{ from = 'a', to = '/a', colour = 'red' }]",
        "kind = 'sshd'\nport = 22\nhost-key = 'x'\nallow = 1",
        "kind = 'venv'\npython = '3.11'\ninterpreter = { path = '/opt/python', sha265 = '' }",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_unknown_key_in_a_layer.txt"]);
}

#[test]
fn an_unknown_kind_of_layer() {
    let said = said_of_layers(&["kind = 'jupiter'", "kind = 'docker'\nname = 'x'", "kind = 'Venv'"]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_unknown_kind_of_layer.txt"]);
}

#[test]
fn a_value_of_another_type() {
    let said = said_of_recipes(&[
        "base = 12\n",
        "base = 'debian:12'\n[config]\nentrypoint = 'sh -c true'\n",
        "base = 'debian:12'\n[config]\nenv = ['A=1']\n",
        "base = 'debian:12'\n[config.env]\nA = 1\n",
        "base = 'debian:12'\n[config]\nexpose = '80'\n",
        "base = 'debian:12'\n[layer]\nkind = 'sshd'\n",
        "base = 'debian:12'\nlayer = ['sshd']\n",
        "base = 'debian:12'\nconfig = 'x'\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_value_of_another_type.txt"]);
}

#[test]
fn a_value_of_another_type_in_a_layer() {
    let said = said_of_layers(&[
        "kind = 'venv'\npython = 3.10",
        "kind = 'venv'\npython = '3.10'\nrequirements = 'numpy'",
        "kind = 'venv'\npython = '3.10'\nrequirements = ['numpy', 1]",
        "kind = 'venv'\npython = '3.10'\nindex-url = ['https://example.org']",
        "kind = 'sshd'\nport = '22'",
        "kind = 'sshd'\npasswords = 'yes'",
        "kind = 'account'\nuser = 'dev'\nuid = true",
        "kind = 'files'\nfiles = [{ content = 'x', to = '/x', mode = 0o644 }]",
        "kind = 'venv'\npython = '3.10'\ninterpreter = 3",
        "kind = 1",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_value_of_another_type_in_a_layer.txt"]);
}

#[test]
fn a_missing_key() {
    let said = said_of_recipes(&["# nothing yet\n", "base = { tag = 'x' }\n"]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_missing_key.txt"]);
}

#[test]
fn a_missing_key_in_a_layer() {
    let said = said_of_layers(&[
        "user = 'dev'",
        "kind = 'account'",
        "kind = 'venv'",
        "kind = 'run'",
        "kind = 'timezone'",
        "kind = 'files'",
        "kind = 'files'\nfiles = [{ from = 'a' }]",
        "kind = 'venv'\npython = '3.12'\ninterpreter = { url = 'https://example.org/python.tar.gz' }",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_missing_key_in_a_layer.txt"]);
}

#[test]
fn a_file_with_two_contents_or_none() {
    let said = said_of_layers(&[
        "kind = 'files'\nfiles = [{ from = 'a', content = 'b', to = '/a' }]",
        "kind = 'files'\nfiles = [{ to = '/a' }]",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_file_with_two_contents_or_none.txt"]);
}

#[test]
fn a_base_or_platform_that_cannot_be() {
    let said = said_of_recipes(&[
        "base = 'nvidia/CUDA:12'\n",
        "base = 'NVIDIA/cuda:12'\n",
        "base = 'debian:'\n",
        "base = { layout = '/srv/image' }\n",
        "base = { archive = 'debian', suite = 'bookworm', packages = ['tini', 'bash:arm64=5.2.15-2'] }\n",
        "base = 'debian:12'\nplatform = 'linux'\n",
        "base = 'debian:12'\ncompression = 'xz'\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_base_or_platform_that_cannot_be.txt"]);
}

#[test]
fn a_config_that_cannot_be() {
    let said = said_of_recipes(&[
        "base = 'debian:12'\n[config]\nenv = { 1A = 'x' }\n",
        "base = 'debian:12'\n[config]\nenv = { A = 'x:$${B:=y}' }\n",
        "base = 'debian:12'\n[config]\nexpose = [0]\n",
        "base = 'debian:12'\n[config]\nexpose = ['http']\n",
        "base = 'debian:12'\n[config]\nworkdir = 'work'\n",
        "base = 'debian:12'\n[config]\nuser = 'a:b:c'\n",
        "base = 'debian:12'\n[config]\ncmd = [\"a\\u0000b\"]\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_config_that_cannot_be.txt"]);
}

#[test]
fn a_path_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'venv'\npython = '3.11'\npath = 'opt/venv'",
        "kind = 'files'\nfiles = [{ from = 'a', to = '/etc/../a' }]",
        "kind = 'files'\nfiles = [{ from = '/etc/passwd', to = '/a' }]",
        "kind = 'files'\nfiles = [{ from = '', to = '/a' }]",
        "kind = 'files'\nfiles = [{ from = '~/.vimrc', to = '/a' }]",
        "kind = 'files'\nfiles = [{ content = '', to = '/' }]",
        "kind = 'account'\nuser = 'dev'\nhome = '/home/a:b'",
        "kind = 'venv'\npython = '3.11'\nwheels = ['dist/a.tar.gz']",
        "kind = 'venv'\npython = '3.11'\nprojects = ['dist/a-1-py3-none-any.whl']",
        "kind = 'venv'\npython = '3.11'\nno-binary = ['docopt==0.6.2']",
        "kind = 'venv'\npython = '3.11'\nbuild-requirements = ['--no-build-isolation']",
        "kind = 'venv'\npython = '3.11'\nbytecode = 'yes'",
        "kind = 'jupyter'\nroot-dir = '~/work'",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_path_that_cannot_be.txt"]);
}

#[test]
fn an_account_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'account'\nuser = 'Alice'",
        "kind = 'account'\nuser = 'dev'\nuid = 4294967295",
        "kind = 'account'\nuser = 'dev'\nuid = -1",
        "kind = 'account'\nuser = 'dev'\ngid = 'staff'",
        "kind = 'account'\nuser = 'dev'\ngroups = ['1st']",
        "kind = 'account'\nuser = 'dev'\nauthorized-keys = ['-----BEGIN OPENSSH PRIVATE KEY-----']",
        "kind = 'account'\nuser = 'dev'\nauthorized-keys = ['AAAAC3Nza']",
        "kind = 'account'\nuser = 'dev'\npassword-secret = '$6$salt$hash'",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_account_that_cannot_be.txt"]);
}

#[test]
fn a_port_mode_owner_zone_or_package_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'sshd'\nport = 0",
        "kind = 'jupyter'\nport = 88888",
        "kind = 'files'\nfiles = [{ content = 'x', to = '/x', mode = 'u+x' }]",
        "kind = 'files'\nfiles = [{ content = 'x', to = '/x', mode = '0888' }]",
        "kind = 'files'\nfiles = [{ content = 'x', to = '/x', owner = 'root' }]",
        "kind = 'timezone'\nzone = '../../etc/passwd'",
        "kind = 'apt'\npackages = ['openssh-server', 'Tmux']",
        "kind = 'run'\ncommand = ' '",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_port_mode_owner_zone_or_package_that_cannot_be.txt"]);
}

#[test]
fn a_run_layer_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'run'\ncommand = 'make'\nscript = 'build.sh'",
        "kind = 'run'\nscript = '/opt/build.sh'",
        "kind = 'run'\nscript = 'build.sh'\nshell = ['/bin/bash', '-c']",
        "kind = 'run'\ncommand = 'make'\nshell = []",
        "kind = 'run'\ncommand = 'make'\nshell = ['bash', '-c']",
        "kind = 'run'\ncommand = 'make'\nshell = 'bash -c'",
        "kind = 'run'\ncommand = 'make'\nenv = { 'A B' = 'c' }",
        "kind = 'run'\ncommand = 'make'\nworkdir = '/src/../../etc'",
        "kind = 'run'\ncommand = 'make'\nworkdir = 'src'",
        "kind = 'run'\ncommand = 'make'\nuser = 'a b'",
        "kind = 'run'\ncommand = 'make'\nnetwork = 'host'",
        "kind = 'run'\ncommand = 'make'\nsecrets = ['../token']",
        "kind = 'run'\ncommand = 'make'\nsecrets = [{ name = 'token', mode = '0444' }]",
        "kind = 'run'\ncommand = 'make'\nsecrets = [{ to = '/root/.netrc' }]",
        "kind = 'run'\ncommand = 'make'\nsecrets = [7]",
        "kind = 'run'\ncommand = 'make'\ncaches = ['~/.cache']",
        "kind = 'run'\ncommand = 'make'\ncaches = [{ id = 'pip' }]",
        "kind = 'run'\ncommand = 'make'\ncaches = ['/c', { to = '/c', id = 'other' }]",
        "kind = 'run'\ncommand = 'make'\nsecrets = ['a']\nmounts = [{ from = '.', to = '/run/secrets/a' }]",
        "kind = 'run'\ncommand = 'make'\nmounts = [{ from = 'src' }]",
        "kind = 'run'\ncommand = 'make'\nmounts = [{ from = '/src', to = '/src' }]",
        "kind = 'run'\ncommand = 'make'\nmounts = [{ from = 'missing', to = '/src' }]",
        "kind = 'run'\nscript = 'missing.sh'",
        "kind = 'run'\ncommand = 'make'\nsees = ['venv']",
        "kind = 'apt'\npackages = ['make']\n\n[[layer]]\nkind = 'run'\ncommand = 'make'\nsees = ['atp']",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_run_layer_that_cannot_be.txt"]);
}

#[test]
fn an_apt_layer_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'apt'\npackages = ['tmux', 'curl=']",
        "kind = 'apt'\npackages = ['libc6:I386']",
        "kind = 'apt'\npackages = ['nano-']",
        "kind = 'apt'\npackages = ['nano', '-o=APT::Get::AllowUnauthenticated=1']",
        "kind = 'apt'\nrecommends = 'no'",
        "kind = 'apt'\nsources = ['deb https://example.org stable main']",
        "kind = 'apt'\nsources = [{ uri = 'https://example.org', suites = ['stable'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', components = ['main'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['stable'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['./'], components = ['main'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['stable main'], components = ['main'] }]",
        "kind = 'apt'\nsources = [{ url = 'file:///srv/debs', suites = ['./'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://me:secret@example.org', suites = ['./'] }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['./'], key = '/etc/apt/key.asc' }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['./'], key = 'key.asc' }]",
        "kind = 'apt'\nsources = [{ url = 'https://example.org', suites = ['./'], architectures = ['x86_64'] }]",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_apt_layer_that_cannot_be.txt"]);
}

#[test]
fn a_requirement_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'venv'\npython = '3.11'\nrequirements = ['numpy', 'torch 2.6']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['torch=2.6']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['torch>=']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['-r requirements.txt']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['--no-deps']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['./dist/a-1-py3-none-any.whl']",
        "kind = 'venv'\npython = '3.11'\nrequirements = ['seaborn[stats']",
        "kind = 'venv'\npython = '3.11'\nconstraints = ['uvicorn[standard]<1']",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_requirement_that_cannot_be.txt"]);
}

#[test]
fn a_venv_that_cannot_be() {
    let said = said_of_layers(&[
        "kind = 'venv'\npython = '3'",
        "kind = 'venv'\npython = '3.11.4'",
        "kind = 'venv'\npython = '3.11'\nindex-url = 'example.org/simple'",
        "kind = 'venv'\npython = '3.11'\nindex-url = 'ftp://example.org/simple'",
        "kind = 'venv'\npython = '3.11'\nextra-index-url = ['https://me:secret@example.org/simple']",
        "kind = 'venv'\npython = '3.11'\ninterpreter = { url = 'python.tar.gz', sha256 = 'abc' }",
        "kind = 'venv'\npython = '3.11'\ninterpreter = 'python3'",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_venv_that_cannot_be.txt"]);
}

#[test]
fn what_stands_twice() {
    let said = said_of_layers(&[
        "kind = 'run'\ncommand = 'a'\n\n[[layer]]\nkind = 'run'\ncommand = 'b'",
        "kind = 'venv'\npython = '3.11'\n\n[[layer]]\nkind = 'venv'\nname = 'more'\npython = '3.11'",
        "kind = 'account'\nuser = 'dev'\n\n[[layer]]\nkind = 'account'\nname = 'other'\nuser = 'dev'",
        "kind = 'sshd'\n\n[[layer]]\nkind = 'sshd'\nname = 'more'",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/what_stands_twice.txt"]);
}

#[test]
fn a_name_of_a_layer_that_cannot_be() {
    let said =
        said_of_layers(&["kind = 'sshd'\nname = 'My SSH'", "kind = 'sshd'\nname = 1", "kind = 'sshd'\nafter = 1"]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_name_of_a_layer_that_cannot_be.txt"]);
}

#[test]
fn an_extends_that_leads_nowhere() {
    let said = said_of_recipes(&[
        "extends = 'bsae.toml'\n",
        "extends = 'rapid'\n",
        "extends = '/etc/base.toml'\n",
        "extends = 1\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/an_extends_that_leads_nowhere.txt"]);
}

#[test]
fn recipes_that_extend_each_other() {
    let said = said_of_files(&[
        (&[("dlpack.toml", "extends = 'dlpack.toml'\n")], &[]),
        (
            &[
                ("dlpack.toml", "extends = 'a/one.toml'\n"),
                ("a/one.toml", "# first\nextends = 'two.toml'\n"),
                ("a/two.toml", "extends = 'one.toml'\n"),
            ],
            &[],
        ),
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/recipes_that_extend_each_other.txt"]);
}

#[test]
fn a_layer_that_is_not_there_to_change() {
    let said = said_of_files(&[
        (
            &[
                ("dlpack.toml", "extends = 'parent.toml'\ndrop = ['ssh']\n"),
                ("parent.toml", "base = 'debian:12'\n[[layer]]\nkind = 'sshd'\n"),
            ],
            &[],
        ),
        (
            &[
                ("dlpack.toml", "extends = 'parent.toml'\ndrop = 'sshd'\n"),
                ("parent.toml", "base = 'debian:12'\n[[layer]]\nkind = 'sshd'\n"),
            ],
            &[],
        ),
        (
            &[
                ("dlpack.toml", "extends = 'parent.toml'\n[[layer]]\nname = 'jupyter'\nport = 1\n"),
                ("parent.toml", "base = 'debian:12'\n[[layer]]\nkind = 'sshd'\n"),
            ],
            &[],
        ),
        (
            &[
                ("dlpack.toml", "extends = 'parent.toml'\n[[layer]]\nkind = 'jupyter'\nafter = 'apt'\n"),
                ("parent.toml", "base = 'debian:12'\n[[layer]]\nkind = 'sshd'\n"),
            ],
            &[],
        ),
        (&[("dlpack.toml", "base = 'debian:12'\ndrop = ['sshd']\n")], &[]),
        (&[("dlpack.toml", "base = 'debian:12'\n[[layer]]\nname = 'sshd'\n")], &[]),
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_layer_that_is_not_there_to_change.txt"]);
}

#[test]
fn what_is_wrong_in_a_parent() {
    let said = said_of_files(&[
        (
            &[
                ("dlpack.toml", "extends = 'shared/parent.toml'\n"),
                ("shared/parent.toml", "base = 'debian:12'\n\n[[layer]]\nkind = 'sshd'\nprot = 22\n"),
            ],
            &[],
        ),
        (
            &[
                ("dlpack.toml", "extends = 'shared/parent.toml'\n"),
                (
                    "shared/parent.toml",
                    "base = 'debian:12'\n\n[[layer]]\nkind = 'files'\nfiles = [{ from = 'motd', to = '/etc/motd' }]\n",
                ),
            ],
            &[],
        ),
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/what_is_wrong_in_a_parent.txt"]);
}

#[test]
fn a_variable_that_cannot_be() {
    let said = said_of_recipes(&[
        "base = '${bsae}'\n[vars]\nbase = 'debian:12'\n",
        "base = 'debian:12'\n[[layer]]\nkind = 'run'\ncommand = 'echo ${HOME}'\n",
        "base = '${base'\n",
        "base = '${a}'\n[vars]\na = '${b}'\nb = 'x${a}'\n",
        "base = 'debian:12'\n[vars]\nuser = ['dev']\n",
        "base = 'debian:12'\n[vars]\n'a b' = 'dev'\n",
        "base = 'debian:12'\nvars = 'user'\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_variable_that_cannot_be.txt"]);
}

#[test]
fn a_setting_that_cannot_be() {
    let said = said_of_files(&[
        (
            &[(
                "dlpack.toml",
                "base = 'debian:12'\n[vars]\nuser = 'dev'\nuid = 1000\n\n[[layer]]\nkind = 'account'\nuser = '${user}'\nuid = '${uid}'\n",
            )],
            &[("usr", "alice")],
        ),
        (&[("dlpack.toml", "base = 'debian:12'\n")], &[("user", "alice")]),
        (
            &[(
                "dlpack.toml",
                "base = 'debian:12'\n[vars]\nuser = 'dev'\nuid = 1000\n\n[[layer]]\nkind = 'account'\nuser = '${user}'\nuid = '${uid}'\n",
            )],
            &[("user", "Alice Smith")],
        ),
        (
            &[(
                "dlpack.toml",
                "base = 'debian:12'\n[vars]\nuser = 'dev'\nuid = 1000\n\n[[layer]]\nkind = 'account'\nuser = '${user}'\nuid = '${uid}'\n",
            )],
            &[("uid", "many")],
        ),
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_setting_that_cannot_be.txt"]);
}

#[test]
fn a_file_that_is_not_there() {
    let said = said_of_layers(&[
        "kind = 'files'\nfiles = [{ from = 'motd', to = '/etc/motd' }]",
        "kind = 'venv'\npython = '3.11'\nrequirements-files = ['requirements.txt']",
        "kind = 'venv'\npython = '3.11'\nwheels = ['dist/a-1-py3-none-any.whl']",
        "kind = 'venv'\npython = '3.11'\nprojects = ['model']",
        "kind = 'venv'\npython = '3.11'\ninterpreter = { url = 'python.tar.gz', sha256 = '0000000000000000000000000000000000000000000000000000000000000000' }",
        "kind = 'account'\nuser = 'dev'\nauthorized-keys-files = ['keys/alice.pub']",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_file_that_is_not_there.txt"]);
}

#[test]
fn a_recipe_or_base_that_is_not_there() {
    let said = said_of_files(&[(&[], &[]), (&[("dlpack.toml", "base = { layout = 'image' }\n")], &[])]);
    assert_data_eq!(said, file!["../snapshots/recipes/a_recipe_or_base_that_is_not_there.txt"]);
}

#[test]
fn what_stands_after_tabs_and_wide_letters() {
    let said = said_of_recipes(&[
        "base = 'debian:12'\n[[layer]]\nkind = 'sshd'\n\tport =\t0\n",
        "base = 'debian:12'\n[config]\nlabels = { 'größe' = 1 }\n",
        "base = 'debian:12'\r\n[config]\r\nuser = ''\r\n",
        "base = 'debian:12'\n[config]\nworkdir = '''\nwork'''\n",
    ]);
    assert_data_eq!(said, file!["../snapshots/recipes/what_stands_after_tabs_and_wide_letters.txt"]);
}

#[test]
fn a_chain_of_recipes_has_an_end() {
    let names: Vec<String> = (0..12).map(|n| format!("{n}.toml")).collect();
    let texts: Vec<String> = (0..12).map(|n| format!("extends = '{}.toml'\n", n + 1)).collect();
    let mut given: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    given.push(("dlpack.toml", "extends = '0.toml'\n"));
    assert_data_eq!(
        said(&given, &[]),
        str![[r#"
error: 7.toml:1:11: recipes extend each other more than 8 deep: dlpack.toml → 0.toml → 1.toml → 2.toml → 3.toml → 4.toml → 5.toml → 6.toml → 7.toml → 8.toml
  |
1 | extends = '8.toml'
  |           ^^^^^^^^

"#]]
    );
}

#[test]
fn a_recipe_that_is_not_text_or_too_long_or_a_directory() {
    let directory = files(&[("long.toml", &"#".repeat((1 << 20) + 1))]);
    fs::write(directory.path().join("latin1.toml"), b"base = 'gr\xf6\xdfe'").unwrap();
    let said = |path: &Path| {
        let error = Recipe::load(path, &[]).expect_err("it was loaded");
        shown(error).replace(&directory.path().display().to_string(), "DIR")
    };
    assert_data_eq!(
        said(&directory.path().join("long.toml")),
        str![[r#"
error: can't read the recipe `DIR/long.toml`
caused by: a recipe is at most 1 MiB long

"#]]
    );
    assert_data_eq!(
        said(&directory.path().join("latin1.toml")),
        str![[r#"
error: can't read the recipe `DIR/latin1.toml`
caused by: line 1 is not UTF-8

"#]]
    );
    assert_data_eq!(
        said(directory.path()),
        str![[r#"
error: can't read the recipe `DIR`
caused by: Is a directory (os error 21)

"#]]
    );
}
