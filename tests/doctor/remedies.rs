//! The table of what to do: whole, and a person's own over it.

use std::fs;

use dlpack::doctor::Remedies;

use crate::support::command::Dlpack;

#[test]
fn each_problem_has_its_entry_for_each_package_manager_and_there_is_no_other() {
    let source = include_str!("../../src/doctor/findings/mod.rs");
    let (_, rest) = source.split_once("pub enum Problem {").unwrap();
    let variants = rest.split_once("\n}").unwrap().0.lines().map(str::trim);
    let variants = variants.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).count();
    // what is no problem is refused when the table is read
    let remedies = Remedies::shipped().unwrap();
    assert_eq!(remedies.entries().count(), variants, "as many entries as problems");
    let partial: Vec<_> = remedies.entries().filter(|(_, whole)| !whole).map(|(problem, _)| problem).collect();
    assert!(partial.is_empty(), "without an entry for each package manager: {partial:?}");
}

#[test]
fn an_entry_of_a_persons_own_comes_in_place_of_dlpacks() {
    let dlpack = Dlpack::unprivileged();
    let said = |dlpack: &Dlpack| dlpack.run(["doctor", "--registry", "127.0.0.1:9"]);
    assert!(said(&dlpack).stdout.contains("$ curl -sSI"));
    let directory = dlpack.home().join(".config/dlpack");
    fs::create_dir_all(&directory).unwrap();
    let own = "[unreachable]\nwhy = \"no way out\"\nany = [\"ssh gateway curl {registry}\"]\n";
    fs::write(directory.join("remedies.toml"), own).unwrap();
    let said = said(&dlpack);
    assert!(said.stdout.contains("no way out\n           $ ssh gateway curl 127.0.0.1:9\n"), "{}", said.stdout);
    assert!(!said.stdout.contains("curl -sSI"), "{}", said.stdout);
}
