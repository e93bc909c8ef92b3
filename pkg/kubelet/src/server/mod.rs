//! The kubelet's HTTPS API.

use std::sync::Arc;

use crate::kubelet::Kubelet;

pub async fn start(_kubelet: &Arc<Kubelet>) -> Result<(), String> {
    Ok(())
}
