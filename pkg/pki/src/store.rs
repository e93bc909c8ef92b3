//! The set of keys and certificates in one directory (`server/tls`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ServerConfig};

use crate::authority::{Authority, Leaf, Sans, not_after};
use crate::csr::sans_of;
use crate::error::Error;
use crate::file::{private_dir, read_private, write_private};
use crate::key::KeyPair;
use crate::tls::{self, Identity};
use crate::usage::{RENEW_BEFORE, Usage};

const REMEDY_CA: &str = "move the whole directory away to have a new authority made; all kubeconfigs and joined nodes then \
                         need new credentials";
const REMEDY_LEAF: &str = "delete both files to have them made anew";
const REMEDY_SERVICE: &str = "delete it to have a new key made; all ServiceAccount tokens then become invalid";

/// Under which names the API server is reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub hostnames: Vec<String>,
    pub ips: Vec<std::net::IpAddr>,
}

/// All keys of a server: loaded from, or made in, one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pki(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    server_ca: Authority,
    client_ca: Authority,
    request_header_ca: Authority,
    peer_ca: Authority,
    service_account: KeyPair,
    serving: Identity,
}

impl Pki {
    /// Loads what `dir` has and makes what it lacks. The serving certificate is issued anew when the names differ from
    /// `options` or its end is near. Files that cannot be used are an error that names the file and the remedy; nothing is
    /// overwritten then.
    pub fn load_or_create(dir: &Path, options: &Options) -> Result<Self, Error> {
        private_dir(dir)?;
        let server_ca = load_or_create_ca(dir, "server-ca", "coracle-server-ca")?;
        let client_ca = load_or_create_ca(dir, "client-ca", "coracle-client-ca")?;
        let request_header_ca = load_or_create_ca(dir, "request-header-ca", "coracle-request-header-ca")?;
        let peer_ca = load_or_create_ca(dir, "peer-ca", "coracle-peer-ca")?;
        let service_account = load_or_create_key(&dir.join("service.key"), None, REMEDY_SERVICE)?;
        let leaf = serving_leaf(dir, &server_ca, options)?;
        let serving = Identity::new(&leaf)?;
        let dir = dir.to_owned();
        Ok(Self(Arc::new(Inner { dir, server_ca, client_ca, request_header_ca, peer_ca, service_account, serving })))
    }

    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Signs what servers present: the API server's and the kubelets' serving certificates.
    pub fn server_ca(&self) -> &Authority {
        &self.0.server_ca
    }

    /// Signs client certificates: users, nodes, control-plane components.
    pub fn client_ca(&self) -> &Authority {
        &self.0.client_ca
    }

    /// Signs the certificate with which the API server fronts aggregated API servers.
    pub fn request_header_ca(&self) -> &Authority {
        &self.0.request_header_ca
    }

    /// Signs what servers show each other, and nothing else.
    pub fn peer_ca(&self) -> &Authority {
        &self.0.peer_ca
    }

    /// What this server shows the others, under `name`; kept on disk, made anew before it expires.
    pub fn peer_leaf(&self, name: &str) -> Result<Leaf, Error> {
        let sans = Sans { hostnames: vec![name.to_owned()], ips: Vec::new() };
        kept_leaf(&self.0.dir, "peer", &self.0.peer_ca, Usage::Both, name, &[], &sans)
    }

    /// TLS between servers, both ways.
    pub fn peer_configs(&self, own: &Identity) -> Result<(ServerConfig, ClientConfig), Error> {
        tls::peer_configs(own, self.0.peer_ca.cert())
    }

    /// What all servers of a cluster have in common, as file names and contents. It holds private keys.
    pub fn shared_files(&self) -> Result<Vec<(String, String)>, Error> {
        let read = |file: String| -> Result<(String, String), Error> {
            let path = self.0.dir.join(&file);
            let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
            let bytes = read_private(&path)?;
            let bytes = bytes.ok_or_else(|| Error::Io { action: "read", path: path.clone(), source: missing() })?;
            Ok((file, String::from_utf8_lossy(&bytes).into_owned()))
        };
        shared_names().map(read).collect()
    }

    /// Puts into `dir` what [`Self::shared_files`] of another server gave. Other names are refused.
    pub fn write_shared(dir: &Path, files: &[(String, String)]) -> Result<(), Error> {
        let names: Vec<String> = shared_names().collect();
        let complete = names.iter().all(|name| files.iter().any(|(file, _)| file == name));
        if !complete || files.len() != names.len() {
            return Err(Error::Certificate("the server did not give all shared keys, or others".to_owned()));
        }
        private_dir(dir)?;
        files.iter().try_for_each(|(file, contents)| write_private(&dir.join(file), contents.as_bytes()))
    }

    /// Signs ServiceAccount tokens.
    pub fn service_account_key(&self) -> &KeyPair {
        &self.0.service_account
    }

    /// What the API server presents.
    pub fn serving(&self) -> &Identity {
        &self.0.serving
    }

    /// Checks the serving certificate again (names, end) and swaps it under running servers.
    pub fn refresh_serving(&self, options: &Options) -> Result<(), Error> {
        let leaf = serving_leaf(&self.0.dir, &self.0.server_ca, options)?;
        self.0.serving.replace(&leaf)
    }

    /// TLS for the API server: client certificates of the client CA are optional.
    pub fn server_config(&self) -> Result<ServerConfig, Error> {
        let cas = [self.0.client_ca.cert(), self.0.request_header_ca.cert()];
        tls::server_config(&self.0.serving, tls::roots(cas)?)
    }

    /// TLS for a client of the API server (or of a kubelet) that presents `leaf`.
    pub fn client_config(&self, leaf: &Leaf) -> Result<ClientConfig, Error> {
        tls::client_config(tls::roots([self.0.server_ca.cert()])?, Some(&Identity::new(leaf)?))
    }

    /// A client certificate that is kept in `<file>.crt` and `<file>.key` of the directory and issued anew when its end is
    /// near or its subject differs.
    pub fn client_leaf(&self, file: &str, common_name: &str, orgs: &[&str]) -> Result<Leaf, Error> {
        kept_leaf(&self.0.dir, file, &self.0.client_ca, Usage::Client, common_name, orgs, &Sans::default())
    }

    /// The same for a server, e.g. the kubelet of this machine.
    pub fn server_leaf(&self, file: &str, common_name: &str, orgs: &[&str], sans: &Sans) -> Result<Leaf, Error> {
        kept_leaf(&self.0.dir, file, &self.0.server_ca, Usage::Server, common_name, orgs, sans)
    }
}

/// The files that must be the same on all servers.
fn shared_names() -> impl Iterator<Item = String> {
    let pairs = ["server-ca", "client-ca", "request-header-ca", "peer-ca"];
    let pairs = pairs.into_iter().flat_map(|name| [format!("{name}.crt"), format!("{name}.key")]);
    pairs.chain(["service.key".to_owned()])
}

fn serving_leaf(dir: &Path, ca: &Authority, options: &Options) -> Result<Leaf, Error> {
    let sans = Sans { hostnames: options.hostnames.clone(), ips: options.ips.clone() };
    kept_leaf(dir, "serving-kube-apiserver", ca, Usage::Server, "kube-apiserver", &[], &sans)
}

fn load_or_create_ca(dir: &Path, file: &str, common_name: &str) -> Result<Authority, Error> {
    let (cert_path, key_path) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
    let cert = read_private(&cert_path)?;
    let key = load_or_create_key(&key_path, cert.is_some().then_some(&cert_path), REMEDY_CA)?;
    let Some(cert) = cert else {
        let authority = Authority::with_key(common_name, key)?;
        write_private(&cert_path, authority.cert_pem().as_bytes())?;
        return Ok(authority);
    };
    let authority = Authority::from_pem(&cert, key)
        .map_err(|error| Error::Unreadable {
            path: cert_path.clone(),
            what: "usable certificate",
            why: error.to_string(),
            remedy: REMEDY_CA,
        })?
        .ok_or(Error::Mismatch { cert: cert_path.clone(), key: key_path, remedy: REMEDY_CA })?;
    let end = not_after(authority.cert())?;
    if end <= SystemTime::now() {
        let at = x509_cert::time::Time::try_from(end)?.to_string();
        return Err(Error::Expired { path: cert_path, at, remedy: REMEDY_CA });
    }
    Ok(authority)
}

/// Reads a key, or makes one unless `cert` exists, whose key cannot be made again.
fn load_or_create_key(path: &Path, cert: Option<&PathBuf>, remedy: &'static str) -> Result<KeyPair, Error> {
    match (read_private(path)?, cert) {
        (Some(pem), _) => KeyPair::from_pem(&pem).map_err(|error| Error::Unreadable {
            path: path.to_owned(),
            what: "usable private key",
            why: error.to_string(),
            remedy,
        }),
        (None, Some(cert)) => Err(Error::KeyMissing { cert: cert.clone(), key: path.to_owned(), remedy }),
        (None, None) => {
            let key = KeyPair::generate()?;
            write_private(path, key.to_pem().as_bytes())?;
            Ok(key)
        }
    }
}

/// The key is written before the certificate and kept when that is renewed: a crash in between leaves a usable state.
fn kept_leaf(
    dir: &Path,
    file: &str,
    ca: &Authority,
    usage: Usage,
    common_name: &str,
    orgs: &[&str],
    sans: &Sans,
) -> Result<Leaf, Error> {
    let (cert_path, key_path) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
    let existing = read_private(&cert_path)?;
    let key = load_or_create_key(&key_path, existing.is_some().then_some(&cert_path), REMEDY_LEAF)?;
    if let Some(pem) = existing {
        let cert = CertificateDer::from_pem_slice(&pem).map_err(|error| Error::Unreadable {
            path: cert_path.clone(),
            what: "certificate",
            why: error.to_string(),
            remedy: REMEDY_LEAF,
        })?;
        if matches_key(&cert, &key) == Some(false) {
            return Err(Error::Mismatch { cert: cert_path, key: key_path, remedy: REMEDY_LEAF });
        }
        if is_fresh(&cert, ca, common_name, orgs, sans) {
            return Ok(Leaf { cert, key });
        }
    }
    let leaf = ca.issue(usage, common_name, orgs, &sans.clone().normalized(), key)?;
    write_private(&cert_path, leaf.cert_pem().as_bytes())?;
    Ok(leaf)
}

fn matches_key(cert: &CertificateDer<'_>, key: &KeyPair) -> Option<bool> {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let (_, parsed) = X509Certificate::from_der(cert).ok()?;
    Some(parsed.public_key().raw == key.spki())
}

/// False for anything that a new certificate mends: another authority, another subject, other names, an end that is near.
fn is_fresh(cert: &CertificateDer<'_>, ca: &Authority, common_name: &str, orgs: &[&str], sans: &Sans) -> bool {
    use x509_parser::prelude::{FromDer, X509Certificate};
    let Ok((_, parsed)) = X509Certificate::from_der(cert) else { return false };
    let Ok((_, ca_cert)) = X509Certificate::from_der(ca.cert()) else { return false };
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| value.as_str().unwrap_or("").to_owned();
    let subject = parsed.subject();
    let end_is_far = not_after(cert).is_ok_and(|end| end > SystemTime::now() + RENEW_BEFORE);
    end_is_far
        && subject.iter_common_name().map(text).eq([common_name.to_owned()])
        && subject.iter_organization().map(text).eq(orgs.iter().map(|o| (*o).to_owned()))
        && sans_of(cert).is_ok_and(|have| have.normalized() == sans.clone().normalized())
        && parsed.verify_signature(Some(ca_cert.public_key())).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(host: &str) -> Options {
        Options { hostnames: vec!["localhost".into(), host.into()], ips: vec!["127.0.0.1".parse().unwrap()] }
    }

    fn serving(dir: &Path) -> Vec<u8> {
        fs::read(dir.join("serving-kube-apiserver.crt")).unwrap()
    }

    #[test]
    fn files_are_private_and_stay() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("server/tls");
        let first = Pki::load_or_create(&dir, &options("a")).unwrap();
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&dir).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
        let before = serving(&dir);
        let second = Pki::load_or_create(&dir, &options("a")).unwrap();
        assert_eq!(first.server_ca().cert(), second.server_ca().cert());
        assert_eq!(first.service_account_key().public_key(), second.service_account_key().public_key());
        assert_eq!(before, serving(&dir));
        Pki::load_or_create(&dir, &options("b")).unwrap();
        assert_ne!(before, serving(&dir), "other names, other certificate");
        let leaf = second.client_leaf("admin", "system:admin", &["system:masters"]).unwrap();
        assert_eq!(leaf.cert, second.client_leaf("admin", "system:admin", &["system:masters"]).unwrap().cert);
        assert_ne!(leaf.cert, second.client_leaf("admin", "system:admin", &["x"]).unwrap().cert);
    }

    #[test]
    fn unusable_files_are_named_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        Pki::load_or_create(dir, &options("a")).unwrap();
        let other = KeyPair::generate().unwrap().to_pem();
        let cases: [(&str, &str, Option<&[u8]>, &str); 6] = [
            ("server-ca.key", "do not belong together", Some(other.as_bytes()), "move the whole directory away"),
            ("server-ca.key", "is missing", None, "move the whole directory away"),
            ("client-ca.crt", "holds no usable certificate", Some(b"junk"), "move the whole directory away"),
            ("service.key", "holds no usable private key", Some(b"junk"), "delete it"),
            ("serving-kube-apiserver.crt", "holds no certificate", Some(b"junk"), "delete both files"),
            ("serving-kube-apiserver.key", "do not belong together", Some(other.as_bytes()), "delete both files"),
        ];
        for (file, problem, contents, remedy) in cases {
            let path = dir.join(file);
            let good = fs::read(&path).unwrap();
            match contents {
                Some(contents) => fs::write(&path, contents).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let error = Pki::load_or_create(dir, &options("a")).unwrap_err().to_string();
            assert!(error.contains(file) && error.contains(problem) && error.contains(remedy), "{file}: {error}");
            if let Some(contents) = contents {
                assert_eq!(fs::read(&path).unwrap(), contents, "{file} was overwritten");
            }
            fs::write(&path, good).unwrap();
        }
        Pki::load_or_create(dir, &options("a")).unwrap();
    }

    #[test]
    fn a_crash_between_key_and_certificate_is_mended() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let first = Pki::load_or_create(dir, &options("a")).unwrap();
        fs::remove_file(dir.join("serving-kube-apiserver.crt")).unwrap();
        fs::remove_file(dir.join("client-ca.crt")).unwrap();
        let second = Pki::load_or_create(dir, &options("a")).unwrap();
        assert_eq!(first.client_ca().key().public_key(), second.client_ca().key().public_key());
    }

    #[test]
    fn another_server_has_the_same_authorities() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("a"), root.path().join("b"));
        let one = Pki::load_or_create(&first, &options("a")).unwrap();
        let mut files = one.shared_files().unwrap();
        Pki::write_shared(&second, &files).unwrap();
        let other = Pki::load_or_create(&second, &options("b")).unwrap();
        assert_eq!(one.server_ca().cert(), other.server_ca().cert());
        assert_eq!(one.service_account_key().spki(), other.service_account_key().spki());
        assert_eq!(fs::metadata(second.join("client-ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        one.peer_configs(&Identity::new(&one.peer_leaf("coracle-peer").unwrap()).unwrap()).unwrap();
        files.push(("../evil".to_owned(), String::new()));
        assert!(Pki::write_shared(&root.path().join("c"), &files).is_err());
        files.truncate(3);
        assert!(Pki::write_shared(&root.path().join("c"), &files).is_err());
    }
}
