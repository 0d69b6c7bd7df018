//! Reading TIFF. What the directories claim is checked against the file's size before anything is allocated for the voxels.

use std::io::Read;
use std::path::Path;

use super::description::{leading_axes, slices};
use super::pages::Pages;
use super::spacing;
use crate::io::format::ends_with;
use crate::io::source::Source;
use crate::io::voxels::{Scaling, Stored, byte_length};
use crate::io::{Error, Geometry, Reader};

/// What a reader takes pages for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One image, whose values are channels.
    Picture,
    /// Slices of a volume.
    Stack,
}

/// Opens a file as `reader` does, which takes its pages for `layout`; its voxels are read by whoever uses the result.
pub fn open(path: &Path, reader: Reader, layout: Layout) -> Result<Stored<'static>, Error> {
    let wrong = |problem| Error::content(path, problem);
    let source = Source::open(path)?;
    let length = source.length();
    let mut pages = Pages::new(source.into_reader(), length).map_err(wrong)?;
    let (kind, number) = (pages.kind(), pages.number());

    let leading = pages.description().and_then(|text| leading_axes(&text, &kind.shape()));
    let stack = slices(leading.as_deref(), pages.count()).map_err(wrong)?;
    if kind.samples > 1 && stack.is_some() {
        let advice = "only single images can have colours; write a file of grey values for each colour";
        return Err(wrong(("is a stack of colour images".to_owned(), advice)));
    }
    // What lies beside a single image is none of its business.
    let beside = if stack.is_some() { spacing::read(path)? } else { None };
    // What scikit-image takes for colours is not what is meant if it has a spacing.
    let colours = matches!(stack, Some(3 | 4)) && layout == Layout::Picture && beside.is_none() && kind.width > 4;
    match (layout, stack) {
        (Layout::Picture, Some(slices)) if !colours => {
            return Err(Error::not_opened(path, reader, format!("is a stack of {slices} slices")));
        }
        // nnU-Net has no reader for a single image that ends with .tiff; here it is read, as it always was.
        (Layout::Stack, None) if !ends_with(path, ".tiff") => {
            return Err(Error::not_opened(path, reader, "is a single image and no stack of slices".to_owned()));
        }
        _ => {}
    }
    let shape = match stack {
        Some(slices) if colours => [slices, 1, kind.height, kind.width],
        Some(slices) => [1, slices, kind.height, kind.width],
        None => [kind.samples, 1, kind.height, kind.width],
    };
    let is_volume = layout == Layout::Stack && stack.is_some();
    let geometry = Geometry::unplaced(is_volume.then(|| beside.unwrap_or([1.0; 3])));

    let mut big_endian = cfg!(target_endian = "big");
    let bytes: Box<dyn Read> = match stack {
        Some(slices) if slices != pages.count() => {
            // Some programs list only the first page of many that follow each other.
            let (offset, order) = pages.raw_offset().filter(|_| pages.count() == 1).ok_or_else(|| {
                let found = format!("describes {slices} slices and has {}", pages.count());
                wrong((found, "the file is cut off or damaged; copy it again, or write it with all its pages"))
            })?;
            big_endian = order;
            let mut source = Source::open(path)?;
            source.skip(offset)?;
            let length = source.check_length(byte_length(shape, number.size()), false, || format!("{slices} slices"))?;
            Box::new(source.into_reader().take(length as u64))
        }
        _ => Box::new(pages),
    };
    Ok(Stored { shape, interleaved: kind.samples > 1 && !kind.planar, number, big_endian, scaling: Scaling::None, geometry, bytes })
}
