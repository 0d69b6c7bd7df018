/* A small library with a manifest: the first input of the fuzzers `manifest` and `loader`. `run` compiles it in several ways. */

#ifndef API
#define API "0.1.0" /* that of this crate, which stands in for plugin-api */
#endif
#define LIBTORCH "2.13.0"

__attribute__((section(".trainer.plugin"), used)) static const char MANIFEST[] =
    "{\"id\":\"seed\",\"version\":\"1.2.3\",\"authors\":\"A:B\",\"license\":\"MIT\",\"description\":\"Small\",\"api\":\"" API "\","
    "\"libtorch\":\"" LIBTORCH "\",\"compiler\":\"cc\",\"target\":\"x\",\"panic\":\"unwind\",\"requires\":[" REQUIRES "],\"augmentation\":\"da5\","
    "\"training\":\"--optimiser adamw\"}";

static int calls;

const void *trainer_plugin_entry_v1(void) {
    calls += 1;
    return 0;
}
