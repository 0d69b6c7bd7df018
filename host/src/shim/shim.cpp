// What libtorch offers only to C++: autocast on any device, the state of its generators, the thread's modes as a whole, and the
// operations on many tensors at once that an optimiser step is made of.
// No exception crosses: every function returns 0, or -1 with a message in `error` that `shim_free` frees.

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Generator.h>
#include <ATen/core/grad_mode.h>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

namespace {

template <class F>
int guard(char** error, F&& call) noexcept {
  try {
    call();
    return 0;
  } catch (const c10::Error& e) {
    *error = strdup(e.what_without_backtrace());
  } catch (const std::exception& e) {
    *error = strdup(e.what());
  } catch (...) {
    *error = strdup("unknown C++ exception");
  }
  return -1;
}

// A device as the Rust side has it: -1 is the CPU, n is cuda:n.
at::Device device(int index) {
  return index < 0 ? at::Device(at::kCPU) : at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

std::vector<at::Tensor> gradients_of(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < count; i++) {
    if (tensors[i]->grad().defined()) gradients.push_back(tensors[i]->grad());
  }
  return gradients;
}

std::vector<at::Tensor> all(at::Tensor* const* tensors, size_t count) {
  std::vector<at::Tensor> list;
  for (size_t i = 0; i < count; i++) list.push_back(*tensors[i]);
  return list;
}

// Those of `values` whose tensor has a gradient.
std::vector<at::Tensor> with_gradient(at::Tensor* const* tensors, at::Tensor* const* values, size_t count) {
  std::vector<at::Tensor> list;
  for (size_t i = 0; i < count; i++) {
    if (tensors[i]->grad().defined()) list.push_back(*values[i]);
  }
  return list;
}

at::Tensor norm_of(at::TensorList gradients) {
  if (gradients.empty()) return at::zeros({}, at::kFloat);
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)));
}

}  // namespace

extern "C" {

// Modes of the calling thread, and of the process, that a plugin could leave changed.
struct ShimModes {
  int grad, autocast_cpu, autocast_cpu_type, autocast_cuda, autocast_cuda_type, threads;
  int deterministic, warn_only, cudnn_deterministic, cudnn_benchmark;
};

void shim_free(char* text) { free(text); }

void shim_modes_read(ShimModes* out) {
  *out = {at::GradMode::is_enabled(),
          at::autocast::is_autocast_enabled(at::kCPU),
          static_cast<int>(at::autocast::get_autocast_dtype(at::kCPU)),
          at::autocast::is_autocast_enabled(at::kCUDA),
          static_cast<int>(at::autocast::get_autocast_dtype(at::kCUDA)),
          at::get_num_threads(),
          at::globalContext().deterministicAlgorithms(),
          at::globalContext().deterministicAlgorithmsWarnOnly(),
          at::globalContext().deterministicCuDNN(),
          at::globalContext().benchmarkCuDNN()};
}

int shim_modes_write(const ShimModes* modes, char** error) {
  return guard(error, [&] {
    at::GradMode::set_enabled(modes->grad);
    at::autocast::set_autocast_enabled(at::kCPU, modes->autocast_cpu);
    at::autocast::set_autocast_dtype(at::kCPU, static_cast<at::ScalarType>(modes->autocast_cpu_type));
    at::autocast::set_autocast_enabled(at::kCUDA, modes->autocast_cuda);
    at::autocast::set_autocast_dtype(at::kCUDA, static_cast<at::ScalarType>(modes->autocast_cuda_type));
    if (at::get_num_threads() != modes->threads) at::set_num_threads(modes->threads);
    at::globalContext().setDeterministicAlgorithms(modes->deterministic, modes->warn_only);
    at::globalContext().setDeterministicCuDNN(modes->cudnn_deterministic);
    at::globalContext().setBenchmarkCuDNN(modes->cudnn_benchmark);
  });
}

// Enters autocast with float16 or else bfloat16. The cast cache is keyed by the tensor alone, so one region is one forward pass:
// weights must not change inside it. Leaving is `shim_autocast_leave` followed by `shim_modes_write`.
int shim_autocast_enter(int index, int half, char** error) {
  return guard(error, [&] {
    auto type = device(index).type();
    at::autocast::set_autocast_enabled(type, true);
    at::autocast::set_autocast_dtype(type, half ? at::kHalf : at::kBFloat16);
    at::autocast::increment_nesting();
  });
}

int shim_autocast_leave(char** error) {
  return guard(error, [&] {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
  });
}

// Seeds the device's default generator and returns its former state, which `shim_generator_restore` puts back and frees.
int shim_generator_seed(int index, uint64_t seed, void** state, char** error) {
  return guard(error, [&] {
    at::Generator generator = at::globalContext().defaultGenerator(device(index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    auto saved = std::make_unique<at::Tensor>(generator.get_state());
    generator.set_current_seed(seed);
    *state = saved.release();
  });
}

int shim_generator_restore(int index, void* state, char** error) {
  return guard(error, [&] {
    std::unique_ptr<at::Tensor> saved(static_cast<at::Tensor*>(state));
    at::Generator generator = at::globalContext().defaultGenerator(device(index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    generator.set_state(*saved);
  });
}

// A hash of the state of the device's default generator: it changes with every draw.
int shim_generator_digest(int index, uint64_t* digest, char** error) {
  return guard(error, [&] {
    at::Generator generator = at::globalContext().defaultGenerator(device(index));
    std::lock_guard<std::mutex> lock(generator.mutex());
    at::Tensor state = generator.get_state();
    *digest = 0xcbf29ce484222325;
    for (int64_t i = 0; i < state.numel(); i++) *digest = (*digest ^ state.const_data_ptr<uint8_t>()[i]) * 0x100000001b3;
  });
}

// Fills a tensor of the CPU with draws from a normal distribution around 0. The generator is the call's own: no other thread can draw from it.
int shim_fill_normal(const at::Tensor* tensor, double deviation, uint64_t seed, char** error) {
  return guard(error, [&] { tensor->normal_(0, 1, at::detail::createCPUGenerator(seed)).mul_(deviation); });
}

// For each tensor, how often it, or what it shares memory with, was written to in place. Tensors of inference mode do not count writes: 0.
void shim_versions(at::Tensor* const* tensors, size_t count, uint32_t* versions) noexcept {
  for (size_t i = 0; i < count; i++) {
    bool counts = tensors[i]->defined() && !tensors[i]->is_inference();
    versions[i] = counts ? tensors[i]->unsafeGetTensorImpl()->version_counter().current_version() : 0;
  }
}

// Divides all gradients by `scale` and clips the norm of those of `clipped` together, as torch.nn.utils.clip_grad_norm_ does; those
// of `others` are not clipped. `norm` is infinite where a gradient is not finite; then gradients are left as they are.
int shim_clip_gradients(at::Tensor* const* clipped, size_t n_clipped, at::Tensor* const* others, size_t n_others, double max_norm,
                        double scale, double* norm, char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> bounded = gradients_of(clipped, n_clipped), free = gradients_of(others, n_others);
    at::Tensor total = norm_of(bounded) / scale;
    *norm = total.item<double>();
    if (!std::isfinite(*norm) || (!free.empty() && !std::isfinite(norm_of(free).item<double>()))) {
      *norm = std::numeric_limits<double>::infinity();
      return;
    }
    if (!bounded.empty()) at::_foreach_mul_(bounded, at::clamp_max(max_norm / (total + 1e-6), 1.0) / scale);
    if (!free.empty() && scale != 1) at::_foreach_mul_(free, 1 / scale);
  });
}

// One step of SGD with Nesterov momentum on every tensor that has a gradient. `velocities` start at zero.
int shim_sgd(at::Tensor* const* tensors, at::Tensor* const* velocities, size_t count, double lr, double momentum, double weight_decay,
             char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> parameters = with_gradient(tensors, tensors, count);
    if (parameters.empty()) return;
    std::vector<at::Tensor> gradients = gradients_of(tensors, count), momenta = with_gradient(tensors, velocities, count);
    at::_fused_sgd_(parameters, gradients, momenta, weight_decay, momentum, lr, /*dampening=*/0.0, /*nesterov=*/true,
                    /*maximize=*/false, /*is_first_step=*/false);
  });
}

// Settings of Adam. `decoupled` is AdamW.
struct ShimAdam {
  double lr, beta1, beta2, eps, weight_decay;
  int decoupled, amsgrad;
};

// One step of Adam or AdamW on every tensor that has a gradient. All state starts at zero; `largest` is empty unless amsgrad.
int shim_adam(at::Tensor* const* tensors, at::Tensor* const* means, at::Tensor* const* squares, at::Tensor* const* largest,
              at::Tensor* const* steps, size_t count, const ShimAdam* o, char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> parameters = with_gradient(tensors, tensors, count);
    if (parameters.empty()) return;
    std::vector<at::Tensor> gradients = gradients_of(tensors, count), first = with_gradient(tensors, means, count),
                            second = with_gradient(tensors, squares, count), counts = with_gradient(tensors, steps, count), maxima;
    if (o->amsgrad) maxima = with_gradient(tensors, largest, count);
    at::_foreach_add_(counts, 1);
    // Overloads differ in the type of the rate: a pointer has to name this one.
    using Step = void (*)(at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList, double, double,
                          double, double, double, bool, bool, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&);
    Step step = o->decoupled ? static_cast<Step>(at::_fused_adamw_) : static_cast<Step>(at::_fused_adam_);
    step(parameters, gradients, first, second, maxima, counts, o->lr, o->beta1, o->beta2, o->weight_decay, o->eps, o->amsgrad,
         /*maximize=*/false, {}, {});
  });
}

// averages += weight * (tensors - averages).
int shim_lerp(at::Tensor* const* averages, at::Tensor* const* tensors, size_t count, double weight, char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    at::_foreach_lerp_(all(averages, count), all(tensors, count), weight);
  });
}

// Swaps what two lists of tensors hold, without copying.
int shim_swap(at::Tensor* const* left, at::Tensor* const* right, size_t count, char** error) {
  return guard(error, [&] {
    for (size_t i = 0; i < count; i++) {
      at::Tensor data = left[i]->variable_data();
      left[i]->set_data(right[i]->variable_data());
      right[i]->set_data(data);
    }
  });
}

// Removes gradients, so that a tensor that the next step does not reach is not moved by momentum or decay.
int shim_clear_gradients(at::Tensor* const* tensors, size_t count, char** error) {
  return guard(error, [&] {
    for (size_t i = 0; i < count; i++) tensors[i]->mutable_grad().reset();
  });
}
}
