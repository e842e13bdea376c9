#include "levels.h"

#include <cstdlib>
#include <cstring>

namespace upsample_ext {

extern const LevelKernels level_baseline;
#if defined(__x86_64__)
extern const LevelKernels level_avx2, level_avx512;
static const LevelKernels* const kLevels[] = {&level_baseline, &level_avx2, &level_avx512};
#else
static const LevelKernels* const kLevels[] = {&level_baseline};
#endif

int level_count() { return sizeof kLevels / sizeof kLevels[0]; }
const LevelKernels& level_at(int i) { return *kLevels[i]; }

static const LevelKernels* find_level(const char* name) {
  for (const LevelKernels* level : kLevels) {
    if (std::strcmp(level->name, name) == 0 && level->supported()) return level;
  }
  return nullptr;
}

static const LevelKernels* highest_level() {
  const LevelKernels* best = &level_baseline;
  for (const LevelKernels* level : kLevels) {
    if (level->supported()) best = level;
  }
  return best;
}

namespace {
struct Choice {
  const LevelKernels* level;
  const char* refused = nullptr;
  Choice() : level(highest_level()) {
    const char* name = std::getenv("UPSAMPLE_EXT_LEVEL");
    if (name == nullptr || *name == 0) return;
    if (const LevelKernels* wanted = find_level(name)) {
      level = wanted;
    } else {
      refused = name;
    }
  }
};
Choice& choice() {
  static Choice chosen;
  return chosen;
}
}  // namespace

const LevelKernels& active_level() { return *choice().level; }
const char* refused_level() { return choice().refused; }

bool set_level(const char* name) {
  const LevelKernels* level = find_level(name);
  if (level != nullptr) choice().level = level;
  return level != nullptr;
}

}  // namespace upsample_ext
