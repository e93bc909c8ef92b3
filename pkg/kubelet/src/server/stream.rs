//! exec, attach and port-forward: the runtime's streaming server does the work; we pass the client's upgrade on to it.

use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;

use super::query::Query;
use super::{Answer, Context, text, tunnel, upgrade};
use crate::pod::PodExt as _;
use crate::runtime::{PodRuntimeStatus, State, observe};

const RUN_TIMEOUT: Duration = Duration::from_secs(600);

/// The pod, and the id of its running container of that name.
async fn running(
    context: &Context,
    namespace: &str,
    pod: &str,
    container: &str,
) -> Result<(Arc<Pod>, String), Box<Answer>> {
    let (found, runtime) = observed(context, namespace, pod).await?;
    match runtime.find(container).filter(|c| c.state == State::Running) {
        Some(running) => Ok((found, running.id.clone())),
        None if found.find_container(container).is_none() => {
            Err(Box::new(text(StatusCode::NOT_FOUND, &format!("container {container} is not valid for pod {pod}"))))
        }
        None => {
            let message = format!("container not found (\"{container}\")");
            Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)))
        }
    }
}

async fn observed(context: &Context, namespace: &str, pod: &str) -> Result<(Arc<Pod>, PodRuntimeStatus), Box<Answer>> {
    let kubelet = &context.kubelet;
    let Some(found) = kubelet.find_pod(namespace, pod) else {
        return Err(Box::new(text(StatusCode::NOT_FOUND, "pod does not exist")));
    };
    let runtime = observe::observe(&*kubelet.runtime, found.uid(), &PodRuntimeStatus::default()).await;
    match runtime {
        Ok(runtime) => Ok((found, runtime)),
        Err(error) => Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))),
    }
}

fn failed(error: &cri::Error) -> Answer {
    text(StatusCode::INTERNAL_SERVER_ERROR, &error.message())
}

struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Streams {
    /// The kubelet's own names of these parameters, and the API's.
    fn of(query: &Query) -> Result<Self, Box<Answer>> {
        let tty = query.flag(&["tty"]);
        let streams = Self {
            stdin: query.flag(&["input", "stdin"]),
            stdout: query.flag(&["output", "stdout"]),
            // A terminal has one output.
            stderr: query.flag(&["error", "stderr"]) && !tty,
            tty,
        };
        if !streams.stdin && !streams.stdout && !streams.stderr {
            let message = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(Box::new(text(StatusCode::BAD_REQUEST, message)));
        }
        Ok(streams)
    }
}

pub async fn exec(
    context: &Context,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let opened = async {
        let streams = Streams::of(query)?;
        let (_, container_id) = running(context, namespace, pod, container).await?;
        let asked = v1::ExecRequest {
            container_id,
            cmd: query.all("command"),
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        context.kubelet.runtime.exec(asked).await.map_err(|e| Box::new(failed(&e)))
    };
    match opened.await {
        Ok(url) => upgrade::pass_on(&url, request).await,
        Err(answer) => *answer,
    }
}

pub async fn attach(
    context: &Context,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let opened = async {
        let streams = Streams::of(query)?;
        let (found, container_id) = running(context, namespace, pod, container).await?;
        // The terminal is the container's, whatever the client thinks.
        let tty = found.find_container(container).and_then(|c| c.tty).unwrap_or(false);
        let asked = v1::AttachRequest {
            container_id,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr && !tty,
            tty,
        };
        context.kubelet.runtime.attach(asked).await.map_err(|e| Box::new(failed(&e)))
    };
    match opened.await {
        Ok(url) => upgrade::pass_on(&url, request).await,
        Err(answer) => *answer,
    }
}

pub async fn port_forward(
    context: &Context,
    namespace: &str,
    pod: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Answer {
    let opened = async {
        let (_, runtime) = observed(context, namespace, pod).await?;
        let Some(sandbox) = runtime.ready_sandbox() else {
            let message = format!("unable to do port forwarding: pod {pod} has no running sandbox");
            return Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)));
        };
        let named = query.all("port").into_iter().chain(query.all("ports"));
        let port =
            named.flat_map(|list| list.split(',').filter_map(|p| p.parse().ok()).collect::<Vec<i32>>()).collect();
        let asked = v1::PortForwardRequest { pod_sandbox_id: sandbox.id.clone(), port };
        context.kubelet.runtime.port_forward(asked).await.map_err(|e| Box::new(failed(&e)))
    };
    match opened.await {
        Ok(url) if tunnel::is_wanted(request.headers()) => tunnel::serve(&url, request).await,
        Ok(url) => upgrade::pass_on(&url, request).await,
        Err(answer) => *answer,
    }
}

/// A command without streams: its output is the answer.
pub async fn run(context: &Context, namespace: &str, pod: &str, container: &str, query: &Query) -> Answer {
    let command = query.get("cmd").unwrap_or_default().split(' ').map(str::to_owned).collect();
    let (_, id) = match running(context, namespace, pod, container).await {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    match context.kubelet.runtime.exec_sync(&id, command, RUN_TIMEOUT).await {
        Ok(output) => text(StatusCode::OK, &String::from_utf8_lossy(&[output.stdout, output.stderr].concat())),
        Err(error) => failed(&error),
    }
}
