//! Trilinear interpolation where axes stay axes: along one after the other, which is much quicker than at every voxel.

use super::Grid;
use super::linear::blend;
use crate::multiversion::multiversion;

impl Grid {
    /// [`Grid::linear`] for one channel, where [`Grid::is_scaled_only`].
    pub(super) fn scale(&self, channel: &[f32], outside: f32, out: &mut [f32]) {
        let [zs, ys, xs] = [0, 1, 2].map(|axis| self.axis(axis));
        if self.needed.size().contains(&0) {
            out.fill(outside);
            return;
        }
        let [_, height, width] = self.patch;
        // The part of a row that is sampled, with a voxel more on both sides for what lies outside.
        let (lower, upper) = (self.needed.lower[2], self.needed.upper[2]);
        let mut row = vec![outside; upper - lower + 2];
        let places: Vec<(u32, f32)> = xs.iter().map(|sample| place(*sample, lower, row.len())).collect();
        let nothing = vec![outside; upper - lower];
        let [stride_z, stride_y, _] = self.strides();
        let source_row = |z: i32, y: i32| {
            let inside = |at: i32, axis: usize| (self.extent.lower[axis] as i32..self.extent.upper[axis] as i32).contains(&at);
            if !inside(z, 0) || !inside(y, 1) {
                return &nothing[..];
            }
            let [z, y] = [z as usize - self.source.lower[0], y as usize - self.source.lower[1]];
            &channel[z * stride_z + y * stride_y + lower - self.source.lower[2]..][..upper - lower]
        };
        for (number, out) in out.chunks_exact_mut(width).enumerate() {
            let ((z, between_z), (y, between_y)) = (zs[number / height], ys[number % height]);
            // Where nothing is blended along z there need not be another slice.
            let above = if between_z == 0.0 { z } else { z + 1 };
            let rows = [source_row(z, y), source_row(z, y + 1), source_row(above, y), source_row(above, y + 1)];
            blend_rows(rows, between_z, between_y, &mut row[1..upper - lower + 1]);
            pick(&row, &places, out);
        }
    }

    /// For each sample of an axis the lower one of the two voxels around it, which may lie outside, and its position between them.
    fn axis(&self, axis: usize) -> Vec<(i32, f32)> {
        let sample = |i: usize| {
            let mut voxel = [0; 3];
            voxel[axis] = i;
            let position = self.position(voxel)[axis];
            // Beyond one voxel outside, all positions are alike.
            let position = position.clamp(self.extent.lower[axis] as f64 - 1.0, self.extent.upper[axis] as f64);
            let corner = position.floor();
            (corner as i32, (position - corner) as f32)
        };
        (0..self.patch[axis]).map(sample).collect()
    }
}

/// Where a sample lies in a padded row of `length` numbers, the second of which is voxel `lower`. Beyond either end are only numbers like
/// the outermost.
fn place((corner, fraction): (i32, f32), lower: usize, length: usize) -> (u32, f32) {
    let (at, last) = (corner + 1 - lower as i32, length as i32 - 2);
    match at {
        ..0 => (0, 0.0),
        _ if at > last => (last as u32, 1.0),
        _ => (at as u32, fraction),
    }
}

multiversion! {
    fn blend_rows(rows: [&[f32]; 4], z: f32, y: f32, out: &mut [f32]) {
        let rows = rows.map(|row| &row[..out.len()]);
        for (x, value) in out.iter_mut().enumerate() {
            *value = blend(blend(rows[0][x], rows[1][x], y), blend(rows[2][x], rows[3][x], y), z);
        }
    }
}

fn pick(row: &[f32], places: &[(u32, f32)], out: &mut [f32]) {
    for (value, &(at, fraction)) in out.iter_mut().zip(places) {
        let pair = &row[at as usize..at as usize + 2];
        *value = blend(pair[0], pair[1], fraction);
    }
}
