use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

/// A root, two intermediates below it, and a server's certificate issued by the lower one.
struct Chain {
    root: String,
    upper: String,
    lower: String,
    leaf: String,
    key: String,
}

fn params(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.subject_alt_names.clear();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

impl Chain {
    fn new() -> Self {
        let keys: [KeyPair; 4] = std::array::from_fn(|_| KeyPair::generate().unwrap());
        let [root_key, upper_key, lower_key, key] = &keys;
        let (root, upper, lower) = (params("root", true), params("upper", true), params("lower", true));
        let by = |params: &CertificateParams, key: &KeyPair, issuer: &CertificateParams, issuer_key: &KeyPair| {
            params.signed_by(key, &Issuer::from_params(issuer, issuer_key)).unwrap().pem()
        };
        Self {
            root: root.self_signed(root_key).unwrap().pem(),
            upper: by(&upper, upper_key, &root, root_key),
            lower: by(&lower, lower_key, &upper, upper_key),
            leaf: by(&params("localhost", false), key, &lower, lower_key),
            key: key.serialize_pem(),
        }
    }
}

/// Loads files with this content.
fn loaded(cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<CertificateAndKey, String> {
    let dir = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        cert: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
        are_default: false,
        local_ca_any_ip: false,
    };
    fs::write(&files.cert, cert).unwrap();
    fs::write(&files.key, key).unwrap();
    load(&files).map_err(|problems| {
        let problems: Vec<_> = problems.into_iter().map(|(_, problem)| problem).collect();
        problems.join("; ")
    })
}

fn pem(certificate: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
}

#[test]
fn a_chain_is_served_whole_and_in_order_however_it_is_written() {
    let Chain { root, upper, lower, leaf, key } = Chain::new();
    let whole = format!("{leaf}{lower}{upper}");
    let glued = format!("{}{lower}{upper}", leaf.trim_end());
    let all_glued = format!("{}{}{upper}", leaf.trim_end(), lower.trim_end());
    let marked = format!("\u{feff}{whole}");
    let marked_within = format!("\u{feff}{leaf}\u{feff}{lower}\u{feff}{upper}");
    let of_dos = whole.replace('\n', "\r\n");
    let with_text =
        format!("Bag Attributes\n    localKeyID: 01\nsubject=CN = a\n{leaf}\n0 s:\n{lower}{upper}\nand so on");
    let with_key = format!("{key}{whole}");
    let backwards = format!("{upper}{lower}{leaf}");
    let mixed = format!("{leaf}{upper}{lower}");
    let twice = format!("{leaf}{whole}{lower}");
    let of_old = whole.replace("CERTIFICATE", "X509 CERTIFICATE");
    for (name, cert) in [
        ("whole", &whole),
        ("glued", &glued),
        ("all glued", &all_glued),
        ("byte-order mark", &marked),
        ("byte-order marks within", &marked_within),
        ("CRLF", &of_dos),
        ("text around", &with_text),
        ("key in the same file", &with_key),
        ("backwards", &backwards),
        ("mixed", &mixed),
        ("twice", &twice),
        ("the name of old", &of_old),
    ] {
        let pair = loaded(cert, &key).unwrap_or_else(|problem| panic!("{name}: {problem}"));
        assert_eq!(pair.certified.cert, [&leaf, &lower, &upper].map(|one| pem(one)), "{name}");
        assert_eq!(pair.doubt, None, "{name}");
    }
    let with_root = loaded(format!("{root}{whole}"), &key).unwrap();
    assert_eq!(with_root.certified.cert, [&leaf, &lower, &upper, &root].map(|one| pem(one)));
}

#[test]
fn a_key_is_read_however_it_is_written() {
    let Chain { lower, leaf, key, .. } = Chain::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let chain = format!("{leaf}{lower}");
    for (name, key) in [
        ("byte-order mark", format!("\u{feff}{key}")),
        ("CRLF", key.replace('\n', "\r\n")),
        ("one line", key.replace('\n', "")),
        ("text around", format!("Bag Attributes\n    friendlyName: x\nKey Attributes: <No Attributes>\n{key}trailing")),
        ("certificates in the same file", format!("{chain}{key}")),
        ("two keys", format!("{other}{key}")),
        ("two keys, glued", format!("{}{other}", key.trim_end())),
        ("the same twice", format!("{key}{key}")),
    ] {
        if let Err(problem) = loaded(&chain, key) {
            panic!("{name}: {problem}");
        }
    }
}

#[test]
fn what_cannot_be_served_is_named_with_its_remedy() {
    let Chain { lower, leaf, key, .. } = Chain::new();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let relabelled = |text: &str, from: &str, to: &str| text.replace(from, to).into_bytes();
    let der = pem(&leaf).to_vec();
    let key_der = KeyPair::from_pem(&key).unwrap().serialize_der();
    let trusted = relabelled(&leaf, "CERTIFICATE", "TRUSTED CERTIFICATE");
    let half = leaf.as_bytes()[..leaf.len() / 2].to_vec();
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let too_long = format!("{leaf}{}", " \n".repeat(1 << 19)).into_bytes();
    let (leaf, key) = (leaf.into_bytes(), key.into_bytes());
    for (name, cert, key, expected) in [
        ("empty", &b""[..], &key[..], "cert.pem is empty"),
        ("empty key", &leaf, b"\n", "key.pem is empty"),
        ("UTF-16", &utf16(std::str::from_utf8(&leaf).unwrap()), &key, "iconv"),
        ("UTF-16 key", &leaf, &utf16(std::str::from_utf8(&key).unwrap()), "iconv"),
        ("DER", &der, &key, "-inform DER"),
        ("DER key", &leaf, &key_der, "-inform DER"),
        ("half", &half, &key, "has no END"),
        ("half within", &[&half[..], b"\n", lower.as_bytes()].concat(), &key, "has no END"),
        (
            "a second that is none",
            &[&leaf[..], no_certificate.as_bytes()].concat(),
            &key,
            "certificate 2 is not a certificate",
        ),
        ("trusted", &trusted, &key, "openssl x509"),
        ("PKCS #7", &relabelled(std::str::from_utf8(&leaf).unwrap(), "CERTIFICATE", "PKCS7"), &key, "-print_certs"),
        (
            "a request",
            &relabelled(std::str::from_utf8(&leaf).unwrap(), "CERTIFICATE", "CERTIFICATE REQUEST"),
            &key,
            "the request for one",
        ),
        ("too long", &too_long, &key, "longer than 1 MiB"),
        ("another key", &leaf, other.as_bytes(), "is not the key of"),
        ("OpenSSH", &leaf, &relabelled(std::str::from_utf8(&key).unwrap(), "PRIVATE", "OPENSSH PRIVATE"), "ssh-keygen"),
        ("public", &leaf, &relabelled(std::str::from_utf8(&key).unwrap(), "PRIVATE", "PUBLIC"), "a public one"),
        (
            "encrypted",
            &leaf,
            &relabelled(std::str::from_utf8(&key).unwrap(), "PRIVATE", "ENCRYPTED PRIVATE"),
            "openssl pkey",
        ),
    ] {
        let problem = loaded(cert, key).expect_err(name);
        assert!(problem.contains(expected) && problem.contains(".pem"), "{name}: {problem} has no {expected}");
    }
}

#[test]
fn a_certificate_without_its_issuer_is_doubted() {
    let (Chain { root, upper, lower, leaf, key }, stranger) = (Chain::new(), Chain::new());
    let doubt = |cert: String| loaded(cert, &key).unwrap().doubt;
    for incomplete in
        [leaf.clone(), format!("{leaf}{upper}"), format!("{leaf}{root}"), format!("{leaf}{}", stranger.lower)]
    {
        let doubt = doubt(incomplete).expect("a doubt");
        assert!(doubt.contains("lower") && doubt.contains("cert.pem") && doubt.contains("fullchain.pem"), "{doubt}");
    }
    for complete in [format!("{leaf}{lower}"), format!("{leaf}{lower}{upper}"), format!("{leaf}{lower}{upper}{root}")] {
        assert_eq!(doubt(complete), None);
    }
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    assert_eq!(loaded(own.cert.pem(), own.signing_key.serialize_pem()).unwrap().doubt, None, "a root itself");
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    for (name, expected) in [
        ("ecdsa-p521", "ECDSA with P-521"),
        ("ecdsa-secp256k1", "secp256k1"),
        ("ecdsa-brainpool", "Brainpool"),
        ("rsa-1024", "RSA with 1024 bits"),
        ("rsa-pss", "RSASSA-PSS"),
        ("ed448", "Ed448"),
        ("ecdsa-explicit", "ECDSA with a curve of its own, which"),
    ] {
        // Certificate and key in one file.
        let file = data.join(name).with_extension("pem");
        let files = TlsFiles { cert: file.clone(), key: file, are_default: false, local_ca_any_ip: false };
        let problems = load(&files).unwrap_err();
        assert!(
            matches!(&problems[..], [(PemFile::Certificate, problem)]
            if problem.contains(expected) && problem.contains(name) && problem.contains(USABLE_KEYS)),
            "{problems:?}"
        );
    }
    let file = data.join("rsa-2048.pem");
    assert!(load(&TlsFiles { cert: file.clone(), key: file, are_default: false, local_ca_any_ip: false }).is_ok());
}

#[test]
fn a_certificate_that_clients_cannot_read_is_not_taken_for_one_of_another_key() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls");
    for (name, expected) in
        [("version-1", "X.509 version 1"), ("unknown-critical", "cannot be used: invalid peer certificate")]
    {
        let file = data.join(name).with_extension("pem");
        let files = TlsFiles { cert: file.clone(), key: file, are_default: false, local_ca_any_ip: false };
        let problems = load(&files).unwrap_err();
        assert!(
            matches!(&problems[..], [(PemFile::Certificate, problem)]
            if problem.contains(expected) && problem.contains(name)),
            "{problems:?}"
        );
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cert.pem");
    let is_refused = |path: &Path| {
        let problem = read(path).unwrap_err();
        assert!(problem.contains(&path.display().to_string()) && problem.contains("regular file"), "{problem}");
    };
    disk::make_idle_pipe(&path);
    is_refused(&path);
    fs::remove_file(&path).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    is_refused(&path);
    is_refused(Path::new("/dev/zero"));
}
