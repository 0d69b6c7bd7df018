//! The contract between host and plugins: versions, both doors, the kit, extensions, what is refused, whom the host trusts.

mod abi;
mod access_lists;
mod c_door;
mod conformance;
mod doors;
mod extensions;
mod keeps;
mod made_targets;
mod new_plugin;
mod plugin_mutated;
mod refusals;
mod remembered;
mod search;
mod shipped;
mod silent;
mod trust;
mod two_heads;
mod versions;
