//! The web server of the test images: says which pod and version answered, and misbehaves on request.
//!
//! Environment: `WEB_VERSION` (shown), `WEB_LISTEN` (the port, 8080; not `WEB_PORT`, which a Service named web would set),
//! `WEB_START_DELAY_MS` (readiness and liveness fail until then), `WEB_STOP_DELAY_MS` (how long SIGTERM takes).
//! `web get URL` fetches an http URL, for images without other tools.
//!
//! Paths: see [`answer`]. The same port echoes UDP datagrams, prefixed with the host name, and speaks enough gRPC for
//! `grpc.health.v1.Health/Check`. It must not know Kubernetes.

mod grpc;
mod http;

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};

/// What the paths under `/set` change.
struct State {
    version: String,
    hostname: String,
    started: Instant,
    start_delay: Duration,
    live: AtomicBool,
    ready: AtomicBool,
}

impl State {
    fn is_started(&self) -> bool {
        self.started.elapsed() >= self.start_delay
    }

    fn is_live(&self) -> bool {
        self.is_started() && self.live.load(Ordering::Relaxed)
    }

    fn is_ready(&self) -> bool {
        self.is_live() && self.ready.load(Ordering::Relaxed)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["serve"] => serve(),
        ["get", url] => http::fetch(url).map(|(code, body)| println!("{code}\n{body}")),
        _ => Err("usage: web [serve] | web get URL".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let state = Arc::new(State {
        version: env_or("WEB_VERSION", "v0"),
        hostname: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        started: Instant::now(),
        start_delay: Duration::from_millis(number("WEB_START_DELAY_MS", 0)?),
        live: AtomicBool::new(true),
        ready: AtomicBool::new(true),
    });
    let port = number("WEB_LISTEN", 8080)?;
    let stop_delay = Duration::from_millis(number("WEB_STOP_DELAY_MS", 0)?);
    // `[::]` accepts IPv4 too; a host without IPv6 has only the other.
    let bind = |address: &str| format!("{address}:{port}");
    let listener = TcpListener::bind(bind("[::]")).or_else(|_| TcpListener::bind(bind("0.0.0.0")));
    let listener = listener.map_err(|e| format!("listening on port {port}: {e}"))?;
    let datagrams = UdpSocket::bind(bind("[::]")).or_else(|_| UdpSocket::bind(bind("0.0.0.0")));
    let datagrams = datagrams.map_err(|e| format!("listening on UDP port {port}: {e}"))?;
    println!("web {} on {} listens on port {port}", state.version, state.hostname);

    let hostname = state.hostname.clone();
    std::thread::spawn(move || echo(&datagrams, &hostname));
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let state = state.clone();
            std::thread::spawn(move || {
                // The peer may go away at any time; that is its business.
                let _ = converse(connection, &state);
            });
        }
    });
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
    ])
    .map_err(|e| e.to_string())?;
    if let Some(signal) = signals.forever().next() {
        println!("web stops on signal {signal}");
        std::thread::sleep(stop_delay);
    }
    Ok(())
}

fn env_or(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn number(name: &str, default: u64) -> Result<u64, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text:?} is not a number")),
        Err(_) => Ok(default),
    }
}

/// Sends every datagram back with the host name in front, so that the caller sees which pod it reached.
fn echo(socket: &UdpSocket, hostname: &str) {
    let mut buffer = [0; 2048];
    while let Ok((size, from)) = socket.recv_from(&mut buffer) {
        let mut reply = format!("{hostname} ").into_bytes();
        reply.extend_from_slice(&buffer[..size]);
        let _ = socket.send_to(&reply, from);
    }
}

fn converse(mut connection: TcpStream, state: &State) -> std::io::Result<()> {
    connection.set_read_timeout(Some(Duration::from_secs(30)))?;
    let peer = connection.peer_addr()?.to_string();
    match http::read_request(&mut connection)? {
        None => Ok(()),
        Some(request) if request.method == "PRI" => grpc::serve(&mut connection, || state.is_ready()),
        Some(request) => {
            println!("{} {} from {peer}", request.method, request.target);
            answer(&request, &peer, state).write(&mut connection)
        }
    }
}

/// One request, one answer.
fn answer(request: &Request, peer: &str, state: &State) -> Response {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        [""] => Response::ok(format!("{} {}\n", state.hostname, state.version)),
        ["hostname"] => Response::ok(format!("{}\n", state.hostname)),
        ["version"] => Response::ok(format!("{}\n", state.version)),
        ["client"] => Response::ok(format!("{peer}\n")),
        ["headers"] => Response::ok(request.headers.iter().map(|(n, v)| format!("{n}: {v}\n")).collect::<String>()),
        ["echo"] => Response::ok(String::from_utf8_lossy(&request.body).into_owned()),
        ["env"] => Response::ok(std::env::vars().map(|(n, v)| format!("{n}={v}\n")).collect::<String>()),
        ["healthz" | "livez"] => health(state.is_live()),
        ["readyz"] => health(state.is_ready()),
        ["startupz"] => health(state.is_started()),
        ["set", "live", value] => set(&state.live, value),
        ["set", "ready", value] => set(&state.ready, value),
        ["status", code] => match code.parse() {
            Ok(code @ 200..=599) => Response { code, body: format!("{code}\n") },
            _ => Response { code: 400, body: format!("not a status code: {code}\n") },
        },
        ["delay", millis] => match millis.parse() {
            Ok(millis @ 0..=600_000) => {
                std::thread::sleep(Duration::from_millis(millis));
                Response::ok(format!("{} after {millis} ms\n", state.hostname))
            }
            _ => Response { code: 400, body: format!("not milliseconds: {millis}\n") },
        },
        ["bytes", count] => match count.parse() {
            Ok(count @ 0..=100_000_000) => Response::ok("x".repeat(count)),
            _ => Response { code: 400, body: format!("not a size: {count}\n") },
        },
        ["exit", code] => {
            println!("web exits with {code} as asked");
            std::process::exit(code.parse().unwrap_or(1))
        }
        // Fetches the URL given as the query, so that a test can look at the network from inside a pod.
        ["get"] => match http::fetch(query) {
            Ok((code, body)) => Response { code, body },
            Err(error) => Response { code: 502, body: format!("{error}\n") },
        },
        _ => Response { code: 404, body: format!("no such path: {path}\n") },
    }
}

fn health(good: bool) -> Response {
    if good { Response::ok("ok\n") } else { Response { code: 503, body: "not ok\n".into() } }
}

fn set(flag: &AtomicBool, value: &str) -> Response {
    flag.store(value == "true", Ordering::Relaxed);
    Response::ok(format!("{value}\n"))
}
