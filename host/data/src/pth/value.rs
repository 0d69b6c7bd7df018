//! What a pickle holds.

use std::sync::Arc;

/// Plain data. A dictionary's pairs keep their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `bool`, numpy's too.
    Bool(bool),
    /// `int`, numpy's too.
    Int(i64),
    /// `float`, numpy's too.
    Float(f64),
    /// `str`, and `torch.device` as in `"cuda:0"`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// `list`; a numpy array as nested lists.
    List(Vec<Value>),
    /// `tuple` and `torch.Size`.
    Tuple(Vec<Value>),
    /// `dict`.
    Dict(Vec<(Value, Value)>),
    /// `collections.OrderedDict`, which state dicts are.
    OrderedDict(Vec<(Value, Value)>),
    /// A tensor or `torch.nn.Parameter`.
    Tensor(Arc<TensorRef>),
}

impl Value {
    /// A dictionary with these keys, in this order.
    pub fn dict<const N: usize>(entries: [(&str, Self); N]) -> Self {
        Self::Dict(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The pairs of a dictionary of either kind.
    pub fn entries(&self) -> Option<&[(Value, Value)]> {
        match self {
            Self::Dict(entries) | Self::OrderedDict(entries) => Some(entries),
            _ => None,
        }
    }

    /// A dictionary's value of this key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries()?.iter().find(|(other, _)| other.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// Whether Python takes it as a dictionary's key.
    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Self::List(_) | Self::Dict(_) | Self::OrderedDict(_) | Self::Tensor(_) => false,
            Self::Tuple(items) => items.iter().all(Self::is_hashable),
            _ => true,
        }
    }
}

impl From<TensorRef> for Value {
    fn from(tensor: TensorRef) -> Self {
        Self::Tensor(Arc::new(tensor))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

/// Where a tensor's numbers are: element `[i, j, …]` is number `offset + i * strides[0] + j * strides[1] + …` of its storage.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorRef {
    /// Type of the numbers.
    pub dtype: DType,
    /// Extents.
    pub shape: Vec<u64>,
    /// Numbers from one element to the next along every axis.
    pub strides: Vec<u64>,
    /// Number of the first element.
    pub offset: u64,
    /// Name of the storage, which tensors may share.
    pub storage: Arc<str>,
}

impl TensorRef {
    /// All `f32` numbers of a storage, in C order.
    pub fn new(storage: impl Into<Arc<str>>, shape: impl Into<Vec<u64>>) -> Self {
        let shape = shape.into();
        let strides = c_order(&shape);
        Self { dtype: DType::F32, shape, strides, offset: 0, storage: storage.into() }
    }
}

/// Strides without gaps; where they would overflow, the shape is refused later.
pub(super) fn c_order(shape: &[u64]) -> Vec<u64> {
    let mut strides = vec![1u64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].saturating_mul(shape[axis].max(1));
    }
    strides
}

/// Type of a tensor's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl DType {
    /// By the name of torch's class.
    pub(super) fn of_storage(class: &[u8]) -> Option<Self> {
        Some(match class {
            b"DoubleStorage" => Self::F64,
            b"FloatStorage" => Self::F32,
            b"HalfStorage" => Self::F16,
            b"BFloat16Storage" => Self::BF16,
            b"LongStorage" => Self::I64,
            b"IntStorage" => Self::I32,
            b"ShortStorage" => Self::I16,
            b"CharStorage" => Self::I8,
            b"ByteStorage" => Self::U8,
            b"BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes of a number.
    pub fn size(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}
