//! Mutated inputs for everything that reads what clients send: no panic, no hang, no memory out of proportion.
//!
//! `FUZZ_SECONDS=3600` runs for that time (a few seconds otherwise), `SEED=n` makes other inputs. A failure prints its
//! target, the seed and the input in hexadecimal digits; the same seed finds it again.

// The allocator below is what measures memory.
#![allow(unsafe_code)]
#![allow(clippy::unwrap_used)]

mod corpus;
mod memory;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use apis::schema::fill::{Filler, Shape};

use crate::corpus::Corpus;

/// No input is larger: what is slow or big must be so out of proportion.
const INPUT_MAX: usize = 16 * 1024;
/// One input may take so long: far more than any does on a busy machine without optimisation.
const TIME_MAX: Duration = Duration::from_secs(5);
/// One input may hold so much memory at once.
const MEMORY_MAX: usize = 96 * 1024 * 1024;

/// What runs now, for the watchdog: since when, and how to tell it.
static RUNNING: Mutex<Option<(Instant, String)>> = Mutex::new(None);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn told(target: &str, seed: u64, input: &[u8]) -> String {
    let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("target {target}, SEED={seed}, {} bytes: {hex}", input.len())
}

/// Ends the process where an input never ends: a test cannot end a thread.
fn watch_for_hangs() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let running = RUNNING.lock().unwrap();
            if let Some((since, what)) = running.as_ref().filter(|(since, _)| since.elapsed() > 4 * TIME_MAX) {
                eprintln!("an input does not end ({:?}): {what}", since.elapsed());
                std::process::abort();
            }
        }
    });
}

#[test]
fn no_input_panics_hangs_or_takes_memory_out_of_proportion() {
    let (seed, seconds) = (setting("SEED", 20_261_128), setting("FUZZ_SECONDS", 4));
    println!("SEED={seed} FUZZ_SECONDS={seconds}");
    watch_for_hangs();
    let mut random = Filler::new(seed, Shape::Wild);
    let mut corpus = Corpus::default();
    let targets = targets::all();
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut count, mut slowest, mut largest) = (0_u64, Duration::ZERO, 0);
    while Instant::now() < end {
        let target = &targets[random.below(targets.len() as u64) as usize];
        let input = corpus.input(target.seeds, &mut random);
        let what = told(target.name, seed, &input);
        *RUNNING.lock().unwrap() = Some((Instant::now(), what.clone()));
        let before = memory::start();
        let started = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(&input, random.clone())));
        let (time, memory) = (started.elapsed(), memory::peak_since(before));
        *RUNNING.lock().unwrap() = None;
        assert!(outcome.is_ok(), "panic: {what}");
        assert!(time < TIME_MAX, "{time:?}: {what}");
        assert!(memory < MEMORY_MAX, "{memory} bytes of memory: {what}");
        (slowest, largest) = (slowest.max(time), largest.max(memory));
        count += 1;
    }
    println!("{count} inputs; the slowest took {slowest:?}, the largest held {largest} bytes");
    assert!(count > 100, "{count}");
}
