// What libtorch offers only to C++: autocast on any device, the state of its generators, the thread's modes as a whole, and the
// operations on many tensors at once that an optimiser step is made of.
// No exception crosses: every function returns 0, or -1 with a message in `error` that `shim_free` frees.

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Generator.h>
#include <ATen/core/grad_mode.h>
#include <cstdlib>
#include <cstring>
#include <memory>

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

}  // namespace

extern "C" {

// Modes of the calling thread that a plugin could leave changed.
struct ShimModes {
  int grad, autocast_cpu, autocast_cpu_type, autocast_cuda, autocast_cuda_type, threads;
};

void shim_free(char* text) { free(text); }

void shim_modes_read(ShimModes* out) {
  *out = {at::GradMode::is_enabled(),
          at::autocast::is_autocast_enabled(at::kCPU),
          static_cast<int>(at::autocast::get_autocast_dtype(at::kCPU)),
          at::autocast::is_autocast_enabled(at::kCUDA),
          static_cast<int>(at::autocast::get_autocast_dtype(at::kCUDA)),
          at::get_num_threads()};
}

int shim_modes_write(const ShimModes* modes, char** error) {
  return guard(error, [&] {
    at::GradMode::set_enabled(modes->grad);
    at::autocast::set_autocast_enabled(at::kCPU, modes->autocast_cpu);
    at::autocast::set_autocast_dtype(at::kCPU, static_cast<at::ScalarType>(modes->autocast_cpu_type));
    at::autocast::set_autocast_enabled(at::kCUDA, modes->autocast_cuda);
    at::autocast::set_autocast_dtype(at::kCUDA, static_cast<at::ScalarType>(modes->autocast_cuda_type));
    if (at::get_num_threads() != modes->threads) at::set_num_threads(modes->threads);
  });
}

// Enters autocast with bfloat16. The cast cache is keyed by the tensor alone, so one region is one forward pass: weights must
// not change inside it. Leaving is `shim_autocast_leave` followed by `shim_modes_write`.
int shim_autocast_enter(int index, char** error) {
  return guard(error, [&] {
    auto type = device(index).type();
    at::autocast::set_autocast_enabled(type, true);
    at::autocast::set_autocast_dtype(type, at::kBFloat16);
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

// Clips the norm of all gradients together, as torch.nn.utils.clip_grad_norm_ does. Tensors without a gradient are left out.
int shim_clip_gradients(at::Tensor* const* tensors, size_t count, double max_norm, double* norm, char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients = gradients_of(tensors, count);
    *norm = 0;
    if (gradients.empty()) return;
    at::Tensor total = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)));
    at::_foreach_mul_(gradients, at::clamp_max(max_norm / (total + 1e-6), 1.0));
    *norm = total.item<double>();
  });
}

// One step of SGD with Nesterov momentum on every tensor that has a gradient. `velocities` start at zero.
int shim_sgd(at::Tensor* const* tensors, at::Tensor* const* velocities, size_t count, double lr, double momentum, double weight_decay,
             char** error) {
  return guard(error, [&] {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> parameters, momenta;
    for (size_t i = 0; i < count; i++) {
      if (!tensors[i]->grad().defined()) continue;
      parameters.push_back(*tensors[i]);
      momenta.push_back(*velocities[i]);
    }
    if (parameters.empty()) return;
    std::vector<at::Tensor> gradients = gradients_of(tensors, count);
    at::_fused_sgd_(parameters, gradients, momenta, weight_decay, momentum, lr, /*dampening=*/0.0, /*nesterov=*/true,
                    /*maximize=*/false, /*is_first_step=*/false);
  });
}

// Removes gradients, so that a tensor that the next step does not reach is not moved by momentum or decay.
int shim_clear_gradients(at::Tensor* const* tensors, size_t count, char** error) {
  return guard(error, [&] {
    for (size_t i = 0; i < count; i++) tensors[i]->mutable_grad().reset();
  });
}
}
