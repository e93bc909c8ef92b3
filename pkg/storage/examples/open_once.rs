//! Opens a store and prints how long it took; for looking at a start with RUST_LOG=debug.

use std::time::Instant;

use storage::{Config, Storage};

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let directory = std::env::args().nth(1).expect("a data directory");
    let started = Instant::now();
    let store = Storage::open(Config::new(directory)).await.expect("a store");
    println!("open {:?}", started.elapsed());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    println!("{}", status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default());
    store.shutdown().await;
}
