//! Facts of made-up machines: trees of files as `/`.

use std::fs;
use std::path::Path;

use dlpack::doctor::facts::filesystem::{kind_of, mounted_as};
use dlpack::doctor::facts::{Class, Docker, Limits, Machine};
use dlpack::doctor::{Manager, Release};
use tempfile::TempDir;

/// A machine with these files.
fn machine(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

fn read(files: &[(&str, &[u8])]) -> Machine {
    Machine::read(machine(files).path(), 1000, Some("alice"))
}

#[test]
fn each_distribution_is_known_by_its_os_release_and_what_it_is_like() {
    let cases = [
        (
            "PRETTY_NAME=\"Ubuntu 22.04.4 LTS\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"22.04\"\n",
            "Ubuntu 22.04.4 LTS",
            Manager::Apt,
        ),
        (
            "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID=\"24.04\"\n",
            "Ubuntu 24.04 LTS",
            Manager::Apt,
        ),
        (
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_ID=\"12\"\nID=debian\n",
            "Debian GNU/Linux 12 (bookworm)",
            Manager::Apt,
        ),
        (
            "NAME=\"Rocky Linux\"\nVERSION_ID=\"9.3\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\nPRETTY_NAME=\"Rocky Linux 9.3 (Blue Onyx)\"\n",
            "Rocky Linux 9.3 (Blue Onyx)",
            Manager::Dnf,
        ),
        (
            "NAME=\"CentOS Linux\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\nVERSION_ID=\"7\"\nPRETTY_NAME=\"CentOS Linux 7 (Core)\"\n",
            "CentOS Linux 7 (Core)",
            Manager::Yum,
        ),
        (
            "NAME=\"SLES\"\nVERSION_ID=\"15.5\"\nPRETTY_NAME=\"SUSE Linux Enterprise Server 15 SP5\"\nID=\"sles\"\nID_LIKE=\"suse\"\n",
            "SUSE Linux Enterprise Server 15 SP5",
            Manager::Zypper,
        ),
        (
            "# a comment\nID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"\nVERSION_ID=\"15.6\"\nPRETTY_NAME='openSUSE Leap 15.6'\n",
            "openSUSE Leap 15.6",
            Manager::Zypper,
        ),
        ("ID=fedora\nVERSION_ID=40\nPRETTY_NAME=\"Fedora Linux 40\"\n", "Fedora Linux 40", Manager::Dnf),
        (
            "ID=linuxmint\nID_LIKE=\"ubuntu debian\"\nVERSION_ID=\"21.3\"\nPRETTY_NAME=\"Linux Mint 21.3\"\n",
            "Linux Mint 21.3",
            Manager::Apt,
        ),
    ];
    for (text, name, manager) in cases {
        let release = read(&[("etc/os-release", text.as_bytes())]).release.unwrap();
        assert_eq!((release.name.as_str(), release.manager()), (name, Some(manager)), "{text}");
    }
    let arch = read(&[("usr/lib/os-release", b"ID=arch\nPRETTY_NAME=\"Arch \\\"Linux\\\"\"\n")]).release.unwrap();
    assert_eq!((arch.name.as_str(), arch.manager()), ("Arch \"Linux\"", None));
    assert_eq!(read(&[]).release, None);
    assert_eq!(Release::default().manager(), None);
}

#[test]
fn the_machine_tells_its_kernel_secure_boot_and_subordinate_ids() {
    const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let found = read(&[
        ("proc/sys/kernel/osrelease", b"5.14.0-362.8.1.el9_3.x86_64\n"),
        (SECURE_BOOT, &[6, 0, 0, 0, 1]),
        ("etc/subuid", b"bob:100000:65536\nalice:165536:65536\n"),
        (".dockerenv", b""),
    ]);
    assert_eq!(found.kernel_version(), Some((5, 14)));
    assert_eq!((found.secure_boot, found.subordinate_ids, found.in_container), (Some(true), true, true));
    let other = read(&[(SECURE_BOOT, &[6, 0, 0, 0, 0]), ("etc/subuid", b"bob:100000:65536\n10000:1:1\n")]);
    assert_eq!((other.secure_boot, other.subordinate_ids, other.in_container), (Some(false), false, false));
    assert!(read(&[("etc/subuid", b"1000:100000:65536\n")]).subordinate_ids);
    assert_eq!((read(&[]).secure_boot, read(&[]).kernel_version()), (None, None));
}

#[test]
fn limits_are_the_soft_ones_and_the_least_of_all_groups_above() {
    const LIMITS: &[u8] = b"Limit                     Soft Limit           Hard Limit           Units     \n\
        Max file size             unlimited            unlimited            bytes     \n\
        Max processes             200                  400                  processes \n\
        Max open files            1024                 1048576              files     \n";
    let v2 = machine(&[
        ("proc/self/limits", LIMITS),
        ("proc/self/cgroup", b"0::/system.slice/slurmstepd.scope/job_7/step_0\n"),
        ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max", b"max\n"),
        ("sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max", b"8589934592\n"),
        ("proc/meminfo", b"MemTotal:       131072 kB\nMemAvailable:    65536 kB\n"),
    ]);
    let found = Limits::read(v2.path());
    let expected = Limits {
        open_files: Some(1024),
        processes: Some(200),
        file_size: None,
        memory: Some(8 << 30),
        memory_available: Some(64 << 20),
    };
    assert_eq!(found, expected);
    let v1 = machine(&[
        ("proc/self/cgroup", b"5:cpu,cpuacct:/\n4:memory:/slurm/uid_1000/job_7\n"),
        ("sys/fs/cgroup/memory/slurm/uid_1000/job_7/memory.limit_in_bytes", b"4294967296\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", b"9223372036854771712\n"),
    ]);
    assert_eq!(Limits::read(v1.path()).memory, Some(4 << 30));
    assert_eq!(Limits::read(machine(&[]).path()), Limits::default());
}

#[test]
fn filesystems_are_known_by_the_kernels_number_and_the_mounts_by_their_names() {
    let known = [(0x6969, "nfs"), (0x0bd0_0bd0, "lustre"), (0x4750_4653, "gpfs"), (0x1983_0326, "beegfs")];
    for (f_type, name) in known {
        assert_eq!(kind_of(f_type), (name, Class::Remote));
    }
    assert_eq!(kind_of(0xef53), ("ext4", Class::Local));
    assert_eq!(kind_of(0x794c_7630), ("overlay", Class::Overlay));
    assert_eq!(kind_of(0x1234_5678), ("unknown", Class::Local));
    let mounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                  40 21 0:50 / /home rw shared:3 - nfs4 server:/home rw\n\
                  41 40 0:51 / /home/my\\040data rw - fuse.sshfs me@far:/ rw\n";
    let kind = |path: &str| mounted_as(mounts, Path::new(path));
    assert_eq!(kind("/var/tmp").as_deref(), Some("ext4"));
    assert_eq!(kind("/home/alice/.cache").as_deref(), Some("nfs4"));
    assert_eq!(kind("/home/my data/x").as_deref(), Some("fuse.sshfs"));
    assert_eq!(kind("/homes").as_deref(), Some("ext4"));
}

#[test]
fn docker_is_found_by_its_program_its_socket_and_its_config() {
    let with = machine(&[
        ("usr/bin/docker", b""),
        ("run/docker.sock", b""),
        ("etc/docker/daemon.json", br#"{"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}}"#),
    ]);
    let found = Docker::read(with.path());
    assert_eq!(found, Docker { client: true, socket: true, permitted: true, nvidia_runtime: true });
    let broken = machine(&[("etc/docker/daemon.json", b"{")]);
    assert_eq!(Docker::read(broken.path()), Docker::default());
}
