use std::{os::unix::fs::MetadataExt, sync::Arc};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};

use super::*;

/// A directory for certificates, and the files in it.
pub(in crate::tls) struct Dir {
    dir: tempfile::TempDir,
    pub(in crate::tls) files: TlsFiles,
}

impl Dir {
    pub(in crate::tls) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("certs").join(name);
        let files =
            TlsFiles { cert: path("cert.pem"), key: path("key.pem"), are_default: true, local_ca_any_ip: false };
        Self { dir, files }
    }

    pub(in crate::tls) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("certs").join(name)
    }

    fn ensure(&self, host: &HostNames, now: SystemTime, moment: Moment) -> Made {
        ensure(&self.files, host, now, moment).unwrap()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

pub(in crate::tls) fn host(names: &[&str], addresses: &[&str]) -> HostNames {
    HostNames {
        names: names.iter().map(ToString::to_string).collect(),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn home() -> HostNames {
    host(&["localhost", "raspi", "raspi.local"], &["127.0.0.1", "::1", "192.168.1.5", "2001:db8:1:2::5", "203.0.113.5"])
}

/// Verifies the leaf `cert` for `name` like a client that trusts the CA.
fn verify(dir: &Dir, cert: &[u8], name: &str, now: SystemTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&dir.read("ca.pem")).unwrap()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::tls::provider::provider()).build().unwrap();
    let cert = CertificateDer::from_pem_slice(cert).unwrap();
    let name = ServerName::try_from(name).unwrap();
    let now = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    verifier.verify_server_cert(&cert, &[], &name, &[], now).map(drop)
}

#[test]
fn clients_that_trust_the_ca_accept_every_name_and_address() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    let made = dir.ensure(&home(), now, Moment::Start);
    assert_eq!(made.ca.file, dir.path("ca.pem"));
    assert!(made.ca.is_new && made.leaf_is_new);
    let again = dir.ensure(&home(), now, Moment::Start);
    assert_eq!(again.ca.fingerprint, made.ca.fingerprint);
    assert_ne!(Dir::new().ensure(&home(), now, Moment::Start).ca.fingerprint.short(), made.ca.fingerprint.short());
    let cert = dir.read("cert.pem");
    for name in
        ["localhost", "raspi", "raspi.local", "127.0.0.1", "::1", "192.168.1.5", "2001:db8:1:2::5", "203.0.113.5"]
    {
        verify(&dir, &cert, name, now).unwrap_or_else(|error| panic!("{name}: {error}"));
        // The limit of browsers, checked on its last day.
        verify(&dir, &cert, name, now + 389 * DAY).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(verify(&dir, &cert, "example.org", now).is_err());
    assert!(verify(&dir, &cert, "localhost", now + 391 * DAY).is_err());
}

#[test]
fn a_stolen_ca_key_certifies_nobody_else() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let ca = Ca::read(&Paths::of(&dir.files)).unwrap().unwrap();
    let key = KeyPair::generate().unwrap();
    for (names, addresses, name, permitted) in [
        (&["bank.example"][..], &[][..], "bank.example", false),
        (&[], &["198.51.100.1"], "198.51.100.1", false),
        (&[], &["203.0.113.6"], "203.0.113.6", false),
        (&[], &["2001:db8:1:3::5"], "2001:db8:1:3::5", false),
        (&[], &["10.9.8.7"], "10.9.8.7", true),
        (&["sub.raspi.local"], &[], "sub.raspi.local", true),
    ] {
        let stolen = ca.issue(&key, &host(names, addresses), now).unwrap();
        assert_eq!(verify(&dir, stolen.as_bytes(), name, now).is_ok(), permitted, "{name}");
    }
}

#[test]
fn a_ca_for_any_ip_still_certifies_this_hosts_names_only() {
    let (mut dir, now) = (Dir::new(), SystemTime::now());
    dir.files.local_ca_any_ip = true;
    let made = dir.ensure(&home(), now, Moment::Start);
    assert!(made.ca.is_new && made.ca.doubt.is_none());
    for name in ["localhost", "raspi.local", "::1", "192.168.1.5", "203.0.113.5"] {
        verify(&dir, &dir.read("cert.pem"), name, now).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let pem = dir.read("ca.pem");
    let ca = CertificateDer::from_pem_slice(&pem).unwrap();
    let (_, parsed) = X509Certificate::from_der(&ca).unwrap();
    let constraints = parsed.name_constraints().unwrap().expect("constraints");
    assert!(!constraints.critical, "verifiers that do not know them must be able to pass them over");
    let permitted = constraints.value.permitted_subtrees.as_ref().unwrap();
    assert!(permitted.iter().all(|subtree| matches!(subtree.base, GeneralName::DNSName(_))), "{permitted:?}");

    let ca = Ca::read(&Paths::of(&dir.files)).unwrap().unwrap();
    let key = KeyPair::generate().unwrap();
    for (names, addresses, name, permitted) in [
        (&["bank.example"][..], &[][..], "bank.example", false),
        (&["xlocalhost"], &[], "xlocalhost", false),
        (&["sub.raspi.local"], &[], "sub.raspi.local", true),
        (&[], &["198.51.100.1"], "198.51.100.1", true),
    ] {
        let stolen = ca.issue(&key, &host(names, addresses), now).unwrap();
        assert_eq!(verify(&dir, stolen.as_bytes(), name, now).is_ok(), permitted, "{name}");
    }
    // Another public address needs no new CA.
    let mut moved = home();
    moved.addresses.push("198.51.100.7".parse().unwrap());
    let made = dir.ensure(&moved, now, Moment::Start);
    assert!(made.leaf_is_new && !made.ca.is_new);
}

#[test]
fn a_ca_of_the_other_kind_stays_until_it_is_deleted() {
    for was_any_ip in [false, true] {
        let (mut dir, now) = (Dir::new(), SystemTime::now());
        dir.files.local_ca_any_ip = was_any_ip;
        let first = dir.ensure(&home(), now, Moment::Start).ca;
        dir.files.local_ca_any_ip = !was_any_ip;
        let again = dir.ensure(&home(), now, Moment::Start).ca;
        assert_eq!((again.fingerprint, again.is_new), (first.fingerprint, false));
        let doubt = again.doubt.expect("a line");
        for word in ["--local-ca-any-ip", "ca.pem", "ca-key.pem", "cert.pem", "key.pem"] {
            assert!(doubt.contains(word), "{doubt} has no {word}");
        }
        for name in ["ca.pem", "ca-key.pem", "cert.pem", "key.pem"] {
            fs::remove_file(dir.path(name)).unwrap();
        }
        let asked = dir.ensure(&home(), now, Moment::Start).ca;
        assert!(asked.is_new && asked.doubt.is_none() && asked.fingerprint != first.fingerprint);
        verify(&dir, &dir.read("cert.pem"), "192.168.1.5", now).unwrap();
    }
}

#[test]
fn long_constraints_are_written_as_der_has_it() {
    for count in [1, 5, 40] {
        let names: Vec<_> = (0..count).map(|number| format!("name{number}.example")).collect();
        let (mut dir, now) = (Dir::new(), SystemTime::now());
        dir.files.local_ca_any_ip = true;
        let many = HostNames { names: names.clone(), addresses: Vec::new() };
        dir.ensure(&many, now, Moment::Start);
        assert_eq!(Ca::read(&Paths::of(&dir.files)).unwrap().unwrap().permitted_names, names);
        verify(&dir, &dir.read("cert.pem"), &names[count - 1], now).unwrap();
    }
}

#[test]
fn keys_are_private_and_nothing_else_stays() {
    let dir = Dir::new();
    dir.ensure(&home(), SystemTime::now(), Moment::Start);
    let mode = |name| fs::metadata(dir.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("ca-key.pem"), mode("key.pem")), (0o600, 0o600));
    assert_eq!(fs::read_dir(dir.path("")).unwrap().count(), 4);
}

#[test]
fn nothing_changes_while_all_is_good() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let before = ["ca.pem", "ca-key.pem", "cert.pem", "key.pem"].map(|name| dir.read(name));
    let made = dir.ensure(&home(), now + 300 * DAY, Moment::Start);
    assert!(!made.ca.is_new && !made.leaf_is_new);
    // An address that is gone is no reason for a new certificate.
    assert!(!dir.ensure(&host(&["localhost"], &[]), now, Moment::Start).leaf_is_new);
    assert_eq!(before, ["ca.pem", "ca-key.pem", "cert.pem", "key.pem"].map(|name| dir.read(name)));
}

#[test]
fn the_leaf_is_renewed_in_time_by_the_same_ca_for_the_same_key() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let (ca, key) = (dir.read("ca.pem"), dir.read("key.pem"));
    let later = now + 350 * DAY;
    let made = dir.ensure(&home(), later, Moment::Running);
    assert!(made.leaf_is_new && !made.ca.is_new);
    assert_eq!((dir.read("ca.pem"), dir.read("key.pem")), (ca, key));
    verify(&dir, &dir.read("cert.pem"), "raspi", later + 389 * DAY).unwrap();
}

/// When a certificate begins and ceases to be valid.
fn validity(dir: &Dir, name: &str) -> [SystemTime; 2] {
    let certificate = CertificateDer::from_pem_slice(&dir.read(name)).unwrap();
    let validity = X509Certificate::from_der(&certificate).unwrap().1.validity().clone();
    [validity.not_before, validity.not_after].map(|time| system_time(time.timestamp()))
}

#[test]
fn certificates_of_a_clock_that_was_ahead_are_good_when_it_is_right_again() {
    let now = SystemTime::UNIX_EPOCH + EPOCH + 1000 * DAY;
    for (ahead, moment) in [
        (2 * DAY, Moment::Running),
        (2 * DAY, Moment::Start),
        (300 * DAY, Moment::Running),
        (5000 * DAY, Moment::Start),
    ] {
        let dir = Dir::new();
        dir.ensure(&home(), now + ahead, Moment::Start);
        let (ca, key) = (dir.read("ca.pem"), dir.read("key.pem"));
        verify(&dir, &dir.read("cert.pem"), "raspi", now).unwrap_err();
        let made = dir.ensure(&home(), now, moment);
        assert!(made.leaf_is_new && !made.ca.is_new, "{ahead:?}");
        assert_eq!((dir.read("ca.pem"), dir.read("key.pem")), (ca, key), "what people trust stays");
        verify(&dir, &dir.read("cert.pem"), "raspi", now).unwrap();
        let [from, until] = validity(&dir, "ca.pem");
        assert!(from < now && until > now + LEAF_LIFE);
        assert!(!dir.ensure(&home(), now, moment).leaf_is_new, "once");
    }
}

#[test]
fn a_clock_that_is_certainly_behind_spoils_nothing() {
    let (unset, now) = (SystemTime::UNIX_EPOCH + DAY, SystemTime::UNIX_EPOCH + EPOCH + 1000 * DAY);
    // A start before the clock was set, like each start of a computer without a battery.
    let dir = Dir::new();
    dir.ensure(&home(), now, Moment::Start);
    let made = dir.ensure(&home(), unset, Moment::Start);
    assert!(!made.leaf_is_new && !made.ca.is_new);
    verify(&dir, &dir.read("cert.pem"), "raspi", now).unwrap();

    // The very first start was such a start.
    let dir = Dir::new();
    dir.ensure(&home(), unset, Moment::Start);
    let made = dir.ensure(&home(), now, Moment::Running);
    assert!(made.leaf_is_new && !made.ca.is_new);
    verify(&dir, &dir.read("cert.pem"), "raspi", now).unwrap();
}

#[test]
fn a_new_private_address_needs_a_new_leaf_only() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let mut moved = home();
    moved.addresses.push("10.1.2.3".parse().unwrap());
    moved.addresses.push("2001:db8:1:2::77".parse().unwrap());
    let made = dir.ensure(&moved, now, Moment::Start);
    assert!(made.leaf_is_new && !made.ca.is_new);
    for name in ["10.1.2.3", "2001:db8:1:2::77"] {
        verify(&dir, &dir.read("cert.pem"), name, now).unwrap();
    }
}

#[test]
fn a_name_outside_the_constraints_waits_for_the_next_start() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let mut renamed = home();
    renamed.names.push("rtc.example.org".to_owned());
    renamed.addresses.push("198.51.100.7".parse().unwrap());
    let made = dir.ensure(&renamed, now, Moment::Running);
    assert!(!made.ca.is_new && !made.leaf_is_new);
    let made = dir.ensure(&renamed, now, Moment::Start);
    assert!(made.ca.is_new && made.leaf_is_new);
    for name in ["rtc.example.org", "198.51.100.7"] {
        verify(&dir, &dir.read("cert.pem"), name, now).unwrap();
    }
}

#[test]
fn an_interrupted_start_is_made_good() {
    let now = SystemTime::now();
    for lost in [&["cert.pem"][..], &["cert.pem", "key.pem"], &["cert.pem", "key.pem", "ca-key.pem"], &["ca-key.pem"]] {
        let dir = Dir::new();
        dir.ensure(&home(), now, Moment::Start);
        for name in lost {
            fs::remove_file(dir.path(name)).unwrap();
        }
        assert!(will_make(&dir.files), "{lost:?}");
        dir.ensure(&home(), now, Moment::Start);
        verify(&dir, &dir.read("cert.pem"), "raspi", now).unwrap();
        assert!(crate::tls::pem::load(&dir.files).is_ok());
    }
}

#[test]
fn files_of_others_are_never_touched() {
    let now = SystemTime::now();
    let foreign = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (foreign.cert.pem(), foreign.signing_key.serialize_pem());
    // Somebody's own pair at the default place, with and without a local CA in the same directory.
    for with_ca in [false, true] {
        let dir = Dir::new();
        if with_ca {
            dir.ensure(&home(), now, Moment::Start);
        }
        fs::create_dir_all(dir.path("")).unwrap();
        fs::write(dir.path("cert.pem"), &cert).unwrap();
        fs::write(dir.path("key.pem"), &key).unwrap();
        assert!(!will_make(&dir.files));
    }
    // Somebody's own CA, or something that is not a CA at all.
    for (name, content) in [("ca.pem", cert.as_str()), ("ca.pem", "x"), ("ca-key.pem", key.as_str())] {
        let dir = Dir::new();
        fs::create_dir_all(dir.path("")).unwrap();
        fs::write(dir.path(name), content).unwrap();
        let error = ensure(&dir.files, &home(), now, Moment::Start).unwrap_err();
        assert!(matches!(error, LocalCaError::Foreign { .. }), "{error}");
        assert_eq!(dir.read(name), content.as_bytes());
    }
}

#[test]
fn names_and_addresses_that_no_url_can_have_are_left_out() {
    let mut all = HostNames::default();
    for name in ["raspi", "raspi", "a b", "", "10.0.0.1", "[::1]"] {
        all.add_name(name);
    }
    for address in ["10.0.0.1", "10.0.0.1", "fe80::1", "0.0.0.0"] {
        all.add_address(address.parse().unwrap());
    }
    assert_eq!(all, host(&["raspi"], &["10.0.0.1"]));
}

#[test]
fn openssl_agrees() {
    let (dir, now) = (Dir::new(), SystemTime::now());
    dir.ensure(&home(), now, Moment::Start);
    let verify = |flag: &str, name: &str| {
        std::process::Command::new("openssl")
            .args(["verify", "-x509_strict", "-purpose", "sslserver", flag, name, "-CAfile"])
            .args([dir.path("ca.pem"), dir.path("cert.pem")])
            .output()
    };
    for (flag, name) in [
        ("-verify_hostname", "raspi.local"),
        ("-verify_hostname", "localhost"),
        ("-verify_ip", "192.168.1.5"),
        ("-verify_ip", "203.0.113.5"),
        ("-verify_ip", "2001:db8:1:2::5"),
    ] {
        match verify(flag, name) {
            Ok(output) => assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr)),
            Err(error) => return eprintln!("skipped: openssl does not run: {error}"),
        }
    }
    assert!(!verify("-verify_hostname", "example.org").unwrap().status.success());
}
