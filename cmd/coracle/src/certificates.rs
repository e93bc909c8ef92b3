//! Certificates of a node that has no authority beside it: asked for over the API, kept on disk, renewed in time.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use client::{Client, Informers, Scope};
use component_base::Shutdown;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};
use kube::api::{Api, ObjectMeta, PostParams};
use pki::{KeyPair, Leaf, Sans, SignerName};

/// How long a request may take to be decided.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between attempts to renew.
const RETRY: Duration = Duration::from_secs(30);
const NODES: &[&str] = &["system:nodes"];

/// One certificate of the node `node`, kept in `<file>.crt` and `<file>.key` of a folder. The key stays the same: by it the
/// cluster knows this machine.
#[derive(Clone, Debug)]
pub struct Kept {
    pub dir: PathBuf,
    pub file: &'static str,
    pub signer: SignerName,
    pub node: String,
    pub sans: Sans,
}

impl Kept {
    fn path(&self, end: &str) -> PathBuf {
        self.dir.join(format!("{}.{end}", self.file))
    }

    fn subject(&self) -> String {
        format!("system:node:{}", self.node)
    }

    /// The key on disk, or a new one.
    fn key(&self) -> anyhow::Result<KeyPair> {
        let path = self.path("key");
        if let Some(pem) = read(&path)? {
            return KeyPair::from_pem(&pem).with_context(|| {
                format!("{} cannot be used; delete it and the node in the cluster, to join anew", path.display())
            });
        }
        let key = KeyPair::generate()?;
        pki::write_private(&path, key.to_pem().as_bytes())?;
        Ok(key)
    }

    /// What is on disk, if it is for this node and these names and has not run out.
    pub fn load(&self) -> anyhow::Result<Option<Leaf>> {
        let (Some(pem), key) = (read(&self.path("crt"))?, self.key()?) else { return Ok(None) };
        let Some(cert) = pki::tls::certs_from_pem(&pem).ok().and_then(|certs| certs.into_iter().next()) else {
            return Ok(None);
        };
        let Some(facts) = pki::inspect::certificate_facts(&cert) else { return Ok(None) };
        let usable = facts.public_key == key.spki()
            && facts.common_name == self.subject()
            && facts.not_after > unix_now()
            && pki::sans_of(&cert).is_ok_and(|sans| sans.normalized() == self.sans.clone().normalized());
        Ok(usable.then_some(Leaf { cert, key }))
    }

    /// Asks for a certificate as `client`, waits for it and keeps it.
    pub async fn request(&self, client: &Client) -> anyhow::Result<Leaf> {
        let key = self.key()?;
        let pem = key.request(&self.subject(), NODES, &self.sans)?;
        let pem = issue(client, self.signer, &pem).await?;
        let certs = pki::tls::certs_from_pem(&pem).context("the certificate that was issued")?;
        let cert = certs.into_iter().next().ok_or_else(|| anyhow!("no certificate was issued"))?;
        pki::write_private(&self.path("crt"), &pem)?;
        Ok(Leaf { cert, key })
    }

    /// Replaces `current` before it runs out, until shutdown: asks as `client`, tells `renewed` of each new one.
    pub async fn renew(
        self,
        client: Client,
        mut current: Leaf,
        renewed: impl Fn(&Leaf) -> anyhow::Result<()>,
        shutdown: Shutdown,
    ) -> anyhow::Result<()> {
        loop {
            if shutdown.race(tokio::time::sleep(until_renewal(&current.cert))).await.is_none() {
                return Ok(());
            }
            match self.request(&client).await {
                Ok(leaf) => {
                    renewed(&leaf)?;
                    tracing::info!(certificate = self.file, "renewed a certificate");
                    current = leaf;
                }
                Err(error) => {
                    tracing::warn!(certificate = self.file, error = format!("{error:#}"), "cannot renew; trying again");
                    if shutdown.race(tokio::time::sleep(RETRY)).await.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// A certificate is replaced when four fifths of its time have passed.
fn until_renewal(cert: &[u8]) -> Duration {
    let Some(facts) = pki::inspect::certificate_facts(cert) else { return Duration::ZERO };
    let at = facts.not_before + (facts.not_after - facts.not_before) / 5 * 4;
    Duration::from_secs(u64::try_from(at - unix_now()).unwrap_or(0))
}

/// Makes a request and waits until it is decided; the certificate as PEM.
async fn issue(client: &Client, signer: SignerName, request: &str) -> anyhow::Result<Vec<u8>> {
    let purpose = if signer == SignerName::KubeletServing { "server auth" } else { "client auth" };
    let wanted = CertificateSigningRequest {
        metadata: ObjectMeta { generate_name: Some("csr-".to_owned()), ..ObjectMeta::default() },
        spec: CertificateSigningRequestSpec {
            request: ByteString(request.as_bytes().to_vec()),
            signer_name: signer.as_str().to_owned(),
            usages: Some(vec!["digital signature".to_owned(), purpose.to_owned()]),
            ..CertificateSigningRequestSpec::default()
        },
        status: None,
    };
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let made = api.create(&PostParams::default(), &wanted).await?;
    let name = made.metadata.name.unwrap_or_default();
    let stop = Shutdown::new();
    let informers = Informers::new(client.clone(), stop.clone());
    let mut changes = informers.get::<CertificateSigningRequest>(Scope::object("", &name)).subscribe();
    let decided = async {
        while let Some(change) = changes.next().await {
            if let Some(outcome) = change.new.and_then(|request| outcome(&request)) {
                return outcome.map_err(|why| anyhow!(why));
            }
        }
        Err(anyhow!("the request {name} for a certificate went away"))
    };
    let outcome = tokio::time::timeout(PATIENCE, decided).await;
    stop.trigger();
    outcome.unwrap_or_else(|_| {
        bail!("nobody has decided on the request {name} for a certificate; see `kubectl get csr` and `kubectl certificate approve`")
    })
}

/// The certificate, or why there is none; `None` if that is still open.
fn outcome(request: &CertificateSigningRequest) -> Option<Result<Vec<u8>, String>> {
    let status = request.status.as_ref()?;
    if let Some(ByteString(pem)) = status.certificate.as_ref().filter(|pem| !pem.0.is_empty()) {
        return Some(Ok(pem.clone()));
    }
    let refused = status.conditions.iter().flatten().find(|c| c.type_ == "Denied" || c.type_ == "Failed")?;
    let why = refused.message.as_deref().or(refused.reason.as_deref()).unwrap_or("no reason was given");
    Some(Err(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use pki::Authority;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_kept_must_fit() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let kept = |node: &str, host: &str| Kept {
            dir: dir.path().to_owned(),
            file: "serving",
            signer: SignerName::KubeletServing,
            node: node.to_owned(),
            sans: Sans { hostnames: vec![host.to_owned()], ips: Vec::new() },
        };
        let one = kept("n1", "n1");
        assert!(one.load().expect("nothing is no error").is_none());
        let key = one.key().expect("a key");
        let ca = Authority::generate("ca").expect("an authority");
        let subject = pki::parse_csr(key.request("system:node:n1", NODES, &one.sans).expect("made").as_bytes());
        let pem = ca.sign_csr(one.signer, &subject.expect("read"), &["digital signature", "server auth"], None);
        pki::write_private(&one.path("crt"), pem.expect("signed").as_bytes()).expect("written");
        let leaf = one.load().expect("good").expect("there");
        assert_eq!(leaf.key.spki(), key.spki());
        assert!(until_renewal(&leaf.cert) > Duration::from_secs(280 * 24 * 3600));
        assert!(kept("n2", "n1").load().expect("no error").is_none(), "another node");
        assert!(kept("n1", "other").load().expect("no error").is_none(), "other names");
        assert_eq!(until_renewal(b"nothing"), Duration::ZERO);
    }

    #[test]
    fn a_refusal_says_why() {
        let request = |status: serde_json::Value| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": {}, "spec": { "request": "", "signerName": "x" }, "status": status,
            }))
            .expect("a request")
        };
        let condition = |kind: &str| json!({ "conditions": [{ "type": kind, "status": "True", "message": "why" }] });
        assert_eq!(outcome(&request(condition("Approved"))), None);
        assert_eq!(outcome(&request(condition("Denied"))), Some(Err("why".to_owned())));
        assert_eq!(outcome(&request(condition("Failed"))), Some(Err("why".to_owned())));
        assert_eq!(outcome(&request(json!({ "certificate": "YQ==" }))), Some(Ok(b"a".to_vec())));
    }
}
