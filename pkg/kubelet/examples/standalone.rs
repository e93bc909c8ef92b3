//! A kubelet without a cluster, for trying things: runs the static pods of a folder on a containerd of its own.
//!
//! `cargo run -p kubelet --example standalone -- <data dir> [<kubeconfig>]`; manifests go to `<data dir>/manifests`.

use std::net::IpAddr;
use std::path::PathBuf;

use component_base::Shutdown;
use kubelet::{Config, Runtime, containerd};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    component_base::logging::init("info,kubelet=debug")?;
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().ok_or("usage: standalone <data dir> [<kubeconfig>]")?);
    let mut options = containerd::Options::below(&data);
    options.state = data.join("run");
    if let Ok(plugins) = std::env::var("CNI_BIN_DIR") {
        options.cni_bin_dir = plugins.into();
    }
    let mut config = Config::new("standalone", data.join("agent/kubelet"), Runtime::Private(options));
    config.node_ips = vec![IpAddr::from([127, 0, 0, 1])];
    config.images_dir = Some(data.join("agent/images"));
    config.static_pods_dir = Some(data.join("manifests"));
    if let Some(kubeconfig) = arguments.next() {
        config.client = Some(client::from_kubeconfig(&PathBuf::from(kubeconfig)).await?);
    }
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.trigger();
    });
    kubelet::run(config, shutdown).await?;
    Ok(())
}
