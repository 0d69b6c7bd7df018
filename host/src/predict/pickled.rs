//! What nnU-Net writes beside saved probabilities, and needs to make a file of them again: `<case>.pkl`, Python's `pickle` of where the image lies
//! (`export_prediction.py`; read by `nnUNetv2_ensemble`).

use data::plan::Plans;
use data::preprocess::Properties;
use data::pth::{Value, write_pickle};
use imaging::io::{Error, Geometry, write_atomically};
use std::path::Path;

/// Writes the properties of an image with this `geometry`, as the readers of nnU-Net have them.
pub fn write(path: &Path, properties: &Properties, geometry: &Geometry, plans: &Plans) -> Result<(), Error> {
    let Properties { spacing, shape, bbox, shape_after_crop } = properties;
    let transposed = plans.transpose_forward.map(|axis| shape[axis]);
    let bounds = (0..3).map(|axis| Value::List(vec![int(bbox.lower[axis]), int(bbox.upper[axis])]));
    let root = Value::dict([
        ("sitk_stuff", itk(geometry)),
        ("nibabel_stuff", Value::dict([("original_affine", affine(geometry))])),
        ("spacing", Value::List(spacing.iter().copied().map(Value::Float).collect())),
        ("shape_before_cropping", Value::Tuple(transposed.into_iter().map(int).collect())),
        ("bbox_used_for_cropping", Value::List(bounds.collect())),
        ("shape_after_cropping_and_before_resampling", Value::Tuple(shape_after_crop.iter().copied().map(int).collect())),
    ]);
    write_atomically(path, |out| write_pickle(out, &root))
}

/// As SimpleITK has it: x first, the direction row by row; of two axes where the image has two.
fn itk(geometry: &Geometry) -> Value {
    let axes = if geometry.is_planar() { 2 } else { 3 };
    let [z, y, x] = geometry.spacing();
    let placement = geometry.in_itk();
    let tuple = |numbers: Vec<f64>| Value::Tuple(numbers.into_iter().map(Value::Float).collect());
    let direction = (0..axes).flat_map(|row| (0..axes).map(move |column| placement.direction[column][row]));
    Value::dict([
        ("spacing", tuple([x, y, z][..axes].to_vec())),
        ("origin", tuple(placement.origin[..axes].to_vec())),
        ("direction", tuple(direction.collect())),
    ])
}

/// From voxels (x, y, z) to mm in NIfTI's frame, which nibabel takes as nested lists, too.
fn affine(geometry: &Geometry) -> Value {
    let [z, y, x] = geometry.spacing();
    let (direction, origin) = (geometry.direction(), geometry.origin());
    let row = |row: usize| {
        let columns = [x, y, z].into_iter().zip(direction).map(|(spacing, axis)| Value::Float(axis[row] * spacing));
        Value::List(columns.chain([Value::Float(origin[row])]).collect())
    };
    let last = [0.0, 0.0, 0.0, 1.0].map(Value::Float);
    Value::List((0..3).map(row).chain([Value::List(last.to_vec())]).collect())
}

fn int(number: usize) -> Value {
    Value::Int(number as i64)
}
