//! What goes wrong when: made from a seed alone, so that it can be had again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`, and a start afterwards.
    Kill,
    /// An orderly end, and a start afterwards.
    Stop,
    /// SIGSTOP, and SIGCONT afterwards.
    Pause,
    /// No server hears it, and it hears none.
    CutOff,
    /// It and one other do not hear each other; the third hears both.
    CutPair,
    /// It hears no server, but they hear it.
    Deaf,
    /// No server hears it, but it hears them.
    Mute,
    /// Every sync takes so many microseconds longer.
    SlowDisk(u64),
    /// Its clock is off by so many milliseconds.
    Clock(i64),
    /// It is removed, and comes back with an empty folder.
    Replace,
    /// A fourth server joins, and is removed afterwards.
    Extra,
}

impl Fault {
    pub fn kind(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::CutOff => "cut off",
            Self::CutPair => "cut pair",
            Self::Deaf => "deaf",
            Self::Mute => "mute",
            Self::SlowDisk(_) => "slow disk",
            Self::Clock(_) => "clock jump",
            Self::Replace => "replace",
            Self::Extra => "fourth server",
        }
    }
}

/// Whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The one that leads when it begins.
    Leader,
    /// By number, from 0.
    Server(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    pub at: Duration,
    pub lasting: Duration,
    pub fault: Fault,
    pub who: Who,
}

/// The schedule of one history. Faults overlap; none begins in the last tenth.
pub fn plan(seed: u64, duration: Duration, servers: usize) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = Duration::from_millis(500);
    let mut plan = Vec::new();
    while at < duration * 9 / 10 {
        let fault = fault(&mut random);
        let lasting = Duration::from_millis(match fault {
            Fault::Replace | Fault::Extra => random.random_range(1_000..4_000),
            Fault::SlowDisk(_) | Fault::Clock(_) => random.random_range(1_000..10_000),
            _ => random.random_range(200..6_000),
        });
        let who = if random.random_bool(0.5) { Who::Leader } else { Who::Server(random.random_range(0..servers)) };
        plan.push(Planned { at, lasting: lasting.min(duration - at), fault, who });
        at += Duration::from_millis(random.random_range(100..3_500));
    }
    plan
}

fn fault(random: &mut StdRng) -> Fault {
    const CLOCKS: [i64; 8] = [-600_000, -60_000, -3_000, -200, 200, 3_000, 60_000, 600_000];
    const SYNCS: [u64; 4] = [5_000, 50_000, 400_000, 2_500_000];
    match random.random_range(0..20) {
        0..3 => Fault::Kill,
        3 => Fault::Stop,
        4..7 => Fault::Pause,
        7..9 => Fault::CutOff,
        9..11 => Fault::CutPair,
        11..13 => Fault::Deaf,
        13..15 => Fault::Mute,
        15..17 => Fault::SlowDisk(SYNCS.choose(random).copied().unwrap_or(5_000)),
        17 => Fault::Clock(CLOCKS.choose(random).copied().unwrap_or(200)),
        18 => Fault::Replace,
        _ => Fault::Extra,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_seed_makes_one_schedule() {
        assert_eq!(plan(7, MINUTE, 3), plan(7, MINUTE, 3));
        assert_ne!(plan(7, MINUTE, 3), plan(8, MINUTE, 3));
    }

    #[test]
    fn schedules_have_every_fault_and_end_in_time() {
        let all: Vec<Planned> = (0..20).flat_map(|seed| plan(seed, MINUTE, 3)).collect();
        let kinds: BTreeSet<&str> = all.iter().map(|planned| planned.fault.kind()).collect();
        assert_eq!(kinds.len(), 11, "{kinds:?}");
        assert!(all.iter().all(|planned| planned.at + planned.lasting <= MINUTE));
        let overlap = |pair: &[Planned]| pair[0].at + pair[0].lasting > pair[1].at;
        assert!(plan(1, MINUTE, 3).windows(2).any(overlap));
    }
}
