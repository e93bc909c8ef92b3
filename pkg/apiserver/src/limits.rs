//! How long a request may take, and what those are told that are too many or too slow.

use std::time::Duration;

use apimachinery::duration::parse_go_duration;
use apimachinery::{ApiError, ApiResult};

use crate::http::query::Query;

/// The longest that a request may take that is not long-running; clients may ask for less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the request may take, by its `timeout` parameter.
pub fn deadline(query: &Query<'_>) -> ApiResult<Duration> {
    let text = query.get("timeout");
    if text.is_empty() {
        return Ok(REQUEST_TIMEOUT);
    }
    let Some(nanos) = parse_go_duration(text) else {
        let why = format!("time: invalid duration {text:?}");
        return Err(ApiError::bad_request(format!("invalid timeout specified in the request URL - {why}")));
    };
    match u64::try_from(nanos) {
        Ok(0) => Ok(REQUEST_TIMEOUT),
        Ok(nanos) => Ok(Duration::from_nanos(nanos).min(REQUEST_TIMEOUT)),
        // Its time was over before it began.
        Err(_) => Ok(Duration::ZERO),
    }
}

/// How long a request may wait for its turn: a quarter of the time that it has, so that enough is left for the work.
pub fn patience(deadline: Option<Duration>) -> Duration {
    deadline.unwrap_or(REQUEST_TIMEOUT) / 4
}

/// The answer to a request that took too long.
pub fn overdue() -> ApiError {
    ApiError::timeout("request did not complete within the allotted timeout")
}

/// The answer to a request that did not get its turn.
pub fn too_many() -> ApiError {
    ApiError::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deadline_is_what_the_client_asks_for_up_to_a_minute() {
        for (query, seconds) in [
            ("", 60.0),
            ("timeout=", 60.0),
            ("timeout=0", 60.0),
            ("timeout=0s", 60.0),
            ("timeout=34s", 34.0),
            ("timeout=1m30s", 60.0),
            ("timeout=10ms", 0.01),
            ("timeout=-3s", 0.0),
        ] {
            assert_eq!(deadline(&Query::parse(query)).unwrap().as_secs_f64(), seconds, "{query}");
        }
        for query in ["timeout=34", "timeout=soon", "timeout=s"] {
            let text = deadline(&Query::parse(query)).unwrap_err().message().to_owned();
            assert!(text.starts_with("invalid timeout specified in the request URL - time: "), "{text}");
        }
    }
}
