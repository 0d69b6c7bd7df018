//! Where a volume lies in space.

use super::nifti::Header;

/// Origins closer than this are the same: headers hold 32-bit floats, and tools round them differently.
const ORIGIN_TOLERANCE_MM: f64 = 1e-3;
/// Entries of a direction matrix closer than this are the same.
const DIRECTION_TOLERANCE: f64 = 1e-3;
/// Relative; numpy's `allclose`, by which nnU-Net compares spacings.
const SPACING_TOLERANCE: f64 = 1e-5;

/// Spacing, position and orientation of a volume, along with the header they come from: a file that is written with this geometry
/// has that header, but for what describes the voxels' number and type.
#[derive(Clone, Debug)]
pub struct Geometry {
    spacing: [f64; 3],
    origin: [f64; 3],
    direction: [[f64; 3]; 3],
    header: Header,
}

impl Geometry {
    /// An axis-aligned geometry with its origin at zero, for data that comes from no file. Spacing in mm, (z, y, x).
    pub fn with_spacing(spacing: [f64; 3]) -> Self {
        Self::from_header(Header::with_spacing(spacing))
    }

    pub(super) fn from_header(header: Header) -> Self {
        let (origin, direction) = header.orientation();
        Self { spacing: header.spacing(), origin, direction, header }
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Size of a voxel along (z, y, x) in mm. A file with two dimensions has no z and gets 999 times its larger spacing there, which
    /// keeps its only slice apart in all that follows (nnU-Net's convention).
    pub fn spacing(&self) -> [f64; 3] {
        self.spacing
    }

    /// How this geometry differs from another beyond rounding, in words; `None` when it does not. Files of one case should agree.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        let close = |a: &f64, b: &f64, tolerance: f64| (a - b).abs() <= tolerance;
        if !self.spacing.iter().zip(&other.spacing).all(|(a, b)| close(a, b, SPACING_TOLERANCE * b.abs())) {
            return Some(format!("spacing {:?} and {:?} mm (z, y, x)", self.spacing, other.spacing));
        }
        if !self.origin.iter().zip(&other.origin).all(|(a, b)| close(a, b, ORIGIN_TOLERANCE_MM)) {
            return Some(format!("origin {:?} and {:?} mm (x, y, z)", self.origin, other.origin));
        }
        let entries = |direction: &[[f64; 3]; 3]| direction.as_flattened().to_vec();
        if !entries(&self.direction).iter().zip(&entries(&other.direction)).all(|(a, b)| close(a, b, DIRECTION_TOLERANCE)) {
            return Some(format!("direction {:?} and {:?} (columns: x, y, z axis)", self.direction, other.direction));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_geometry_has_its_spacing_and_differs_from_another() {
        let geometry = Geometry::with_spacing([3.0, 0.5, 0.25]);
        assert_eq!(geometry.spacing(), [3.0, 0.5, 0.25]);
        assert_eq!(geometry.differs_from(&Geometry::with_spacing([3.00001, 0.5, 0.25])), None);
        let words = geometry.differs_from(&Geometry::with_spacing([3.1, 0.5, 0.25])).unwrap();
        assert_eq!(words, "spacing [3.0, 0.5, 0.25] and [3.0999999046325684, 0.5, 0.25] mm (z, y, x)");
    }
}
