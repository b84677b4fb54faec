//! What the server shows of itself to its operator. Reads what the other modules tell and decides nothing.

pub mod log;
pub mod metrics;
