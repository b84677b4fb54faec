//! What the server shows its operator about itself. This room reads what the others report, and decides nothing.

pub mod log;
pub mod metrics;
