//! Who may run now. All levels share one table behind one short lock: no lock is held while anybody waits.
//!
//! A level is sure of its nominal seats less those that it lends. What all lend is one pool, from which each takes as far
//! as its borrowing limit goes. Seats go back as requests end, and then first to whoever has least of what he is due; while
//! a level that is below its nominal seats waits, none that is above gets more. So a lender has its seats back after at
//! most one request of a borrower, without limits that are computed anew every ten seconds as upstream does.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::queues::{Queues, Queuing, Waiter};

/// A level's place in the table. Places are used again; the generation tells the owners apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelId {
    slot: usize,
    generation: u64,
}

/// What a level may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelLimits {
    /// Its requests never wait and take no seats from others.
    pub exempt: bool,
    pub nominal: u32,
    /// Its nominal seats without those that it lends.
    pub lower: u32,
    /// Its nominal seats with those that it may borrow.
    pub upper: u32,
    /// Without queues, requests that find no seat are refused.
    pub queuing: Option<Queuing>,
}

struct Level {
    name: Arc<str>,
    generation: u64,
    limits: LevelLimits,
    used: u32,
    queues: Queues,
    /// No longer configured: it goes when it is empty.
    retired: bool,
}

/// A request that runs: what to give back when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    pub level: LevelId,
    pub queue: usize,
    pub width: u32,
}

/// Why a request was refused, under upstream's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
    Cancelled,
}

impl Refusal {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::TimeOut => "time-out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What became of a request that came in.
pub enum Entry {
    Runs(Seat),
    /// It waits; `length` requests do so in its queue, with it.
    Waits {
        seat: Seat,
        id: u64,
        woken: oneshot::Receiver<()>,
        length: usize,
    },
    Refused(Refusal),
    /// The level is gone: classify anew.
    Stale,
}

/// Those to be woken after the lock is given back.
pub type Woken = Vec<oneshot::Sender<()>>;

#[derive(Default)]
pub struct Seats {
    levels: Vec<Option<Level>>,
    /// Seats that are lent by all, and those of them that are taken.
    pool: u32,
    borrowed: u32,
    waiting: usize,
    generation: u64,
    next_waiter: u64,
}

/// How full a level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub used: u32,
    pub waiting: usize,
    /// The seats it could use at this moment.
    pub limit: u32,
}

impl Seats {
    /// Makes the table hold exactly these levels; answers their places in order. Requests that run or wait in others may
    /// still end.
    pub fn configure(&mut self, wanted: &[(Arc<str>, LevelLimits)]) -> (Vec<LevelId>, Woken) {
        for level in self.levels.iter_mut().flatten() {
            level.retired = true;
        }
        let ids = wanted.iter().map(|(name, limits)| self.place(name, limits)).collect();
        for slot in &mut self.levels {
            if slot.as_ref().is_some_and(Level::is_over) {
                *slot = None;
            }
        }
        let live = || self.levels.iter().flatten().filter(|level| !level.retired);
        self.pool = live().map(|level| level.limits.nominal.saturating_sub(level.limits.lower)).sum();
        self.borrowed = self.levels.iter().flatten().map(Level::borrows).sum();
        (ids, self.dispatch())
    }

    fn place(&mut self, name: &Arc<str>, limits: &LevelLimits) -> LevelId {
        let known = self.levels.iter().position(|slot| slot.as_ref().is_some_and(|level| level.name == *name));
        let free = known.or_else(|| self.levels.iter().position(Option::is_none));
        let slot = free.unwrap_or_else(|| {
            self.levels.push(None);
            self.levels.len() - 1
        });
        self.generation += 1;
        let fresh = self.generation;
        let level = self.levels[slot].get_or_insert_with(|| Level {
            name: name.clone(),
            generation: fresh,
            limits: limits.clone(),
            used: 0,
            queues: Queues::default(),
            retired: false,
        });
        level.retired = false;
        level.limits = limits.clone();
        level.queues.resize(limits.queuing.map_or(1, |queuing| queuing.queues));
        LevelId { slot, generation: level.generation }
    }

    fn level(&mut self, id: LevelId) -> Option<&mut Level> {
        self.levels.get_mut(id.slot)?.as_mut().filter(|level| level.generation == id.generation)
    }

    /// A request of `width` seats of the flow with this hash. `patient` ones are queued whatever the queue's length and
    /// never refused.
    pub fn enter(&mut self, id: LevelId, flow: u64, width: u32, patient: bool) -> Entry {
        let (pool_left, contended) = (self.pool.saturating_sub(self.borrowed), self.waiting > 0);
        let starving = contended && self.somebody_starves();
        let next_waiter = self.next_waiter;
        let Some(level) = self.level(id) else { return Entry::Stale };
        let queuing = level.limits.queuing;
        let queue = queuing.map_or(0, |queuing| level.queues.choose(&queuing, flow));
        let seat = Seat { level: id, queue, width };
        let free = level.queues.waiting() == 0
            && level.fits(width, pool_left)
            && !(starving && level.used >= level.limits.nominal);
        if level.limits.exempt || free || (patient && queuing.is_none()) {
            level.queues.start(queue, width);
            self.take(id, width);
            return Entry::Runs(seat);
        }
        let Some(queuing) = queuing else { return Entry::Refused(Refusal::ConcurrencyLimit) };
        if level.queues.length(queue) >= queuing.length && !patient {
            return Entry::Refused(Refusal::QueueFull);
        }
        let (wake, woken) = oneshot::channel();
        level.queues.push(queue, Waiter { id: next_waiter, width, wake });
        let length = level.queues.length(queue);
        self.next_waiter += 1;
        self.waiting += 1;
        Entry::Waits { seat, id: next_waiter, woken, length }
    }

    /// A request ends that ran for `took`.
    pub fn leave(&mut self, seat: Seat, took: Duration) -> Woken {
        let Some(level) = self.level(seat.level) else { return Woken::new() };
        level.queues.finish(seat.queue, seat.width, took);
        let before = level.borrows();
        level.used = level.used.saturating_sub(seat.width);
        let (after, over) = (level.borrows(), level.is_over());
        self.borrowed = self.borrowed + after - before;
        if over {
            self.levels[seat.level.slot] = None;
        }
        self.dispatch()
    }

    /// A request no longer wants to wait. False if its turn had come: then it has a seat to give back.
    pub fn withdraw(&mut self, seat: Seat, id: u64) -> (bool, Woken) {
        let Some(level) = self.level(seat.level) else { return (true, Woken::new()) };
        if !level.queues.withdraw(seat.queue, id) {
            return (false, Woken::new());
        }
        let over = level.is_over();
        self.waiting -= 1;
        if over {
            self.levels[seat.level.slot] = None;
        }
        // It may have been what held the others up.
        (true, self.dispatch())
    }

    fn take(&mut self, id: LevelId, width: u32) {
        let Some(level) = self.level(id) else { return };
        let before = level.borrows();
        level.used += width;
        let after = level.borrows();
        self.borrowed = self.borrowed + after - before;
    }

    /// Whether a level waits that has not what it is due.
    fn somebody_starves(&self) -> bool {
        self.levels.iter().flatten().any(Level::starves)
    }

    /// Starts what can be started.
    fn dispatch(&mut self) -> Woken {
        let mut woken = Woken::new();
        while self.waiting > 0 {
            let Some((id, queue)) = self.next() else { break };
            let Some(waiter) = self.level(id).and_then(|level| level.queues.pop(queue)) else { break };
            self.waiting -= 1;
            self.take(id, waiter.width);
            woken.push(waiter.wake);
        }
        woken
    }

    /// The level and queue to go next: of those that can, the one with the smallest part of its nominal seats.
    fn next(&self) -> Option<(LevelId, usize)> {
        let pool_left = self.pool.saturating_sub(self.borrowed);
        let starving = self.somebody_starves();
        let mut best: Option<(u64, LevelId, usize)> = None;
        for (slot, level) in self.levels.iter().enumerate() {
            let Some(level) = level else { continue };
            let Some((queue, width)) = level.queues.next() else { continue };
            let held = !level.limits.exempt
                && (!level.fits(width, pool_left) || (starving && level.used >= level.limits.nominal));
            let share = u64::from(level.used) * 1000 / u64::from(level.limits.nominal.max(1));
            if !held && best.is_none_or(|(least, ..)| share < least) {
                best = Some((share, LevelId { slot, generation: level.generation }, queue));
            }
        }
        best.map(|(_, id, queue)| (id, queue))
    }

    /// How full a level is now.
    pub fn usage(&mut self, id: LevelId) -> Option<Usage> {
        let pool_left = self.pool.saturating_sub(self.borrowed);
        let level = self.level(id)?;
        let limit = (level.limits.lower + level.borrows() + pool_left).min(level.limits.upper);
        Some(Usage { used: level.used, waiting: level.queues.waiting(), limit })
    }
}

impl Level {
    /// Seats that it has out of the pool.
    fn borrows(&self) -> u32 {
        if self.limits.exempt { 0 } else { self.used.saturating_sub(self.limits.lower) }
    }

    fn fits(&self, width: u32, pool_left: u32) -> bool {
        let after = self.used.saturating_add(width);
        let more = after.saturating_sub(self.limits.lower) - self.used.saturating_sub(self.limits.lower);
        after <= self.limits.upper && more <= pool_left
    }

    fn starves(&self) -> bool {
        self.queues.waiting() > 0 && self.used < self.limits.nominal
    }

    fn is_over(&self) -> bool {
        self.retired && self.used == 0 && self.queues.waiting() == 0
    }
}
