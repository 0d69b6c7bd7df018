//! What programs write into a TIFF's `ImageDescription` about how its pages make up an array.

use crate::io::source::Problem;

/// The array's axes before those of a page, outermost first, by the first page's description, as tifffile understands it: its own
/// `{"shape": [..]}`, ImageJ's `slices=..`, and OME-XML. `page` is the shape of one page. `None` when the description says nothing.
pub fn leading_axes(description: &str, page: &[usize]) -> Option<Vec<usize>> {
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(description) {
        let shape = json.get("shape")?.as_array()?;
        let shape: Option<Vec<usize>> = shape.iter().map(|size| usize::try_from(size.as_u64()?).ok()).collect();
        return shape?.strip_suffix(page).map(<[usize]>::to_vec);
    }
    let counts = if description.starts_with("ImageJ=") {
        ["frames", "slices", "channels"].map(|name| description.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')))
    } else {
        let pixels = &description[description.find("<Pixels ")?..];
        ["SizeT", "SizeZ", "SizeC"].map(|name| pixels.split_once(&format!("{name}=\""))?.1.split('"').next())
    };
    // Colours are axes of the page.
    let colours = page.len() > 2;
    let counts = counts.map(|count| count.and_then(|count| count.trim().parse().ok()).unwrap_or(1));
    Some(counts[..if colours { 2 } else { 3 }].iter().copied().filter(|count| *count > 1).collect())
}

/// How many slices there are; `None` for a single image.
pub fn slices(leading: Option<&[usize]>, pages: usize) -> Result<Option<usize>, Problem> {
    match leading {
        None | Some([]) => Ok((pages > 1).then_some(pages)),
        Some([0]) => Err(("describes a stack of no slices".to_owned(), "it is damaged; write it again")),
        Some([slices]) => Ok(Some(*slices)),
        Some(more) => Err((
            format!("has {} axes, of the sizes {more:?} and those of a page", more.len() + 2),
            "only stacks of slices and single images can be read; write each channel or time point to a file of its own",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_of_nothing_is_refused() {
        assert!(slices(Some(&[0]), 1).is_err());
        assert_eq!(slices(Some(&[3]), 1), Ok(Some(3)));
    }

    #[test]
    fn what_programs_write_is_understood() {
        let page = [5, 6];
        for (description, expected) in [
            (r#"{"shape": [1, 5, 6]}"#, Some(vec![1])),
            (r#"{"shape": [5, 6]}"#, Some(vec![])),
            (r#"{"shape": [2, 3, 5, 6]}"#, Some(vec![2, 3])),
            (r#"{"shape": [7, 8]}"#, None),
            (r#"{"shape": [-1, 5, 6]}"#, None),
            ("ImageJ=1.11a\nimages=4\nslices=4\nloop=false", Some(vec![4])),
            ("ImageJ=1.11a\nimages=8\nchannels=2\nslices=4", Some(vec![4, 2])),
            ("<?xml version=\"1.0\"?><OME><Image><Pixels SizeX=\"6\" SizeC=\"1\" SizeZ=\"9\" SizeT=\"1\">", Some(vec![9])),
            ("a photograph", None),
        ] {
            assert_eq!(leading_axes(description, &page), expected, "{description}");
        }
        assert_eq!(leading_axes("ImageJ=1\nchannels=3\nslices=4", &[5, 6, 3]), Some(vec![4]));
    }
}
