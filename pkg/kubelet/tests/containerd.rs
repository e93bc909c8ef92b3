//! The whole kubelet on a real containerd of its own. Skipped, loudly, where there is none or where we are not root.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use component_base::Shutdown;
use kubelet::{Config, Runtime, containerd};

fn usable() -> bool {
    let on_path = |program: &str| {
        ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(program).is_file())
    };
    let usable = rustix::process::geteuid().is_root() && on_path("containerd") && on_path("runc");
    if !usable {
        eprintln!("SKIPPED: this test needs root, containerd and runc (apt-get install containerd runc)");
    }
    usable
}

/// An image archive in Docker's form with the machine's static busybox, if it has one.
fn busybox_archive(path: &Path) -> bool {
    let Ok(busybox) = std::fs::read("/bin/busybox") else {
        eprintln!("SKIPPED: this test needs a static busybox (apt-get install busybox-static)");
        return false;
    };
    let file = |archive: &mut tar::Builder<Vec<u8>>, name: &str, data: &[u8], mode: u32| {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, name, data).expect("appended");
    };
    let mut layer = tar::Builder::new(Vec::new());
    file(&mut layer, "bin/busybox", &busybox, 0o755);
    file(&mut layer, "bin/sh", &busybox, 0o755);
    let layer = layer.into_inner().expect("a layer");
    let config = serde_json::json!({"architecture": component_base::version::architecture(), "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [kubelet::pause::digest(&layer)]}, "config": {}});
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": ["test/busybox:1"], "Layers": ["layer.tar"]}]);
    let mut archive = tar::Builder::new(Vec::new());
    file(&mut archive, "config.json", config.to_string().as_bytes(), 0o644);
    file(&mut archive, "layer.tar", &layer, 0o644);
    file(&mut archive, "manifest.json", manifest.to_string().as_bytes(), 0o644);
    std::fs::write(path, archive.into_inner().expect("an archive")).expect("written");
    true
}

async fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The logs of the pod's container, by attempt.
fn logs(name: &str) -> Vec<PathBuf> {
    let prefix = format!("default_{name}-kubelet-test_");
    let pods = std::fs::read_dir("/var/log/pods").into_iter().flatten().flatten();
    let mine = pods.filter(|p| p.file_name().to_string_lossy().starts_with(&prefix));
    let mut logs: Vec<PathBuf> = mine
        .flat_map(|p| std::fs::read_dir(p.path().join("main")).into_iter().flatten().flatten())
        .map(|e| e.path())
        .collect();
    logs.sort();
    logs
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_on_a_private_containerd_and_survive_our_restart() {
    if !usable() {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let (images, manifests) = (data.path().join("images"), data.path().join("manifests"));
    std::fs::create_dir_all(&images).expect("a folder");
    std::fs::create_dir_all(&manifests).expect("a folder");
    if !busybox_archive(&images.join("busybox.tar")) {
        return;
    }
    let mut options = containerd::Options::below(data.path());
    options.state = data.path().join("run");
    let mut config = Config::new("kubelet-test", data.path().join("kubelet"), Runtime::Private(options.clone()));
    config.node_ips = vec![[127, 0, 0, 1].into()];
    config.images_dir = Some(images);
    config.static_pods_dir = Some(manifests.clone());

    let name = format!("t{:08x}", std::process::id());
    let manifest = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "hostNetwork": true, "terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "test/busybox:1",
        "command": ["/bin/sh", "-c", "echo hello $(WHO); exec /bin/busybox sleep 1000"],
        "env": [{"name": "WHO", "value": "world"}]}]}});
    std::fs::write(manifests.join("pod.json"), manifest.to_string()).expect("written");

    let first = Shutdown::new();
    let running = tokio::spawn(kubelet::run(config.clone(), first.clone()));
    let greeted = || {
        let log = logs(&name).pop()?;
        std::fs::read_to_string(log).ok().filter(|text| text.contains("stdout F hello world"))
    };
    until("the pod's first words", greeted).await;
    first.trigger();
    running.await.expect("no panic").expect("a clean end");

    // Started again, the same containerd and the same container go on.
    let second = Shutdown::new();
    let running = tokio::spawn(kubelet::run(config, second.clone()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(logs(&name).len(), 1, "the container was started again");
    std::fs::remove_file(manifests.join("pod.json")).expect("removed");
    until("the pod's end", || logs(&name).is_empty().then_some(())).await;
    second.trigger();
    running.await.expect("no panic").expect("a clean end");
    containerd::stop(&options).await.expect("stopped");
}
