//! Labels, annotations and reasons that appear outside of this crate. They are upstream's: people and tools read them.

pub const POD_NAME: &str = "io.kubernetes.pod.name";
pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub const POD_UID: &str = "io.kubernetes.pod.uid";
pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";

pub const CONTAINER_HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";
pub const TERMINATION_MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub const TERMINATION_MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";
pub const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
pub const GRACE_PERIOD: &str = "io.kubernetes.pod.terminationGracePeriod";
/// The host file behind the termination message path (ours: upstream finds it through the mounts).
pub const TERMINATION_MESSAGE_HOST_PATH: &str = "coracle.io/termination-message-host-path";
/// An upper bound of the images on a node's status, as upstream's `--node-status-max-images`.
pub const NODE_IMAGES_MAX: usize = 50;

pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";

/// Where a container writes why it ended, unless it says otherwise.
pub const TERMINATION_MESSAGE_PATH_DEFAULT: &str = "/dev/termination-log";
/// The most that is read of a termination message, of one container and of a whole pod.
pub const TERMINATION_MESSAGE_BYTES_MAX: usize = 4096;
pub const TERMINATION_MESSAGE_POD_BYTES_MAX: usize = 12288;
/// With the policy FallbackToLogsOnError, this much of the log's end.
pub const TERMINATION_LOG_LINES_MAX: usize = 80;
pub const TERMINATION_LOG_BYTES_MAX: usize = 2048;

/// Container logs: `<POD_LOGS>/<namespace>_<name>_<uid>/<container>/<attempt>.log`.
pub const POD_LOGS: &str = "/var/log/pods";

pub mod reason {
    pub const CONTAINER_CREATING: &str = "ContainerCreating";
    pub const POD_INITIALIZING: &str = "PodInitializing";
    pub const CRASH_LOOP: &str = "CrashLoopBackOff";
    pub const IMAGE_PULL: &str = "ErrImagePull";
    pub const IMAGE_PULL_BACKOFF: &str = "ImagePullBackOff";
    pub const IMAGE_NEVER_PULL: &str = "ErrImageNeverPull";
    pub const INVALID_IMAGE: &str = "InvalidImageName";
    pub const CREATE_CONFIG: &str = "CreateContainerConfigError";
    pub const CREATE: &str = "CreateContainerError";
    pub const RUN: &str = "RunContainerError";
    pub const POST_START: &str = "PostStartHookError";
    pub const UNKNOWN: &str = "ContainerStatusUnknown";
    pub const DEADLINE: &str = "DeadlineExceeded";
}
