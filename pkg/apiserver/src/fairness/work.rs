//! How many seats a request takes.
//!
//! One, save for lists and watches that begin with what there is: these take one for each hundred objects that are looked
//! at, as upstream reckons (`objectsPerSeat`). Objects are counted where they are kept, so the estimate is exact up to the
//! selectors. Upstream also charges writes for the watchers that they wake; here a watcher costs a pointer, so they are not.

use crate::http::path::RequestInfo;
use crate::http::query::Query;

const OBJECTS_PER_SEAT: usize = 100;

/// `count` says how many objects are in the range that the request is about.
pub fn width(info: &RequestInfo<'_>, query: &Query<'_>, count: impl FnOnce() -> usize) -> u32 {
    let lists = match info.verb {
        "list" => true,
        "watch" => match query.get("sendInitialEvents") {
            "" => matches!(query.get("resourceVersion"), "" | "0"),
            _ => query.is_true("sendInitialEvents"),
        },
        _ => false,
    };
    let fields = query.get("fieldSelector");
    if !lists || !info.is_resource || !info.name.is_empty() || fields.starts_with("metadata.name=") {
        return 1;
    }
    let stored = count();
    let selects = !fields.is_empty() || !query.get("labelSelector").is_empty();
    let limit = query.get("limit").parse().ok().filter(|limit| *limit > 0 && !selects && info.verb == "list");
    let objects = limit.map_or(stored, |limit: usize| limit.min(stored));
    u32::try_from(objects.div_ceil(OBJECTS_PER_SEAT)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn lists_are_as_wide_as_what_they_look_at() {
        for (method, path, query, want) in [
            (Method::GET, "/api/v1/pods", "", 25),
            (Method::GET, "/api/v1/pods", "limit=500", 5),
            (Method::GET, "/api/v1/pods", "limit=5000", 25),
            (Method::GET, "/api/v1/pods", "limit=0", 25),
            (Method::GET, "/api/v1/pods", "limit=500&labelSelector=a", 25),
            (Method::GET, "/api/v1/pods", "fieldSelector=metadata.name%3Da", 1),
            (Method::GET, "/api/v1/pods", "watch=1", 25),
            (Method::GET, "/api/v1/pods", "watch=1&resourceVersion=0", 25),
            (Method::GET, "/api/v1/pods", "watch=1&resourceVersion=7", 1),
            (Method::GET, "/api/v1/pods", "watch=1&resourceVersion=7&sendInitialEvents=true", 25),
            (Method::GET, "/api/v1/pods", "watch=1&sendInitialEvents=false", 1),
            (Method::GET, "/api/v1/namespaces/a/pods/b", "", 1),
            (Method::POST, "/api/v1/namespaces/a/pods", "", 1),
            (Method::GET, "/apis", "", 1),
        ] {
            let query = Query::parse(query);
            let info = RequestInfo::parse(&method, path, &query);
            assert_eq!(width(&info, &query, || 2500), want, "{path} {query:?}");
        }
        let query = Query::parse("");
        assert_eq!(width(&RequestInfo::parse(&Method::GET, "/api/v1/pods", &query), &query, || 0), 1);
    }
}
