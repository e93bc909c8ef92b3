//! The gRPC health protocol, `grpc.health.v1.Health/Check`, without TLS.

use std::time::Duration;

use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;

use super::Attempt;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

pub async fn probe(ip: &str, port: i32, service: &str, timeout: Duration) -> Attempt {
    match tokio::time::timeout(timeout, check(ip, port, service)).await {
        Ok(outcome) => outcome,
        Err(_) => Attempt::Failure(format!("timeout: health rpc did not complete within {}s", timeout.as_secs())),
    }
}

async fn check(ip: &str, port: i32, service: &str) -> Attempt {
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let target = format!("{host}:{port}");
    let endpoint = match Endpoint::from_shared(format!("http://{target}")) {
        Ok(endpoint) => endpoint,
        Err(error) => return Attempt::Unknown(error.to_string()),
    };
    let channel = match endpoint.connect().await {
        Ok(channel) => channel,
        Err(error) => return Attempt::Failure(format!("timeout: failed to connect service \"{target}\": {error}")),
    };
    let mut client = Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Attempt::Failure(error.to_string());
    }
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let request = tonic::Request::new(HealthCheckRequest { service: service.to_owned() });
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    match client.unary(request, path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Attempt::Success,
        Ok(answer) => Attempt::Failure(format!(
            "service unhealthy (responded with \"{}\")",
            match answer.get_ref().status {
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "UNKNOWN",
            }
        )),
        Err(status) => Attempt::Failure(format!("service unhealthy ({:?}): {}", status.code(), status.message())),
    }
}
