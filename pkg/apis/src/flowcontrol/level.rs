//! PriorityLevelConfigurations.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::{Value, json};

use super::{conditions, row};
use crate::cells::age;
use crate::check;
use crate::resource::{Column, Resource, Strategy};
use crate::tree::{Fill, Tree, spec_mut};

pub const ROW: Resource = Resource {
    columns: &[
        Column::NAME,
        Column::text("Type", "Limited, or exempt from limits."),
        Column::text("NominalConcurrencyShares", "Its share of the server."),
        Column::text("Queues", "Queues for requests that wait."),
        Column::text("HandSize", "Queues that one flow may use."),
        Column::text("QueueLengthLimit", "Requests that one queue holds."),
        Column::AGE,
    ],
    cells: |o, now| {
        let spec = o.field("spec");
        let limits = spec.field("limited");
        let queuing = limits.field("limitResponse").field("queuing");
        let number = |owner: &Value, field: &str| match owner.int(field) {
            Some(number) => Value::from(number),
            None => "<none>".into(),
        };
        vec![
            o.name().into(),
            spec.text("type").into(),
            number(limits, "nominalConcurrencyShares"),
            number(queuing, "queues"),
            number(queuing, "handSize"),
            number(queuing, "queueLengthLimit"),
            age(o, now),
        ]
    },
    strategy: Strategy {
        default,
        validate,
        validate_update: |new, _| validate(new),
        validate_status_update: |new, _| conditions(new),
        prepare_for_status_update: crate::strategy::keep_metadata_too,
        ..Strategy::SPEC_STATUS
    },
    ..row("prioritylevelconfigurations", "prioritylevelconfiguration", "PriorityLevelConfiguration")
};

fn default(level: &mut Object) {
    let Some(spec) = spec_mut(level) else { return };
    match spec.text("type") {
        "Exempt" => {
            let exempt = spec.sub_or_new("exempt");
            exempt.default_value("nominalConcurrencyShares", || 0.into());
            exempt.default_value("lendablePercent", || 0.into());
        }
        "Limited" => {
            let Some(limited) = spec.sub("limited") else { return };
            limited.default_value("nominalConcurrencyShares", || 30.into());
            limited.default_value("lendablePercent", || 0.into());
            if let Some(queuing) = limited.sub("limitResponse").and_then(|r| r.sub("queuing")) {
                queuing.default_nonzero("queues", 64);
                queuing.default_nonzero("handSize", 8);
                queuing.default_nonzero("queueLengthLimit", 50);
            }
        }
        _ => {}
    }
}

const EXEMPT: &str = "exempt";
const QUEUES_MAX: i64 = 10_000_000;
/// The random bits that dealing queues to a flow has.
const HASH_BITS: u32 = 60;

fn validate(level: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), level.field("spec"));
    let kind = spec.text("type");
    if (level.name() == EXEMPT) != (kind == "Exempt") {
        errors.push(Error::invalid(&at.child("type"), kind, "type must be 'Exempt' if and only if name is 'exempt'"));
    }
    match kind {
        "Exempt" => {
            if spec.has("limited") {
                errors.push(Error::forbidden(&at.child("limited"), "must be nil if the type is not Limited"));
            }
            shares(&mut errors, &at.child("exempt"), spec.field("exempt"));
        }
        "Limited" => {
            if spec.has("limited") {
                limited(&mut errors, &at.child("limited"), spec.field("limited"));
            } else {
                errors.push(Error::required(&at.child("limited"), "must not be empty when type is Limited"));
            }
            if spec.has("exempt") {
                errors.push(Error::forbidden(&at.child("exempt"), "must be nil if the type is Limited"));
            }
        }
        other => errors.push(Error::not_supported(&at.child("type"), other, &["Exempt", "Limited"])),
    }
    errors.extend(fixed_value_fault(level, &at, spec));
    errors.extend(conditions(level));
    errors
}

/// The two levels that must be there keep their specs; the shares of `exempt` may change.
fn fixed_value_fault(level: &Object, at: &Path, spec: &Value) -> Option<Error> {
    let (changed, but) = match level.name() {
        EXEMPT => (spec.text("type") != "Exempt" || spec.has("limited"), " except the 'spec.exempt' field"),
        "catch-all" => {
            let limits =
                json!({ "nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": { "type": "Reject" } });
            (*spec != json!({ "type": "Limited", "limited": limits }), "")
        }
        _ => return None,
    };
    let why = || format!("spec of '{}'{but} must equal the fixed value", level.name());
    changed.then(|| Error::invalid(at, spec.clone(), why()))
}

/// Shares and lendable percentage, which both types have.
fn shares(errors: &mut ErrorList, at: &Path, owner: &Value) {
    if let Some(shares) = owner.int("nominalConcurrencyShares").filter(|s| *s < 0) {
        errors.push(Error::invalid(&at.child("nominalConcurrencyShares"), shares, "must be a non-negative integer"));
    }
    lendable(errors, at, owner);
}

fn lendable(errors: &mut ErrorList, at: &Path, owner: &Value) {
    if let Some(percent) = owner.int("lendablePercent").filter(|p| !(0..=100).contains(p)) {
        errors.push(Error::invalid(&at.child("lendablePercent"), percent, "must be between 0 and 100, inclusive"));
    }
}

fn limited(errors: &mut ErrorList, at: &Path, limited: &Value) {
    if let Some(shares) = limited.int("nominalConcurrencyShares").filter(|s| *s < 0) {
        errors.push(Error::invalid(&at.child("nominalConcurrencyShares"), shares, "must be a non-negative integer"));
    }
    let (response_at, response) = (at.child("limitResponse"), limited.field("limitResponse"));
    match (response.text("type"), response.has("queuing")) {
        ("Reject", true) => {
            let why = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(Error::forbidden(&response_at.child("queuing"), why));
        }
        ("Queue", false) => {
            let why = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(Error::required(&response_at.child("queuing"), why));
        }
        ("Queue", true) => queuing(errors, &response_at.child("queuing"), response.field("queuing")),
        _ => check::one_of(errors, &response_at, response, "type", &["Queue", "Reject"]),
    }
    lendable(errors, at, limited);
    if let Some(percent) = limited.int("borrowingLimitPercent").filter(|p| *p < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.push(Error::invalid(&at.child("borrowingLimitPercent"), percent, why));
    }
}

fn queuing(errors: &mut ErrorList, at: &Path, queuing: &Value) {
    let number = |field: &str| queuing.int(field).unwrap_or(0);
    let (length, queues, hand) = (number("queueLengthLimit"), number("queues"), number("handSize"));
    let mut refuse = |field: &str, value: i64, why: String| errors.push(Error::invalid(&at.child(field), value, why));
    if length <= 0 {
        refuse("queueLengthLimit", length, "must be positive".to_owned());
    }
    if queues <= 0 {
        refuse("queues", queues, "must be positive".to_owned());
    } else if queues > QUEUES_MAX {
        refuse("queues", queues, format!("must not be greater than {QUEUES_MAX}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, "must be positive".to_owned());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if entropy_bits(queues, hand) > f64::from(HASH_BITS) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        refuse("handSize", hand, why);
    }
}

/// The random bits that it takes to deal `hand` of `deck` cards.
#[allow(clippy::cast_precision_loss, reason = "both are at most ten million")]
fn entropy_bits(deck: i64, hand: i64) -> f64 {
    ((deck as f64).log2() * hand as f64).ceil()
}
