//! Several histories at a time: each lane is a process with namespaces, hosts and a folder of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;

use anyhow::{Context as _, ensure};
use e2e::{cluster, host};

use crate::HistoryOptions;

/// Set in the process of a lane.
const LANE: &str = "CORACLE_CHAOS_LANE";
/// Where the stand-ins for calls of the C library look for what is wrong, on each host.
const FAULTS: &str = "/etc/coracle/faults";

pub fn is_one() -> bool {
    std::env::var_os(LANE).is_some()
}

/// Runs all histories, and answers whether all of them may be.
pub fn run(options: &HistoryOptions) -> anyhow::Result<bool> {
    let wrapper = wrapper()?;
    let lanes = options.lanes.clamp(1, options.count.max(1));
    let mut running = Vec::new();
    for lane in 0..lanes {
        let count = (options.count + lanes - 1 - lane) / lanes;
        // Every lane has a run of seeds.
        let before: u64 = (0..lane).map(|lane| (options.count + lanes - 1 - lane) / lanes).sum();
        let (seed, keep) = (options.seed + before, std::path::absolute(&options.keep)?);
        running.push(host::Apart::start(&format!("chaos-{lane}"), |command| {
            command
                .arg("histories")
                .args(["--seed", &seed.to_string(), "--count", &count.to_string()])
                .args(["--duration", &options.duration.to_string()])
                .arg("--keep")
                .arg(keep)
                .env(LANE, lane.to_string())
                .env("CORACLE_BINARY", &wrapper);
        })?);
    }
    let (mut good, mut passed, mut failed) = (true, 0, 0);
    // All of them talk at the same time.
    let told: Vec<_> =
        running.iter_mut().filter_map(host::Apart::out).map(|out| std::thread::spawn(|| pass_on(out))).collect();
    for lane in running {
        good &= lane.wait()?.success();
    }
    for counts in told.into_iter().filter_map(|lane| lane.join().ok()) {
        passed += counts.0;
        failed += counts.1;
    }
    println!("{passed} histories passed, {failed} failed");
    Ok(good && passed == options.count)
}

/// Prints what a lane says, and counts the histories that passed and failed.
fn pass_on(out: ChildStdout) -> (u64, u64) {
    let (mut passed, mut failed) = (0, 0);
    for line in BufReader::new(out).lines().map_while(Result::ok) {
        passed += u64::from(line.starts_with("PASS "));
        failed += u64::from(line.starts_with("FAIL "));
        println!("{line}");
    }
    (passed, failed)
}

/// A script that starts the server under test with the stand-ins before its C library.
fn wrapper() -> anyhow::Result<PathBuf> {
    let binary = std::path::absolute(cluster::binary())?;
    let program = std::env::current_exe()?;
    let library = program.parent().unwrap_or(Path::new("/")).join("libpreload.so");
    for file in [&binary, &library] {
        ensure!(file.exists(), "{} is missing: run test/chaos/run, which builds it", file.display());
    }
    let folder = host::repository().join("build/chaos");
    std::fs::create_dir_all(&folder)?;
    let path = std::path::absolute(folder.join("coracle"))?;
    let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    let (binary, library) = (binary.display(), library.display());
    write!(file, "#!/bin/sh\nCORACLE_FAULTS={FAULTS} LD_PRELOAD={library} exec {binary} \"$@\"\n")?;
    file.set_permissions(std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}
