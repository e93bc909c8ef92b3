//! CronJobs.

use apimachinery::field::{Error, ErrorList, Path};
use apimachinery::{Object, meta::ObjectExt};
use serde_json::Value;

use super::{cron, job_spec};
use crate::cells::{age, or_none, since};
use crate::check;
use crate::podspec::warnings::named_template_warnings;
use crate::resource::{Column, Resource, Strategy};
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
        validate_update: |new, old| check_spec(new, Some(old.field("spec"))),
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
    let template = spec.sub_or_new("jobTemplate");
    template.default_value("metadata", || serde_json::json!({}));
    workload::default_template(template.sub_or_new("spec"));
}

fn validate(cronjob: &Object) -> ErrorList {
    let mut errors = check_spec(cronjob, None);
    if cronjob.name().len() > NAME_MAX {
        let why = format!("must be no more than {NAME_MAX} characters");
        errors.push(Error::invalid(&Path::new("metadata").child("name"), cronjob.name(), why));
    }
    errors
}

/// `before` is the spec that was there: time zones that were accepted once stay.
fn check_spec(cronjob: &Object, before: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let (at, spec) = (Path::new("spec"), cronjob.field("spec"));
    schedule(&mut errors, &at, spec, before);
    check::nonnegative(&mut errors, &at, spec, "startingDeadlineSeconds");
    if let Some(zone) = spec.field("timeZone").as_str()
        && before.is_none_or(|before| before.field("timeZone") != zone)
    {
        time_zone(&mut errors, &at.child("timeZone"), zone);
    }
    check::choice(&mut errors, &at, spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"]);
    job_template(&mut errors, &at.child("jobTemplate").child("spec"), spec.field("jobTemplate").field("spec"));
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::nonnegative(&mut errors, &at, spec, field);
    }
    errors
}

fn schedule(errors: &mut ErrorList, at: &Path, spec: &Value, before: Option<&Value>) {
    let at = at.child("schedule");
    let schedule = spec.text("schedule");
    if schedule.is_empty() {
        errors.push(Error::required(&at, ""));
        return;
    }
    if let Err(why) = cron::check(schedule) {
        errors.push(Error::invalid(&at, schedule, why));
    }
    let had_zone = before.is_some_and(|before| before.text("schedule").contains("TZ"));
    let why = match (schedule.contains("TZ"), had_zone) {
        (true, false) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        (true, true) if spec.has("timeZone") => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        _ => return,
    };
    errors.push(Error::invalid(&at, schedule, why));
}

/// Jobs find their pods by labels of their own making.
fn job_template(errors: &mut ErrorList, at: &Path, job: &Value) {
    job_spec::validate_template(errors, at, job);
    if job.has("selector") {
        let why = "`selector` will be auto-generated";
        errors.push(Error::invalid(&at.child("selector"), job.field("selector").clone(), why));
    }
    if job.flag("manualSelector") {
        errors.push(Error::not_supported(&at.child("manualSelector"), true, &["nil", "false"]));
    }
}

fn time_zone(errors: &mut ErrorList, at: &Path, zone: &str) {
    if zone.is_empty() {
        errors.push(Error::invalid(at, zone, "timeZone must be nil or non-empty string"));
        return;
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(Error::invalid(at, zone, why));
    }
    if zone != "Local" && !cron::is_time_zone(zone) {
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
