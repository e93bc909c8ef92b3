//! Rows of `autoscaling`.

use crate::resource::{Resource, Strategy, Subresource};

pub const ROWS: &[Resource] = &[Resource {
    short_names: &["hpa"],
    categories: &["all"],
    versions: &["v2", "v1"],
    strategy: Strategy { generation_changed: None, ..Strategy::SPEC_STATUS },
    subresources: &[Subresource::STATUS],
    ..Resource::namespaced(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "HorizontalPodAutoscaler",
    )
}];
