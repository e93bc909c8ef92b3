//! PriorityLevelConfigurations as they are stored, and the seats that each amounts to.

use std::sync::Arc;

use apimachinery::meta::ObjectExt as _;
use serde_json::Value;

use super::queues::Queuing;
use super::seats::LevelLimits;

/// Requests that the server works on at the same time: upstream's `--max-requests-inflight` and
/// `--max-mutating-requests-inflight` together.
pub const TOTAL_SEATS: u32 = 400 + 200;
/// No request is wider, whatever it asks for.
pub const WIDTH_MAX: u32 = 10;

/// A level as somebody configured it.
pub struct LevelSpec {
    pub name: Arc<str>,
    pub uid: String,
    exempt: bool,
    shares: u64,
    lendable_percent: u64,
    borrowing_percent: Option<u64>,
    queuing: Option<Queuing>,
}

impl LevelSpec {
    pub fn of(object: &Value) -> Self {
        let exempt = object.str_at("spec/type") == "Exempt";
        let part = if exempt { "spec/exempt" } else { "spec/limited" };
        let number = |owner: &str, field: &str| {
            let value = object.i64_at(&format!("{owner}/{field}"));
            value.map(|value| u64::try_from(value).unwrap_or(0))
        };
        let queuing = "spec/limited/limitResponse/queuing";
        let queues = |field: &str, default: u64| {
            usize::try_from(number(queuing, field).unwrap_or(default)).unwrap_or(usize::MAX)
        };
        Self {
            name: object.name().into(),
            uid: object.uid().to_owned(),
            exempt,
            shares: number(part, "nominalConcurrencyShares").unwrap_or(if exempt { 0 } else { 30 }),
            lendable_percent: number(part, "lendablePercent").unwrap_or(0).min(100),
            borrowing_percent: number(part, "borrowingLimitPercent"),
            queuing: (object.str_at("spec/limited/limitResponse/type") == "Queue")
                .then(|| Queuing::new(queues("queues", 64), queues("handSize", 8), queues("queueLengthLimit", 50))),
        }
    }

    /// The widest request that the level lets in: a flow can have its whole hand of them running.
    pub fn width_max(&self, limits: &LevelLimits) -> u32 {
        let hand = self.queuing.map_or(1, |queuing| queuing.hand as u32);
        limits.nominal.div_ceil(hand).clamp(1, WIDTH_MAX)
    }
}

/// Shares `total` seats out: each level has its part, rounded up, and of that lends and borrows by its percentages.
pub fn share_out(levels: &[LevelSpec], total: u32) -> Vec<LevelLimits> {
    let sum: u64 = levels.iter().map(|level| level.shares).sum();
    let limits = |level: &LevelSpec| {
        let nominal = (u64::from(total) * level.shares).div_ceil(sum.max(1));
        let lends = (nominal * level.lendable_percent + 50) / 100;
        let borrows = level.borrowing_percent.map_or(u64::from(total), |percent| (nominal * percent + 50) / 100);
        let seats = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        LevelLimits {
            exempt: level.exempt,
            nominal: seats(nominal),
            lower: seats(nominal - lends),
            upper: seats(nominal + borrows).min(total.max(seats(nominal))),
            queuing: level.queuing,
        }
    };
    levels.iter().map(limits).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fairness::defaults;

    #[test]
    fn the_default_levels_have_upstreams_seats() {
        let levels: Vec<LevelSpec> = defaults::levels().iter().map(LevelSpec::of).collect();
        let limits = share_out(&levels, TOTAL_SEATS);
        let seats: Vec<(&str, u32, u32, u32)> = levels
            .iter()
            .zip(&limits)
            .map(|(level, l)| (&*level.name, l.nominal, l.lower, level.width_max(l)))
            .collect();
        let want = [
            ("exempt", 0, 0, 1),
            ("catch-all", 13, 13, 10),
            ("system", 74, 50, 10),
            ("node-high", 98, 73, 10),
            ("leader-election", 25, 25, 7),
            ("workload-high", 98, 49, 10),
            ("workload-low", 245, 24, 10),
            ("global-default", 49, 24, 9),
        ];
        assert_eq!(seats, want);
        assert!(limits.iter().all(|limits| limits.upper == TOTAL_SEATS));
    }

    #[test]
    fn borrowing_is_limited_by_its_percentage_and_queues_by_reason() {
        let level = |percent: i64| {
            LevelSpec::of(&json!({ "metadata": { "name": "l" }, "spec": { "type": "Limited", "limited": {
                "nominalConcurrencyShares": 10, "lendablePercent": 0, "borrowingLimitPercent": percent,
                "limitResponse": { "type": "Queue", "queuing": { "queues": 1_000_000_000, "handSize": 100 } },
            } } }))
        };
        let limits = share_out(&[level(0), level(50), level(-3)], 30);
        let upper: Vec<u32> = limits.iter().map(|limits| limits.upper).collect();
        assert_eq!(upper, [10, 15, 10]);
        let queuing = limits[0].queuing.unwrap();
        assert!(queuing.queues <= 4096 && queuing.hand <= 16 && queuing.length == 50);
    }
}
