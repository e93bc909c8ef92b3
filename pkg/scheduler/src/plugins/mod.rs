//! The default plugins, in upstream's order and with upstream's weights.

mod fit;
mod image;
mod interpod;
mod interpod_score;
mod node;
mod spread;
mod spread_score;
mod volumes;

pub use volumes::Volumes;

use crate::framework::Plugin;

/// `volumes` is what is known of claims; shared with the loop that keeps it up to date.
pub fn defaults(volumes: Volumes) -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(node::Unschedulable),
        Box::new(node::Name),
        Box::new(node::TaintToleration),
        Box::new(node::Affinity),
        Box::new(node::Ports),
        Box::new(fit::Fit),
        Box::new(volumes::VolumeBinding(volumes)),
        Box::new(spread::TopologySpread),
        Box::new(interpod::InterPodAffinity),
        Box::new(fit::BalancedAllocation),
        Box::new(image::ImageLocality),
    ]
}
