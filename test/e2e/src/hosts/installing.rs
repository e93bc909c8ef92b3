//! The release on a host: it is installed, stopped with all that it started, and removed; others lose nothing by it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Host;
use super::scenarios::{explained, wait_nodes};
use super::together::step;
use crate::cluster::binary;
use crate::host::repository;
use crate::kubectl::eventually;

const LIMIT: Duration = Duration::from_secs(60);

/// The release archive on a host: what install refuses and puts where, and what killall and uninstall leave.
pub fn installed_and_removed() -> anyhow::Result<()> {
    explained(vec![Host::start("server-1", 1)?], |hosts| {
        let host = &mut hosts[0];
        let root = crate::host::work_dir().join("root");
        let programs = root.join("usr/local/bin");
        let unpacked = step("install unpacks, twice the same", || install(host, &root))?;
        step("install talks to systemd, or refuses", || with_systemd(host, &unpacked.join("install.sh")))?;
        host.launch("server")?;
        let k = host.kubectl()?;
        wait_nodes(&k, hosts, 1)?;
        let host = &mut hosts[0];
        k.apply(EVERYTHING)?;
        k.run("wait --for=condition=Ready pod/everything --timeout=60s")?;
        let uid = k.run("get pod everything -o 'jsonpath={.metadata.uid}'")?;
        let others = Others::begin(host)?;
        ensure!(!traces(host)?.is_empty(), "nothing is seen of a cluster that runs");

        step("killall ends everything of ours", || {
            host.run(&programs.join("coracle-killall").display().to_string())?;
            let left = traces(host)?;
            ensure!(left.is_empty(), "left: {left:#?}");
            others.check(host)
        })?;
        ensure!(host.check_alive().is_err(), "the server goes on");
        host.kill()?;
        let launched = host.launched().to_owned();
        host.launch(&launched)?;
        step("the same node comes back", || {
            wait_nodes(&k, hosts, 1)?;
            let line = "get pod everything -o 'jsonpath={.metadata.uid} {.status.containerStatuses[0].ready}'";
            k.until(LIMIT, line, |text| text == format!("{uid} true"))?;
            // What the store says may be of before.
            let ask = format!("curl -sSf -m 3 http://{}:8081/hostname", hosts[0].address);
            eventually(LIMIT, || hosts[0].run(&ask)).map(drop)
        })?;
        let host = &mut hosts[0];
        step("uninstall leaves nothing of ours", || {
            host.run(&programs.join("coracle-uninstall").display().to_string())?;
            let left = traces(host)?;
            ensure!(left.is_empty(), "left: {left:#?}");
            for folder in ["/var/lib/coracle", "/etc/coracle"] {
                let inside = host.run(&format!("ls -A {folder}"))?;
                ensure!(inside.is_empty(), "{folder} has {inside}");
            }
            let programs: Vec<_> = fs::read_dir(&programs)?.flatten().map(|file| file.file_name()).collect();
            ensure!(programs.is_empty(), "programs: {programs:?}");
            let logs = host.run("ls /var/log").unwrap_or_default() + &host.run("ls /var/log/pods").unwrap_or_default();
            ensure!(!logs.contains(&uid), "its logs are there: {logs}");
            others.check(host)
        })
    })
}

const EVERYTHING: &str = "
apiVersion: v1
kind: Pod
metadata: {name: everything, labels: {app: everything}}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: memory, emptyDir: {medium: Memory}}, {name: disk, emptyDir: {}}]
  containers:
  - name: main
    image: docker.io/coracle/web:v1
    ports: [{containerPort: 8080, hostPort: 8081}]
    volumeMounts: [{name: memory, mountPath: /memory}, {name: disk, mountPath: /disk}]
---
apiVersion: v1
kind: Service
metadata: {name: everything}
spec: {type: NodePort, selector: {app: everything}, ports: [{port: 80, targetPort: 8080}]}
";

/// Packs a release, and installs it below `root` as a package would.
/// Answers where the archive was unpacked.
fn install(host: &Host, root: &Path) -> anyhow::Result<PathBuf> {
    let dist = crate::host::work_dir().join("dist");
    let pack = || {
        let mut pack = Command::new(repository().join("hack/dist"));
        pack.args(["--output".as_ref(), dist.as_os_str(), "--binary".as_ref(), binary().as_os_str()]);
        let output = pack.output().context("hack/dist")?;
        ensure!(output.status.success(), "hack/dist: {}", String::from_utf8_lossy(&output.stderr));
        crate::host::shell(&format!("find {} -name *.sha256 -exec cat {{}} +", dist.display()))
    };
    let sum = pack()?;
    let unpack = format!("tar -C {0} -xzf {0}/{1}", dist.display(), sum.split_whitespace().last().unwrap_or_default());
    crate::host::shell(&unpack)?;
    let unpacked = fs::read_dir(&dist)?.flatten().map(|entry| entry.path()).find(|path| path.is_dir());
    let unpacked = unpacked.context("the archive has a folder")?;
    ensure!(pack()? == sum, "two archives of one commit differ");
    let script = unpacked.join("install.sh");
    let refused = host.command(&script).output()?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && why.lines().count() == 1, "without systemd: {why:?}");
    ensure!(why.starts_with("error: systemd does not run here"), "{why}");
    let mut trees = BTreeSet::new();
    for _ in 0..2 {
        let mut command = host.command(&script);
        command.args(["agent", "--node-label=a=b c"]).env("DESTDIR", root).env("CORACLE_TOKEN", "K10secret");
        let output = command.output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        trees.insert(crate::host::shell(&format!("find {} -type f -printf %P_%m\\n", root.display()))?);
    }
    ensure!(trees.len() == 1, "the second install changed something: {trees:?}");
    let tree = trees.pop_first().unwrap_or_default();
    for file in [
        "usr/local/bin/coracle_755",
        "usr/local/bin/coracle-killall_755",
        "usr/local/bin/coracle-uninstall_755",
        "etc/systemd/system/coracle-agent.service_644",
        "etc/coracle/coracle-agent.env_600",
    ] {
        ensure!(tree.lines().any(|line| line == file), "{file} is missing: {tree}");
    }
    let unit = fs::read_to_string(root.join("etc/systemd/system/coracle-agent.service"))?;
    ensure!(unit.contains("ExecStart=/usr/local/bin/coracle agent \"--node-label=a=b c\"\n"), "{unit}");
    ensure!(fs::read_to_string(root.join("etc/coracle/coracle-agent.env"))?.contains("CORACLE_TOKEN=K10secret"), "env");
    let (killall, changed) = (unpacked.join("coracle-killall"), fs::read(unpacked.join("README.md"))?);
    let good = fs::read(&killall)?;
    fs::write(&killall, changed)?;
    let refused = host.command(&script).env("DESTDIR", root).output()?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && why.contains("SHA256SUMS"), "a changed file: {why}");
    fs::write(&killall, good)?;
    Ok(unpacked)
}

/// Against a systemctl of the test's own, which writes down what it is asked. Folders of the machine are covered by empty
/// ones in this host's mount namespace.
fn with_systemd(host: &Host, script: &Path) -> anyhow::Result<()> {
    let asked = crate::host::work_dir().join("asked");
    let stand_in = format!("#!/bin/sh\necho \"$@\" >>{}\ncase $1 in show) echo 0 ;; esac\n", asked.display());
    host.stand_in("systemctl", &stand_in)?;
    let covered = ["/etc/systemd/system", "/usr/local/bin"];
    for folder in covered {
        host.run(&format!("mount -t tmpfs -o size=1g covered {folder}"))?;
    }
    host.run("mkdir -p /run/systemd/system")?;
    let install = |arguments: &[&str]| host.command(script).args(arguments).env_remove("DESTDIR").output();
    let refuses = |arguments: &[&str], part: &str| -> anyhow::Result<()> {
        let output = install(arguments)?;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{arguments:?} is not refused");
        let errors = why.lines().filter(|line| line.starts_with("error: ")).count();
        ensure!(errors == 1 && why.contains(part), "{arguments:?} does not say {part:?} in one line: {why}");
        Ok(())
    };
    for round in ["install", "upgrade"] {
        let _ = fs::remove_file(&asked);
        let output = install(&["server", "--node-label=a=b"])?;
        ensure!(output.status.success(), "{round}: {}", String::from_utf8_lossy(&output.stderr));
        let asked = fs::read_to_string(&asked)?;
        for part in ["daemon-reload", "--quiet enable coracle.service", "restart coracle.service"] {
            ensure!(asked.lines().any(|line| line == part), "{round} did not ask for {part:?}: {asked}");
        }
    }
    refuses(&["agent"], "installed as server")?;
    refuses(&["worker"], "give server or agent")?;
    fs::write(crate::host::work_dir().join("newer"), "#!/bin/sh\necho coracle 99.0.0\n")?;
    host.run(&format!("cp {} /usr/local/bin/coracle", crate::host::work_dir().join("newer").display()))?;
    host.run("chmod 755 /usr/local/bin/coracle")?;
    refuses(&[], "99.0.0 is installed, which is newer")?;
    let mut by_hand = host.command(&binary());
    by_hand.args(["server", "--disable-agent", "--data-dir=/run/by-hand", "--write-kubeconfig=/run/by-hand.yaml"]);
    let mut by_hand = by_hand.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null()).spawn()?;
    let refused = eventually(LIMIT, || refuses(&[], "runs coracle, and is not the service coracle"));
    by_hand.kill()?;
    by_hand.wait()?;
    refused?;
    host.run("rm -rf /run/systemd /run/by-hand")?;
    host.remove_stand_in("systemctl")?;
    for folder in covered {
        host.run(&format!("umount {folder}"))?;
    }
    Ok(())
}

/// What is left of a cluster on the host.
fn traces(host: &Host) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut look = |line: &str, ours: &dyn Fn(&str) -> bool| -> anyhow::Result<()> {
        let text = host.run(line)?;
        found.extend(text.lines().filter(|line| ours(line)).map(str::to_owned));
        Ok(())
    };
    look("cat /proc/self/mountinfo", &|line| line.contains("/run/coracle/") || line.contains("/coracle/agent/"))?;
    look("ip -o link", &|line| ["cni0", "coracle.1", "veth"].iter().any(|name| line.contains(name)))?;
    look("ip -o address show dev lo", &|line| line.contains("10.43."))?;
    look("ip route show", &|line| line.contains("proto 67") || line.contains("10.42."))?;
    look("nft list tables", &|line| line.contains("coracle"))?;
    look("ps -eo pid,args", &|line| {
        let ours = ["containerd-shim", "containerd --config", "/pause", "coracle server"];
        // Of what has ended only the parent can take note.
        let ours = ours.iter().any(|part| line.contains(part)) || line.trim_end().ends_with(" /web");
        ours && !line.contains("<defunct>")
    })?;
    Ok(found)
}

/// What is not ours, and has to stay.
struct Others(u32);

impl Others {
    fn begin(host: &Host) -> anyhow::Result<Self> {
        for line in [
            "mkdir -p /run/other /run/netns",
            "mount -t tmpfs other /run/other",
            "ip netns add cni-other",
            "ip link add other0 type bridge",
            "ip link set other0 up",
            "ip route add 10.99.0.0/24 dev other0 proto 66",
            "nft add table ip other",
        ] {
            host.run(line)?;
        }
        let child = host.command(Path::new("sleep")).arg("3600").spawn()?;
        Ok(Self(child.id()))
    }

    fn check(&self, host: &Host) -> anyhow::Result<()> {
        host.run("mountpoint -q /run/other").context("another's mount")?;
        host.run("ip link show other0").context("another's interface")?;
        ensure!(host.run("ip route show")?.contains("10.99.0.0/24"), "another's route is gone");
        ensure!(host.run("ip netns list")?.contains("cni-other"), "another's network namespace is gone");
        ensure!(host.run("nft list tables")?.contains("table ip other"), "another's table is gone");
        host.run(&format!("kill -0 {}", self.0)).context("another's process").map(drop)
    }
}
