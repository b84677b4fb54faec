use std::{fs, os::unix::fs::PermissionsExt};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::{TlsConnector, client};

use super::{
    local_ca::tests::{Dir, host},
    *,
};

fn open(dir: &Dir) -> Tls {
    Tls::open(&dir.files, &host(&["localhost"], &["127.0.0.1"])).unwrap()
}

/// A client that trusts the CA in `dir`.
fn client(dir: &Dir, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fs::read(dir.path("ca.pem")).unwrap()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// Connects both ends, passes a byte each way, and returns the client's end.
async fn connect(acceptor: &TlsAcceptor, connector: &TlsConnector) -> client::TlsStream<DuplexStream> {
    let (ours, theirs) = tokio::io::duplex(4096);
    let server = async {
        let mut stream = acceptor.accept(ours).await.unwrap();
        let byte = stream.read_u8().await.unwrap();
        stream.write_u8(byte + 1).await.unwrap();
        stream.flush().await.unwrap();
        stream
    };
    let client = async {
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector.connect(name, theirs).await.unwrap();
        stream.write_u8(1).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), 2);
        stream
    };
    tokio::join!(server, client).1
}

#[tokio::test]
async fn clients_with_and_without_common_protocols_are_served() {
    let dir = Dir::new();
    let acceptor = open(&dir).acceptor();
    for (offered, chosen) in [
        (&[][..], None),
        (&[b"http/1.1".as_slice()][..], Some(b"http/1.1".as_slice())),
        (&[b"h2", b"http/1.1"], Some(b"http/1.1")),
        (&[b"stun.turn"], Some(b"stun.turn")),
        (&[b"h2"], None),
        (&[b"foo", b"bar"], None),
    ] {
        let stream = connect(&acceptor, &client(&dir, offered)).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen, "{offered:?}");
    }
}

#[tokio::test]
async fn what_is_not_tls_is_an_error_of_that_client() {
    let dir = Dir::new();
    let acceptor = open(&dir).acceptor();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x00\x05AAAAA", b""] {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        theirs.write_all(bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        assert!(acceptor.accept(ours).await.is_err(), "{bytes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_given_up() {
    let dir = Dir::new();
    let acceptor = open(&dir).acceptor();
    let (ours, _theirs) = tokio::io::duplex(4096);
    assert_eq!(acceptor.accept(ours).await.unwrap_err().error.kind(), io::ErrorKind::TimedOut);
}

fn served(current: &Current) -> CertificateDer<'static> {
    current.0.load().cert[0].clone()
}

fn on_disk(dir: &Dir) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(&fs::read(&dir.files.cert).unwrap()).unwrap()
}

#[test]
fn a_new_pair_is_served_and_a_broken_one_is_not() {
    let dir = Dir::new();
    let Tls { current, mut watcher, .. } = open(&dir);
    let first = served(&current);
    watcher.look(&current);
    assert_eq!(served(&current), first);

    // Half of the new pair is written: nothing happens yet.
    let other = Dir::new();
    open(&other);
    fs::copy(&other.files.cert, &dir.files.cert).unwrap();
    for _ in 0..3 {
        watcher.look(&current);
        assert_eq!(served(&current), first);
    }
    fs::copy(&other.files.key, &dir.files.key).unwrap();
    watcher.look(&current);
    assert_eq!(served(&current), on_disk(&other));

    let cut = fs::read_to_string(&dir.files.cert).unwrap().replace("-----END", "----END");
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &cut, "\u{feff}"] {
        fs::write(&dir.files.cert, broken).unwrap();
        watcher.look(&current);
        watcher.look(&current);
        assert_eq!(served(&current), on_disk(&other), "{broken:?}");
    }
    fs::remove_file(&dir.files.cert).unwrap();
    watcher.look(&current);
    assert_eq!(served(&current), on_disk(&other));
}

#[test]
fn the_kind_of_key_is_told() {
    for (algorithm, is_ed25519) in [(&rcgen::PKCS_ED25519, true), (&rcgen::PKCS_ECDSA_P256_SHA256, false)] {
        let dir = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let files = TlsFiles {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            are_default: false,
            local_ca_any_ip: false,
        };
        fs::write(&files.cert, cert.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let tls = Tls::open(&files, &host(&[], &[])).unwrap();
        assert_eq!(tls.facts().is_ed25519, is_ed25519);
    }
}

#[test]
fn keys_that_others_can_read_are_told() {
    let dir = Dir::new();
    assert_eq!(open(&dir).facts().exposed, []);
    for name in ["ca-key.pem", "key.pem"] {
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(0o640)).unwrap();
    }
    let exposed: Vec<_> = open(&dir).facts().exposed.iter().map(ToString::to_string).collect();
    let expected = ["ca-key.pem", "key.pem"].map(|name| format!("chmod 600 {}", dir.path(name).display()));
    assert_eq!(exposed, expected);
    let own = TlsFiles { are_default: false, ..dir.files.clone() };
    assert_eq!(Tls::open(&own, &host(&[], &[])).unwrap().facts().exposed, []);
}

#[test]
fn a_certificate_put_in_place_of_ours_is_not_overwritten() {
    let dir = Dir::new();
    open(&dir);
    let foreign = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&dir.files.cert, foreign.cert.pem()).unwrap();
    fs::write(&dir.files.key, foreign.signing_key.serialize_pem()).unwrap();
    renew(&dir.files, &host(&["localhost", "new"], &[]));
    assert_eq!(on_disk(&dir), *foreign.cert.der());
}

#[tokio::test(start_paused = true)]
async fn maintaining_follows_new_names_until_the_shutdown() {
    let dir = Dir::new();
    let tls = open(&dir);
    let (current, first) = (tls.current.clone(), served(&tls.current));
    let (trigger, shutdown) = Shutdown::new();
    let maintenance =
        tokio::spawn(tls.maintain(|| host(&["localhost", "sub.localhost"], &["10.0.0.7"]), Reload::never(), shutdown));
    // The clock is virtual: this passes as soon as all tasks wait.
    while served(&current) == first {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(served(&current), on_disk(&dir));
    trigger.begin();
    maintenance.await.unwrap();
}

#[test]
fn mistakes_in_files_name_the_file_and_the_cause() {
    let (dir, other) = (Dir::new(), Dir::new());
    open(&dir);
    open(&other);
    let (cert, key) = (dir.path("cert.pem"), dir.path("key.pem"));
    let text = |name: &str, content: &str| {
        let path = dir.path(name);
        fs::write(&path, content).unwrap();
        path
    };
    let broken = text("broken.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    let garbage = text("garbage.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted =
        text("encrypted.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let encrypted_of_old = text(
        "encrypted_of_old.pem",
        "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END EC PRIVATE \
         KEY-----\n",
    );
    let bad_key = text("bad_key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (cert, key, expected) in [
        (&cert, &key, &[][..]),
        (&key, &cert, &["swap", "swap"]),
        (&cert, &other.path("key.pem"), &["is not the key of"]),
        (&dir.path("none.pem"), &dir.path("none.pem"), &["cannot read", "cannot read"]),
        (&broken, &encrypted, &["broken PEM", "decrypt it"]),
        (&broken, &encrypted_of_old, &["broken PEM", "decrypt it"]),
        (&garbage, &key, &["not a certificate"]),
        (&cert, &bad_key, &["not a usable private key"]),
    ] {
        let files = TlsFiles { cert: cert.clone(), key: key.clone(), are_default: false, local_ca_any_ip: false };
        let problems = check(&files);
        assert_eq!(problems.len(), expected.len(), "{problems:?}");
        for ((_, problem), expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem} has no {expected}");
        }
    }
}
