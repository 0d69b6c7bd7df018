//! How much of a mask's surface lies between eight voxels, by marching cubes (Lorensen and Cline, SIGGRAPH 1987).
//!
//! A code says which of the voxels around a corner are in the mask: bit `4 x + 2 z + y` is the one on the lower (0) or upper (1)
//! side along each axis.

/// Code of a corner outside the mask, and of one inside.
const OUTSIDE: u8 = 0;
const INSIDE: u8 = u8::MAX;

/// Whether the surface passes between the voxels of `code`.
pub(super) fn is_border(code: u8) -> bool {
    code != OUTSIDE && code != INSIDE
}

/// Area in mm² of the surface between the voxels of every code, with `spacing` (z, y, x) in mm.
///
/// The smaller side of the surface (in the mask or out of it) falls into groups of voxels that share faces, and every group is cut
/// off by a polygon of its own through the middle of the lines that lead out of it to its neighbours. Equals
/// `create_table_neighbour_code_to_surface_area` of DeepMind's `surface-distance` up to the order of the bits.
///
/// With the same voxels on both sides of z, 1 mm apart, these are the lengths of `create_table_neighbour_code_to_contour_length`.
pub(super) fn areas(spacing: [f64; 3]) -> [f64; 256] {
    let [z, y, x] = spacing;
    std::array::from_fn(|code| {
        let code = code as u8;
        let mut left = if code.count_ones() > 4 { !code } else { code };
        let mut area = 0.0;
        while left != 0 {
            let group = group_of_lowest(left);
            area += polygon_area(group, [y * x, z * x, z * y]);
            left &= !group;
        }
        area
    })
}

/// The voxel beyond the face across `axis` (z, y, x), of every voxel in `group`.
fn across(group: u8, axis: usize) -> u8 {
    match axis {
        0 => (group & 0x33) << 2 | (group & 0xcc) >> 2,
        1 => (group & 0x55) << 1 | (group & 0xaa) >> 1,
        _ => group.rotate_left(4),
    }
}

/// The lowest of `voxels` and all that are joined to it by faces.
fn group_of_lowest(voxels: u8) -> u8 {
    let mut group = voxels & voxels.wrapping_neg();
    loop {
        let larger = (0..3).fold(group, |larger, axis| larger | across(group, axis) & voxels);
        if larger == group {
            return group;
        }
        group = larger;
    }
}

/// Area of the polygon that cuts off `group`, one to four voxels joined by faces. `face` is the area of a voxel's face across
/// each axis.
fn polygon_area(group: u8, face: [f64; 3]) -> f64 {
    let next = [0, 1, 2].map(|axis| group & across(group, axis));
    // All polygons but the flat ones have parts that lean to all axes alike.
    let oblique = length(face);
    let straight = next.iter().position(|next| *next == 0);
    match (group.count_ones(), straight) {
        // A corner: a triangle.
        (1, _) => oblique / 8.0,
        // An edge: a rectangle along it.
        (2, _) => length([0, 1, 2].map(|axis| if next[axis] == 0 { face[axis] } else { 0.0 })) / 2.0,
        // An L: a pentagon, folded into a triangle in its plane and a trapezoid.
        (3, Some(axis)) => face[axis] / 2.0 + oblique * 3.0 / 8.0,
        // Half of the voxels: a rectangle.
        (_, Some(axis)) => face[axis],
        // A voxel and its three neighbours: a flat hexagon.
        _ if next[0] & next[1] & next[2] != 0 => oblique * 3.0 / 4.0,
        // A path along all axes: a hexagon that is folded into four triangles, two of which lie along the path's ends.
        _ => {
            let within = next[0] & next[1] | next[0] & next[2] | next[1] & next[2];
            let ends = (0..3).filter(|axis| within & across(within, *axis) == 0);
            let middle = (0..3).find(|axis| within & across(within, *axis) != 0).unwrap_or_default();
            oblique / 2.0 + ends.map(|axis| face[axis].hypot(face[middle]) / 4.0).sum::<f64>()
        }
    }
}

fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Writes the code of every corner of the voxels of `mask`, which is 0 or 1 and 0 all around, but for a mask that is to be two slices
/// of the same. `mask` has shape `padded` (z, y, x), and `codes` one less along each axis.
pub(super) fn encode(mask: &[u8], padded: [usize; 3], codes: &mut Vec<u8>) {
    let [depth, height, width] = padded;
    codes.clear();
    let row = |z: usize, y: usize| &mask[(z * height + y) * width..][..width];
    for z in 1..depth {
        for y in 1..height {
            let rows = row(z - 1, y - 1).iter().zip(row(z - 1, y)).zip(row(z, y - 1)).zip(row(z, y));
            let sides = rows.map(|(((a, b), c), d)| a | b << 1 | c << 2 | d << 3);
            // By two iterators that walk side by side, which the compiler turns into vector code.
            codes.extend(sides.clone().zip(sides.skip(1)).map(|(lower, upper)| lower | upper << 4));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_the_polygons() {
        let [z, y, x] = [2.0, 3.0, 5.0];
        let areas = areas([z, y, x]);
        let triangle = length([y * x, z * x, z * y]) / 8.0;
        assert_eq!((areas[0], areas[255]), (0.0, 0.0));
        assert_eq!(areas[0b1], triangle);
        assert_eq!(areas[0b1001_0110], 4.0 * triangle);
        // The lower half along x, z and y.
        assert_eq!((areas[0b1111], areas[0b0011_0011], areas[0b0101_0101]), (z * y, y * x, z * x));
        // Edges: along y, the rectangle's other side leads from the middle of z to that of x.
        assert!((areas[0b11] - y * z.hypot(x) / 2.0).abs() < 1e-12);
        for code in 0..=255_u8 {
            assert!((areas[usize::from(code)] - areas[usize::from(!code)]).abs() < 1e-12);
        }
    }

    #[test]
    fn codes_cover_every_corner() {
        // One voxel has eight corners, each of which sees it on another side.
        let mut mask = [0; 27];
        mask[13] = 1;
        let mut codes = Vec::new();
        encode(&mask, [3, 3, 3], &mut codes);
        // Lower along an axis is where the voxel is on the upper side.
        assert_eq!(codes, [128, 8, 64, 4, 32, 2, 16, 1]);
    }
}
