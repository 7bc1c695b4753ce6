//! What a member has stored: a hard state, a snapshot and the entries behind `base`. It outlives the library.
//!
//! Every write is durable at once: a schedule has no crash between two quiet points.

use std::cell::RefCell;
use std::rc::Rc;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

#[derive(Default)]
pub struct Stored {
    pub hard: HardState,
    pub snapshot: Snapshot,
    /// Index and term of the entry before the first.
    pub base: u64,
    pub base_term: u64,
    pub entries: Vec<Entry>,
    /// The configuration that the library is to begin with.
    pub conf: ConfState,
}

impl Stored {
    pub fn last(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub fn term_of(&self, index: u64) -> u64 {
        if index == self.base {
            return self.base_term;
        }
        self.entries[(index - self.base - 1) as usize].term
    }

    /// Stores a snapshot, which replaces the log.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.base = snapshot.get_metadata().index;
        self.base_term = snapshot.get_metadata().term;
        self.entries.clear();
        self.snapshot = snapshot.clone();
    }

    /// Stores entries; those from the first one's index on are replaced.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.base && first.index <= self.last() + 1, "a gap in the log");
        self.entries.truncate((first.index - self.base - 1) as usize);
        self.entries.extend_from_slice(entries);
    }

    /// Drops entries up to and including `index`.
    pub fn compact(&mut self, index: u64) {
        self.base_term = self.term_of(index);
        self.entries.drain(..(index - self.base) as usize);
        self.base = index;
    }
}

/// The library's view of it.
#[derive(Clone, Default)]
pub struct Disk(pub Rc<RefCell<Stored>>);

impl Storage for Disk {
    fn initial_state(&self) -> Result<RaftState> {
        let stored = self.0.borrow();
        Ok(RaftState::new(stored.hard.clone(), stored.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let stored = self.0.borrow();
        if low <= stored.base {
            return Err(Error::Store(StorageError::Compacted));
        }
        assert!(high <= stored.last() + 1, "entries beyond the log");
        let from = (low - stored.base - 1) as usize;
        let mut found = stored.entries[from..(high - stored.base - 1) as usize].to_vec();
        raft::util::limit_size(&mut found, max_size.into());
        Ok(found)
    }

    fn term(&self, index: u64) -> Result<u64> {
        let stored = self.0.borrow();
        if index < stored.base {
            return Err(Error::Store(StorageError::Compacted));
        }
        if index > stored.last() {
            return Err(Error::Store(StorageError::Unavailable));
        }
        Ok(stored.term_of(index))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.0.borrow().base + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.0.borrow().last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        let stored = self.0.borrow();
        let index = stored.snapshot.get_metadata().index;
        if index == 0 || index < request_index {
            return Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable));
        }
        Ok(stored.snapshot.clone())
    }
}
