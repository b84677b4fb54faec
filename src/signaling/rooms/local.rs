//! A single node, which has all rooms.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::owner::{Owner, Rooms};
use crate::signaling::core::hub::Permit;

/// Counts the open rooms, up to the limit of one node.
#[derive(Debug)]
pub(crate) struct Local {
    max: usize,
    open: AtomicUsize,
}

impl Local {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: AtomicUsize::new(0) }
    }

    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Rooms for Local {
    type Other = Infallible;

    fn owner(&self, _: &str) -> Owner<Infallible> {
        let one_more = |open| if open < self.max { Some(open + 1) } else { None };
        match self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Owner::Here(Permit(())),
            Err(_) => Owner::Nobody,
        }
    }

    fn give_up(&self, _: &str) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_6_there_are_as_many_rooms_as_there_may_be() {
        let rooms = Local::new(2);
        let is_here = |owner| matches!(owner, Owner::Here(_));
        assert_eq!(["a", "b", "c"].map(|room| is_here(rooms.owner(room))), [true, true, false]);
        rooms.give_up("a");
        assert_eq!((is_here(rooms.owner("d")), rooms.open()), (true, 2));
    }
}
