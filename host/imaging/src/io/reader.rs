//! nnU-Net's classes that read images (`nnunetv2/imageio`): one of them reads all files of a data set.
//!
//! Which one is said by `overwrite_image_reader_writer` in `dataset.json`, by a model's plans, or by the first image: it is the first
//! class that opens that file ([`Reader::of`]). Its rules hold whatever the ending of a file is, and a file that it does not open is
//! refused, though another class would open it: that would give other arrays than those of its neighbours.

use std::path::Path;

use super::format::format_of;
use super::orientation::Orientation;
use super::voxels::{Stored, Voxel};
use super::{Error, Geometry, Image, LabelMap};
use crate::Volume;

/// One of nnU-Net's readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Single images, grey or in colours.
    NaturalImage2D,
    /// All that ITK has space for.
    SimpleItk,
    /// The same, turned to RAS.
    SimpleItkReoriented,
    /// Stacks of TIFF pages.
    Tiff3D,
    /// NIfTI by nibabel.
    Nibabel,
    /// The same, turned to RAS.
    NibabelReoriented,
}

/// What a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Colours of a palette are looked up.
    Image,
    /// Indices of a palette are labels.
    Labels,
}

impl Reader {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::NaturalImage2D, Self::SimpleItk, Self::SimpleItkReoriented, Self::Tiff3D, Self::Nibabel, Self::NibabelReoriented];

    /// Name of nnU-Net's class, as plans and `overwrite_image_reader_writer` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NaturalImage2D => "NaturalImage2DIO",
            Self::SimpleItk => "SimpleITKIO",
            Self::SimpleItkReoriented => "SimpleITKIOWithReorient",
            Self::Tiff3D => "Tiff3DIO",
            Self::Nibabel => "NibabelIO",
            Self::NibabelReoriented => "NibabelIOWithReorient",
        }
    }

    /// The reader of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reader| reader.name() == name)
    }

    /// The first of nnU-Net's readers of such files that opens this one (`reader_writer_registry.py`); where none of these does, one of
    /// the others that can. Voxels are not read.
    ///
    /// # Errors
    /// When none opens it.
    pub fn of(path: &Path) -> Result<Self, Error> {
        open_by_any(path, Purpose::Image).map(|(reader, _)| reader)
    }

    /// The reader that nnU-Net tries first, by the ending alone.
    pub fn usual(ending: &str) -> Option<Self> {
        format_of(Path::new(&format!("file{ending}"))).ok()?.1.first().copied()
    }

    /// Opens an image, and reads no voxels.
    ///
    /// # Errors
    /// When it cannot be read, or this reader does not open it.
    pub fn check(self, path: &Path) -> Result<(), Error> {
        self.open(path, Purpose::Image).map(drop)
    }

    /// Reads an image. Stored values are scaled as the file says (NIfTI's `scl_slope`); further dimensions, such as the fourth of a 4D
    /// NIfTI, and colours become channels; files with one slice or two dimensions get Z = 1.
    ///
    /// # Errors
    /// When it cannot be read, or this reader does not open it.
    pub fn read_image(self, path: &Path) -> Result<Image, Error> {
        self.image(path, self.open(path, Purpose::Image)?)
    }

    /// Reads a label map: one channel, whose values must be integers that fit into 16 bits.
    ///
    /// # Errors
    /// When it cannot be read, this reader does not open it, or it is no label map.
    pub fn read_labels(self, path: &Path) -> Result<LabelMap, Error> {
        self.labels(path, self.open(path, Purpose::Labels)?)
    }

    /// Reads an image's spacing, position and orientation, and no voxels.
    ///
    /// # Errors
    /// When it cannot be read, or this reader does not open it.
    pub fn read_geometry(self, path: &Path) -> Result<Geometry, Error> {
        let Stored { geometry, shape: [_, z, y, x], .. } = self.open(path, Purpose::Image)?;
        Ok(self.turn(geometry, [z, y, x]).0)
    }

    pub(super) fn image(self, path: &Path, stored: Stored) -> Result<Image, Error> {
        let (volume, geometry) = self.voxels(path, stored)?;
        Ok(Image { volume, geometry })
    }

    pub(super) fn labels(self, path: &Path, stored: Stored) -> Result<LabelMap, Error> {
        let [channels, ..] = stored.shape;
        if channels != 1 {
            return Err(Error::LabelChannels { path: path.to_owned(), channels });
        }
        let (volume, geometry) = self.voxels(path, stored)?;
        Ok(LabelMap { volume, geometry })
    }

    fn voxels<T: Voxel>(self, path: &Path, stored: Stored) -> Result<(Volume<T>, Geometry), Error> {
        let (volume, geometry) = stored.read(path)?;
        let (geometry, orientation) = self.turn(geometry, volume.spatial());
        Ok(match orientation {
            Some(orientation) => (orientation.turn(volume), geometry),
            None => (volume, geometry),
        })
    }

    /// The geometry of an image of shape `spatial` (z, y, x) as this reader shows it, and how the image is turned for that.
    fn turn(self, geometry: Geometry, spatial: [usize; 3]) -> (Geometry, Option<Orientation>) {
        if !self.reorients() {
            return (geometry, None);
        }
        let orientation = Orientation::to_ras(geometry.direction());
        // nibabel goes by the steps of the matrix once it has turned an image, and by those that the header lists before.
        let by_matrix = self == Self::NibabelReoriented && orientation != Orientation::RAS;
        let geometry = if by_matrix { geometry.spaced_by_matrix() } else { geometry };
        (geometry.turned(orientation, spatial), Some(orientation))
    }

    /// Whether it turns images so that their axes lead to the patient's right, front and top, as nearly as a turn by quarters can.
    fn reorients(self) -> bool {
        matches!(self, Self::SimpleItkReoriented | Self::NibabelReoriented)
    }

    /// Whether ITK reads for it.
    pub(super) fn is_of_itk(self) -> bool {
        matches!(self, Self::SimpleItk | Self::SimpleItkReoriented)
    }

    fn open(self, path: &Path, purpose: Purpose) -> Result<Stored<'static>, Error> {
        let (format, _) = format_of(path)?;
        let not_opened = || Err(Error::not_opened(path, self, format!("is a {} file", format.name)));
        let stored = (format.open)(path, self, purpose).unwrap_or_else(not_opened)?;
        if self.reorients() && stored.geometry.is_planar() {
            return Err(Error::not_opened(path, self, "has two dimensions and not three".to_owned()));
        }
        Ok(stored)
    }
}

/// Opens a file by the first reader that does.
pub(super) fn open_by_any(path: &Path, purpose: Purpose) -> Result<(Reader, Stored<'static>), Error> {
    let mut first = None;
    for &reader in format_of(path)?.1 {
        match reader.open(path, purpose) {
            Ok(stored) => return Ok((reader, stored)),
            Err(error @ Error::NotOpened { .. }) => drop(first.get_or_insert(error)),
            // What one reader cannot make out, the next cannot either.
            Err(error) => return Err(error),
        }
    }
    Err(first.expect("every format has a reader"))
}
