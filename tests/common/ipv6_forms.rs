//! IPv4 addresses inside IPv6 addresses.

/// The IPv6 forms of `a.b.c.d` from which some network extracts the IPv4 address.
pub(crate) fn ipv6_forms(v4: &str) -> Vec<String> {
    let octets: Vec<u8> = v4.split('.').map(|octet| octet.parse().unwrap()).collect();
    let word = |a: usize| u16::from_be_bytes([octets[a], octets[a + 1]]);
    let (high, low) = (word(0), word(2));
    vec![
        format!("::ffff:{v4}"),
        format!("::{v4}"),
        format!("::ffff:0:{v4}"),
        format!("64:ff9b::{v4}"),
        format!("64:ff9b:1::{v4}"),
        format!("2002:{high:x}:{low:x}::1"),
        format!("2001:0:4136:e378:8000:63bf:{:x}:{:x}", !high, !low),
        format!("2001:db8::5efe:{high:x}:{low:x}"),
        format!("fe80::200:5efe:{high:x}:{low:x}"),
    ]
}
