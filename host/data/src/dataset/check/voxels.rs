//! What the files of one case hold: opened one at a time, compared with the first, judged, and forgotten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{self, Geometry, Image, Reader, may_have, most_voxels};
use imaging::resample::new_shape;

use super::description::Usable;
use super::files::Found;
use super::finding::{Finding, Findings};
use crate::dataset::{Error, SEGMENTATION};
use crate::kinds::{Form, Look};
use crate::numpy::median;
use crate::read::{Mismatch, Placed, check_channels, check_finite, check_intensities, compare};

/// An image file and a number made of its voxels, by which copies are found.
pub(super) type Seen = (PathBuf, u64);

/// Where the image of a case lies: its first file, shape and spacing (z, y, x), and number of channels.
pub(super) struct Extent {
    path: PathBuf,
    shape: [usize; 3],
    spacing: [f64; 3],
    channels: usize,
}

/// What the files of a case showed.
pub(super) struct Checked {
    pub findings: Vec<Finding>,
    pub seen: Vec<Seen>,
    /// None where no image can be read.
    pub placed: Option<Extent>,
    /// Whether the label map has a voxel of something; none where it cannot be read.
    pub foreground: Option<bool>,
}

/// Opens all files of a case by `reader`; without one, each by the first that opens it.
pub(super) fn check(folder: &Path, found: &Found, usable: &Usable, reader: Option<Reader>) -> Checked {
    let mut case =
        CaseCheck { id: &found.case.id, reader, findings: Findings::new(folder), first: None, seen: Vec::new(), foreground: None };
    let mut channels = Some(0);
    for path in &found.case.images {
        let names = channels.map_or(&[][..], |first| usable.channels_from(first));
        channels = case.image(path, names).zip(channels).map(|(more, so_far)| more + so_far);
    }
    // An image that is missing or cannot be read was reported as such.
    if let (Some(channels), Some(path), true) = (channels, found.case.images.first(), found.complete && usable.says("channel_names")) {
        case.note(path, check_channels(path, channels, usable.description.channel_names.len()));
    }
    for (name, target) in &found.case.targets {
        let Some(path) = target.as_ref().and_then(|target| target.file()) else { continue };
        let Form::Voxels(kind) = usable.description.targets[name].kind.form() else { continue };
        let foreground = kind.check(path, name != SEGMENTATION || usable.says("labels"), &mut case);
        if name == SEGMENTATION {
            case.foreground = foreground;
        }
    }
    let channels = channels.unwrap_or(1);
    let placed = case.first.map(|(path, shape, geometry)| Extent { path, shape, spacing: geometry.spacing(), channels });
    Checked { findings: case.findings.into_sorted(), seen: case.seen, placed, foreground: case.foreground }
}

/// Image files that hold the same voxels: a case twice, or a channel that was copied over another.
pub(super) fn find_copies(seen: &[Seen], findings: &mut Findings) {
    let mut by_voxels: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
    for (path, voxels) in seen {
        by_voxels.entry(*voxels).or_default().push(path);
    }
    for paths in by_voxels.values() {
        for copy in &paths[1..] {
            let original = paths[0].file_name().unwrap_or_default().display();
            findings.warning(
                copy,
                format!("holds the same voxels as {original}"),
                "remove or replace one of them: copies in training and validation spoil both",
            );
        }
    }
}

/// Images that would be larger than the program's limit at the spacing that most of the others have, which is about that of the plans.
pub(super) fn find_oversized(placed: &[Extent], findings: &mut Findings) {
    let usual = [0, 1, 2].map(|axis| median(&placed.iter().map(|extent| extent.spacing[axis]).collect::<Vec<_>>()));
    for Extent { path, shape, spacing, channels } in placed {
        let resampled = new_shape(*shape, *spacing, usual);
        if !may_have(resampled.into_iter().chain([*channels])) {
            let most = most_voxels();
            let found = format!(
                "its spacing of {spacing:?} mm (z y x) makes {resampled:?} voxels at {usual:?} mm, the usual spacing here; {most} are the limit"
            );
            findings.error(path, found, "correct the spacing in its header, leave the case out, or raise the limit (--max-voxels)");
        }
    }
}

struct CaseCheck<'a> {
    id: &'a str,
    reader: Option<Reader>,
    findings: Findings<'a>,
    /// The first image that could be read; all others must lie on its voxels.
    first: Option<(PathBuf, [usize; 3], Geometry)>,
    seen: Vec<Seen>,
    foreground: Option<bool>,
}

impl CaseCheck<'_> {
    /// The number of channels of an image file, if it can be read; `names` are those of its channels, as far as they are known.
    fn image(&mut self, path: &Path, names: &[String]) -> Option<usize> {
        let image = self.open_image(path)?;
        for (number, name) in names.iter().enumerate().take(image.volume.channels()) {
            self.note(path, check_intensities(path, number, name, image.volume.channel(number)));
        }
        let values = image.volume.data();
        match values.first() {
            Some(first) if values.iter().all(|value| value == first) => {
                self.findings.warning(path, format!("every voxel is {first}"), "replace the file, or leave the case out");
            }
            _ => self.seen.push((path.to_path_buf(), digest(&image.volume))),
        }
        let (shape, channels) = (image.volume.spatial(), image.volume.channels());
        self.first.get_or_insert((path.to_path_buf(), shape, image.geometry));
        Some(channels)
    }

    /// A file of real numbers, compared with the first image and searched for what is no number.
    fn open_image(&mut self, path: &Path) -> Option<Image> {
        let read = self.reader.map_or_else(|| io::read_image(path), |reader| reader.read_image(path));
        let image = self.note(path, read.map_err(Error::from))?;
        self.compare(Placed::new(path, &image));
        self.note(path, check_finite(path, &image.volume));
        Some(image)
    }

    fn compare(&mut self, file: Placed) {
        let Some((path, shape, geometry)) = &self.first else { return };
        for mismatch in compare(file, Placed { path, shape: *shape, geometry }) {
            match mismatch {
                Mismatch::Refused(error) => self.findings.refused(file.path, &error),
                Mismatch::Doubtful(difference) => {
                    let found = format!("does not lie where {} does: {difference}", path.file_name().unwrap_or_default().display());
                    self.findings.warning(file.path, found, "look at both, one on the other, and correct the header that is wrong");
                }
            }
        }
    }

    fn note<T>(&mut self, path: &Path, result: Result<T, Error>) -> Option<T> {
        result.map_err(|error| self.findings.refused(path, &Error::of_case(self.id, error))).ok()
    }
}

impl Look for CaseCheck<'_> {
    fn labels(&mut self, path: &Path) -> Option<Volume<i16>> {
        let read = self.reader.map_or_else(|| io::read_labels(path), |reader| reader.read_labels(path));
        let map = self.note(path, read.map_err(Error::from))?;
        self.compare(Placed { path, shape: map.volume.spatial(), geometry: &map.geometry });
        Some(map.volume)
    }

    fn values(&mut self, path: &Path) -> Option<Volume<f32>> {
        self.open_image(path).map(|image| image.volume)
    }

    fn refuse(&mut self, path: &Path, error: Error) {
        self.findings.refused(path, &Error::of_case(self.id, error));
    }

    fn error(&mut self, path: &Path, found: String, remedy: &str) {
        self.findings.error(path, found, remedy);
    }

    fn warning(&mut self, path: &Path, found: &str, remedy: &str) {
        self.findings.warning(path, found, remedy);
    }
}

/// FNV-1a over the words of a volume: equal for equal volumes, and practically never for others.
fn digest(volume: &Volume<f32>) -> u64 {
    let shape = volume.shape().into_iter().map(|size| size as u64);
    let voxels = volume.data().iter().map(|value| u64::from(value.to_bits()));
    shape.chain(voxels).fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}
