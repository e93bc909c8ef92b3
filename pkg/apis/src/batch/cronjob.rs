//! CronJobs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{cron, job};
use crate::cells::{age, or_none, since};
use crate::check;
use crate::podspec::warnings::named_template_warnings;
use crate::resource::{Column, Resource, Strategy};
use crate::strategy::subdomain_name;
use crate::tree::{Fill, Tree, spec_mut};
use crate::workload::{self, CONTAINERS, IMAGES, SELECTOR, container_cells, selector_cell};

pub const ROW: Resource = Resource {
    short_names: &["cj"],
    columns: &[
        Column::NAME,
        Column::text("Schedule", "When it makes jobs."),
        Column::text("Timezone", "Time zone of the schedule."),
        Column { type_: "boolean", ..Column::text("Suspend", "Whether it makes no jobs for now.") },
        Column::integer("Active", "Jobs that run now."),
        Column::text("Last Schedule", "When it last made a job."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    strategy: Strategy {
        default,
        validate,
        validate_update: |new, old| {
            let mut errors = check_spec(new, new.field("spec").text("schedule") != old.field("spec").text("schedule"));
            errors.retain(|e| e.path != "metadata.name");
            errors
        },
        validate_name: |name, generate| {
            let mut reasons = subdomain_name(name, generate);
            if name.len() > NAME_MAX {
                reasons.push(format!("must be no more than {NAME_MAX} characters"));
            }
            reasons
        },
        warnings: |new, old| {
            let template = new.field("spec").field("jobTemplate").field("spec").field("template");
            named_template_warnings(new, old, "spec.jobTemplate.spec.template", template)
        },
        ..Strategy::SPEC_STATUS
    },
    ..super::row("cronjobs", "cronjob", "CronJob")
};

/// Jobs add eleven characters to the name.
const NAME_MAX: usize = 63 - 11;

fn default(cronjob: &mut Object) {
    let Some(spec) = spec_mut(cronjob) else { return };
    spec.default_text("concurrencyPolicy", "Allow");
    spec.default_value("suspend", || false.into());
    spec.default_value("successfulJobsHistoryLimit", || 3.into());
    spec.default_value("failedJobsHistoryLimit", || 1.into());
    if let Some(template) = spec.sub("jobTemplate") {
        template.default_value("metadata", || serde_json::json!({}));
        if let Some(job) = template.sub("spec") {
            workload::default_template(job);
        }
    }
}

fn validate(cronjob: &Object) -> ErrorList {
    check_spec(cronjob, true)
}

/// The schedule is checked when it changes: what was once accepted stays.
fn check_spec(cronjob: &Object, new_schedule: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), cronjob.field("spec"));
    match spec.text("schedule") {
        "" => errors.push(Error::required(&at.child("schedule"), "")),
        schedule if new_schedule => check_schedule(&mut errors, &at.child("schedule"), schedule),
        _ => {}
    }
    for field in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::nonnegative(&mut errors, &at, spec, field);
    }
    if let Some(zone) = spec.field("timeZone").as_str() {
        time_zone(&mut errors, &at.child("timeZone"), zone);
    }
    check::choice(&mut errors, &at, spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"]);
    let job_at = at.child("jobTemplate").child("spec");
    let job = spec.field("jobTemplate").field("spec");
    job::validate_spec(&mut errors, &job_at, job);
    if job.flag("manualSelector") {
        let supported = &["nil", "false"];
        errors.push(Error::not_supported(&job_at.child("manualSelector"), true, supported));
    }
    errors
}

fn check_schedule(errors: &mut ErrorList, at: &Path, schedule: &str) {
    if schedule.contains("TZ") {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(Error::invalid(at, schedule, why));
    } else if let Err(why) = cron::check(schedule) {
        errors.push(Error::invalid(at, schedule, why));
    }
}

fn time_zone(errors: &mut ErrorList, at: &Path, zone: &str) {
    if zone.is_empty() {
        errors.push(Error::invalid(at, zone, "timeZone must be nil or non-empty string"));
    } else if zone.eq_ignore_ascii_case("local") {
        errors.push(Error::invalid(
            at,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        ));
    } else if jiff::tz::TimeZone::get(zone).is_err() {
        errors.push(Error::invalid(at, zone, format!("unknown time zone {zone}")));
    }
}

fn cells(cronjob: &Object, now: i64) -> Vec<Value> {
    let (spec, status) = (cronjob.field("spec"), cronjob.field("status"));
    let last = status.text("lastScheduleTime");
    let job = spec.field("jobTemplate").field("spec");
    let [names, images] = container_cells(job.field("template"));
    let suspend = match spec.field("suspend").as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    };
    vec![
        cronjob.name().into(),
        spec.text("schedule").into(),
        or_none(spec.text("timeZone")),
        suspend.into(),
        status.list("active").len().into(),
        if last.is_empty() { "<none>".into() } else { since(last, now).into() },
        age(cronjob, now),
        names,
        images,
        selector_cell(job.field("selector")),
    ]
}
