//! Certificates that a server issues to its own parts, renewed under them: a server may run for years.

use std::sync::Arc;
use std::time::Duration;

use component_base::Shutdown;
use pki::{Identity, Leaf, Pki, Sans};
use storage::PEER_SERVER_NAME;

const LOOK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Which certificate, and for what it is issued.
#[derive(Clone, Debug)]
enum Kind {
    /// What servers present to each other.
    Peer,
    /// As whom the API server calls kubelets.
    KubeletClient,
    /// What the kubelet beside this server presents.
    KubeletServing { node: String, sans: Sans },
}

impl Kind {
    /// The one on disk or, when its end is near, a new one.
    fn leaf(&self, pki: &Pki) -> Result<Leaf, pki::Error> {
        match self {
            Self::Peer => pki.peer_leaf(PEER_SERVER_NAME),
            Self::KubeletClient => {
                pki.client_leaf("client-kube-apiserver-kubelet", "system:kube-apiserver", &["system:masters"])
            }
            Self::KubeletServing { node, sans } => {
                pki.server_leaf("serving-kubelet", &format!("system:node:{node}"), &["system:nodes"], sans)
            }
        }
    }
}

/// The certificates of one server. Whoever holds one of its identities presents the newest.
#[derive(Clone)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    pki: Pki,
    /// Names and addresses of the API server.
    serving: pki::Options,
    peer: (Kind, Identity),
    kubelet_client: (Kind, Identity),
    kubelet_serving: (Kind, Identity),
}

impl Certificates {
    /// `kubelet` says where the kubelet of the node of that name is reached.
    pub fn new(pki: &Pki, serving: pki::Options, node: &str, kubelet: Sans) -> Result<Self, pki::Error> {
        let identity = |kind: Kind| -> Result<(Kind, Identity), pki::Error> {
            let leaf = kind.leaf(pki)?;
            Ok((kind, Identity::new(&leaf)?))
        };
        Ok(Self(Arc::new(Inner {
            pki: pki.clone(),
            serving,
            peer: identity(Kind::Peer)?,
            kubelet_client: identity(Kind::KubeletClient)?,
            kubelet_serving: identity(Kind::KubeletServing { node: node.to_owned(), sans: kubelet })?,
        })))
    }

    pub fn peer(&self) -> &Identity {
        &self.0.peer.1
    }

    pub fn kubelet_client(&self) -> &Identity {
        &self.0.kubelet_client.1
    }

    pub fn kubelet_serving(&self) -> &Identity {
        &self.0.kubelet_serving.1
    }

    /// Replaces those whose end is near.
    fn renew(&self) -> Result<(), pki::Error> {
        let Inner { pki, serving, peer, kubelet_client, kubelet_serving } = &*self.0;
        pki.refresh_serving(serving)?;
        [peer, kubelet_client, kubelet_serving].into_iter().try_for_each(|(kind, identity)| {
            let leaf = kind.leaf(pki)?;
            identity.replace(&leaf)
        })
    }

    /// Looks once a day, until shutdown.
    pub fn keep(&self, shutdown: &Shutdown) {
        let (own, stop) = (self.clone(), shutdown.clone());
        shutdown.spawn(async move {
            while stop.race(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
                if let Err(error) = own.renew() {
                    tracing::error!(%error, "certificates cannot be renewed");
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_on_disk_is_presented_without_a_restart() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let names = || pki::Options { hostnames: vec!["a".to_owned()], ips: Vec::new() };
        let pki = Pki::load_or_create(dir.path(), &names()).expect("authorities");
        let sans = Sans { hostnames: vec!["a".to_owned()], ips: Vec::new() };
        let own = Certificates::new(&pki, names(), "a", sans).expect("certificates");
        let presented = || {
            [own.peer(), own.kubelet_client(), own.kubelet_serving(), pki.serving()]
                .map(|identity| identity.certificate())
        };
        let before = presented();
        own.renew().expect("nothing to do");
        assert_eq!(presented(), before, "none is renewed before its time");
        for file in ["peer", "client-kube-apiserver-kubelet", "serving-kubelet", "serving-kube-apiserver"] {
            std::fs::remove_file(dir.path().join(format!("{file}.crt"))).expect(file);
        }
        own.renew().expect("issued anew");
        for (now, before) in presented().iter().zip(&before) {
            assert_ne!(now, before);
        }
    }
}
