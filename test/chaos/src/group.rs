//! The servers under test, and what is done to them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::host;
use e2e::hosts::Host;
use e2e::http::Target;
use hyper::Method;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::sleep;

use crate::caller::Caller;
use crate::views::views;

pub const SERVERS_PATH: &str = "/v1-coracle/servers";
/// What a server says when it ends because it is no member any more. The list of members alone may be old.
const REMOVED: &str = "removed from its cluster";
/// How long the start of one server may take on a busy machine.
pub const START_LIMIT: Duration = Duration::from_secs(90);

/// One machine with a server.
pub struct Server {
    pub name: String,
    pub address: String,
    pub host: Mutex<Host>,
    /// Something is being done to its process.
    busy: AtomicBool,
    /// What its stand-ins for calls of the C library look at.
    wrong: File,
}

impl Server {
    fn new(name: &str, number: u8) -> anyhow::Result<Self> {
        // An earlier host's end goes away behind its namespace.
        let _ = host::shell(&format!("ip link delete host{number}"));
        let host = Host::start(name, number)?;
        let path = host::work_dir().join(name).join("etc/faults");
        let wrong = File::options().create(true).truncate(true).write(true).open(&path).context("the faults' file")?;
        wrong.write_all_at(&[0; 24], 0)?;
        let address = host.address.clone();
        Ok(Self { name: name.to_owned(), address, host: Mutex::new(host), busy: AtomicBool::new(false), wrong })
    }

    /// How far its clock is off from now on.
    pub fn shift_clock(&self, millis: i64) -> anyhow::Result<()> {
        Ok(self.wrong.write_all_at(&(millis * 1_000_000).to_ne_bytes(), 0)?)
    }

    /// How much longer each sync takes from now on.
    pub fn slow_down(&self, micros: u64) -> anyhow::Result<()> {
        Ok(self.wrong.write_all_at(&micros.to_ne_bytes(), 8)?)
    }

    /// Its process, while that runs.
    pub fn pid(&self) -> Option<u32> {
        let mut host = self.host.lock();
        (host.pid() != 0 && host.check_alive().is_ok()).then(|| host.pid())
    }

    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// The right to do something to its process; none while another has it.
    pub fn claim(&self) -> Option<Claim<'_>> {
        (!self.busy.swap(true, Ordering::AcqRel)).then_some(Claim(self))
    }
}

/// While it lives nobody else does something to the server's process.
pub struct Claim<'a>(&'a Server);

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

/// A member as the leader sees it.
pub struct Member {
    pub name: String,
    pub voter: bool,
    pub leader: bool,
    pub reachable: bool,
}

/// All servers: those that belong together, and one more that may join.
pub struct Group {
    pub servers: Vec<Server>,
    /// How many of them belong together from the start.
    pub voters: usize,
    pub agents: Vec<Mutex<Host>>,
    target: Target,
    token: String,
}

impl Group {
    /// Three servers that vote, `spare` more that do nothing yet, and agents.
    pub async fn start(spare: usize, agents: usize) -> anyhow::Result<Self> {
        let voters = 3;
        let names = (1..=voters + spare).map(|number| (format!("server-{number}"), number as u8));
        let servers = names.map(|(name, number)| Server::new(&name, number)).collect::<anyhow::Result<Vec<_>>>()?;
        let names = (1..=agents).map(|number| (format!("agent-{number}"), number as u8));
        let agents = names.map(|(name, number)| Host::start(&name, 50 + number).map(Mutex::new));
        let agents = agents.collect::<anyhow::Result<Vec<_>>>()?;
        servers[0].host.lock().launch("server --cluster-init --disable-agent")?;
        let (token, target) = {
            let host = servers[0].host.lock();
            let token = host.token()?;
            host.kubectl()?;
            let kubeconfig: PathBuf = host::work_dir().join("server-1/kubeconfig.yaml");
            (token, Target::from_kubeconfig("coracle", &kubeconfig)?)
        };
        let group = Self { servers, voters, agents, target, token };
        group.wait_voters(1).await?;
        for number in 1..voters {
            group.launch(number)?;
            group.wait_voters(number + 1).await?;
        }
        for agent in &group.agents {
            let line = format!("agent --server https://{}:6443 --token {}", group.servers[0].address, group.token);
            agent.lock().launch(&line)?;
        }
        Ok(group)
    }

    /// Where each of the voters answers.
    pub fn targets(&self) -> Vec<Target> {
        self.servers[..self.voters].iter().map(|server| self.target.at(&format!("{}:6443", server.address))).collect()
    }

    pub fn caller(&self, limit: Duration) -> Caller {
        Caller::new(self.targets(), limit)
    }

    /// A caller of all servers, those that only join for a while too.
    pub fn caller_of_all(&self, limit: Duration) -> Caller {
        let targets = self.servers.iter().map(|server| self.target.at(&format!("{}:6443", server.address)));
        Caller::new(targets.collect(), limit)
    }

    /// Starts a server on its folder. One with an empty folder joins by way of another that runs.
    pub fn launch(&self, number: usize) -> anyhow::Result<()> {
        let others = self.servers[..self.voters].iter().enumerate().filter(|(other, _)| *other != number);
        let other = others.map(|(_, server)| server).find(|server| server.is_running()).unwrap_or(&self.servers[0]);
        let url = format!("https://{}:6443", other.address);
        let mut host = self.servers[number].host.lock();
        host.kill()?;
        host.launch(&format!("server --disable-agent --server {url} --token {}", self.token))
    }

    /// The members, as whoever answers sees them.
    pub async fn members(&self) -> Vec<Member> {
        let answer = self.caller(Duration::from_secs(1)).ask(Method::GET, SERVERS_PATH, "").await;
        members(&answer.unwrap_or_default())
    }

    /// Which server leads, if anybody knows.
    pub async fn leader(&self) -> Option<usize> {
        let members = self.members().await;
        let leader = members.iter().find(|member| member.leader)?;
        self.servers.iter().position(|server| server.name == leader.name)
    }

    /// Asks for the removal of a server until it is no member, or time is up.
    pub async fn remove(&self, name: &str, limit: Duration) -> bool {
        let path = format!("{SERVERS_PATH}/{name}");
        let until = Instant::now() + limit;
        let mut caller = self.caller(Duration::from_secs(3));
        while Instant::now() < until {
            for server in 0..caller.servers() {
                if let crate::caller::Answer::Said(200 | 404, _) = caller.call(server, Method::DELETE, &path, "").await
                {
                    return true;
                }
            }
            sleep(Duration::from_millis(200)).await;
        }
        false
    }

    pub async fn wait_voters(&self, count: usize) -> anyhow::Result<()> {
        let until = Instant::now() + START_LIMIT;
        loop {
            let members = self.members().await;
            let ready = |member: &&Member| member.voter && (member.reachable || members.len() == 1);
            if members.len() == count && members.iter().filter(ready).count() == count {
                return Ok(());
            }
            for server in &self.servers[..count] {
                server.host.lock().check_alive()?;
            }
            ensure!(Instant::now() < until, "{count} servers do not vote within {START_LIMIT:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// After all faults: starts what has ended, and lets back in what was removed, until the first three are together.
    pub async fn repair(&self, limit: Duration) -> anyhow::Result<()> {
        let until = Instant::now() + limit;
        loop {
            let members = self.members().await;
            let is_in = |server: &Server| members.iter().any(|member| member.name == server.name);
            for spare in &self.servers[self.voters..] {
                if is_in(spare) {
                    self.remove(&spare.name, Duration::from_secs(5)).await;
                }
            }
            self.revive(&members)?;
            let together = members.iter().filter(|member| member.voter && member.reachable).count();
            if together == self.voters && members.len() == self.voters {
                return Ok(());
            }
            if Instant::now() > until {
                let views = views(self).await.join("\n  ");
                bail!("the servers are not together after {limit:?}:\n  {views}");
            }
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Starts what has ended by itself, as a service manager would; who says that it is not a member any
    /// more comes back as another.
    /// Answers how many that were.
    pub fn revive(&self, members: &[Member]) -> anyhow::Result<usize> {
        let mut revived = 0;
        for (number, server) in self.servers[..self.voters].iter().enumerate() {
            let Some(_claim) = server.claim() else { continue };
            if server.is_running() {
                continue;
            }
            let said = server.host.lock().log_tail(3).contains(REMOVED);
            if said && !members.is_empty() && !members.iter().any(|member| member.name == server.name) {
                server.host.lock().run("rm -rf /var/lib/coracle/server")?;
            }
            self.launch(number)?;
            revived += 1;
        }
        Ok(revived)
    }
}

fn members(servers: &Value) -> Vec<Member> {
    let is = |member: &Value, field: &str| member[field].as_bool().unwrap_or(false);
    let all = servers["members"].as_array().into_iter().flatten();
    let member = |member: &Value| Member {
        name: member["name"].as_str().unwrap_or_default().to_owned(),
        voter: is(member, "voter"),
        leader: is(member, "leader"),
        reachable: is(member, "reachable") || member["id"] == servers["answeredBy"],
    };
    all.map(member).collect()
}
