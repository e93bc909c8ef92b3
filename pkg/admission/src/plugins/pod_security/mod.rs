//! PodSecurity: namespaces say by label which of the Pod Security Standards their pods must meet. Start reading at
//! [`PodSecurity`]; the checks are in `checks`, each under the name that upstream gives it.

mod checks;
mod level;
mod plugin;
mod visit;

pub use plugin::PodSecurity;
