//! Names of rooms, independent of how their letters are composed.
//!
//! Keyboards and file systems write `é` as one code point or as two. Both mean the same room, so all names are
//! converted to NFC (the composed form, Unicode Annex 15) before they are looked up, measured, signed or sent.

use std::borrow::Cow;

use icu_normalizer::ComposingNormalizerBorrowed;

use super::{
    error::{Code, Refusal},
    wire::DEFAULT_ROOM,
};

/// Longest name of a room, in bytes.
pub const MAX_ROOM_BYTES: usize = 128;
/// Composing never makes a text this many times shorter, so a text that is too long by this factor need not be
/// composed.
const MAX_SHRINKAGE: usize = 4;

/// The name that stands for all forms of `name`. A name that is too long in every form stays as it is.
pub fn canonical(name: &str) -> Cow<'_, str> {
    if name.is_ascii() || name.len() > MAX_SHRINKAGE * MAX_ROOM_BYTES {
        return Cow::Borrowed(name);
    }
    const { ComposingNormalizerBorrowed::new_nfc() }.normalize(name)
}

/// The room that a join means. Old clients send an empty name when the page gave them none; then the name in the URL
/// counts.
pub(super) fn meant<'a>(joined: Option<&'a str>, url: Option<&'a str>) -> Result<Cow<'a, str>, Refusal> {
    let name = canonical(match (joined, url) {
        (Some(name), _) if !name.is_empty() => name,
        (_, Some(url)) => url,
        (Some(empty), None) => empty,
        (None, None) => DEFAULT_ROOM,
    });
    let problem = if name.is_empty() {
        "the room's name is empty"
    } else if name.len() > MAX_ROOM_BYTES {
        "a room's name has at most 128 bytes"
    } else if name.chars().any(char::is_control) {
        "a room's name has no control characters"
    } else {
        return Ok(name);
    };
    Err(Refusal::new(Code::BadRoom, problem))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r2_2_spellings_of_one_name_are_one() {
        for (spelt, name) in [
            ("cafe\u{301}", "café"),
            ("caf\u{e9}", "café"),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("\u{212b}\u{2126}", "ÅΩ"),
            ("q\u{323}\u{307}", "q\u{323}\u{307}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            ("ﬁ Ⅳ", "ﬁ Ⅳ"),
            ("Room", "Room"),
        ] {
            assert_eq!(canonical(spelt), name, "{spelt:?}");
        }
    }

    #[test]
    fn r2_2_a_name_is_measured_when_it_is_composed() {
        let long = "e\u{301}".repeat(64);
        assert_eq!(meant(Some(&long), None).unwrap(), "é".repeat(64));
        // Some letters have no composed form and become longer.
        assert!(meant(Some(&"\u{1d15e}".repeat(20)), None).is_err());
        assert!(meant(Some(&"e\u{301}".repeat(65)), None).is_err());
        assert!(meant(Some(&"e\u{301}".repeat(20_000)), None).is_err());
        assert!(meant(Some("a"), Some("b")).is_ok_and(|name| name == "a"));
    }

    proptest! {
        #[test]
        fn r2_2_names_stay_what_they_became(name in "\\PC{0,60}|([a-z][\u{300}-\u{345}]{0,4}){0,20}|[\u{1100}-\u{11ff}]{0,40}") {
            let once = canonical(&name).into_owned();
            prop_assert_eq!(canonical(&once), once.as_str());
            prop_assert!(once.len() * MAX_SHRINKAGE > name.len() || name.is_empty());
        }
    }
}
