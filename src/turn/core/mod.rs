//! Every rule of the RFC for one client, sans-IO: it takes inputs, and returns what its owner must do and the events to
//! report.

pub mod allocation;
pub mod event;
pub mod five_tuple;
pub mod held;
pub mod packet;
pub mod reach;
pub mod session;
pub mod totals;
pub mod transport;

#[cfg(test)]
mod tests {
    /// Names that the core must not use: it returns events, and gets everything else as arguments.
    #[test]
    fn the_core_neither_counts_nor_logs_nor_waits() {
        let core = [
            include_str!("session.rs"),
            include_str!("event.rs"),
            include_str!("session/places.rs"),
            include_str!("session/requests.rs"),
            include_str!("allocation.rs"),
            include_str!("../wire/message.rs"),
            include_str!("../wire/data.rs"),
            include_str!("../wire/keys.rs"),
            include_str!("../wire/code.rs"),
            include_str!("../wire/channel_data.rs"),
            include_str!("../wire/framing.rs"),
            include_str!("../wire/header.rs"),
        ];
        for source in core {
            let code = source.split("#[cfg(test)]").next().unwrap_or_default();
            for foreign in
                ["observe::", "metrics::", "tracing::", "tokio::", "mio::", "Atomic", "Mutex", "RwLock", "::now()"]
            {
                assert!(!code.contains(foreign), "{foreign} in\n{code}");
            }
        }
    }
}
