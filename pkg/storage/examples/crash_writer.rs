//! Creates objects and prints each key and revision once it is acknowledged, until it is killed. The kill test runs it.

use std::io::Write;

use serde_json::json;
use storage::{Attributes, Config, NewObject, Storage};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("a data directory");
    let life = arguments.next().expect("a name for this run");
    let mut config = Config::new(directory);
    // Small, so that a short life goes through checkpoints.
    config.checkpoint_bytes = 256 << 10;
    let store = Storage::open(config).await.expect("a store");
    println!("open {}", store.revision());
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let (store, life) = (store.clone(), life.clone());
            tokio::spawn(async move {
                for number in 0_u64.. {
                    let name = format!("{life}-{caller}-{number}");
                    let tree = json!({"metadata": {"name": name}, "data": "x".repeat(300)});
                    let key = format!("/registry/core/pods/default/{name}");
                    let object = NewObject::encode(&tree, Attributes::default());
                    let created = store.create(&key, object).await.expect("a create");
                    // One write: a line is whole or missing.
                    let line = format!("{key} {}\n", created.revision());
                    let _ = std::io::stdout().lock().write_all(line.as_bytes());
                }
            })
        })
        .collect();
    futures::future::join_all(callers).await;
}
