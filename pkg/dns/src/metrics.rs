//! Metrics under CoreDNS' names, which dashboards know.

use std::sync::LazyLock;

use component_base::metrics::register;
use hickory_proto::op::ResponseCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    /// `NOERROR`, `NXDOMAIN`, `SERVFAIL`, or `OTHER`.
    rcode: &'static str,
}

static RESPONSES: LazyLock<Family<Outcome, Counter>> =
    LazyLock::new(|| register("coredns_dns_responses", "Answers, by their code", Family::default()));

static CACHE_HITS: LazyLock<Counter> =
    LazyLock::new(|| register("coredns_cache_hits", "Answers of the host's resolvers used again", Counter::default()));

/// Counts an answer.
pub fn answered(code: ResponseCode) {
    let rcode = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        _ => "OTHER",
    };
    RESPONSES.get_or_create(&Outcome { rcode }).inc();
}

pub fn remembered() {
    CACHE_HITS.inc();
}
