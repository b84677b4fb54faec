//! Bytes to typed messages and back. Nothing here decides anything.
//!
//! | module | what |
//! |---|---|
//! | [`message`] | requests and responses |
//! | [`data`] | Send and Data indications |
//! | [`channel_data`] | the framing of data on channels |
//! | [`framing`] | messages in a stream |
//! | [`header`] | where messages begin and end |
//! | [`code`], [`keys`] | methods and error codes; keys of users |

pub mod channel_data;
pub mod code;
pub mod data;
pub mod framing;
pub mod header;
pub mod keys;
pub mod message;
