//! Turns the text of a PEM file, as people have it, into a form that the parser reads completely.
//!
//! The parser skips what it does not know, so a certificate would be missing without an error if its marker shares a
//! line with another one. This module puts each marker on its own line, and refuses what cannot be read, with a message
//! that names it.

use std::{fmt::Display, path::Path};

/// A section of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The text after BEGIN.
    pub(super) label: String,
    /// Its line, counted from 1.
    pub(super) line: usize,
    /// Whether it is encrypted by a password.
    pub(super) is_encrypted: bool,
}

/// The text of a file that the parser reads completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) pem: String,
    pub(super) sections: Vec<Section>,
}

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Begin(&'a str),
    End(&'a str),
    Other(&'a str),
}

impl Text {
    /// # Errors
    /// A sentence that names the file and what to do.
    pub(super) fn of(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let file = path.display();
        refuse_other_formats(&file, bytes)?;
        // A byte-order mark can be in the middle of a text that was joined from several files.
        let text = String::from_utf8_lossy(bytes).replace('\u{feff}', "").replace("\r\n", "\n").replace('\r', "\n");
        let mut sections: Vec<Section> = Vec::new();
        let mut pem = String::with_capacity(text.len() + 64);
        let mut is_open = false;
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            for piece in pieces(line) {
                match (piece, sections.last_mut().filter(|_| is_open)) {
                    (Piece::Begin(_) | Piece::End(_), Some(open)) if piece != Piece::End(&open.label) => {
                        return Err(no_end(&file, open));
                    }
                    (Piece::Begin(label), _) => {
                        is_open = true;
                        sections.push(Section {
                            label: label.to_owned(),
                            line: number,
                            is_encrypted: label.starts_with("ENCRYPTED"),
                        });
                        pem += &format!("-----BEGIN {}-----", plain(label));
                    }
                    (Piece::End(_), None) => {
                        return Err(format!("{file}: the END in line {number} has no BEGIN: copy the file anew"));
                    }
                    (Piece::End(label), Some(_)) => {
                        is_open = false;
                        pem += &format!("-----END {}-----", plain(label));
                    }
                    (Piece::Other(text), Some(open)) => {
                        // The older form has the headers of RFC 1421 within the key.
                        open.is_encrypted |= text.contains("ENCRYPTED");
                        if text.contains('\\') {
                            return Err(format!(
                                "{file} has \\n written out where lines should end (line {number}): write it with \
                                 printf '%b'"
                            ));
                        }
                        pem += text;
                    }
                    (Piece::Other(text), None) if is_spoilt_marker(text) => {
                        return Err(format!(
                            "{file}: line {number} is no PEM marker, which has five hyphens before and behind it: copy \
                             the file anew"
                        ));
                    }
                    (Piece::Other(_), None) => continue,
                }
                pem.push('\n');
            }
        }
        match sections.last() {
            Some(open) if is_open => Err(no_end(&file, open)),
            _ => Ok(Self { pem, sections }),
        }
    }
}

fn refuse_other_formats(file: &impl Display, bytes: &[u8]) -> Result<(), String> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(format!("{file} is empty"));
    }
    let is_utf16 = bytes.starts_with(&[0xFF, 0xFE])
        || bytes.starts_with(&[0xFE, 0xFF])
        || (bytes.contains(&0)
            && holds(&bytes.iter().copied().filter(|byte| *byte != 0).collect::<Vec<_>>(), b"-----BEGIN"));
    if is_utf16 {
        return Err(format!("{file} is UTF-16 text: save it as UTF-8, e.g. with iconv -f UTF-16 -t UTF-8"));
    }
    // A SEQUENCE with a long length (X.690), which is not a text that people write.
    if bytes.first() == Some(&0x30)
        && bytes.get(1).is_some_and(|length| *length >= 0x80)
        && !holds(bytes, b"-----BEGIN")
    {
        let content = &bytes[(2 + usize::from(bytes[1] & 0x7F)).min(bytes.len())..];
        return Err(if content.starts_with(&[2, 1, 3]) {
            format!("{file} is PKCS #12, not PEM: convert it with openssl pkcs12 -nodes -in {file}")
        } else {
            format!(
                "{file} is DER, not PEM: convert it with openssl x509 (a key: openssl pkey) -inform DER -in {file} -out \
                 FILE"
            )
        });
    }
    Ok(())
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn no_end(file: &impl Display, section: &Section) -> String {
    format!(
        "{file}: the {} that begins in line {} has no END of its own: copy the file anew",
        section.label, section.line
    )
}

/// The only label that the parser knows for a kind.
fn plain(label: &str) -> &str {
    if label == "X509 CERTIFICATE" { "CERTIFICATE" } else { label }
}

/// Splits a line at its markers. Spaces around the pieces do not count.
fn pieces(line: &str) -> Vec<Piece<'_>> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(start) = [BEGIN, END].iter().filter_map(|marker| rest.find(marker)).min() {
        let (before, marker) = rest.split_at(start);
        let is_begin = marker.starts_with(BEGIN);
        let label = &marker[if is_begin { BEGIN } else { END }.len()..];
        let Some(len) = label.find("-----") else { break };
        pieces.push(Piece::Other(before.trim()));
        let label_text = label[..len].trim();
        pieces.push(if is_begin { Piece::Begin(label_text) } else { Piece::End(label_text) });
        rest = &label[len + 5..];
    }
    pieces.push(Piece::Other(rest.trim()));
    pieces.retain(|piece| *piece != Piece::Other(""));
    pieces
}

/// Whether the text was a marker before a person or a program changed it.
fn is_spoilt_marker(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let names_one = ["BEGIN ", "END "].iter().any(|word| {
        text.find(word).is_some_and(|at| ["CERTIFICATE", "PRIVATE KEY"].iter().any(|kind| text[at..].contains(kind)))
    });
    names_one && text.contains(['-', '\u{2013}', '\u{2014}', '\u{2212}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &str) -> Result<Text, String> {
        Text::of(Path::new("f.pem"), content.as_bytes())
    }

    #[test]
    fn every_marker_gets_a_line_of_its_own() {
        let two = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".repeat(2);
        let glued = two.replacen("-----END CERTIFICATE-----\n", "-----END CERTIFICATE-----", 1);
        let in_one_line = two.replace('\n', "");
        let indented = two.replace('\n', " \n\t ");
        let spaced = two.replace('\n', "\n\n");
        let marked = format!("\u{feff}{}", two.replace("-----BEGIN", "\u{feff}-----BEGIN"));
        let marked_within = two.replace('\n', "\n\u{feff}");
        let of_dos = two.replace('\n', "\r\n");
        let of_old_macs = two.replace('\n', "\r");
        let with_text = format!("Bag Attributes\n    friendlyName: END of it\n{two}trailing -- garbage\n\0\n");
        let without_last_end = two.trim_end().to_owned();
        let of_old = two.replace("CERTIFICATE", "X509 CERTIFICATE");
        for (name, content) in [
            ("two", &two),
            ("glued", &glued),
            ("in one line", &in_one_line),
            ("indented", &indented),
            ("spaced", &spaced),
            ("byte-order marks", &marked),
            ("byte-order marks in every line", &marked_within),
            ("CRLF", &of_dos),
            ("CR", &of_old_macs),
            ("text around", &with_text),
            ("no last line end", &without_last_end),
            ("the name of old", &of_old),
        ] {
            if name != "text around" {
                assert_eq!(text(content).unwrap().pem, two, "{name}");
            }
            assert_eq!(text(&content.replace('\0', "")).unwrap().pem, two, "{name}");
            assert_eq!(text(&content.replace('\0', "")).unwrap().sections.len(), 2, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_whole_is_refused_by_name() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let utf16: Vec<u8> = one.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf16_be: Vec<u8> = one.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xFF, 0xFE][..], &utf16].concat();
        let marked_be = [&[0xFE, 0xFF][..], &utf16_be].concat();
        for (content, expected) in [
            (&b""[..], "is empty"),
            (b" \r\n", "is empty"),
            (&utf16, "UTF-16"),
            (&marked, "UTF-16"),
            (&marked_be, "UTF-16"),
            (&[0x30, 0x82, 1, 2, 0x30, 0x82, 9, 9], "DER, not PEM"),
            (&[0x30, 0x82, 1, 2, 2, 1, 3, 0x30], "PKCS #12"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "in line 1 has no END"),
            (
                b"x\n-----BEGIN CERTIFICATE-----\nAA\n-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----",
                "in line 2 has no END",
            ),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n", "has no END of its own"),
            (b"AAAA\n-----END CERTIFICATE-----\n", "has no BEGIN"),
            (b"----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "line 1 is no PEM marker"),
            ("\u{2014}BEGIN CERTIFICATE\u{2014}\nAAAA\n".as_bytes(), "line 1 is no PEM marker"),
            (b"-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n", "\\n written out"),
        ] {
            let problem = Text::of(Path::new("f.pem"), content).unwrap_err();
            assert!(problem.contains("f.pem") && problem.contains(expected), "{problem} has no {expected}");
        }
    }

    #[test]
    fn encrypted_keys_are_seen_in_both_forms() {
        let new = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for content in [new, old] {
            assert!(text(content).unwrap().sections[0].is_encrypted);
        }
    }
}
