//! Session tickets (RFC 5077, RFC 8446 section 4.6.1) that every process of a server can read.
//!
//! The workers of a server are forked from one process, and a client that comes back reaches any of
//! them. So their keys are made from a secret that all of them have since before the fork, and not
//! from random numbers of each. Every six hours the secret is replaced by its hash: all processes
//! do this by the same clock, and do not need to communicate. A replaced secret cannot be computed
//! from the secrets that remain. So someone who reads the memory of a process today cannot decrypt
//! the tickets of yesterday. Two secrets are kept, so a ticket is valid for six to twelve hours.
//!
//! The keys depend on who is admitted too: no session is resumed whose client was admitted under
//! other authorities.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{self, SHA256};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long one secret encrypts tickets.
pub(crate) const PERIOD: Duration = Duration::from_secs(6 * 60 * 60);
const NUMBER_BYTES: usize = size_of::<u64>();
const SECRET_BYTES: usize = 32;

type Secret = [u8; SECRET_BYTES];

fn derive(secret: &Secret, what: &[u8]) -> Secret {
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret), what);
    let mut derived = [0; SECRET_BYTES];
    derived.copy_from_slice(tag.as_ref());
    derived
}

/// The secrets of the present period and of the one before.
struct Secrets {
    period: u64,
    current: Secret,
    previous: Option<Secret>,
}

impl Secrets {
    /// It is this period now, or a later one.
    fn advance(&mut self, period: u64) {
        while self.period < period {
            let next = derive(&self.current, b"next");
            self.previous = Some(std::mem::replace(&mut self.current, next));
            self.period += 1;
        }
    }

    fn of(&self, period: u64) -> Option<&Secret> {
        if period == self.period {
            Some(&self.current)
        } else if period.checked_add(1) == Some(self.period) {
            self.previous.as_ref()
        } else {
            None
        }
    }
}

/// The secret of a server's tickets, the same in all processes that were forked after it was made.
pub(crate) struct TicketSecret {
    /// The clock of this machine, which forked processes share.
    began: Instant,
    secrets: Mutex<Secrets>,
}

impl TicketSecret {
    /// A random one; `None` where the system has no random numbers.
    pub(crate) fn new() -> Option<Arc<Self>> {
        let mut current = [0; SECRET_BYTES];
        rand::fill(&mut current).ok()?;
        Some(Arc::new(Self {
            began: Instant::now(),
            secrets: Mutex::new(Secrets {
                period: 0,
                current,
                previous: None,
            }),
        }))
    }

    /// Replace the secret if its time is over. Tickets do this by themselves; a process that makes
    /// none, and forks those that do, must not keep old secrets for them.
    pub(crate) fn rotate(&self) {
        drop(self.now());
    }

    fn now(&self) -> MutexGuard<'_, Secrets> {
        self.at(self.began.elapsed())
    }

    fn at(&self, elapsed: Duration) -> MutexGuard<'_, Secrets> {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        secrets.advance(elapsed.as_secs() / PERIOD.as_secs());
        secrets
    }
}

/// Makes and reads the tickets of an endpoint.
pub(crate) struct Tickets {
    secret: Arc<TicketSecret>,
    /// Depends on which clients are admitted.
    admitted: Secret,
}

impl Tickets {
    /// Tickets for those whom `admitted` describes, whatever it says.
    pub(crate) fn new(secret: Arc<TicketSecret>, admitted: &[&[u8]]) -> Arc<Self> {
        let mut hash = digest::Context::new(&SHA256);
        for part in admitted {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut tickets = Self {
            secret,
            admitted: [0; SECRET_BYTES],
        };
        tickets.admitted.copy_from_slice(hash.finish().as_ref());
        Arc::new(tickets)
    }

    fn key(&self, secret: &Secret) -> Option<RandomizedNonceKey> {
        let key = derive(secret, &self.admitted);
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    }

    fn seal(&self, secrets: &Secrets, plain: &[u8]) -> Option<Vec<u8>> {
        let number = secrets.period.to_be_bytes();
        let mut sealed = plain.to_vec();
        let key = self.key(&secrets.current)?;
        let nonce = key.seal_in_place_append_tag(Aad::from(&number), &mut sealed);
        let mut ticket = Vec::with_capacity(NUMBER_BYTES + NONCE_LEN + sealed.len());
        ticket.extend_from_slice(&number);
        ticket.extend_from_slice(nonce.ok()?.as_ref());
        ticket.extend_from_slice(&sealed);
        Some(ticket)
    }

    fn open(&self, secrets: &Secrets, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<NUMBER_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.key(secrets.of(u64::from_be_bytes(*number))?)?;
        let mut sealed = sealed.to_vec();
        let plain = key.open_in_place(Nonce::from(nonce), Aad::from(number), &mut sealed);
        let length = plain.ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        2 * PERIOD.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(&self.secret.now(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open(&self.secret.now(), ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOURS_12: Duration = Duration::from_secs(12 * 60 * 60);

    /// A second process with the same secret: a fork.
    fn fork(secret: &TicketSecret) -> Arc<TicketSecret> {
        let secrets = secret.secrets.lock().expect("not poisoned");
        Arc::new(TicketSecret {
            began: secret.began,
            secrets: Mutex::new(Secrets {
                period: secrets.period,
                current: secrets.current,
                previous: secrets.previous,
            }),
        })
    }

    fn secret() -> Arc<TicketSecret> {
        TicketSecret::new().expect("random numbers")
    }

    #[test]
    fn processes_that_were_forked_read_each_others_tickets() {
        let one = secret();
        let other = Tickets::new(fork(&one), &[b"anyone"]);
        let one = Tickets::new(one, &[b"anyone"]);
        let ticket = one.encrypt(b"a session").expect("a ticket");
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"a session"[..]));
        // Both have rotated by themselves, one of them late.
        let later = PERIOD * 3 + SECOND;
        let ticket = one.seal(&one.secret.at(later), b"another");
        let opened = other.open(&other.secret.at(later), &ticket.expect("a ticket"));
        assert_eq!(opened.as_deref(), Some(&b"another"[..]));
    }

    #[test]
    fn a_ticket_is_good_for_one_more_period_and_no_longer() {
        let tickets = Tickets::new(secret(), &[]);
        let ticket = tickets.encrypt(b"a session").expect("a ticket");
        let at = |elapsed| tickets.open(&tickets.secret.at(elapsed), &ticket);
        assert!(at(PERIOD).is_some());
        assert!(at(HOURS_12.saturating_sub(SECOND)).is_some());
        assert!(at(HOURS_12).is_none());
        // The clock of a process does not go back, so its secrets do not go back either.
        assert!(at(Duration::ZERO).is_none());
    }

    #[test]
    fn a_process_that_only_rotates_forgets_old_secrets_too() {
        let supervisor = secret();
        let first = supervisor.secrets.lock().expect("not poisoned").current;
        drop(supervisor.at(PERIOD * 2));
        let child = fork(&supervisor);
        let secrets = child.secrets.lock().expect("not poisoned");
        assert_eq!(secrets.period, 2);
        assert_ne!(secrets.current, first);
        assert_ne!(secrets.previous, Some(first));
    }

    #[test]
    fn no_session_is_resumed_whose_client_was_admitted_under_other_authorities() {
        let secret = secret();
        let before = Tickets::new(secret.clone(), &[b"required", b"one"]);
        let after = Tickets::new(secret.clone(), &[b"required", b"other"]);
        let ticket = before.encrypt(b"a session").expect("a ticket");
        assert_eq!(after.decrypt(&ticket), None);
        let parts = Tickets::new(secret, &[b"require", b"done"]);
        assert_eq!(parts.decrypt(&ticket), None);
    }

    #[test]
    fn whatever_is_not_a_ticket_is_refused() {
        let tickets = Tickets::new(secret(), &[]);
        let ticket = tickets.encrypt(b"a session").expect("a ticket");
        for length in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..length]), None);
        }
        for place in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[place] ^= 1;
            assert_eq!(tickets.decrypt(&forged), None, "byte {place}");
        }
        assert_eq!(tickets.decrypt(&[u8::MAX; 100]), None);
    }
}
