//! Who is at the other end of a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apimachinery::UserInfo;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

/// A certificate is verified again after this long.
const REMEMBERED: Duration = Duration::from_secs(60);

pub struct Peer {
    in_process: bool,
    certificates: Vec<CertificateDer<'static>>,
    user: Mutex<Option<(Arc<UserInfo>, Instant)>>,
}

impl Peer {
    /// A caller in this process, who may say who he is.
    pub fn in_process() -> Self {
        Self { in_process: true, certificates: Vec::new(), user: Mutex::new(None) }
    }

    pub fn network(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self { in_process: false, certificates, user: Mutex::new(None) }
    }

    pub fn is_in_process(&self) -> bool {
        self.in_process
    }

    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The user whom the certificate named a moment ago.
    pub fn known_user(&self) -> Option<Arc<UserInfo>> {
        let user = self.user.lock();
        user.as_ref().filter(|(_, since)| since.elapsed() < REMEMBERED).map(|(user, _)| user.clone())
    }

    /// Only for identities that the connection's certificate alone gives.
    pub fn remember(&self, user: Arc<UserInfo>) {
        if !self.certificates.is_empty() {
            *self.user.lock() = Some((user, Instant::now()));
        }
    }
}
