//! Buffers that a thread lends to the client that it is serving.

use std::cell::RefCell;

use crate::turn::{
    io::driver::DriverDesk,
    wire::data::{HEADROOM, TAILROOM},
};

/// How much is read from a connection at once.
const READ_BUFFER: usize = 32 * 1024;

/// What a thread lends to the client that it is serving. Nothing in it is kept from one turn to the next.
pub(super) struct Desk {
    /// For data from the client.
    pub(super) read: Box<[u8]>,
    /// Where a datagram becomes a message for the client.
    pub(super) scratch: Box<[u8]>,
    pub(super) driver_desk: DriverDesk,
}

thread_local! {
    pub(super) static DESK: RefCell<Desk> = RefCell::new(Desk {
        read: vec![0; READ_BUFFER].into(),
        scratch: vec![0; HEADROOM + 65_536 + TAILROOM].into(),
        driver_desk: DriverDesk::new(),
    });
}
