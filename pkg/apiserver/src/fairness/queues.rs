//! The queues of one priority level: which of them a flow may use, and which of them goes next.
//!
//! A flow is dealt a hand of queues by its hash (shuffle sharding), so that one that floods the server shares few queues
//! with any other. Among queues that wait, the one goes next that has had least service: start-time fair queueing over
//! seats × time. A request is charged an estimate when it starts and the difference to the truth when it ends.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

/// More queues than this make collisions no rarer that matter.
const QUEUES_MAX: usize = 4096;
const HAND_MAX: usize = 16;
/// What a seat is thought to be taken for, until it is known.
const SERVICE_GUESS: Duration = Duration::from_millis(3);

/// How a level queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    pub queues: usize,
    /// Of which so many are dealt to a flow.
    pub hand: usize,
    /// How many requests one queue holds.
    pub length: usize,
}

impl Queuing {
    pub fn new(queues: usize, hand: usize, length: usize) -> Self {
        let queues = queues.clamp(1, QUEUES_MAX);
        Self { queues, hand: hand.clamp(1, queues.min(HAND_MAX)), length }
    }

    /// The hand of the flow with this hash: different queues, each equally likely.
    fn deal(&self, mut hash: u64) -> ([usize; HAND_MAX], usize) {
        let mut hand = [0; HAND_MAX];
        for dealt in 0..self.hand {
            let left = (self.queues - dealt) as u64;
            // The place among the queues that are not dealt yet, counted on past those that are.
            let mut card = (hash % left) as usize;
            hash /= left;
            hand[..dealt].sort_unstable();
            for earlier in &hand[..dealt] {
                if card >= *earlier {
                    card += 1;
                }
            }
            hand[dealt] = card;
        }
        (hand, self.hand)
    }
}

/// A request that waits.
pub struct Waiter {
    pub id: u64,
    pub width: u32,
    pub wake: oneshot::Sender<()>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    waiting_seats: u32,
    executing_seats: u32,
    /// Seats × nanoseconds that it has had, on the level's clock.
    served: u64,
}

impl Queue {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.executing_seats == 0
    }
}

/// The queues and their clock.
#[derive(Default)]
pub struct Queues {
    all: Vec<Queue>,
    /// Where the service of the queue that went last stood: what an idle queue begins at when it comes back.
    clock: u64,
    waiting: usize,
    /// Where the search for the next queue begins, so that equals take turns.
    turn: usize,
}

impl Queues {
    /// Makes room for so many queues. Queues are never taken away: requests may run in them.
    pub fn resize(&mut self, queues: usize) {
        if queues > self.all.len() {
            self.all.resize_with(queues, Queue::default);
        }
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// The queue for a request of the flow: of its hand the one with least to do that is not full.
    pub fn choose(&self, queuing: &Queuing, flow: u64) -> usize {
        let (hand, size) = queuing.deal(flow);
        let load = |queue: &usize| {
            let there = self.all.get(*queue);
            there.map_or((false, 0), |q| (q.waiting.len() >= queuing.length, q.waiting_seats + q.executing_seats))
        };
        hand[..size].iter().copied().min_by_key(load).unwrap_or(0)
    }

    /// How many requests wait in a queue.
    pub fn length(&self, queue: usize) -> usize {
        self.all.get(queue).map_or(0, |queue| queue.waiting.len())
    }

    /// Charges a request that starts without waiting.
    pub fn start(&mut self, queue: usize, width: u32) {
        self.wake_up(queue);
        self.charge(queue, width);
    }

    /// Adds a request at the end of a queue.
    pub fn push(&mut self, queue: usize, waiter: Waiter) {
        self.wake_up(queue);
        let Some(there) = self.all.get_mut(queue) else { return };
        self.waiting += 1;
        there.waiting_seats += waiter.width;
        there.waiting.push_back(waiter);
    }

    /// The queue whose request is next, and how many seats that wants.
    pub fn next(&self) -> Option<(usize, u32)> {
        if self.waiting == 0 {
            return None;
        }
        let count = self.all.len();
        let waiting = (0..count).map(|step| (self.turn + step) % count).filter(|at| !self.all[*at].waiting.is_empty());
        let queue = waiting.min_by_key(|at| self.all[*at].served)?;
        self.all[queue].waiting.front().map(|waiter| (queue, waiter.width))
    }

    /// Takes the first request out of a queue and charges it.
    pub fn pop(&mut self, queue: usize) -> Option<Waiter> {
        let there = self.all.get_mut(queue)?;
        let waiter = there.waiting.pop_front()?;
        there.waiting_seats -= waiter.width;
        self.waiting -= 1;
        self.turn = queue + 1;
        self.charge(queue, waiter.width);
        Some(waiter)
    }

    /// Takes a request out that no longer waits. False if it is not there.
    pub fn withdraw(&mut self, queue: usize, id: u64) -> bool {
        let Some(there) = self.all.get_mut(queue) else { return false };
        let Some(at) = there.waiting.iter().position(|waiter| waiter.id == id) else { return false };
        if let Some(waiter) = there.waiting.remove(at) {
            there.waiting_seats -= waiter.width;
            self.waiting -= 1;
        }
        true
    }

    /// Sets the charge of a request right that ends after `took`.
    pub fn finish(&mut self, queue: usize, width: u32, took: Duration) {
        let Some(there) = self.all.get_mut(queue) else { return };
        there.executing_seats = there.executing_seats.saturating_sub(width);
        there.served = there.served.saturating_add(cost(width, took)).saturating_sub(cost(width, SERVICE_GUESS));
    }

    /// A queue that had nothing to do has no claim to the time that passed meanwhile.
    fn wake_up(&mut self, queue: usize) {
        let clock = self.clock;
        if let Some(there) = self.all.get_mut(queue).filter(|queue| queue.is_idle()) {
            there.served = there.served.max(clock);
        }
    }

    fn charge(&mut self, queue: usize, width: u32) {
        let Some(there) = self.all.get_mut(queue) else { return };
        self.clock = self.clock.max(there.served);
        there.served = there.served.saturating_add(cost(width, SERVICE_GUESS));
        there.executing_seats += width;
    }
}

fn cost(width: u32, time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).saturating_mul(u64::from(width))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn waiter(id: u64, width: u32) -> Waiter {
        Waiter { id, width, wake: oneshot::channel().0 }
    }

    #[test]
    fn a_hand_has_different_queues_and_every_queue_is_dealt() {
        for (queues, hand) in [(1, 1), (4, 4), (16, 4), (64, 6), (128, 6)] {
            let queuing = Queuing::new(queues, hand, 50);
            let mut seen = HashSet::new();
            for flow in 0..2000_u64 {
                let (cards, size) = queuing.deal(flow.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let cards: HashSet<usize> = cards[..size].iter().copied().collect();
                assert_eq!(cards.len(), hand);
                assert!(cards.iter().all(|card| *card < queues));
                seen.extend(cards);
            }
            assert_eq!(seen.len(), queues, "{queues} {hand}");
        }
        let wild = Queuing::new(10_000_000, 0, 50);
        assert_eq!((wild.queues, wild.hand), (QUEUES_MAX, 1));
    }

    #[test]
    fn a_flow_that_floods_waits_behind_its_own_requests() {
        let mut queues = Queues::default();
        queues.resize(2);
        for id in 0..50 {
            queues.push(0, waiter(id, 1));
        }
        queues.push(1, waiter(100, 1));
        queues.push(1, waiter(101, 1));
        let order: Vec<u64> = std::iter::from_fn(|| {
            let (queue, width) = queues.next()?;
            let id = queues.pop(queue)?.id;
            queues.finish(queue, width, SERVICE_GUESS);
            Some(id)
        })
        .take(5)
        .collect();
        assert_eq!(order, [0, 100, 1, 101, 2]);
    }

    #[test]
    fn wide_and_slow_requests_are_charged_for_what_they_took() {
        let mut queues = Queues::default();
        queues.resize(2);
        for id in 0..20 {
            queues.push(0, waiter(id, 4));
            queues.push(1, waiter(100 + id, 1));
        }
        let mut started = [0, 0];
        for _ in 0..20 {
            let (queue, width) = queues.next().unwrap();
            queues.pop(queue).unwrap();
            started[queue] += 1;
            queues.finish(queue, width, SERVICE_GUESS);
        }
        assert_eq!(started, [4, 16], "a request of four seats costs as much as four of one");
    }

    #[test]
    fn an_idle_queue_saves_nothing_up() {
        let mut queues = Queues::default();
        queues.resize(2);
        for _ in 0..100 {
            queues.start(0, 1);
            queues.finish(0, 1, SERVICE_GUESS);
        }
        for id in 0..10 {
            queues.push(0, waiter(id, 1));
            queues.push(1, waiter(100 + id, 1));
        }
        let mut started = [0, 0];
        for _ in 0..10 {
            let (queue, width) = queues.next().unwrap();
            queues.pop(queue).unwrap();
            started[queue] += 1;
            queues.finish(queue, width, SERVICE_GUESS);
        }
        assert!(started[1] <= 6, "{started:?}");
    }

    #[test]
    fn withdrawn_requests_are_gone() {
        let mut queues = Queues::default();
        queues.resize(1);
        queues.push(0, waiter(1, 2));
        queues.push(0, waiter(2, 3));
        assert!(queues.withdraw(0, 1));
        assert!(!queues.withdraw(0, 1));
        assert_eq!((queues.waiting(), queues.next()), (1, Some((0, 3))));
    }
}
