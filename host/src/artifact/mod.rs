//! What is kept of a training: checkpoints, what they belong to, and model folders, ours and nnU-Net's.
//!
//! `format` is the file of a checkpoint; `resume` holds all that a training needs to go on, `weights` what a network has learnt. [`Identity`] says which training
//! it is, [`Origin`] which network. `fold` knows what lies in a fold's folder.
//!
//! ```text
//! model.zip ─ unpack ┐
//! plans.json dataset.json ─ ModelFolder::open
//! fold_0/checkpoint_final.safetensors|pth … ─ Checkpoint::read ─┬ load ─ TrainedModel: one network a fold, patch, mirroring
//!                                                              ├ save: the same folder in either program's format
//!                                                              └ pretrain: a network that begins with its weights
//! ```
//! `nnunet` reads nnU-Net's checkpoints by way of [`data::pth`], which runs no pickle.

mod checkpoint;
mod error;
mod fold;
mod format;
mod identity;
mod kept;
mod model_folder;
mod nnunet;
mod origin;
mod pretrain;
mod resume;
mod save;
mod unpack;
mod weights;

pub use checkpoint::Checkpoint;
pub use error::{CheckpointError, Error};
pub use fold::{REPLACED, checkpoint_path, keep_epoch, newest_checkpoint};
pub use identity::{Identity, Machine, Streams};
pub use kept::check_kept;
pub use model_folder::{ModelFolder, TrainedModel, target_kinds, trained_task, warn_of_options};
pub use origin::{Keeps, LibraryRecord, Origin};
pub use pretrain::{Treatment, pretrain, table};
pub use resume::{load as load_checkpoint, save as save_checkpoint, streams as checkpoint_streams};
pub use save::{Format, describe_plugin, save};
pub use unpack::unpack;
pub use weights::{Saved, Weights, read_weights, write_weights};
