//! Real servers that fail while clients write, read and watch, and a judgement of what those saw.
//!
//! `histories` makes random faults overlap for a while and checks what clients saw; `kills` kills the leader again and
//! again under load, and measures how long that is felt. Start reading at [`history`] and [`kills`].

mod caller;
mod faults;
mod group;
mod history;
mod kills;
mod lanes;
mod plan;
mod probes;
mod registers;
mod views;
mod watching;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::{host, hosts};

#[derive(Parser)]
#[command(name = "test/chaos/run", about = "Lets real servers fail under load, and checks what clients saw")]
enum Options {
    /// Random faults that overlap: kills, pauses, partitions, slow disks, clocks that jump, members that change
    Histories(HistoryOptions),
    /// `kill -9` of the leader under steady writes
    Kills(KillOptions),
}

#[derive(clap::Args, Clone)]
struct HistoryOptions {
    /// Where the random schedules begin; the same seed makes the same schedule
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds of faults in each history
    #[arg(long, default_value_t = 60)]
    duration: u64,
    /// How many histories, with seeds one after the other
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// How many at a time
    #[arg(long, default_value_t = 1)]
    lanes: u64,
    /// Where histories that must not be are kept
    #[arg(long, default_value = "build/chaos-violations")]
    keep: PathBuf,
}

#[derive(clap::Args, Clone)]
struct KillOptions {
    /// Chooses the moments of the kills
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many kills
    #[arg(long, default_value_t = 100)]
    count: usize,
    /// Seconds after which no further kill begins
    #[arg(long, default_value_t = 3600)]
    duration: u64,
    /// Writes a second, over all clients
    #[arg(long, default_value_t = 1000)]
    rate: u64,
}

fn main() -> ExitCode {
    if hosts::inside::is_inside() {
        return hosts::inside::main();
    }
    let options = Options::parse();
    if let (Options::Histories(options), false) = (&options, lanes::is_one()) {
        return finish(lanes::run(options));
    }
    if !host::is_inside() {
        return host::enter();
    }
    if lanes::is_one() {
        host::end_with_parent();
    }
    finish(hosts::prepare().and_then(|()| {
        // More threads than cores: what is done to hosts holds its thread up.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(8).enable_all().build()?;
        match options {
            Options::Histories(options) => runtime.block_on(history::run(&options)),
            Options::Kills(options) => runtime.block_on(kills::run(&options)),
        }
    }))
}

/// What is wrong was printed when it was found.
fn finish(outcome: anyhow::Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
