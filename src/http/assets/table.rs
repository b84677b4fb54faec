//! The embedded files, as the build script found them.

use std::sync::OnceLock;

use bytes::Bytes;

/// A file in the binary.
pub(super) struct Page {
    /// The path at which it is served, with the first slash.
    path: &'static str,
    pub(super) content_type: &'static str,
    /// Changes with the content.
    pub(super) tag: &'static str,
    /// Whether the path changes with the content.
    pub(super) is_hashed: bool,
    /// Whether `bytes` are compressed by gzip.
    pub(super) is_gzip: bool,
    pub(super) bytes: &'static [u8],
    /// The uncompressed content, once a client has asked for it.
    plain: OnceLock<Bytes>,
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Whether this build has no pages.
pub(super) fn is_empty() -> bool {
    PAGES.is_empty()
}

/// The file at `path`.
pub(super) fn find(path: &str) -> Option<&'static Page> {
    PAGES.binary_search_by(|page| page.path.cmp(path)).ok().map(|found| &PAGES[found])
}

impl Page {
    #[cfg_attr(not(feature = "pages"), expect(dead_code, reason = "the table is empty"))]
    const fn new(
        path: &'static str,
        content_type: &'static str,
        tag: &'static str,
        is_hashed: bool,
        is_gzip: bool,
        bytes: &'static [u8],
    ) -> Self {
        Self { path, content_type, tag, is_hashed, is_gzip, bytes, plain: OnceLock::new() }
    }

    /// The content for a client that does not understand gzip. It is kept, because unpacking takes time, and strangers
    /// could ask for it again and again.
    pub(super) fn plain(&self) -> Bytes {
        if self.is_gzip {
            self.plain.get_or_init(|| unpacked(self.bytes)).clone()
        } else {
            Bytes::from_static(self.bytes)
        }
    }
}

#[cfg(feature = "pages")]
fn unpacked(bytes: &[u8]) -> Bytes {
    use std::io::Read;

    let mut plain = Vec::new();
    let read = flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain);
    read.expect("the build script compressed it");
    plain.into()
}

#[cfg(not(feature = "pages"))]
fn unpacked(_: &[u8]) -> Bytes {
    unreachable!("no page is compressed where there is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_file_is_found() {
        for page in &PAGES {
            assert!(std::ptr::eq(find(page.path).unwrap(), page), "{}", page.path);
        }
        assert!(find("/nothing").is_none() && find("").is_none());
    }

    #[test]
    fn what_is_compressed_can_be_unpacked() {
        for page in &PAGES {
            let plain = page.plain();
            assert!(!page.is_gzip || plain.len() > page.bytes.len(), "{}", page.path);
        }
    }

    #[cfg(feature = "pages")]
    #[test]
    fn fonts_are_embedded_as_they_are_and_pages_are_not_kept_for_ever() {
        let of_type = |content_type| PAGES.iter().filter(move |page| page.content_type == content_type);
        assert!(of_type("font/woff2").count() > 100, "the board has fonts for Chinese, Japanese and Korean");
        for font in of_type("font/woff2") {
            assert!(!font.is_gzip && font.is_hashed && font.bytes.starts_with(b"wOF2"), "{}", font.path);
        }
        for page in of_type("text/html; charset=utf-8") {
            assert!(page.is_gzip && !page.is_hashed, "{}", page.path);
        }
        for path in ["/client.js", "/client.d.ts", "/BimccWebRTC.js"] {
            assert!(!find(path).unwrap().is_hashed, "{path}");
        }
    }
}
