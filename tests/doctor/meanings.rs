//! What facts mean: made-up machines, each with its finding, its severity and its commands.

use std::path::PathBuf;

use dlpack::doctor::facts::filesystem::Filesystem;
use dlpack::doctor::facts::{Asked, Class, Docker, Gpu, Gpus, Limits, Login, Machine, Sandbox, Uv, Wanted};
use dlpack::doctor::{Facts, Finding, Problem, Release, Remedies, Section, Severity, findings};
use dlpack::gpu::{Compatibility, Version};
use dlpack::registry::PullLimit;
use dlpack::sandbox::{Fallback, Obstacle, Quota};

/// A machine on which all is well.
fn well() -> Facts {
    let store = Filesystem {
        path: "/home/alice/.cache/dlpack".into(),
        exists: "/home/alice".into(),
        kind: "ext4".into(),
        class: Class::Local,
        read_only: false,
        writable: true,
        user_attributes: Some(true),
        free: 500_000_000_000,
        size: 900_000_000_000,
        free_inodes: Some(9_000_000),
        quota: None,
    };
    let release =
        Release { id: "ubuntu".into(), name: "Ubuntu 24.04 LTS".into(), version: "24.04".into(), like: vec![] };
    Facts {
        machine: Machine {
            release: Some(release),
            kernel: "6.8.0-45-generic".into(),
            architecture: "x86_64",
            ..Machine::default()
        },
        sandbox: Sandbox::default(),
        limits: Limits { memory_available: Some(64 << 30), open_files: Some(1024), ..Limits::default() },
        uv: Uv::Found("uv 0.13.9".into()),
        scratch: Some(Filesystem { path: store.path.join("scratch"), ..store.clone() }),
        store: Some(store),
        better_scratch: None,
        registries: vec![asked(Login::LoggedIn)],
        gpus: None,
        docker: Docker { client: true, socket: true, permitted: true, nvidia_runtime: true },
        wanted: None,
        unreadable_remedies: None,
    }
}

fn asked(login: Login) -> Asked {
    Asked { registry: "docker.io".into(), named: true, login, pull_limit: None }
}

fn found(facts: &Facts) -> Vec<Finding> {
    findings(facts, Compatibility::shipped(), &Remedies::shipped().unwrap())
}

/// The one thing that is the matter with `facts`.
#[track_caller]
fn matter(facts: &Facts) -> Finding {
    let matters: Vec<_> = found(facts).into_iter().filter(|finding| finding.problem.is_some()).collect();
    let [only] = <[Finding; 1]>::try_from(matters).unwrap_or_else(|found| panic!("{found:#?}"));
    assert!(only.why.is_some() && !(only.commands.is_empty() && only.advice.is_none()), "{only:#?}");
    only
}

#[test]
fn where_all_is_well_nothing_is_to_be_done() {
    let found = found(&well());
    assert!(found.iter().all(|finding| finding.severity == Severity::Ok && finding.commands.is_empty()), "{found:#?}");
}

#[test]
fn each_obstacle_to_user_namespaces_has_its_cause_and_its_commands() {
    let cases = [
        (Obstacle::NoUserNamespaces, Problem::NoUserNamespaces, "user.max_user_namespaces=15000"),
        (Obstacle::TooManyUserNamespaces, Problem::TooManyUserNamespaces, "user.max_user_namespaces"),
        (Obstacle::UsernsCloneOff, Problem::UsernsCloneOff, "kernel.unprivileged_userns_clone=1"),
        (Obstacle::AppArmor, Problem::Apparmor, "/etc/apparmor.d/dlpack"),
        (Obstacle::ContainerProfile, Problem::ContainerProfile, "seccomp=unconfined"),
        (Obstacle::Chroot, Problem::Chrooted, ""),
        (Obstacle::NoKernelSupport, Problem::NoKernelSupport, ""),
        (Obstacle::Unknown, Problem::NamespacesRefused, "unshare"),
    ];
    for (obstacle, problem, command) in cases {
        let sandbox =
            Sandbox { obstacle: Some(obstacle), refused: Some("it is refused: EPERM".into()), ..Sandbox::default() };
        let finding = matter(&Facts { sandbox, ..well() });
        assert_eq!((finding.severity, finding.problem), (Severity::Error, Some(problem)));
        assert!(finding.commands.join("\n").contains(command), "{finding:#?}");
        let cause = if obstacle == Obstacle::Unknown { "EPERM".to_owned() } else { obstacle.to_string() };
        assert!(finding.found.contains(&cause), "{finding:#?}");
    }
}

#[test]
fn each_fallback_is_told_with_what_it_costs() {
    let cases = [
        (Fallback::Copy, Severity::Warning, Problem::NoOverlay),
        (Fallback::HostProc, Severity::Note, Problem::MaskedProc),
        (Fallback::HostNetwork, Severity::Warning, Problem::NoNetworkNamespace),
        (Fallback::RecordedOwners, Severity::Warning, Problem::RecordedOwners),
        (Fallback::FakedOwners, Severity::Warning, Problem::LostOwners),
    ];
    for (fallback, severity, problem) in cases {
        let finding = matter(&Facts { sandbox: Sandbox { fallbacks: vec![fallback], ..Sandbox::default() }, ..well() });
        assert_eq!((finding.severity, finding.problem), (severity, Some(problem)));
    }
}

#[test]
fn without_uv_there_are_no_new_locks() {
    let finding = matter(&Facts { uv: Uv::Unusable("there is no `uv`".into()), ..well() });
    assert_eq!((finding.severity, finding.problem), (Severity::Warning, Some(Problem::NoUv)));
    assert_eq!(finding.commands, ["sudo apt-get install pipx", "pipx install uv"]);
}

#[test]
fn an_old_kernel_is_told_with_this_distributions_commands() {
    let of = |id: &str, version: &str, kernel: &str| {
        let release = Release { id: id.into(), version: version.into(), name: id.into(), like: vec![] };
        let machine = Machine { release: Some(release), kernel: kernel.into(), ..well().machine };
        matter(&Facts { machine, ..well() })
    };
    let centos = of("centos", "7", "3.10.0-1160.el7.x86_64");
    assert_eq!((centos.severity, centos.problem), (Severity::Error, Some(Problem::OldKernel)));
    assert!(of("rhel", "8.9", "4.18.0-513").commands[0].starts_with("sudo dnf "));
    assert!(of("ubuntu", "20.04", "5.4.0-26-generic").commands[0].starts_with("sudo apt-get "));
    assert!(of("sles", "15.2", "5.3.18-22").commands[0].starts_with("sudo zypper "));
}

type Change<'a> = &'a dyn Fn(&mut Filesystem);

#[test]
fn what_the_store_lies_on_is_told_where_it_matters() {
    let quota = |limit| Some(Quota { used: 90_000_000_000, limit: Some(limit), inodes: 5, inode_limit: None });
    let cases: [(Change<'_>, Severity, Problem); 10] = [
        (&|store| store.read_only = true, Severity::Error, Problem::StoreNotWritable),
        (&|store| store.writable = false, Severity::Error, Problem::StoreNotWritable),
        (&|store| store.class = Class::Remote, Severity::Note, Problem::RemoteStore),
        (&|store| store.free = 10_000_000_000, Severity::Warning, Problem::LittleSpace),
        (&|store| store.free = 1_000_000_000, Severity::Error, Problem::LittleSpace),
        (&|store| store.free_inodes = Some(1000), Severity::Warning, Problem::FewInodes),
        (&|store| store.quota = quota(100_000_000_000), Severity::Warning, Problem::LittleQuota),
        (&|store| store.kind = "lustre".into(), Severity::Note, Problem::LustreQuota),
        (&|store| store.kind = "gpfs".into(), Severity::Note, Problem::GpfsQuota),
        (&|store| store.kind = "nfs4".into(), Severity::Note, Problem::NfsQuota),
    ];
    for (change, severity, problem) in cases {
        let mut facts = well();
        facts.store.iter_mut().for_each(change);
        let finding = matter(&facts);
        assert_eq!((finding.severity, finding.problem), (severity, Some(problem)), "{finding:#?}");
    }
    let mut facts = well();
    facts.store.iter_mut().for_each(|store| store.quota = quota(500_000_000_000));
    let found = found(&facts);
    let quota = found.iter().find(|finding| finding.subject == "quota").unwrap();
    assert_eq!((quota.severity, quota.found.as_str()), (Severity::Ok, "410.0 GB left"));
}

#[test]
fn a_local_directory_is_suggested_where_steps_would_write_to_memory() {
    let mut facts = well();
    let local = Filesystem { path: "/scratch".into(), ..facts.store.clone().unwrap() };
    facts.scratch.iter_mut().for_each(|scratch| scratch.class = Class::Overlay);
    facts.better_scratch = Some(local);
    let finding = matter(&facts);
    assert_eq!((finding.severity, finding.problem), (Severity::Warning, Some(Problem::NoLocalScratch)));
    assert_eq!(finding.commands, ["export DLPACK_SCRATCH=/scratch"]);
}

#[test]
fn a_store_without_a_place_and_remedies_that_are_none_are_told() {
    let nowhere = Facts { store: None, scratch: None, ..well() };
    assert_eq!(matter(&nowhere).problem, Some(Problem::StoreNotWritable));
    let finding = matter(&Facts { unreadable_remedies: Some("it is no table".into()), ..well() });
    assert_eq!((finding.severity, finding.problem), (Severity::Warning, Some(Problem::UnreadableRemedies)));
    assert_eq!(finding.found, "it is no table");
}

#[test]
fn limits_are_told_where_a_build_may_run_into_them() {
    let cases = [
        (Limits { open_files: Some(256), ..Limits::default() }, Problem::FewOpenFiles),
        (Limits { processes: Some(100), ..Limits::default() }, Problem::FewProcesses),
        (Limits { file_size: Some(1 << 30), ..Limits::default() }, Problem::ShortFiles),
        (Limits { memory: Some(1 << 28), ..Limits::default() }, Problem::LittleMemory),
    ];
    for (limits, problem) in cases {
        let finding = matter(&Facts { limits, ..well() });
        assert_eq!((finding.severity, finding.problem), (Severity::Warning, Some(problem)));
    }
}

#[test]
fn a_registry_is_told_by_how_it_takes_the_user() {
    let cases = [
        (Login::Anonymous, Severity::Note, Problem::NotLoggedIn),
        (Login::Required, Severity::Error, Problem::NotLoggedIn),
        (Login::Rejected, Severity::Error, Problem::Rejected),
        (Login::Unreachable("no route".into()), Severity::Error, Problem::Unreachable),
        (Login::Misconfigured("no helper".into()), Severity::Error, Problem::Misconfigured),
    ];
    for (login, severity, problem) in cases {
        let finding = matter(&Facts { registries: vec![asked(login)], ..well() });
        assert_eq!((finding.severity, finding.problem), (severity, Some(problem)));
    }
    let unnamed = Asked { named: false, ..asked(Login::Unreachable("no route".into())) };
    assert_eq!(matter(&Facts { registries: vec![unnamed], ..well() }).severity, Severity::Warning);
    let limit = PullLimit { limit: 100, remaining: 3, seconds: Some(21_600) };
    let limited = Asked { pull_limit: Some(limit), ..asked(Login::LoggedIn) };
    let finding = matter(&Facts { registries: vec![limited], ..well() });
    assert_eq!((finding.problem, finding.found.as_str()), (Some(Problem::FewPulls), "3 of 100 in 6 h left"));
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// A machine with a card and a driver, and a recipe that has these of CUDA and cuDNN.
fn with_gpu(driver: &str, capability: &str, cuda: &str, cudnn: &str) -> Facts {
    let gpu = Gpu { model: "NVIDIA H100".into(), compute_capability: Some(version(capability)) };
    let gpus = Gpus {
        cards: 2,
        driver: Some(version(driver)),
        open_module: true,
        installed: true,
        libraries: true,
        gpus: vec![gpu.clone(), gpu],
        toolkit: Some("/usr/bin/nvidia-ctk".into()),
        cdi: vec!["nvidia.com/gpu=all".into()],
        malformed_cdi: Vec::new(),
    };
    let env = [("CUDA_VERSION", cuda), ("NV_CUDNN_VERSION", cudnn)];
    Facts { gpus: Some(gpus), wanted: Some(Wanted::default().of_base(env)), ..well() }
}

#[test]
fn a_driver_and_a_card_are_held_against_the_recipes_cuda_and_cudnn() {
    let fine = found(&with_gpu("550.54.15", "9.0", "12.4.1", "9.1.0.70"));
    assert!(fine.iter().all(|finding| finding.severity == Severity::Ok), "{fine:#?}");
    let gpu = fine.iter().find(|finding| finding.subject == "GPU").unwrap();
    assert_eq!(gpu.found, "2 × NVIDIA H100, compute capability 9.0");
    let cases = [
        (("515.43.04", "9.0", "12.4.1", "9.1.0"), Severity::Error, Problem::OldDriver, "525.60.13"),
        (("535.104.05", "9.0", "12.4.1", "9.1.0"), Severity::Note, Problem::OlderDriver, "550.54.14"),
        (("580.65.06", "7.0", "13.0.0", "9.1.0"), Severity::Error, Problem::OldCard, "7.0"),
        (("570.26", "12.0", "12.4.1", "9.7.0"), Severity::Warning, Problem::NewCard, "12.0"),
        (("570.26", "7.0", "12.4.1", "9.11.0"), Severity::Error, Problem::OldCardForCudnn, "7.0"),
        (("570.26", "12.0", "12.8.0", "9.1.0"), Severity::Warning, Problem::NewCardForCudnn, "12.0"),
    ];
    for ((driver, capability, cuda, cudnn), severity, problem, named) in cases {
        let finding = matter(&with_gpu(driver, capability, cuda, cudnn));
        assert_eq!((finding.severity, finding.problem), (severity, Some(problem)), "{finding:#?}");
        let said = format!("{} {} {}", finding.found, finding.why.unwrap(), finding.advice.unwrap_or_default());
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn all_of_a_gpu_is_told_where_it_is_well() {
    let mut facts = with_gpu("580.65.06", "9.0", "13.0.1", "9.17.0");
    let said = |facts: &Facts| {
        let gpu = |finding: &Finding| finding.section == Section::Gpu;
        found(facts).into_iter().filter(gpu).map(|finding| (finding.subject, finding.found)).collect::<Vec<_>>()
    };
    let expected = [
        ("GPU", "2 × NVIDIA H100, compute capability 9.0"),
        ("driver", "580.65.06, open kernel module"),
        ("Secure Boot", "not told: this machine's firmware is no UEFI, or its variables are not shown here"),
        ("CDI", "nvidia.com/gpu=all"),
        ("container toolkit", "/usr/bin/nvidia-ctk"),
        ("CUDA", "the recipe has 13.0.1 (CUDA_VERSION of the base), which driver and card run"),
        ("cuDNN", "the recipe has 9.17.0 (NV_CUDNN_VERSION of the base), which the card runs"),
    ];
    assert_eq!(said(&facts), expected.map(|(subject, found)| (subject.to_owned(), found.to_owned())));
    facts.machine.secure_boot = Some(true);
    facts.gpus.as_mut().unwrap().open_module = false;
    let said = said(&facts);
    assert_eq!(said[1].1, "580.65.06, proprietary kernel module");
    assert_eq!(said[2].1, "on; the driver's module is signed, since it is loaded");
}

#[test]
fn a_card_without_a_driver_matters_to_a_recipe_that_wants_it() {
    let mut facts = with_gpu("550.54.15", "9.0", "12.4.1", "9.1.0");
    facts.machine.secure_boot = Some(true);
    let gpus = facts.gpus.as_mut().unwrap();
    (gpus.driver, gpus.gpus) = (None, Vec::new());
    let finding = matter(&facts);
    assert_eq!((finding.severity, finding.problem), (Severity::Error, Some(Problem::DriverNotLoaded)));
    assert!(finding.found.contains("Secure Boot is on"), "{finding:#?}");
    facts.gpus.as_mut().unwrap().installed = false;
    let finding = matter(&facts);
    assert_eq!(finding.problem, Some(Problem::NoDriver));
    assert!(finding.commands[0].starts_with("sudo ubuntu-drivers"), "{finding:#?}");
    facts.wanted = None;
    assert_eq!(matter(&facts).severity, Severity::Warning);
    facts.gpus = Some(Gpus::default());
    assert!(found(&facts).iter().all(|finding| finding.severity == Severity::Ok));
}

#[test]
fn a_recipe_wants_the_newest_cuda_that_its_base_or_its_wheels_have() {
    let of = |env: &[(&str, &str)], wheels: &[(&str, &str)]| {
        let wanted = Wanted { recipe: PathBuf::from("dlpack.toml"), ..Wanted::default() };
        let wanted = wanted.of_base(env.iter().copied()).of_wheels(wheels.iter().copied());
        let said =
            |stated: Option<dlpack::doctor::facts::Stated>| stated.map(|it| format!("{} by {}", it.version, it.by));
        (said(wanted.cuda), said(wanted.cudnn))
    };
    let ngc = [("CUDA_VERSION", "11.8.0.065"), ("CUDNN_VERSION", "8.6.0.163"), ("NVIDIA_REQUIRE_CUDA", "cuda>=9.0")];
    let (cuda, cudnn) = of(&ngc, &[]);
    assert_eq!(cuda.as_deref(), Some("11.8.0.065 by CUDA_VERSION of the base"));
    assert_eq!(cudnn.as_deref(), Some("8.6.0.163 by CUDNN_VERSION of the base"));
    let wheels = [("torch", "2.6.0"), ("nvidia-cuda-runtime-cu12", "12.4.127"), ("nvidia-cudnn-cu12", "9.1.0.70")];
    let (cuda, cudnn) = of(&ngc, &wheels);
    assert_eq!(cuda.as_deref(), Some("12.4.127 by nvidia-cuda-runtime-cu12 12.4.127"));
    assert_eq!(cudnn.as_deref(), Some("9.1.0.70 by nvidia-cudnn-cu12 9.1.0.70"));
    assert_eq!(of(&[], &[("torch", "2.1.0+cu118")]).0.as_deref(), Some("11.8 by torch 2.1.0+cu118"));
    let require = [("NVIDIA_REQUIRE_CUDA", "cuda>=12.2 brand=tesla,driver>=470,driver<471")];
    assert_eq!(of(&require, &[]).0.as_deref(), Some("12.2 by NVIDIA_REQUIRE_CUDA of the base"));
    assert_eq!(of(&[], &[("numpy", "2.0.0")]), (None, None));
}
