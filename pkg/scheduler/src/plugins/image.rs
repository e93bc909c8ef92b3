//! ImageLocality: prefers nodes that have the pod's images, by size and by how spread the image is already.

use std::collections::HashMap;
use std::sync::Arc;

use crate::cluster::{Cluster, NodeIndex, NodeInfo};
use crate::events::Events;
use crate::framework::{Plugin, SCORE_MAX, Score};
use crate::types::Pod;

/// Below this much per container an image does not count; above the maximum it counts no more.
const SIZE_MIN: i64 = 23 << 20;
const SIZE_MAX_PER_CONTAINER: i64 = 1000 << 20;

pub struct ImageLocality;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn wakes_on(&self) -> Events {
        Events::NONE
    }

    fn pre_score(&self, pod: &Arc<Pod>, cluster: &mut Cluster, _: &[NodeIndex]) -> Option<Box<dyn Score>> {
        let containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
        let images: Vec<String> = containers.map(|c| normalized(&c.image)).collect();
        let mut total = 0_i64;
        let mut having: HashMap<&str, i64> = HashMap::new();
        for (_, node) in cluster.nodes() {
            total += 1;
            for image in images.iter().filter(|image| node.images.contains_key(*image)) {
                *having.entry(image).or_insert(0) += 1;
            }
        }
        if having.is_empty() {
            return None;
        }
        let spread = images.iter().map(|image| having.get(image.as_str()).copied().unwrap_or(0)).collect();
        Some(Box::new(Locality { images, spread, total }))
    }
}

/// A name without tag or digest means `latest`.
fn normalized(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

struct Locality {
    images: Vec<String>,
    /// On how many nodes each of `images` is.
    spread: Vec<i64>,
    total: i64,
}

impl Score for Locality {
    fn score(&self, _: NodeIndex, node: &NodeInfo) -> i64 {
        let sizes = self.images.iter().zip(&self.spread);
        let sum: i64 = sizes.map(|(image, on)| node.images.get(image).map_or(0, |size| size * on / self.total)).sum();
        let max = SIZE_MAX_PER_CONTAINER * self.images.len() as i64;
        SCORE_MAX * (sum.clamp(SIZE_MIN, max) - SIZE_MIN) / (max - SIZE_MIN)
    }
}
