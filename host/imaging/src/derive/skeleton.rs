//! Thinning to a skeleton: Lee, Kashyap and Chu, "Building skeleton models via 3-D medial surface/axis thinning algorithms",
//! CVGIP: Graphical Models and Image Processing 56(6), 1994.
//!
//! Voxels are taken away from one side after the other until nothing changes, but never an end of a line, and never one whose
//! loss would change the topology. Voxels are bits, so that those on a side are found 64 at once, and a voxel is looked at again
//! only when one of its neighbours has gone.

use super::check_length;

/// Memory that [`skeleton`] uses again, for patches of any shape: two bits a voxel, and a list of some voxels.
#[derive(Debug, Default)]
pub struct SkeletonScratch {
    /// What is left of the foreground, a bit per voxel.
    object: Vec<u8>,
    /// Voxels to look at: on the surface, and not looked at since a neighbour went. May have bits outside of the object.
    pending: Vec<u8>,
    /// Bits of the voxels that one side may lose.
    candidates: Vec<usize>,
}

/// Marks with 1 the skeleton of `foreground`, lines one voxel wide, and everything else with 0.
///
/// `foreground` and `out` have shape `spatial` (z, y, x). Equals `skimage.morphology.skeletonize(foreground, method="lee")`, also
/// of a 2D image where z is 1.
///
/// Nothing is known beyond the patch, which counts as background: where a structure continues there, its skeleton ends at the
/// patch's edge, or before it where the structure is thick.
///
/// # Panics
/// When `foreground` or `out` does not have as many elements as `spatial` says.
pub fn skeleton(foreground: &[bool], spatial: [usize; 3], out: &mut [i16], scratch: &mut SkeletonScratch) {
    check_length(spatial, foreground.len());
    check_length(spatial, out.len());
    let layout = Layout::new(spatial);
    layout.pack(foreground, &mut scratch.object);
    layout.find_surface(&scratch.object, &mut scratch.pending);
    while layout.thin(scratch) {}
    layout.unpack(&scratch.object, out);
}

/// Where voxels lie among the bits: rows of whole bytes with a free bit at the end, slices with a free row at the end, and a free
/// slice and row on either side of the volume. So every voxel has all its neighbours, at the same offsets.
#[derive(Clone, Copy)]
struct Layout {
    spatial: [usize; 3],
    /// Bytes from a row to the next.
    row: usize,
    /// Bytes from a slice to the next.
    slice: usize,
    /// Byte of the first voxel.
    first: usize,
}

/// The sides of a voxel: towards smaller z, larger z, smaller y, larger y, smaller x, larger x.
#[derive(Clone, Copy)]
enum Side {
    Above,
    Below,
    Back,
    Front,
    Left,
    Right,
}

/// The order in which sides lose their voxels. The result depends on it; this is scikit-image's.
const SIDES: [Side; 6] = [Side::Back, Side::Front, Side::Right, Side::Left, Side::Below, Side::Above];

impl Layout {
    fn new(spatial: [usize; 3]) -> Self {
        let row = spatial[2] / 8 + 1;
        let slice = (spatial[1] + 1) * row;
        // The last word may reach beyond the last voxel, hence the 8.
        Self { spatial, row, slice, first: slice + row + 8 }
    }

    /// The sides from which an image is thinned: a single slice is not thinned along z.
    fn sides(self) -> &'static [Side] {
        if self.spatial[0] == 1 { &SIDES[..4] } else { &SIDES }
    }

    /// Where the words of 8 bytes start that hold all voxels.
    fn words(self) -> impl Iterator<Item = usize> {
        (self.first..self.first + self.spatial[0] * self.slice).step_by(8)
    }

    fn pack(self, foreground: &[bool], object: &mut Vec<u8>) {
        object.clear();
        object.resize(2 * self.first + self.spatial[0] * self.slice, 0);
        for (i, voxels) in foreground.chunks_exact(self.spatial[2].max(1)).enumerate() {
            let row = &mut object[self.row_start(i)..][..self.row];
            for (byte, voxels) in row.iter_mut().zip(voxels.chunks(8)) {
                *byte = voxels.iter().enumerate().fold(0, |byte, (bit, set)| byte | u8::from(*set) << bit);
            }
        }
    }

    fn unpack(self, object: &[u8], out: &mut [i16]) {
        for (i, voxels) in out.chunks_exact_mut(self.spatial[2].max(1)).enumerate() {
            let row = &object[self.row_start(i)..][..self.row];
            for (byte, voxels) in row.iter().zip(voxels.chunks_mut(8)) {
                voxels.iter_mut().enumerate().for_each(|(bit, voxel)| *voxel = i16::from(byte >> bit & 1));
            }
        }
    }

    /// First byte of the `i`-th row of the volume.
    fn row_start(self, i: usize) -> usize {
        let height = self.spatial[1];
        self.first + i / height * self.slice + i % height * self.row
    }

    /// The neighbours on one side of the 64 voxels at byte `at`.
    fn neighbours(self, object: &[u8], at: usize, side: Side) -> u64 {
        match side {
            Side::Above => word(object, at - self.slice),
            Side::Below => word(object, at + self.slice),
            Side::Back => word(object, at - self.row),
            Side::Front => word(object, at + self.row),
            Side::Left => word(object, at) << 1 | u64::from(object[at - 1] >> 7),
            Side::Right => word(object, at) >> 1 | u64::from(object[at + 8]) << 63,
        }
    }

    /// Sets in `pending` the voxels that have any free side.
    fn find_surface(self, object: &[u8], pending: &mut Vec<u8>) {
        pending.clear();
        pending.resize(object.len(), 0);
        for at in self.words() {
            let own = word(object, at);
            if own != 0 {
                let enclosed = SIDES.iter().fold(own, |enclosed, side| enclosed & self.neighbours(object, at, *side));
                pending[at..at + 8].copy_from_slice(&(own & !enclosed).to_le_bytes());
            }
        }
    }

    /// Takes away one layer from every side; false when nothing was left to take.
    fn thin(self, scratch: &mut SkeletonScratch) -> bool {
        let mut changed = false;
        for side in self.sides() {
            self.find_candidates(scratch, *side);
            let SkeletonScratch { object, pending, candidates } = scratch;
            for &voxel in &*candidates {
                // The loss of those before it may have made it a connection.
                if in_one_piece(self.neighbourhood(object, voxel)) {
                    self.remove(object, pending, voxel);
                    changed = true;
                }
            }
        }
        changed
    }

    /// Lists the voxels, by their bit, that are free on `side` and may go, in C order.
    fn find_candidates(self, scratch: &mut SkeletonScratch, side: Side) {
        let SkeletonScratch { object, pending, candidates } = scratch;
        candidates.clear();
        for at in self.words() {
            let waiting = word(pending, at);
            if waiting == 0 {
                continue;
            }
            let waiting = waiting & word(object, at);
            let mut free = waiting & !self.neighbours(object, at, side);
            pending[at..at + 8].copy_from_slice(&(waiting & !free).to_le_bytes());
            while free != 0 {
                let voxel = at * 8 + free.trailing_zeros() as usize;
                free &= free - 1;
                if may_go(self.neighbourhood(object, voxel)) {
                    candidates.push(voxel);
                }
            }
        }
    }

    /// Takes a voxel away, and has all its neighbours looked at again.
    fn remove(self, object: &mut [u8], pending: &mut [u8], voxel: usize) {
        object[voxel / 8] &= !(1 << (voxel % 8));
        let left = voxel - 1;
        let [low, high] = (0b111_u16 << (left % 8)).to_le_bytes();
        for start in self.neighbour_rows(left / 8) {
            pending[start] |= low;
            pending[start + 1] |= high;
        }
    }

    /// The 26 neighbours of a voxel: bit x + 3·y + 9·z is set for those in the object; bit 13, the voxel itself, is not.
    fn neighbourhood(self, object: &[u8], voxel: usize) -> u32 {
        let left = voxel - 1;
        let mut found = 0;
        for (i, start) in self.neighbour_rows(left / 8).into_iter().enumerate() {
            let row = u16::from_le_bytes(object[start..start + 2].try_into().expect("two bytes"));
            found |= u32::from(row >> (left % 8) & 0b111) << (3 * i);
        }
        found & !(1 << 13)
    }

    /// Byte `at` of a row, in the nine rows around it.
    fn neighbour_rows(self, at: usize) -> [usize; 9] {
        std::array::from_fn(|i| at + i / 3 * self.slice + i % 3 * self.row - self.slice - self.row)
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Neighbours with x = 0, x = 2, y = 0 and y = 2 of a neighbourhood.
const LEFT: u32 = 0o111_111_111;
const RIGHT: u32 = LEFT << 2;
const BACK: u32 = 0o007_007_007;
const FRONT: u32 = BACK << 6;
/// The six that share a face with the voxel.
const FACES: u32 = 0o020_252_020;

/// Whether a voxel with these neighbours is no end of a line, and its loss leaves pieces, tunnels and cavities as they are.
fn may_go(neighbours: u32) -> bool {
    let more_than_one = neighbours & neighbours.wrapping_sub(1) != 0;
    more_than_one && keeps_euler_number(neighbours) && in_one_piece(neighbours)
}

/// Whether the Euler number stays. Voxels are cubes here: what a cube shares with its neighbours must have Euler number 1, counted
/// as corners - edges + faces. (The paper adds up a table for eight octants, which gives eight times the same.)
fn keeps_euler_number(neighbours: u32) -> bool {
    // Bit by bit whether there is a neighbour among the two along an axis, the four across two axes, the eight across all.
    let x = neighbours | neighbours >> 1;
    let y = neighbours | neighbours >> 3;
    let (xy, xz, yz) = (x | x >> 3, x | x >> 9, y | y >> 9);
    let xyz = xy | xy >> 9;
    // Of these, the ones that surround the cube, moved apart to be counted at once.
    let corners = u64::from(xyz & 0o000_033_033);
    let faces = u64::from(neighbours & FACES);
    let edges = [yz & 0o000_022_022, xz & 0o000_030_030, xy & 0o000_033_000].map(u64::from);
    let even = (corners | faces << 32).count_ones();
    let odd = (edges[0] | edges[1] << 32 | edges[2] << 16).count_ones();
    even == odd + 1
}

/// Whether all neighbours are connected among themselves, by faces, edges or corners.
fn in_one_piece(neighbours: u32) -> bool {
    // From one at a face, most others are reached at once.
    let start = if neighbours & FACES == 0 { neighbours } else { neighbours & FACES };
    let mut piece = start & start.wrapping_neg();
    while piece != neighbours {
        let mut grown = piece | (piece & !RIGHT) << 1 | (piece & !LEFT) >> 1;
        grown |= (grown & !FRONT) << 3 | (grown & !BACK) >> 3;
        grown |= grown << 9 | grown >> 9;
        grown &= neighbours;
        if grown == piece {
            return false;
        }
        piece = grown;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(foreground: &[bool], spatial: [usize; 3], scratch: &mut SkeletonScratch) -> Vec<i16> {
        let mut out = vec![7; foreground.len()];
        skeleton(foreground, spatial, &mut out, scratch);
        out
    }

    #[test]
    fn points_and_lines_stay() {
        let voxels = [true, false, true, true, true, true, false, true, true];
        for spatial in [[1, 1, 9], [1, 9, 1], [9, 1, 1]] {
            assert_eq!(found(&voxels, spatial, &mut SkeletonScratch::default()), voxels.map(i16::from));
        }
    }

    #[test]
    fn a_ring_stays_a_ring() {
        // Seven by seven, two voxels thick.
        let ring: Vec<bool> = (0..49).map(|i| !((2..5).contains(&(i / 7)) && (2..5).contains(&(i % 7)))).collect();
        let out = found(&ring, [1, 7, 7], &mut SkeletonScratch::default());
        // Whichever of its straight parts is crossed, there is one voxel of the skeleton.
        for i in 2..5 {
            for places in [[i, 7 + i], [35 + i, 42 + i], [7 * i, 7 * i + 1], [7 * i + 5, 7 * i + 6]] {
                assert_eq!(places.map(|place| out[place]).iter().sum::<i16>(), 1, "at {places:?}");
            }
            assert_eq!(out[7 * i + 2..][..3], [0; 3]);
        }
    }

    /// Also across the bounds of bytes and words, and with memory that another shape has used.
    #[test]
    fn the_edge_is_like_background() {
        let mut scratch = SkeletonScratch::default();
        for [depth, height, width] in [[5, 6, 7], [4, 5, 8], [6, 4, 9], [3, 4, 63], [3, 3, 64], [2, 5, 130]] {
            let inside = |z: usize, y: usize, x: usize| (z * 31 + y * 17 + x * 7) % 23 > 3;
            let mut foreground = Vec::new();
            let mut framed = vec![false; (depth + 2) * (height + 2) * (width + 2)];
            let mut places = Vec::new();
            for (z, y, x) in (0..depth).flat_map(|z| (0..height).flat_map(move |y| (0..width).map(move |x| (z, y, x)))) {
                let place = ((z + 1) * (height + 2) + y + 1) * (width + 2) + x + 1;
                framed[place] = inside(z, y, x);
                foreground.push(inside(z, y, x));
                places.push(place);
            }
            let expected = found(&framed, [depth + 2, height + 2, width + 2], &mut scratch);
            let out = found(&foreground, [depth, height, width], &mut scratch);
            assert!(out.iter().zip(&places).all(|(mark, place)| *mark == expected[*place]), "width {width}");
            assert!(out.iter().sum::<i16>() > 0);
        }
    }

    #[test]
    fn a_patch_without_voxels_has_no_skeleton() {
        for spatial in [[0, 4, 4], [4, 0, 4], [4, 4, 0]] {
            skeleton(&[], spatial, &mut [], &mut SkeletonScratch::default());
        }
    }
}
