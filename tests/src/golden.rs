//! Golden numbers of `tests/golden`: what nnU-Net computes.

use crate::artifact::root;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use tch::{Kind, Tensor};

/// A golden file: tensors by key, and the JSON in its header.
#[derive(Debug)]
pub struct Golden {
    name: String,
    bytes: Vec<u8>,
}

impl Golden {
    /// Reads `tests/golden/<name>.safetensors`.
    pub fn read(name: &str) -> Self {
        let path = root().join("tests/golden").join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { name: name.to_owned(), bytes }
    }

    /// The JSON under `key` of the metadata.
    pub fn metadata<T: DeserializeOwned>(&self, key: &str) -> T {
        let (_, metadata) = SafeTensors::read_metadata(&self.bytes).expect("safetensors");
        let json =
            metadata.metadata().as_ref().and_then(|metadata| metadata.get(key)).unwrap_or_else(|| panic!("{} has no {key}", self.name));
        serde_json::from_str(json).expect("JSON as golden/README.md describes it")
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        self.open().names().into_iter().map(str::to_owned).collect()
    }

    /// The tensor `key`, on the CPU.
    pub fn tensor(&self, key: &str) -> Tensor {
        let tensors = self.open();
        let stored = tensors.tensor(key).unwrap_or_else(|e| panic!("{}: {key}: {e}", self.name));
        let kind = match stored.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F64 => Kind::Double,
            Dtype::I16 => Kind::Int16,
            Dtype::I64 => Kind::Int64,
            Dtype::BOOL => Kind::Bool,
            other => panic!("{}: {key} is {other:?}", self.name),
        };
        let shape: Vec<i64> = stored.shape().iter().map(|size| *size as i64).collect();
        Tensor::from_data_size(stored.data(), &shape, kind)
    }

    /// The levels `<prefix>.0`, `<prefix>.1`, …, as many as there are.
    pub fn levels(&self, prefix: &str) -> Vec<Tensor> {
        let tensors = self.open();
        let key = |level: usize| format!("{prefix}.{level}");
        (0..).take_while(|level| tensors.tensor(&key(*level)).is_ok()).map(|level| self.tensor(&key(level))).collect()
    }

    fn open(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("safetensors")
    }
}

/// Largest absolute difference; panics where shapes differ.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Largest absolute value.
pub fn largest(a: &Tensor) -> f64 {
    a.to_kind(Kind::Double).abs().max().double_value(&[])
}
