//! One connection takes one descriptor; the usual limit of a process is 1,024.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Error;

/// Descriptors besides the connections': the port's, the standard streams, the interpreter's.
const SPARE: u64 = 64;

/// Make room for `connections` connections: raise the soft limit as far as needed, and the hard
/// limit where this process may (`CAP_SYS_RESOURCE`; then up to the sysctl `fs.nr_open`).
///
/// Resource handling: the limits are the process's and stay raised. See getrlimit(2).
pub fn secure(connections: u32) -> Result<(), Error> {
    let needed = u64::from(connections) + SPARE;
    let limit = getrlimit(Resource::Nofile);
    // `None` stands for no limit.
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum.map(|maximum| maximum.max(needed));
    if setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )
    .is_ok()
    {
        return Ok(());
    }
    let reached = limit.maximum.unwrap_or(0);
    Err(Error::Descriptors(refusal(connections, needed, reached)))
}

/// Why so many connections cannot be made, and what to do.
fn refusal(connections: u32, needed: u64, reached: u64) -> String {
    let fewer = match reached.saturating_sub(SPARE) {
        0 => String::new(),
        most => format!(", or take at most {most} connections"),
    };
    format!(
        "{connections} connections need {needed} file descriptors, and this process may have \
         {reached}: run `ulimit -n {needed}` as root in the shell first, or raise LimitNOFILE of \
         the service or nofile in /etc/security/limits.conf (and the sysctl fs.nr_open if it is \
         lower){fewer}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_connections_need_nothing() {
        secure(10).expect("74 descriptors are within every usual limit");
    }

    #[test]
    fn a_smaller_number_is_offered_where_there_is_one() {
        assert!(refusal(1000, 1064, 100).ends_with("lower), or take at most 36 connections"));
        assert!(refusal(1000, 1064, SPARE).ends_with("if it is lower)"));
        assert!(refusal(1000, 1064, 8).ends_with("if it is lower)"));
    }

    #[test]
    fn more_than_the_kernel_allows_is_refused_with_the_number_and_the_remedy() {
        let error = secure(u32::MAX)
            .expect_err("above every fs.nr_open")
            .to_string();
        assert!(error.contains("4294967359 file descriptors"), "{error}");
        assert!(error.contains("ulimit -n 4294967359"), "{error}");
    }
}
