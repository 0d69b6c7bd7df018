//! The names that a pickle may ask for. Each stands for a way to make plain data; none is looked up in anything.

use super::value::DType;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Global {
    /// `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.
    RebuildTensor,
    /// `_rebuild_parameter(tensor, …)`: the tensor.
    RebuildParameter,
    /// `torch.FloatStorage` and so on, in the name of a storage.
    Storage(DType),
    /// `torch.device(kind, index)`: text.
    Device,
    /// `torch.Size(tuple)`: the tuple.
    Size,
    /// `OrderedDict()`.
    OrderedDict,
    /// `numpy.dtype(code, …)`, whose byte order is set afterwards.
    NumpyType,
    /// `scalar(dtype, bytes)`: a number.
    NumpyScalar,
    /// `_reconstruct(numpy.ndarray, …)`, whose content is set afterwards.
    NumpyReconstruct,
    /// `numpy.ndarray`, for the former.
    NumpyArray,
    /// `_codecs.encode(text, "latin1")`: how protocol 2 writes bytes.
    Encode,
    /// `bytes()`: how protocol 2 writes none.
    Bytes,
}

impl Global {
    /// The only names that are understood. nnU-Net's checkpoints ask for `torch._utils`, `torch`, `collections`, `numpy` and `_codecs`;
    /// numpy 2 renamed `numpy.core`, and protocol 2 calls `builtins` as Python 2 did.
    pub(super) fn named(module: &[u8], name: &[u8]) -> Option<Self> {
        Some(match (module, name) {
            (b"torch._utils", b"_rebuild_tensor_v2") => Self::RebuildTensor,
            (b"torch._utils", b"_rebuild_parameter") => Self::RebuildParameter,
            (b"torch", b"device") => Self::Device,
            (b"torch", b"Size") => Self::Size,
            (b"torch", class) => Self::Storage(DType::of_storage(class)?),
            (b"collections", b"OrderedDict") => Self::OrderedDict,
            (b"numpy", b"dtype") => Self::NumpyType,
            (b"numpy", b"ndarray") => Self::NumpyArray,
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"scalar") => Self::NumpyScalar,
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => Self::NumpyReconstruct,
            (b"_codecs", b"encode") => Self::Encode,
            (b"__builtin__" | b"builtins", b"bytes") => Self::Bytes,
            _ => return None,
        })
    }
}
