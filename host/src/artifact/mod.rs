//! What is kept of a training: checkpoints, what they belong to, and model folders, ours and nnU-Net's.
//!
//! A checkpoint of ours is a file whose bytes are `format`'s and whose `header` says what it is: an [`Identity`] which training, an [`Origin`] which
//! network. `resume` writes it whole and goes on with it; `weights` reads and writes what of it predicts. [`Checkpoint`] reads one of either
//! program. `fold` knows what lies in a fold's folder.
//!
//! ```text
//! model.zip ─ unpack ┐
//! plans.json dataset.json ─ ModelFolder::open
//! fold_0/checkpoint_final.safetensors|pth … ─ Checkpoint::read ─┬ load ─ TrainedModel: one network a fold, patch, mirroring
//!                                                              ├ write_model: the same folder in either program's format
//!                                                              └ pretrain: a network that begins with its weights
//! ```
//! `nnunet` reads nnU-Net's checkpoints by way of [`data::pth`], which runs no pickle.

mod checkpoint;
mod error;
mod export;
mod exportable;
mod fold;
mod format;
mod header;
mod identity;
mod model_folder;
mod nnunet;
mod origin;
mod pretrain;
mod resume;
mod unpack;
mod weights;

pub use checkpoint::Checkpoint;
pub use error::{CheckpointError, Error};
pub use export::{ExportFormat, describe_plugin, write_model};
pub use exportable::check_exportable;
pub use fold::{REPLACED, checkpoint_path, keep_epoch, newest_checkpoint};
pub use identity::{Identity, Machine, Streams};
pub use model_folder::{ModelFolder, TrainedModel, target_kinds, trained_task, warn_of_options};
pub use origin::{Keeps, LibraryRecord, Origin};
pub use pretrain::{Treatment, pretrain, treatments_table};
pub use resume::{load as load_checkpoint, save as save_checkpoint, streams as checkpoint_streams};
pub use unpack::unpack;
pub use weights::{Saved, Weights, read_weights, write_weights};
