//! What each packet says about itself: its flow, its place among the packets of that flow, its length, and when it was
//! sent.

/// The length of a stamp, which is at the beginning of a payload. No packet is shorter.
pub(crate) const STAMP_LEN: usize = 24;

const MARK: [u8; 4] = *b"load";

/// The beginning of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The flow's index.
    pub(crate) flow: u32,
    /// Counts up within the flow, from 0.
    pub(crate) sequence: u32,
    /// Nanoseconds since the load began.
    pub(crate) sent: u64,
}

impl Stamp {
    pub(crate) fn write(self, payload: &mut [u8]) {
        let len = payload.len() as u32;
        payload[..4].copy_from_slice(&MARK);
        payload[4..8].copy_from_slice(&len.to_be_bytes());
        payload[8..12].copy_from_slice(&self.flow.to_be_bytes());
        payload[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        payload[16..24].copy_from_slice(&self.sent.to_be_bytes());
    }

    /// `None` if the payload is not from this load, or if its length has changed.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let (mark, rest) = payload.split_first_chunk::<4>()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (flow, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let sent = rest.first_chunk()?;
        (*mark == MARK && u32::from_be_bytes(*len) as usize == payload.len()).then(|| Self {
            flow: u32::from_be_bytes(*flow),
            sequence: u32::from_be_bytes(*sequence),
            sent: u64::from_be_bytes(*sent),
        })
    }
}
