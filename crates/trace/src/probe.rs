//! What the macros of a tracing build expand to.

use crate::table::{FORCED, Kind, Slot, Table, VARIABLE};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// One `requires!` of the source.
#[derive(Debug)]
pub struct Mark {
    ids: &'static str,
    site: &'static str,
    slot: OnceLock<Option<&'static Slot>>,
}

impl Mark {
    /// A mark of these identifiers, separated by spaces, at `file:line:column`.
    pub const fn new(ids: &'static str, site: &'static str) -> Self {
        Self {
            ids,
            site,
            slot: OnceLock::new(),
        }
    }

    /// The condition, false while the mark is disabled, and true while it is forced.
    ///
    /// # Panics
    ///
    /// If the shared file is not a table of marks, or is full: a test whose probes are not counted
    /// must not pass.
    pub fn allows(&self, condition: bool) -> bool {
        let Some(slot) = self.slot() else {
            return condition;
        };
        slot.reached.fetch_add(1, Relaxed);
        if condition {
            slot.acted.fetch_add(1, Relaxed);
        }
        match slot.disabled.load(Relaxed) {
            0 => condition,
            state => state == FORCED,
        }
    }

    /// Records that the code below a mark without a condition was reached.
    ///
    /// # Panics
    ///
    /// While the mark is disabled, and as [`Mark::allows`] does.
    pub fn reach(&self) {
        let Some(slot) = self.slot() else {
            return;
        };
        slot.reached.fetch_add(1, Relaxed);
        slot.acted.fetch_add(1, Relaxed);
        assert!(
            slot.disabled.load(Relaxed) == 0,
            "vespiary trace: the code that implements {} at {} is disabled in this run",
            self.ids.trim_end(),
            self.site,
        );
    }

    fn slot(&self) -> Option<&'static Slot> {
        *self
            .slot
            .get_or_init(|| claimed(Kind::Mark, self.ids, self.site))
    }
}

/// One `claims!` of a test.
#[derive(Debug)]
pub struct Claim {
    ids: &'static str,
}

impl Claim {
    /// A claim of these identifiers, separated by spaces.
    pub const fn new(ids: &'static str) -> Self {
        Self { ids }
    }

    /// Notes that the test which runs on this thread claims the requirements.
    ///
    /// # Panics
    ///
    /// As [`Mark::allows`] does.
    pub fn note(&self) {
        let thread = std::thread::current();
        let test = thread.name().unwrap_or("");
        if let Some(slot) = claimed(Kind::Claim, self.ids, test) {
            slot.reached.fetch_add(1, Relaxed);
        }
    }
}

/// The slot for this in the file that the environment names; None without such a file.
fn claimed(kind: Kind, ids: &str, site: &str) -> Option<&'static Slot> {
    static TABLE: OnceLock<Option<Table>> = OnceLock::new();
    let table = TABLE
        .get_or_init(|| {
            let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
            match Table::open(Path::new(&path)) {
                Ok(table) => Some(table),
                Err(error) => panic!("{VARIABLE}: {error}"),
            }
        })
        .as_ref()?;
    match table.claim(kind, ids.trim_end(), site) {
        Ok(slot) => Some(slot),
        Err(error) => panic!("{VARIABLE}: {error}"),
    }
}
