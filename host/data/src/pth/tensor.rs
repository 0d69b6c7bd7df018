//! From a storage's bytes to a tensor's numbers.

use super::error::{Problem, unexpected};
use super::value::{DType, TensorRef, c_order};

/// Most axes.
pub(super) const MAX_RANK: usize = 16;

impl TensorRef {
    /// How many elements it has, and how many numbers its storage must have for that.
    pub(super) fn extent(&self) -> Result<(u64, u64), Problem> {
        let odd = || unexpected(format!("a tensor of shape {:?} and strides {:?}", self.shape, self.strides), "one that fits a file");
        if self.shape.len() != self.strides.len() || self.shape.len() > MAX_RANK {
            return Err(unexpected(
                format!("a tensor with {} extents and {} strides", self.shape.len(), self.strides.len()),
                format!("as many of both, at most {MAX_RANK}"),
            ));
        }
        if self.shape.contains(&0) {
            return Ok((0, 0));
        }
        let mut elements = 1u64;
        let mut last = self.offset;
        for (extent, stride) in self.shape.iter().zip(&self.strides) {
            elements = elements.checked_mul(*extent).ok_or_else(odd)?;
            last = (extent - 1).checked_mul(*stride).and_then(|step| last.checked_add(step)).ok_or_else(odd)?;
        }
        Ok((elements, last.checked_add(1).ok_or_else(odd)?))
    }

    /// Refuses a tensor that does not fit `numel` numbers; gives its elements. One that repeats numbers (stride 0) may not have more
    /// elements than there are numbers, lest a few bytes become a large tensor.
    pub(super) fn elements_within(&self, numel: u64) -> Result<u64, Problem> {
        let (elements, needed) = self.extent()?;
        if needed > numel || elements > numel {
            let found = format!("a tensor of shape {:?} that needs {} numbers", self.shape, needed.max(elements));
            return Err(unexpected(found, format!("at most the {numel} of its storage {:?}", self.storage)));
        }
        Ok(elements)
    }

    /// Which bytes of a storage of `numel` numbers it needs: the first and how many.
    pub(super) fn bytes_within(&self, numel: u64) -> Result<(u64, u64), Problem> {
        self.elements_within(numel)?;
        let (_, end) = self.extent()?;
        let overflow = || unexpected(format!("a storage of {numel} numbers"), "one that fits a file");
        let first = self.offset.min(end).checked_mul(self.dtype.size()).ok_or_else(overflow)?;
        Ok((first, end.checked_mul(self.dtype.size()).ok_or_else(overflow)? - first))
    }

    /// Its elements in C order, from the bytes that [`Self::bytes_within`] named.
    pub(super) fn decode(&self, bytes: &[u8]) -> Vec<f32> {
        let gapless = self.shape.iter().zip(&self.strides).zip(c_order(&self.shape)).all(|((extent, a), b)| *a == b || *extent <= 1);
        if gapless || self.shape.contains(&0) { convert(self.dtype, bytes) } else { convert(self.dtype, &self.gather(bytes)) }
    }

    /// Copies the elements one behind the other.
    fn gather(&self, bytes: &[u8]) -> Vec<u8> {
        let size = self.dtype.size();
        let elements = self.shape.iter().product::<u64>();
        let mut out = Vec::with_capacity((elements * size) as usize);
        let mut index = vec![0; self.shape.len()];
        let mut position = 0u64;
        for _ in 0..elements {
            out.extend_from_slice(&bytes[(position * size) as usize..][..size as usize]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                position = position.wrapping_add(self.strides[axis]); // an extent of 1 may have any stride
                if index[axis] < self.shape[axis] {
                    break;
                }
                position = position.wrapping_sub(self.shape[axis].wrapping_mul(self.strides[axis]));
                index[axis] = 0;
            }
        }
        out
    }
}

fn convert(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
    }
    match dtype {
        DType::F64 => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        DType::F32 => each(bytes, f32::from_le_bytes),
        DType::F16 => each(bytes, |bytes| f32_of_f16(u16::from_le_bytes(bytes))),
        DType::BF16 => each(bytes, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)),
        DType::I64 => each(bytes, |bytes| i64::from_le_bytes(bytes) as f32),
        DType::I32 => each(bytes, |bytes| i32::from_le_bytes(bytes) as f32),
        DType::I16 => each(bytes, |bytes| f32::from(i16::from_le_bytes(bytes))),
        DType::I8 => each(bytes, |bytes| f32::from(i8::from_le_bytes(bytes))),
        DType::U8 => each(bytes, |[byte]| f32::from(byte)),
        DType::Bool => each(bytes, |[byte]| f32::from(u8::from(byte != 0))),
    }
}

/// Exact: every half-precision number is one in single precision.
pub(super) fn f32_of_f16(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (u32::from(bits >> 15) << 31, u32::from(bits >> 10 & 0x1f), u32::from(bits & 0x3ff));
    match exponent {
        0 => {
            let magnitude = fraction as f32 * 2f32.powi(-24);
            f32::from_bits(magnitude.to_bits() | sign)
        }
        0x1f => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}
