//! Makes the WebSocket library answer a close code that it does not know.
//!
//! 1014 is registered (IANA, "WebSocket Close Code Number Registry": bad gateway), but the library does not know it and
//! answers with 1002, as if the client had made a mistake. This module changes the incoming 1014 into 1000, so the
//! answer is 1000 as well.

/// 1014 and 1000 differ in their second byte only.
const FIRST_BYTE: u8 = 0x03;
const UNKNOWN: u8 = 0xF6;
const KNOWN: u8 = 0xE8;

const OPCODE: u8 = 0x0F;
const CLOSE: u8 = 0x08;
const IS_MASKED: u8 = 0x80;

/// Follows the frames of one client, however its bytes are split (RFC 6455 section 5.2).
#[derive(Debug, Default)]
pub(super) struct Frames {
    next: Next,
    is_close: bool,
    is_masked: bool,
    mask: [u8; 4],
    len: u64,
    /// The first byte of the close code.
    first_byte: u8,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    #[default]
    Opcode,
    ShortLength,
    /// A byte of an extended length, with this many still to come.
    Length(u8),
    Mask(u8),
    /// A byte of the payload, with this many before it.
    Payload(u64),
}

impl Frames {
    /// Takes the bytes that were read, in order, and changes the close code if they contain it.
    pub(super) fn mend(&mut self, mut bytes: &mut [u8]) {
        while !bytes.is_empty() {
            let taken = match self.next {
                Next::Payload(before) if !self.is_close || before > 1 => {
                    let taken = (self.len - before).min(bytes.len() as u64);
                    self.goes_on_at(before + taken);
                    taken as usize
                }
                _ => {
                    self.take(&mut bytes[0]);
                    1
                }
            };
            bytes = &mut bytes[taken..];
        }
    }

    fn take(&mut self, byte: &mut u8) {
        match self.next {
            Next::Opcode => {
                self.is_close = *byte & OPCODE == CLOSE;
                self.next = Next::ShortLength;
            }
            Next::ShortLength => {
                self.is_masked = *byte & IS_MASKED != 0;
                self.mask = [0; 4];
                self.len = u64::from(*byte & !IS_MASKED);
                let more = match self.len {
                    126 => 2,
                    127 => 8,
                    _ => return self.after_length(),
                };
                self.len = 0;
                self.next = Next::Length(more);
            }
            Next::Length(left) => {
                self.len = self.len << 8 | u64::from(*byte);
                if left > 1 {
                    self.next = Next::Length(left - 1);
                } else {
                    self.after_length();
                }
            }
            Next::Mask(index) => {
                self.mask[usize::from(index)] = *byte;
                if index < 3 {
                    self.next = Next::Mask(index + 1);
                } else {
                    self.goes_on_at(0);
                }
            }
            Next::Payload(before) => {
                if before == 0 {
                    self.first_byte = *byte ^ self.mask[0];
                } else if self.first_byte == FIRST_BYTE && *byte ^ self.mask[1] == UNKNOWN {
                    *byte = KNOWN ^ self.mask[1];
                }
                self.goes_on_at(before + 1);
            }
        }
    }

    fn after_length(&mut self) {
        if self.is_masked {
            self.next = Next::Mask(0);
        } else {
            self.goes_on_at(0);
        }
    }

    /// Continues after `before` bytes of the payload.
    fn goes_on_at(&mut self, before: u64) {
        self.next = if before < self.len { Next::Payload(before) } else { Next::Opcode };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x11, 0xF6, 0x03, 0x80];

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            len @ 0..126 => frame.push(0x80 | len as u8),
            len @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn close(code: u16) -> Vec<u8> {
        frame(CLOSE, &[&code.to_be_bytes()[..], "näher \u{3f6}".as_bytes()].concat())
    }

    /// Frames in which the bytes of the code appear in other places, where they are not a close code.
    fn others() -> Vec<u8> {
        let code = [0x03, 0xF6];
        [
            frame(1, &code),
            frame(9, &code),
            frame(2, &code.repeat(63)),
            frame(2, &code.repeat(40_000)),
            frame(9, b""),
            frame(CLOSE, b""),
            frame(CLOSE, &code[..1]),
        ]
        .concat()
    }

    #[test]
    fn only_the_unknown_code_changes_however_it_is_cut() {
        for (code, becomes) in [(1000, 1000), (1013, 1013), (1014, 1000), (1015, 1015), (3000, 3000), (4999, 4999)] {
            let expected = [others(), close(becomes)].concat();
            for cut in [1, 2, 3, 5, 7, 1000, usize::MAX] {
                let mut bytes = [others(), close(code)].concat();
                let mut frames = Frames::default();
                bytes.chunks_mut(cut).for_each(|chunk| frames.mend(chunk));
                assert!(bytes == expected, "{code} in pieces of {cut}");
            }
        }
    }

    #[test]
    fn frames_without_a_mask_are_followed_too() {
        let mut bytes = [0x81, 2, 0x03, 0xF6, 0x88, 2, 0x03, 0xF6];
        Frames::default().mend(&mut bytes);
        assert_eq!(bytes, [0x81, 2, 0x03, 0xF6, 0x88, 2, 0x03, 0xE8]);
    }

    #[test]
    fn lengths_of_any_size_do_no_harm() {
        let mut frames = Frames::default();
        frames.mend(&mut [0x82, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4]);
        frames.mend(&mut [0x88; 1000]);
    }
}
