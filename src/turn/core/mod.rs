//! Every rule of the RFC for one client, sans-IO: what comes in, what shall be done, and what there is to tell.

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
    /// What a core must know nothing of: it tells what it has to tell, and is given all else.
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
