//! Who belongs together in each server's own eyes: what explains a group that does not come together.

use std::fmt::Write as _;
use std::time::Duration;

use hyper::Method;
use serde_json::Value;

use crate::caller::{Answer, Caller};
use crate::group::{Group, SERVERS_PATH, Server};

/// How long a server may take to say it.
const LIMIT: Duration = Duration::from_secs(5);
/// The last words of a server that says nothing.
const LAST_LINES: usize = 3;

/// A paragraph for each server, whether it belongs to the group or not.
pub async fn views(group: &Group) -> Vec<String> {
    let mut caller = group.caller_of_all(LIMIT);
    let mut views = Vec::new();
    for (number, server) in group.servers.iter().enumerate() {
        views.push(view(&mut caller, number, server).await);
    }
    views
}

async fn view(caller: &mut Caller, number: usize, server: &Server) -> String {
    let mut text = format!("{} at {}", server.name, server.address);
    let answer = match server.is_running() {
        true => Some(caller.call(number, Method::GET, SERVERS_PATH, "").await),
        false => None,
    };
    match answer {
        Some(Answer::Said(200, servers)) => text += &said(&servers),
        Some(Answer::Said(status, body)) => text += &format!(" says {status}: {}", body["message"]),
        Some(Answer::Unsent | Answer::Unknown) => text += " runs and does not answer",
        None => text += " does not run",
    }
    let host = server.host.lock();
    // A partition that was not taken back would be this program's fault.
    let cut = host.run("nft list tables").unwrap_or_else(|error| format!("{error:#}"));
    if !cut.trim().is_empty() {
        let _ = write!(text, "\n    partitions: {}", cut.trim().replace('\n', ", "));
    }
    for line in host.log_tail(LAST_LINES).lines() {
        let _ = write!(text, "\n    {line}");
    }
    text
}

/// What a server says of itself and the others.
fn said(servers: &Value) -> String {
    let number = |value: &Value| value.as_u64().map_or("nobody".to_owned(), |id| format!("{id:016x}"));
    let mut text = format!(" is {}, led by {}:", number(&servers["answeredBy"]), number(&servers["leader"]));
    for member in servers["members"].as_array().into_iter().flatten() {
        let is = |field: &str| member[field].as_bool().unwrap_or(false);
        let role = if is("voter") { "votes" } else { "learns" };
        let touch = match (is("reachable"), member["silentMillis"].as_u64()) {
            (true, _) => "reachable".to_owned(),
            (false, Some(silent)) => format!("silent for {silent} ms"),
            (false, None) => "silent".to_owned(),
        };
        let (name, matched) = (member["name"].as_str().unwrap_or_default(), &member["matched"]);
        let _ = write!(text, "\n    {name} {} {role}, {touch}, has {matched}", number(&member["id"]));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_servers_view_names_everybody_with_number_and_touch() {
        let text = said(&json!({ "answeredBy": 10, "leader": null, "members": [
            { "id": 10, "name": "a", "voter": true, "reachable": true, "matched": 7 },
            { "id": 11, "name": "b", "voter": false, "reachable": false, "silentMillis": 900, "matched": null },
            { "id": 12, "name": "c", "voter": true, "reachable": false, "silentMillis": null, "matched": null },
        ] }));
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "is 000000000000000a, led by nobody:",
                "a 000000000000000a votes, reachable, has 7",
                "b 000000000000000b learns, silent for 900 ms, has null",
                "c 000000000000000c votes, silent, has null",
            ]
        );
    }
}
