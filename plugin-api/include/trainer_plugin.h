/* The C door of trainer plugins: the same structures and table as plugin-api's `abi` module, for C and C++.
 *
 * A plugin defines one table and its manifest, in one file:
 *
 *     TRAINER_PLUGIN("my-loss", "0.1.0", "What it does.", table)
 *
 * and is built into a shared library against the libtorch that the host runs.
 *
 * Rules that hold for every call:
 * - Inputs (strings, tensors, arrays) are borrowed for the call, and tensors among them are only read: other trainers may see the same ones.
 *   Tensors pushed into a sink belong to the receiver.
 * - A function returns TP_OK, or TP_ERROR / TP_PANIC after writing one message to its `error` sink. No exception may leave it:
 *   in C++ write every function as `return tp_guard(error, [&] { ... });` and throw `tp_error` for what is no surprise.
 * - An instance is used by one thread at a time, which may change between calls; that of a target transform by several at once. After TP_PANIC no call
 *   begins but `destroy`.
 * - No function of a table is NULL, that of an extension included.
 */
#ifndef TRAINER_PLUGIN_H
#define TRAINER_PLUGIN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TP_OK 0
#define TP_ERROR 1
#define TP_PANIC 2

#define TP_API "1.2.0"

#ifdef __cplusplus
extern "C" {
#endif

typedef void *tp_tensor;   /* at::Tensor*, which is PyTorch's AtenTensorHandle */
typedef void *tp_instance; /* what `create` made */

typedef struct { const char *ptr; size_t len; } tp_str; /* UTF-8, not terminated: compare with `tp_equals`, not with strcmp; or opaque bytes */
typedef struct { const tp_tensor *ptr; size_t len; } tp_tensors;
typedef struct { tp_str name; tp_tensors levels; } tp_named; /* levels finest first */
typedef struct { const tp_named *ptr; size_t len; } tp_named_list;

typedef struct { void *ctx; void (*write)(void *ctx, tp_str piece); } tp_sink;
typedef struct { void *ctx; void (*push)(void *ctx, tp_str output, tp_tensor level); } tp_output_sink; /* finest level first */
/* One term of a loss: `value` is an unweighted scalar, `weight_tensor` a learned scalar, or NULL where the number `weight` counts. `lowest` is
 * the least that the value can be (-INFINITY: no bound), `samples` how many of the batch it is about (negative: all). */
typedef struct { tp_str name; tp_tensor value; tp_tensor weight_tensor; double weight; double lowest; int64_t samples; } tp_term;
typedef struct { void *ctx; void (*push)(void *ctx, const tp_term *term); } tp_loss_sink;

typedef struct { tp_tensors decoder; tp_tensor bottleneck; tp_tensors skips; } tp_features; /* maps (B, C, [Z,] Y, X), finest first */
typedef struct { uint32_t levels; uint8_t training; uint8_t amp; } tp_pass;

/* Levels finest first: labels i64 (B, 1, ...), regions bool (B, R[+1: ignored], ...), regression f32 (B, C, ...), class i64 (B,).
 * `valid`: per level bool (B, 1, ...), empty where everything is; `presence`: bool (B,). */
typedef struct { tp_str name; tp_tensors levels; tp_tensors valid; tp_tensor presence; } tp_target;
typedef struct { tp_tensor image; const tp_str *cases; size_t n_cases; const tp_target *targets; size_t n_targets; } tp_batch;

typedef struct {
    uint64_t epoch, iteration, micro_step, seed;
    uint32_t phase; /* 0 training, 1 validation */
    const double *level_weights; /* deep supervision, finest first, of sum 1 */
    size_t n_levels;
} tp_step;

typedef struct {
    tp_str name;
    uint32_t kind; /* 0 weight, 1 buffer, 2 loss weight */
    const int64_t *shape;
    size_t dims;
    uint32_t init;     /* 0 Kaiming normal, 1 constant, 2 normal */
    double init_value; /* constant or standard deviation */
    uint8_t decay;
} tp_param_request;

/* `log` on any thread, at any time (level 1 error ... 5 trace); `param` during `create`, on its thread. */
typedef struct {
    void *ctx;
    uint32_t log_level;
    void (*log)(tp_str plugin, uint32_t level, tp_str file, uint32_t line, tp_str message);
    int32_t (*param)(void *ctx, const tp_param_request *request, tp_tensor *out, tp_sink error);
    const void *(*extension)(tp_str id);
} tp_host_services;

typedef struct {
    int32_t (*describe)(tp_sink out, tp_sink error); /* {"schema": JSON Schema of the options} */
    int32_t (*create)(const tp_host_services *host, tp_str task, tp_str options, tp_instance *out, tp_sink error); /* both JSON */
    void (*destroy)(tp_instance trainer);
    int32_t (*outputs)(tp_instance trainer, tp_sink out, tp_sink error); /* [{"name", "kind", "target", "channels", "levels"}] */
    int32_t (*forward)(tp_instance trainer, const tp_features *features, const tp_pass *pass, tp_output_sink out, tp_sink error);
    int32_t (*loss)(tp_instance trainer, tp_named_list outputs, const tp_batch *batch, const tp_step *step, tp_loss_sink out, tp_sink error);
    int32_t (*activate)(tp_instance trainer, tp_named_list logits, tp_output_sink out, tp_sink error);
    int32_t (*epoch_start)(tp_instance trainer, tp_str epoch, tp_sink error); /* JSON */
    int32_t (*epoch_end)(tp_instance trainer, tp_str report, tp_sink error);  /* JSON */
    int32_t (*save_state)(tp_instance trainer, tp_sink out, tp_sink error);
    int32_t (*load_state)(tp_instance trainer, tp_str state, tp_sink error);
    const void *(*extension)(tp_str id);
} tp_entry;

const tp_entry *trainer_plugin_entry_v1(void);

/* Whether `text`, which need not be terminated, is `literal`, which is. */
static inline int tp_equals(tp_str text, const char *literal) {
    size_t length = strlen(literal);
    return text.len == length && memcmp(text.ptr, literal, length) == 0;
}

/* A term of weight `weight` that cannot be below 0 and is about all samples of the batch; `name` is terminated, `value` is handed over. Set `lowest`,
 * `samples` and `weight_tensor` of the result where they are others: a field that is left at 0 means something. */
static inline tp_term tp_make_term(const char *name, tp_tensor value, double weight) {
    tp_term term = {{name, strlen(name)}, value, NULL, weight, 0.0, -1};
    return term;
}

/* Extensions: what `extension` of the table returns for these ids; NULL for those that a plugin does not have. */

/* Metrics of your own, for every validation batch; `outputs` are logits. NaN: nothing to measure. */
#define TP_METRICS "trainer.metrics/1"
typedef struct { void *ctx; void (*push)(void *ctx, tp_str output, tp_str name, double value); } tp_metric_sink;
typedef struct {
    int32_t (*compute)(tp_instance trainer, tp_named_list outputs, const tp_batch *batch, const tp_step *step, tp_metric_sink out, tp_sink error);
} tp_metrics;

/* A loss with its gradient, called instead of `loss`; `outputs` have no graph. After a term, `gradient` takes d value / d output of its levels, without the
 * weight; NULL, or a level or an output that is missing, stands for zero. In validation gradients are ignored. */
#define TP_LOSS_WITH_GRAD "trainer.loss-with-grad/1"
typedef struct {
    void *ctx;
    void (*term)(void *ctx, const tp_term *term);
    void (*gradient)(void *ctx, const tp_named *output);
} tp_gradient_sink;
typedef struct {
    int32_t (*compute)(tp_instance trainer, tp_named_list outputs, const tp_batch *batch, const tp_step *step, tp_gradient_sink out, tp_sink error);
} tp_loss_with_grad;

/* Targets of the plugin's own, made of the data set's for every patch on the host's loader threads, several at once, without libtorch. `create` comes before
 * that of the trainer, gets the same options, has no parameters, and writes {"name": {"kind", "channels", "classes", ...}} to `declared`. Arrays are dense,
 * in C order. Kinds: 0 labels, int16_t (1, Z, Y, X); 1 regions, uint8_t 0 or 1 (channels, Z, Y, X); 2 regression, float (channels, Z, Y, X); 3 class, one
 * int64_t, `valid` is NULL. Masks are uint8_t (Z, Y, X), 0 or 1 (written: not 0). What is to be made is zero, valid everywhere and present,
 * until it is written to; where it is not valid, what is written counts for nothing. The instance must not be NULL. */
#define TP_TARGET_TRANSFORM "trainer.target-transform/1"
typedef struct { tp_str name; uint32_t kind; size_t channels; const void *values; const uint8_t *valid; } tp_target_view;
typedef struct { tp_str name; uint32_t kind; size_t channels; void *values; uint8_t *valid; uint8_t *present; } tp_made_view;
typedef struct {
    tp_str case_id;
    uint64_t seed;
    uint32_t phase; /* 0: training, 1: validation */
    size_t channels;
    size_t size[3];    /* Z, Y, X; Z is 1 in 2D */
    double spacing[3]; /* mm */
    const float *image;    /* (channels, Z, Y, X) */
    const uint8_t *inside; /* 0 where the patch reaches beyond the image */
    const tp_target_view *targets; /* of the data set, those that the case has */
    size_t n_targets;
    const tp_made_view *made; /* in the order of `declared` */
    size_t n_made;
} tp_sample_view;
typedef struct {
    int32_t (*create)(const tp_host_services *host, tp_str task, tp_str options, tp_instance *out, tp_sink declared, tp_sink error);
    void (*destroy)(tp_instance transform);
    int32_t (*apply)(tp_instance transform, const tp_sample_view *sample, tp_sink error);
} tp_target_transform;

#ifdef __cplusplus
} /* extern "C" */

#include <stdexcept>
#include <string>

/* What a call may fail with: the trainer is as good as before, and may be called again. */
struct tp_error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/* Runs `call`; a `tp_error` becomes TP_ERROR, any other exception TP_PANIC, with the first line of its message. */
template <class F>
int32_t tp_guard(tp_sink error, F &&call) noexcept {
    auto fail = [&](int32_t status, const char *what) {
        std::string text(what);
        text.resize(text.find('\n') == std::string::npos ? text.size() : text.find('\n'));
        error.write(error.ctx, tp_str{text.data(), text.size()});
        return status;
    };
    try {
        call();
        return TP_OK;
    } catch (const tp_error &e) {
        return fail(TP_ERROR, e.what());
    } catch (const std::exception &e) {
        return fail(TP_PANIC, e.what());
    } catch (...) {
        return fail(TP_PANIC, "unknown C++ exception");
    }
}

#define TP_EXTERN extern "C"
#else
#define TP_EXTERN
#endif

#define TP_TEXT_(x) #x
#define TP_TEXT(x) TP_TEXT_(x)

/* libtorch's headers define TORCH_VERSION; without them say which version the plugin is for. */
#ifdef TORCH_VERSION
#define TP_LIBTORCH TORCH_VERSION
#elif !defined(TP_LIBTORCH)
#define TP_LIBTORCH "unknown"
#endif

/* A plugin may ask for an augmentation, which is used unless the user names another one: define TP_AUGMENTATION as "default", "da5" or
 * "none" before including this. */
#ifdef TP_AUGMENTATION
#define TP_ASKS_AUGMENTATION "\",\"augmentation\":\"" TP_AUGMENTATION
#else
#define TP_ASKS_AUGMENTATION ""
#endif

/* A plugin may name how weights are moved, in the words of the command line, which wins: define TP_TRAINING as, for example,
 * "--optimiser adamw --schedule cosine" before including this. */
#ifdef TP_TRAINING
#define TP_ASKS_TRAINING "\",\"training\":\"" TP_TRAINING
#else
#define TP_ASKS_TRAINING ""
#endif

/* A plugin may say which functions do what the host would do itself: `activate` is softmax, sigmoid or nothing, by the output's kind; `forward`
 * computes level i of a dense output from decoder map i alone, and an image-level output from the bottleneck and the finest decoder map. Define
 * TP_KEEPS as "activate" or "activate", "forward" before including this. The host compares, and refuses a plugin that is different from what it says:
 * it makes another trainer with the same weights, and gives it made-up logits, and maps of which all but one are NaN. */
#ifdef TP_KEEPS
#define TP_LIST_(...) #__VA_ARGS__
#define TP_LIST(...) TP_LIST_(__VA_ARGS__)
#define TP_SAYS_KEEPS ",\"keeps\":[" TP_LIST(TP_KEEPS) "]"
#else
#define TP_SAYS_KEEPS ""
#endif

/* One, two or three string literals as items of JSON. */
#define TP_IDS_1_(a) "\"" a "\""
#define TP_IDS_2_(a, b) TP_IDS_1_(a) "," TP_IDS_1_(b)
#define TP_IDS_3_(a, b, c) TP_IDS_2_(a, b) "," TP_IDS_1_(c)
#define TP_IDS_N_(a, b, c, which, ...) which
#define TP_IDS_(...) TP_IDS_N_(__VA_ARGS__, TP_IDS_3_, TP_IDS_2_, TP_IDS_1_, )(__VA_ARGS__)

/* The extensions that a plugin has, which hosts then ask for: define TP_EXTENSIONS as TP_METRICS, or several with commas, before including this. A host
 * refuses a plugin that returns NULL for one of them: it would never be called. */
#ifdef TP_EXTENSIONS
#define TP_SAYS_EXTENSIONS ",\"extensions\":[" TP_IDS_(TP_EXTENSIONS) "]"
#else
#define TP_SAYS_EXTENSIONS ""
#endif

/* Extensions that a host must call for the plugin to work, one or several as above: others refuse it. */
#ifdef TP_REQUIRES
#define TP_SAYS_REQUIRES ",\"requires\":[" TP_IDS_(TP_REQUIRES) "]"
#else
#define TP_SAYS_REQUIRES ""
#endif

/* Its licence, as an SPDX expression: define TP_LICENSE before including this. */
#ifndef TP_LICENSE
#define TP_LICENSE ""
#endif

/* The manifest, readable without running the library, and the entry. All arguments but `table` are string literals. */
#define TRAINER_PLUGIN(id, version, description, table)                                                                          \
    __attribute__((section(".trainer.plugin"), used)) static const char tp_manifest[] =                                          \
        "{\"id\":\"" id "\",\"version\":\"" version "\",\"description\":\"" description "\",\"license\":\"" TP_LICENSE "\",\"api\":\"" TP_API                   \
        "\",\"libtorch\":\"" TP_LIBTORCH "\",\"compiler\":\"" TP_TEXT(__GNUC__) "." TP_TEXT(__GNUC_MINOR__)                     \
        TP_ASKS_AUGMENTATION TP_ASKS_TRAINING "\"" TP_SAYS_KEEPS TP_SAYS_EXTENSIONS TP_SAYS_REQUIRES ",\"panic\":\"unwind\"}";                                           \
    TP_EXTERN __attribute__((visibility("default"))) const tp_entry *trainer_plugin_entry_v1(void) { return &(table); }

#endif
