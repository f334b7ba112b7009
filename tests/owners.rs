//! Owners that one uid can't give: each emulated call does what it does for a real root.

#[cfg(target_arch = "x86_64")]
#[path = "owners/abis.rs"]
mod abis;
#[path = "owners/parity.rs"]
mod parity;

use super::support::sandbox::{Bench, as_user, shell};

#[test]
fn what_chown_gave_is_what_stat_says() {
    as_user("owners::what_chown_gave_is_what_stat_says", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            cd /root; touch file; mkdir dir; ln -s file link; ln -s nowhere dangling; mkfifo fifo
            chown 7:8 file dir fifo; chown -h 9:10 link dangling; chown :11 dir
            stat -c '%n %u:%g' file dir link fifo dangling
            chown 12 link; stat -c %u:%g file; stat -L -c %u:%g link
            ln file hard; mv dangling moved; stat -c '%n %u:%g' hard moved
            rm moved link; ln -s x again; ln -s x again2; stat -c '%n %u:%g' again again2
            chown 0:0 file; stat -c %u:%g hard
            python3 -c 'import os; print(os.listxattr(\"dir\"), os.fstat(os.open(\"dir\", 0)).st_gid)'
            chmod 6755 file; chown 5 file; stat -c %a file";
        let expected = "
            file 7:8
            dir 7:11
            link 9:10
            fifo 7:8
            dangling 9:10
            12:8
            12:8
            hard 12:8
            moved 9:10
            again 0:0
            again2 0:0
            0:0
            [] 11
            755";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
        // a later step, with a supervisor of its own, knows the record
        assert_eq!(shell(&mut sandbox, "cd /root; chown -h 1:2 again; stat -c %u:%g dir"), "7:11");
        assert_eq!(shell(&mut sandbox, "cd /root; stat -c %u:%g again fifo"), "1:2\n7:8");
    });
}

#[test]
fn paths_are_those_of_the_process_that_names_them() {
    as_user("owners::paths_are_those_of_the_process_that_names_them", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            mkdir -p /jail/root /jail/bin /jail/lib64; touch /outside /jail/outside
            ln -s /outside /jail/root/absolute; ln -s ../../../outside /jail/root/up
            cat >/chroot.py <<'END'
            import os
            os.chroot('/jail'); os.chdir('/root')
            os.chown('absolute', 1, 1); print(os.stat('/outside').st_uid, os.stat('up').st_uid)
            os.chown('up', 2, 2); print(os.stat('/../outside').st_uid)
            os.mkdir('made'); os.chown('made', 3, 3)
            END
            python3 /chroot.py
            stat -c '%n %u' /outside /jail/outside /jail/root/made
            exec 5>/open; chown 4 /proc/self/fd/5; chown 5 /dev/fd/5; stat -c %u /open; stat -L -c %u /proc/self/fd/5 /dev/fd/5
            mkdir /gone; cd /gone; rmdir /gone; chown 6 . ; stat -c %u .; cd /
            chown 7 /proc/self/cwd/open; stat -c %u open
            cat >/long.py <<'END'
            import os
            for _ in range(25): os.mkdir('d' * 200); os.chdir('d' * 200)
            os.chown('.', 8, 0); os.mkdir('last'); os.chown('last', 9, 0); print(os.stat('.').st_uid, os.lstat('last').st_uid)
            END
            python3 /long.py
            ln -s loop /loop; chown 1 /loop 2>&1 || true; chown 1 /none 2>&1 || true; chown 1 /open/x 2>&1 || true
            python3 -c 'import ctypes; c = ctypes.CDLL(None, use_errno=True); print([call(*a, 0, 0) and ctypes.get_errno() for call, a in ((c.chown, [1]), (c.lchown, [b\"a\" * 5000]), (c.fchown, [77]))])'";
        let expected = "
            1 1
            2
            /outside 0
            /jail/outside 2
            /jail/root/made 3
            5
            5
            5
            6
            7
            8 9
            chown: cannot dereference '/loop': Too many levels of symbolic links
            chown: cannot access '/none': No such file or directory
            chown: cannot access '/open/x': Not a directory
            [14, 36, 9]";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
    });
}

#[test]
fn another_user_owns_what_it_makes() {
    as_user("owners::another_user_owns_what_it_makes", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            mkdir -m 1777 /w; cd /w; mkdir -m 2775 group; chgrp 50 group
            cat >/make.py <<'END'
            import os, socket, stat
            os.setgroups([20, 30]); os.setresgid(33, 33, 33); os.setresuid(33, 33, 33); os.umask(0o027)
            def show(path): s = os.lstat(path); print(path, oct(s.st_mode), s.st_uid, s.st_gid)
            open('file', 'w').write('content'); show('file')
            os.mkdir('dir/', 0o777); show('dir')
            os.symlink('to-be', 'link'); show('link')
            os.mkfifo('fifo', 0o666); show('fifo')
            open('link', 'a').write('x'); show('to-be')
            open('file', 'a').write(', more'); print(open('file').read())
            open('group/inherits', 'w'); show('group/inherits')
            os.mkdir('group/sub'); show('group/sub')
            fd = os.open('.', os.O_TMPFILE | os.O_RDWR, 0o600); print(os.fstat(fd).st_uid)
            fd = os.open('exclusive', os.O_CREAT | os.O_EXCL | os.O_WRONLY); os.write(fd, b'x'); show('exclusive')
            print(os.get_inheritable(fd))
            for call in (lambda: os.open('file', os.O_CREAT | os.O_EXCL), lambda: os.mkdir('dir'), lambda: open('none/x', 'w'),
                         lambda: os.chown('file', 0, 0), lambda: os.chown('/etc/passwd', 33, 33), lambda: os.setuid(0),
                         lambda: os.mknod('device', stat.S_IFCHR | 0o600, os.makedev(1, 3))):
                try: call(); print('done')
                except OSError as error: print(error.errno)
            os.chown('file', -1, 20); show('file')
            END
            python3 /make.py
            touch group/of-root; stat -c %u:%g group/of-root
            mkfifo wait; (umask 077; perl -e '$) = 33; $> = 33; open F, \">\", \"wait\"') & read line <wait || true; wait; echo not hung";
        let expected = "
            file 0o100640 33 33
            dir 0o40750 33 33
            link 0o120777 33 33
            fifo 0o10640 33 33
            to-be 0o100640 33 33
            content, more
            group/inherits 0o100640 33 50
            group/sub 0o42750 33 50
            33
            exclusive 0o100750 33 33
            False
            17
            17
            2
            1
            1
            1
            1
            file 0o100640 33 20
            0:50
            not hung";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
    });
}

#[test]
fn credentials_are_handed_on_and_checked() {
    as_user("owners::credentials_are_handed_on_and_checked", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            cat >/ids.py <<'END'
            import os, sys, threading, ctypes
            libc = ctypes.CDLL(None, use_errno=True)
            print(os.getresuid(), os.getgroups())
            os.setgroups([7, 5]); os.setresgid(3, 4, 5); print(os.getresgid(), os.getgroups())
            os.seteuid(33); print(os.getuid(), os.geteuid()); os.seteuid(0)
            print(libc.prctl(8, 1), libc.prctl(7)); os.setresuid(1, 2, 3); print(os.getresuid())
            threads = []
            def look(): threads.append(os.getresuid())
            thread = threading.Thread(target=look); thread.start(); thread.join(); print(threads)
            if os.fork() == 0:
                if os.fork() == 0:
                    print('grandchild', os.getresuid(), flush=True); os.execvp('id', ['id'])
                os.wait(); os._exit(0)
            os.wait(); print('after', os.getresuid(), libc.setfsuid(1), libc.setfsuid(-1))
            try: os.setresuid(0, 0, 0)
            except PermissionError: print('refused')
            END
            python3 -u /ids.py
            setpriv --reuid 33 --regid 33 --clear-groups sh -c 'id; grep -c . /proc/self/status >/dev/null; setpriv -d' | head -4
            su -s /bin/sh www-data -c id; python3 -c 'import resource; print(resource.getrlimit(15))'
            python3 -c 'import os, resource; resource.setrlimit(15, (1, 1)); os.setuid(5); resource.setrlimit(15, (2, 2)); print(os.getresuid())'";
        let expected = "
            (0, 0, 0) []
            (3, 4, 5) [5, 7]
            0 33
            0 1
            (1, 2, 3)
            [(1, 2, 3)]
            grandchild (1, 2, 3)
            uid=1(daemon) gid=3(sys) euid=2(bin) egid=4(adm) groups=4(adm),5(tty),7(lp)
            after (1, 2, 3) 2 1
            refused
            uid=33(www-data) gid=33(www-data) groups=33(www-data)
            uid: 33
            euid: 33
            gid: 33
            uid=33(www-data) gid=33(www-data) groups=33(www-data)
            (-1, -1)
            (5, 5, 5)";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
    });
}

#[test]
fn programs_run_as_their_owner_and_with_their_capabilities() {
    as_user("owners::programs_run_as_their_owner_and_with_their_capabilities", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            cp /usr/bin/id /suid; chown 9 /suid; chmod u+s /suid
            cp /usr/bin/id /sgid; chgrp 42 /sgid; chmod g+s /sgid
            printf '#!/bin/sh\\nid -u\\n' >/script; chown 9 /script; chmod 4755 /script
            /suid -u; /sgid -g; /script
            cp /usr/bin/python3 /capable; python3 -c 'import os; os.setxattr(\"/capable\", \"security.capability\", bytes.fromhex(\"0100000200200000000000000000000000000000\"))'
            as_user() { perl -e '$) = \"33 33\"; $( = 33; $< = 33; $> = 33; exec @ARGV' -- \"$@\"; }
            as_user /suid; as_user setpriv --no-new-privs /suid -u
            as_user perl -e 'system(\"/suid -u; id -u\")'
            as_user /capable -c 'import ctypes; c = ctypes.CDLL(None); h = (ctypes.c_uint32 * 2)(0x20080522, 0); d = (ctypes.c_uint32 * 6)(); print(c.capget(h, d), list(d), c.prctl(23, 13))'
            python3 -c 'import os; print(os.listxattr(\"/capable\"), os.getxattr(\"/capable\", \"security.capability\").hex())'
            chown 1 /capable; python3 -c 'import os; print(os.listxattr(\"/capable\"))'";
        let expected = "
            9
            42
            0
            uid=33(www-data) gid=33(www-data) euid=9(news) groups=33(www-data)
            33
            9
            33
            0 [8192, 8192, 0, 0, 0, 0] 1
            ['security.capability'] 0100000200200000000000000000000000000000
            []";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
    });
}

#[test]
fn devices_and_access_control_lists_are_recorded() {
    as_user("owners::devices_and_access_control_lists_are_recorded", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = "
            cd /root; mknod null c 1 3; mknod -m 600 disk b 8 300; chown 0:6 disk; stat -c '%n %A %t:%T %u:%g' null disk
            mkdir log; python3 - <<'END'
            import os, struct
            entry = lambda *entries: struct.pack('<I', 2) + b''.join(struct.pack('<HHI', *e) for e in entries)
            none = 0xffffffff
            acl = entry((1, 7, none), (4, 5, none), (8, 5, 4), (16, 5, none), (32, 0, none))
            for name in ('system.posix_acl_access', 'system.posix_acl_default'):
                os.setxattr('log', name, acl); print(os.getxattr('log', name) == acl)
            print(oct(os.stat('log').st_mode), sorted(os.listxattr('log')))
            os.chmod('log', 0o711); print(os.getxattr('log', 'system.posix_acl_access').hex())
            open('log/file', 'w'); print(oct(os.stat('log/file').st_mode))
            os.removexattr('log', 'system.posix_acl_default'); print(os.listxattr('log'))
            for call in (lambda: os.setxattr('log', 'user.dlpack.owner', b'1:1'), lambda: os.getxattr('disk', 'user.dlpack.device'),
                         lambda: os.removexattr('disk', 'user.dlpack.owner'), lambda: os.setxattr('log', 'system.posix_acl_access', b'no')):
                try: call(); print('done')
                except OSError as error: print(error.errno)
            os.setxattr('log', 'user.own', b'value'); print(os.getxattr('log', 'user.own'), sorted(os.listxattr('log')))
            END
            ";
        let expected = "
            null crw-r--r-- 1:3 0:0
            disk brw------- 8:12c 0:6
            True
            True
            0o40750 ['system.posix_acl_access', 'system.posix_acl_default']
            0200000001000700ffffffff04000500ffffffff080005000400000010000100ffffffff20000100ffffffff
            0o100640
            ['system.posix_acl_access']
            95
            61
            61
            22
            b'value' ['system.posix_acl_access', 'user.own']";
        assert_eq!(shell(&mut sandbox, &lines(script)), lines(expected));
    });
}

#[test]
fn calls_that_would_go_past_the_emulation_are_refused() {
    as_user("owners::calls_that_would_go_past_the_emulation_are_refused", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        // x86-64 and aarch64 have the same numbers for io_uring_setup and setxattrat
        let script = "
            perl -e 'for (425, 463) { syscall($_, 0, 0, 0, 0, 0); print $!+0, \"\\n\" }'
            perl -MConfig -e 'syscall($Config{archname} =~ /x86_64/ ? 169 : 142, 0, 0, 0, 0); print $!+0'";
        assert_eq!(shell(&mut sandbox, &lines(script)), "38\n38\n1");
    });
}

#[test]
fn the_other_end_of_a_socket_is_who_it_says() {
    as_user("owners::the_other_end_of_a_socket_is_who_it_says", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let script = lines(
            "
            cat >/peer.py <<'END'
            import os, socket, struct
            server = socket.socket(socket.AF_UNIX); server.bind('/socket'); server.listen()
            if os.fork() == 0:
                os.setresgid(34, 34, 34); os.setresuid(33, 33, 33)
                client = socket.socket(socket.AF_UNIX); client.connect('/socket'); client.recv(1); os._exit(0)
            peer, _ = server.accept()
            print(struct.unpack('3i', peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1:])
            END
            python3 /peer.py",
        );
        assert_eq!(shell(&mut sandbox, &script), "(33, 34)");
    });
}

#[test]
fn a_step_of_another_user_starts_as_that_user() {
    as_user("owners::a_step_of_another_user_starts_as_that_user", || {
        let bench = Bench::new();
        let mut sandbox = bench.open();
        let mut step = dlpack::sandbox::Step::new([
            "sh",
            "-c",
            "id; touch /tmp/mine; stat -c %U:%G /tmp/mine; /bin/su -c id </dev/null 2>&1",
        ]);
        step.user = Some("www-data".to_owned());
        let (printed, _) = super::support::sandbox::run(&mut sandbox, &step);
        let expected = "
            uid=33(www-data) gid=33(www-data) groups=33(www-data)
            www-data:www-data
            Password: su: Authentication failure";
        assert_eq!(printed.trim_end(), lines(expected));
    });
}

/// Without the first newline, and what all lines are indented by here.
fn lines(text: &str) -> String {
    text.trim_start_matches('\n')
        .lines()
        .map(|line| line.strip_prefix("            ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}
