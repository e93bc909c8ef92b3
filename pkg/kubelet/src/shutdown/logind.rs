//! Being told by logind before the machine goes down, and making it wait: a delay inhibitor, as upstream's kubelet takes.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::Switch;
use super::bus::{Argument, Bus, BusError, Message};

const SOCKET: &str = "/run/dbus/system_bus_socket";
/// Lets logind wait longer than its own 5 s.
const DROP_IN: &str = "/etc/systemd/logind.conf.d/99-coracle.conf";
const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
/// Between attempts to reach a logind that went away.
const RETRY: Duration = Duration::from_secs(5);

/// What the thread that listens to logind says.
enum Event {
    /// The machine waits until this is closed.
    Held(OwnedFd),
    GoingDown(bool),
}

/// Throws `switch` as logind says, and holds up the machine's end until the switch says that all is done, but for no longer
/// than logind lets us. Until it is dropped; returns where there is no logind.
pub async fn follow(switch: Switch, wanted: Duration) {
    let places = Places { socket: SOCKET.into(), drop_in: DROP_IN.into() };
    if !places.socket.exists() {
        tracing::info!("no D-Bus here: the end of the machine is seen only when the service is stopped with it");
        return;
    }
    loop {
        let error = follow_once(&places, &switch, wanted).await;
        if let BusError::Answer { name, .. } = &error
            && name == "org.freedesktop.DBus.Error.ServiceUnknown"
        {
            tracing::info!("no logind here: the end of the machine is seen only when the service is stopped with it");
            return;
        }
        tracing::warn!(%error, "logind cannot be followed; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Where things are on this machine.
struct Places {
    socket: PathBuf,
    drop_in: PathBuf,
}

/// Ends the thread with whoever waits for it.
struct HangUp(UnixStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Until the connection breaks, which is the answer.
async fn follow_once(places: &Places, switch: &Switch, wanted: Duration) -> BusError {
    let (socket, drop_in) = (places.socket.clone(), places.drop_in.clone());
    let connected = tokio::task::spawn_blocking(move || connect(&socket, &drop_in, wanted)).await;
    let (bus, stream) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return error,
        Err(error) => return BusError::Io(std::io::Error::other(error)),
    };
    let _hang_up = HangUp(stream);
    let (sender, mut events) = mpsc::channel(4);
    let listener = std::thread::Builder::new().name("logind".to_owned()).spawn(move || listen(bus, &sender));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => return error.into(),
    };
    let mut held: Option<OwnedFd> = None;
    loop {
        let drained = async { if held.is_some() { switch.drained().await } else { std::future::pending().await } };
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Held(fd)) => held = Some(fd),
                Some(Event::GoingDown(going)) => switch.announce(going),
                None => break,
            },
            () = drained => held = None,
        }
    }
    // It has ended: that is why there are no more events.
    listener.join().unwrap_or_else(|_| std::io::Error::other("the listener panicked").into())
}

/// Connects, and has logind wait long enough.
fn connect(socket: &Path, drop_in: &Path, wanted: Duration) -> Result<(Bus, UnixStream), BusError> {
    let mut bus = Bus::connect(socket)?;
    let rule = format!("type='signal',interface='{MANAGER}',member='PrepareForShutdown',path='{PATH}'");
    let bus_name = "org.freedesktop.DBus";
    let watch = Message::call(bus_name, "/org/freedesktop/DBus", bus_name, "AddMatch").with(&Argument::Text(&rule));
    bus.ask(&watch)?;
    if longest(&mut bus)? < wanted {
        allow_longer(&mut bus, drop_in, wanted)?;
    }
    let stream = bus.stream()?;
    Ok((bus, stream))
}

/// How long logind waits at most.
fn longest(bus: &mut Bus) -> Result<Duration, BusError> {
    let get = Message::call(NAME, PATH, "org.freedesktop.DBus.Properties", "Get")
        .with(&Argument::Text(MANAGER))
        .with(&Argument::Text("InhibitDelayMaxUSec"));
    let answer = bus.ask(&get)?;
    let mut variant = answer.reader();
    match (variant.signature().as_deref(), variant.u64()) {
        (Some("t"), Some(micros)) => Ok(Duration::from_micros(micros)),
        _ => Err(BusError::Malformed),
    }
}

fn allow_longer(bus: &mut Bus, drop_in: &Path, wanted: Duration) -> Result<(), BusError> {
    let text = format!(
        "# Written by coracle for --shutdown-grace-period.\n[Login]\nInhibitDelayMaxSec={}\n",
        wanted.as_secs()
    );
    if let Some(folder) = drop_in.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(drop_in, text)?;
    // SIGHUP to logind: it reads its configuration again.
    let reload = Message::call(
        "org.freedesktop.systemd1",
        "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager",
        "KillUnit",
    );
    let reload =
        reload.with(&Argument::Text("systemd-logind.service")).with(&Argument::Text("all")).with(&Argument::Int(1));
    bus.ask(&reload)?;
    let now = longest(bus)?;
    if now < wanted {
        tracing::warn!(?wanted, ?now, "logind waits for less than --shutdown-grace-period; see InhibitDelayMaxSec");
    }
    Ok(())
}

/// Tells what logind says until the connection breaks, which is the answer.
fn listen(mut bus: Bus, events: &mpsc::Sender<Event>) -> BusError {
    let heard = || -> Result<(), BusError> {
        loop {
            let fd = inhibit(&mut bus)?;
            if events.blocking_send(Event::Held(fd)).is_err() {
                return Ok(());
            }
            // Down, and up again if it was called off: then the machine is to wait anew.
            while next(&mut bus)? {
                if events.blocking_send(Event::GoingDown(true)).is_err() {
                    return Ok(());
                }
            }
            if events.blocking_send(Event::GoingDown(false)).is_err() {
                return Ok(());
            }
        }
    };
    let mut heard = heard;
    heard().err().unwrap_or(BusError::Malformed)
}

fn inhibit(bus: &mut Bus) -> Result<OwnedFd, BusError> {
    let call = ["shutdown", "coracle", "Coracle needs time to stop pods", "delay"]
        .iter()
        .fold(Message::call(NAME, PATH, MANAGER, "Inhibit"), |call, text| call.with(&Argument::Text(text)));
    bus.ask(&call)?.fds.pop().ok_or(BusError::Malformed)
}

/// Whether the machine goes down, at the next word about it.
fn next(bus: &mut Bus) -> Result<bool, BusError> {
    loop {
        let signal = bus.signal()?;
        if signal.member == "PrepareForShutdown" && signal.interface == MANAGER {
            return signal.reader().u32().map(|word| word != 0).ok_or(BusError::Malformed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Read as _};
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd as _;
    use std::process::{Child, Command, Stdio};

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::super::bus::{CALL, RETURN, SIGNAL};
    use super::*;

    /// A bus of the real kind, for everybody.
    struct Daemon(Child);

    impl Daemon {
        /// `None` where there is no dbus-daemon.
        fn start(dir: &Path) -> Option<Self> {
            let config = dir.join("bus.conf");
            let text = format!(
                "<busconfig><type>session</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
                 <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/><allow own=\"*\"/>\
                 <allow eavesdrop=\"true\"/></policy></busconfig>",
                dir.display()
            );
            std::fs::write(&config, text).ok()?;
            let mut child = Command::new("dbus-daemon")
                .arg(format!("--config-file={}", config.display()))
                .args(["--nofork", "--print-address"])
                .stdout(Stdio::piped())
                .spawn()
                .ok()?;
            // It listens once it has said where.
            let mut first = [0];
            child.stdout.as_mut()?.read_exact(&mut first).ok()?;
            Some(Self(child))
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// logind and systemd as far as they are asked here: how long is waited, and the locks that were given out.
    struct Logind {
        bus: Bus,
        delay: u64,
        reloads: usize,
    }

    impl Logind {
        fn connect(socket: &Path) -> Self {
            let mut bus = Bus::connect(socket).expect("a bus");
            for name in [NAME, "org.freedesktop.systemd1"] {
                let mut call = Message::call(
                    "org.freedesktop.DBus",
                    "/org/freedesktop/DBus",
                    "org.freedesktop.DBus",
                    "RequestName",
                )
                .with(&Argument::Text(name))
                .with(&Argument::Int(0));
                call.signature = "su".to_owned();
                bus.ask(&call).expect("a name");
            }
            Self { bus, delay: 5_000_000, reloads: 0 }
        }

        /// Answers calls until one takes a lock; answers its other end.
        fn serve_until_inhibit(&mut self) -> UnixStream {
            loop {
                let call = self.bus.receive().expect("a call");
                if call.kind != CALL {
                    continue;
                }
                let mut answer = Message {
                    kind: RETURN,
                    reply_to: call.serial,
                    destination: call.sender.clone(),
                    ..Message::default()
                };
                match call.member.as_str() {
                    "Get" => {
                        answer.signature = "v".to_owned();
                        answer.body = [&[1, b't', 0, 0, 0, 0, 0, 0], self.delay.to_le_bytes().as_slice()].concat();
                    }
                    "KillUnit" => {
                        self.reloads += 1;
                        self.delay = 30_000_000;
                    }
                    "Inhibit" => return self.give_lock(answer),
                    _ => continue,
                }
                self.bus.send(&answer).expect("sent");
            }
        }

        fn give_lock(&mut self, mut answer: Message) -> UnixStream {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            answer.signature = "h".to_owned();
            answer.body = vec![0; 4];
            answer.fds = vec![theirs.into()];
            let bytes = answer.encode(1000);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = [answer.fds[0].as_fd()];
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let stream = self.bus.stream().expect("a stream");
            sendmsg(&stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).expect("sent");
            ours
        }

        fn say(&mut self, going_down: bool) {
            let mut signal =
                Message::call("", PATH, MANAGER, "PrepareForShutdown").with(&Argument::Int(i32::from(going_down)));
            signal.kind = SIGNAL;
            signal.signature = "b".to_owned();
            self.bus.send(&signal).expect("sent");
        }
    }

    fn is_released(lock: &mut UnixStream) -> bool {
        lock.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        lock.read(&mut [0]).expect("an end") == 0
    }

    #[tokio::test]
    async fn the_machine_waits_until_pods_were_stopped_and_again_after_it_was_called_off() {
        let dir = tempfile::tempdir().expect("a folder");
        let Some(_daemon) = Daemon::start(dir.path()) else {
            eprintln!("no dbus-daemon here: skipped");
            return;
        };
        let places = Places { socket: dir.path().join("bus"), drop_in: dir.path().join("conf.d/99.conf") };
        let (switch, drop_in) = (Switch::default(), places.drop_in.clone());
        let mut logind = Logind::connect(&places.socket);
        let followed = switch.clone();
        let follower =
            tokio::spawn(async move { follow_once(&places, &followed, Duration::from_secs(30)).await.to_string() });
        let mut logind = tokio::task::spawn_blocking(move || {
            let lock = logind.serve_until_inhibit();
            (logind, lock)
        });
        let (mut bus, mut lock) = (&mut logind).await.expect("served");
        assert_eq!(bus.reloads, 1, "it was told to wait longer");
        assert!(std::fs::read_to_string(&drop_in).expect("written").contains("InhibitDelayMaxSec=30"));

        bus.say(true);
        switch.until(|state| state == super::super::State::GoingDown).await;
        lock.set_nonblocking(true).expect("set");
        assert!(lock.read(&mut [0]).is_err(), "the machine still waits");
        lock.set_nonblocking(false).expect("set");
        switch.0.send_replace(super::super::State::Drained);
        let released = tokio::task::spawn_blocking(move || is_released(&mut lock)).await.expect("looked");
        assert!(released, "nothing holds it up any more");

        bus.say(false);
        switch.until(|state| state == super::super::State::Up).await;
        let (_, mut lock) = tokio::task::spawn_blocking(move || {
            let lock = bus.serve_until_inhibit();
            (bus, lock)
        })
        .await
        .expect("served");
        follower.abort();
        let released = tokio::task::spawn_blocking(move || is_released(&mut lock)).await.expect("looked");
        assert!(released, "who stops following holds nothing");
    }
}
