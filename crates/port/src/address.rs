//! The address of a socket: an internet address and port, or a Unix socket's name.
//!
//! Sources: ip(7), ipv6(7), unix(7).

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The address of one end of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IPv4 or IPv6 address and port.
    Inet(SocketAddr),
    /// A Unix socket's path; empty for a socket without a name (the usual client's end).
    Unix(PathBuf),
    /// A Unix socket's name in the abstract namespace, without the leading zero byte.
    Abstract(Vec<u8>),
}

/// How many bytes a Unix socket's path may have, less its closing zero byte.
pub const UNIX_PATH_BYTES_MAX: usize = 107;

impl Address {
    /// The address family, as socket(2) names it.
    pub fn family(&self) -> i32 {
        match self {
            Self::Inet(SocketAddr::V4(_)) => libc::AF_INET,
            Self::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
            Self::Unix(_) | Self::Abstract(_) => libc::AF_UNIX,
        }
    }

    /// Whether this is an internet address.
    pub fn is_inet(&self) -> bool {
        matches!(self, Self::Inet(_))
    }

    /// The port of an internet address.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet(address) => Some(address.port()),
            Self::Unix(_) | Self::Abstract(_) => None,
        }
    }

    /// The path of a Unix socket that has one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) if !path.as_os_str().is_empty() => Some(path),
            _ => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Abstract(name) => write!(formatter, "unix:@{}", name.escape_ascii()),
        }
    }
}

/// An address in the kernel's form.
#[derive(Clone, Copy)]
pub(crate) struct KernelAddress {
    storage: libc::sockaddr_storage,
    length: libc::socklen_t,
}

impl KernelAddress {
    /// Room for the kernel to write an address into.
    pub(crate) fn empty() -> Self {
        Self {
            // SAFETY: sockaddr_storage is plain integers; all zero bytes are a valid value.
            storage: unsafe { mem::zeroed() },
            length: mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    /// The kernel's form of `address`. `ENAMETOOLONG` for a Unix name that does not fit.
    pub(crate) fn new(address: &Address) -> io::Result<Self> {
        match address {
            Address::Inet(SocketAddr::V4(v4)) => Ok(Self::of(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            })),
            Address::Inet(SocketAddr::V6(v6)) => Ok(Self::of(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            })),
            Address::Unix(path) => Self::unix(path.as_os_str().as_bytes(), false),
            Address::Abstract(name) => Self::unix(name, true),
        }
    }

    fn of<T: Copy>(address: T) -> Self {
        let mut kernel = Self::empty();
        assert!(mem::size_of::<T>() <= mem::size_of::<libc::sockaddr_storage>());
        // SAFETY: the storage is larger than `T` (asserted) and aligned for every address type.
        unsafe { (&raw mut kernel.storage).cast::<T>().write(address) };
        kernel.length = mem::size_of::<T>() as libc::socklen_t;
        kernel
    }

    fn unix(name: &[u8], is_abstract: bool) -> io::Result<Self> {
        if name.len() > UNIX_PATH_BYTES_MAX {
            return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
        }
        if !is_abstract && name.contains(&0) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut sun_path = [0; 108];
        let start = usize::from(is_abstract);
        for (to, from) in sun_path[start..].iter_mut().zip(name) {
            *to = *from as libc::c_char;
        }
        let mut kernel = Self::of(libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path,
        });
        // A path is closed by a zero byte; an abstract name ends where the length says.
        let length = mem::offset_of!(libc::sockaddr_un, sun_path) + name.len() + 1;
        kernel.length = length as libc::socklen_t;
        Ok(kernel)
    }

    pub(crate) fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.storage).cast()
    }

    pub(crate) fn length(&self) -> libc::socklen_t {
        self.length
    }

    /// Bytes of room for an address.
    pub(crate) const ROOM: libc::socklen_t =
        mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

    /// The kernel has written so many bytes.
    pub(crate) fn set_length(&mut self, length: libc::socklen_t) {
        self.length = length;
        if length == 0 {
            // Nothing was written, and what stands here is the address of an earlier call.
            self.storage.ss_family = libc::AF_UNSPEC as libc::sa_family_t;
        }
    }

    /// Pointers for a system call that writes an address.
    pub(crate) fn pointers(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        ((&raw mut self.storage).cast(), &raw mut self.length)
    }

    /// What the kernel wrote. `EAFNOSUPPORT` for a family that no driver serves.
    pub(crate) fn address(&self) -> io::Result<Address> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says that the storage holds a sockaddr_in.
                let v4 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                let port = u16::from_be(v4.sin_port);
                Ok(Address::Inet(SocketAddrV4::new(ip, port).into()))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says that the storage holds a sockaddr_in6.
                let v6 = unsafe {
                    (&raw const self.storage)
                        .cast::<libc::sockaddr_in6>()
                        .read()
                };
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                let address = SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id);
                Ok(Address::Inet(address.into()))
            }
            libc::AF_UNIX => Ok(self.unix_address()),
            _ => Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT)),
        }
    }

    fn unix_address(&self) -> Address {
        // SAFETY: the family says that the storage holds a sockaddr_un, which fits into it.
        let unix = unsafe { (&raw const self.storage).cast::<libc::sockaddr_un>().read() };
        let name: Vec<u8> = unix.sun_path.iter().map(|byte| *byte as u8).collect();
        let head = mem::offset_of!(libc::sockaddr_un, sun_path);
        let length = (self.length as usize).saturating_sub(head).min(name.len());
        match name[..length].split_first() {
            None => Address::Unix(PathBuf::new()),
            Some((0, rest)) => Address::Abstract(rest.to_vec()),
            Some(_) => {
                let end = name[..length].iter().position(|byte| *byte == 0);
                let path = &name[..end.unwrap_or(length)];
                Address::Unix(PathBuf::from(OsStr::from_bytes(path)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(address: &Address) -> Address {
        let kernel = KernelAddress::new(address).expect("a valid address");
        kernel.address().expect("a known family")
    }

    #[test]
    fn addresses_survive_the_kernels_form() {
        let cases = [
            Address::Inet("127.0.0.1:80".parse().expect("an address")),
            Address::Inet("[fe80::1%3]:65535".parse().expect("an address")),
            Address::Unix(PathBuf::from("/run/nest.sock")),
            Address::Unix(PathBuf::from("/".repeat(UNIX_PATH_BYTES_MAX))),
            Address::Abstract(b"nest\0with a zero".to_vec()),
        ];
        for case in cases {
            assert_eq!(there_and_back(&case), case);
        }
    }

    #[test]
    fn an_address_is_shown_as_people_write_it() {
        let inet = Address::Inet("[::1]:8".parse().expect("an address"));
        assert_eq!(inet.to_string(), "[::1]:8");
        assert_eq!(Address::Unix("/a".into()).to_string(), "unix:/a");
        assert_eq!(Address::Abstract(b"a".to_vec()).to_string(), "unix:@a");
    }

    #[test]
    fn a_unix_path_that_does_not_fit_is_refused() {
        let long = Address::Unix(PathBuf::from("x".repeat(UNIX_PATH_BYTES_MAX + 1)));
        let error = KernelAddress::new(&long).err().expect("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    }
}
