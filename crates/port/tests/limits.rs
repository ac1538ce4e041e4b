//! What happens where something is refused: io_uring by a filter, descriptors by a limit. Each case
//! runs in a child process of its own, since neither can be undone.

mod rig;

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rig::{Driver, Rig};
use vespiary_port::driver::{self, Options, Preference};
use vespiary_port::{Errno, Outcome, Token};

const CHILD: &str = "VESPIARY_PORT_CHILD";
const LISTENER: Token = Token(1);

/// Whether this process is the child that runs one case.
fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Run the case called `name` again in a child on which `refuse` was called first.
fn run_in_child(name: &str, refuse: impl FnMut() -> io::Result<()> + Send + Sync + 'static) {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1");
    // SAFETY: `refuse` only makes system calls, which is safe between fork and exec.
    let child = unsafe { child.pre_exec(refuse) };
    let output = child.output().expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "the case did not run: {text}");
}

/// Let `io_uring_setup` fail with `errno`, as a container's profile does.
fn refuse_uring(errno: i32) -> io::Result<()> {
    let statement = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: 4,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the filter points to four statements, which live through the call.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn limit_descriptors(most: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: most,
        rlim_max: most,
    };
    // SAFETY: the pointer is to a limit of ours.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[test]
fn the_usual_choice_is_uring_and_the_sentence_says_so() {
    let (port, sentence) = driver::open(None, &Options::default()).expect("a port");
    assert_eq!((port.name(), &sentence[..]), ("uring", "Using io_uring."));
}

#[test]
fn a_driver_that_is_asked_for_is_taken() {
    for (preference, name) in [(Preference::Uring, "uring"), (Preference::Epoll, "epoll")] {
        let (port, sentence) = driver::open(Some(preference), &Options::default()).expect("it");
        assert_eq!(port.name(), name);
        assert!(sentence.contains("asked for"), "{sentence}");
        assert_eq!(name.parse(), Ok(preference));
    }
    assert!("kqueue".parse::<Preference>().is_err());
}

/// In the child: epoll is taken with `reason`, and asking for io_uring fails with it.
fn expect_refusal(reason: &str) {
    let (port, sentence) = driver::open(None, &Options::default()).expect("a port");
    assert_eq!(port.name(), "epoll");
    assert!(
        sentence.starts_with("Using epoll, because") && sentence.contains(reason),
        "{sentence}"
    );
    let asked = driver::open(Some(Preference::Uring), &Options::default());
    let error = asked.err().expect("a refusal").to_string();
    assert!(
        error.contains("was asked for") && error.contains(reason),
        "{error}"
    );
}

#[test]
fn where_uring_is_forbidden_epoll_serves() {
    if is_child() {
        return expect_refusal("seccomp profile");
    }
    run_in_child("where_uring_is_forbidden_epoll_serves", || {
        refuse_uring(libc::EPERM)
    });
}

#[test]
fn where_uring_does_not_exist_epoll_serves() {
    if is_child() {
        return expect_refusal("this kernel has none");
    }
    run_in_child("where_uring_does_not_exist_epoll_serves", || {
        refuse_uring(libc::ENOSYS)
    });
}

#[test]
fn where_uring_is_too_old_epoll_serves() {
    if is_child() {
        return expect_refusal("Linux 6.1 is needed");
    }
    run_in_child("where_uring_is_too_old_epoll_serves", || {
        refuse_uring(libc::EINVAL)
    });
}

#[test]
fn where_locked_memory_is_scarce_epoll_serves() {
    if is_child() {
        return expect_refusal("RLIMIT_MEMLOCK");
    }
    run_in_child("where_locked_memory_is_scarce_epoll_serves", || {
        refuse_uring(libc::ENOMEM)
    });
}

#[test]
fn accepting_ends_with_emfile_at_the_limit_and_continues_below_it() {
    if !is_child() {
        let name = "accepting_ends_with_emfile_at_the_limit_and_continues_below_it";
        return run_in_child(name, || limit_descriptors(64));
    }
    for driver in ["uring", "epoll"] {
        let mut rig = Rig::new(&Driver::named(driver));
        let (listener, address) = rig.listen();
        // The clients take descriptors too; connections wait in the backlog until they are
        // accepted.
        let clients: Vec<_> = (0..30).map(|_| rig.connect(&address)).collect();
        rig.port.accept(listener, LISTENER);
        let mut sockets = Vec::new();
        let errno = rig.until("the limit", |_, completion| match completion.outcome {
            Outcome::Accepted(socket) => {
                sockets.push(socket);
                None
            }
            Outcome::AcceptEnded(errno) => Some(errno),
            other => panic!("{other:?}"),
        });
        assert_eq!(errno, Errno(libc::EMFILE));
        assert!(!sockets.is_empty() && sockets.len() < clients.len());
        rig.expect_nothing();
        let mut served = 0;
        while served + sockets.len() < clients.len() {
            served += sockets.len();
            for socket in sockets.drain(..) {
                rig.port.close(socket, false);
            }
            rig.port.accept(listener, LISTENER);
            let enough = clients.len() - served;
            rig.until("more", |_, completion| match completion.outcome {
                Outcome::Accepted(socket) => {
                    sockets.push(socket);
                    (sockets.len() == enough).then_some(())
                }
                Outcome::AcceptEnded(Errno(libc::EMFILE)) => Some(()),
                other => panic!("{other:?}"),
            });
        }
        for socket in sockets.drain(..) {
            rig.port.close(socket, false);
        }
        rig.port.cancel_accept(LISTENER);
        rig.until("the end", |_, completion| {
            matches!(completion.outcome, Outcome::AcceptEnded(_)).then_some(())
        });
        rig.port.close(listener, false);
    }
}
