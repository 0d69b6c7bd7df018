//! The files of `tests/golden/pth`, and what a `.pth` file holds as JSON.

use crate::artifact::root;
use host::model::pth::{DType, Error, Pth, Value};
use serde_json::{Value as Json, json};
use std::path::PathBuf;

/// Where make_pth.py puts its files.
pub fn fixtures() -> PathBuf {
    root().join("tests/golden/pth")
}

/// The JSON of `describe` in make_pth.py.
pub fn describe(pth: &Pth, value: &Value) -> Result<Json, Error> {
    let all = |items: &[Value]| items.iter().map(|item| describe(pth, item)).collect::<Result<Vec<Json>, Error>>();
    let pairs = |entries: &[(Value, Value)]| {
        entries.iter().map(|(key, value)| Ok(json!([describe(pth, key)?, describe(pth, value)?]))).collect::<Result<Vec<Json>, Error>>()
    };
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) if value.is_finite() => json!(value),
        Value::Float(value) => json!({"float": value.to_string().to_lowercase()}),
        Value::Str(text) => json!(text),
        Value::Bytes(bytes) => json!({"bytes": bytes}),
        Value::List(items) => json!(all(items)?),
        Value::Tuple(items) => json!({"tuple": all(items)?}),
        Value::Dict(entries) => json!({"dict": pairs(entries)?}),
        Value::OrderedDict(entries) => json!({"ordered": pairs(entries)?}),
        Value::Tensor(tensor) => {
            let numbers = pth.tensor_f32(tensor)?;
            assert_eq!(numbers.len() as u64, tensor.shape.iter().product::<u64>());
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!({"tensor": [name(tensor.dtype), tensor.shape, rawzip::crc32(&bytes)]})
        }
    })
}

fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "float64",
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::I16 => "int16",
        DType::I8 => "int8",
        DType::U8 => "uint8",
        DType::Bool => "bool",
    }
}
