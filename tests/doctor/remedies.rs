//! The table of what to do: whole, and a person's own over it.

use std::fs;

use dlpack::doctor::{Manager, Problem, Remedies};

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

/// What no command helps: it is said in words what does.
const WORDS: [Problem; 12] = [
    Problem::UnknownDistribution,
    Problem::Chrooted,
    Problem::NoKernelSupport,
    Problem::RealRoot,
    Problem::MaskedProc,
    Problem::LittleMemory,
    Problem::UnreadableRemedies,
    Problem::Misconfigured,
    Problem::OldCard,
    Problem::NewCard,
    Problem::OldCardForCudnn,
    Problem::NewCardForCudnn,
];

#[test]
fn each_problem_has_commands_for_each_package_manager_or_words() {
    let remedies = Remedies::shipped().unwrap();
    for (problem, _) in remedies.entries() {
        for manager in Manager::ALL {
            let commands = remedies.commands(problem, manager);
            assert_eq!(commands.is_empty(), WORDS.contains(&problem), "{problem:?} with {manager:?}");
        }
    }
    // what is missing is installed by the distribution's own program
    let missing = [
        Problem::OldKernel,
        Problem::NoDriver,
        Problem::OldDriver,
        Problem::OlderDriver,
        Problem::NoContainerToolkit,
        Problem::NoDocker,
    ];
    let programs = [Manager::Apt, Manager::Dnf, Manager::Yum, Manager::Zypper]
        .into_iter()
        .zip(["apt-get", "dnf", "yum", "zypper"]);
    for (manager, program) in programs {
        for problem in missing {
            let commands = remedies.commands(problem, manager);
            let has = commands.iter().any(|command| command.split(' ').any(|word| word == program));
            assert!(has || (problem, manager) == (Problem::OldKernel, Manager::Yum), "{problem:?}: {commands:?}");
        }
    }
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
