//! How many requests may run at the same time; more are told to come back.

use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::{ApiError, ApiResult};

const READING_MAX: usize = 1600;
const WRITING_MAX: usize = 800;

#[derive(Default)]
pub struct Limits {
    reading: AtomicUsize,
    writing: AtomicUsize,
}

/// The right to run; given back when dropped.
pub struct Slot<'a>(&'a AtomicUsize);

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Limits {
    pub fn enter(&self, verb: &str) -> ApiResult<Slot<'_>> {
        let (count, max) = match verb {
            "create" | "update" | "patch" | "delete" | "deletecollection" => (&self.writing, WRITING_MAX),
            _ => (&self.reading, READING_MAX),
        };
        let before = count.fetch_add(1, Ordering::Relaxed);
        // From here on the slot gives the count back, also when it is refused.
        let slot = Slot(count);
        if before < max { Ok(slot) } else { Err(refusal()) }
    }
}

fn refusal() -> ApiError {
    ApiError::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_refused_until_a_slot_is_free() {
        let limits = Limits::default();
        let mut slots: Vec<Slot<'_>> = (0..WRITING_MAX).map(|_| limits.enter("create").unwrap()).collect();
        let refused = limits.enter("patch").err().unwrap();
        assert_eq!((refused.code(), refused.retry_after_seconds()), (429, Some(1)));
        assert!(limits.enter("get").is_ok(), "reads have slots of their own");
        slots.pop();
        assert!(limits.enter("update").is_ok());
    }
}
