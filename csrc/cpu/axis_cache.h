// The tables and column plans of recent resizes, so that a repeated call builds none: for an image of a few
// channels, or a single row, they cost as much as the resize.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>

#include "../geometry/axis_table.h"

namespace upsample_ext {

// Identifies a cached object. The words differ between types of objects, so that no key serves two of them.
struct AxisKey {
  std::array<int64_t, 8> words{};

  bool operator==(const AxisKey& other) const { return words == other.words; }
};

namespace axis_cache {

// Limits of what is kept: bytes, and entries. The least recently used are dropped first.
constexpr int64_t kMostBytes = 32 << 20, kMostEntries = 256;
// With fewer outputs than this, looking a table up takes as long as building it.
constexpr int64_t kFewOutputs = 48;

std::shared_ptr<const void> find(const AxisKey& key);
void keep(const AxisKey& key, std::shared_ptr<const void> object, int64_t bytes);
// For tests: bytes kept now.
int64_t bytes_kept();

}  // namespace axis_cache

// The object of a key, built and kept where it is not known. build() returns a shared_ptr<const Object>,
// whose bytes() are counted.
template <class Object, class Build>
std::shared_ptr<const Object> cached(const AxisKey& key, const Build& build) {
  if (auto found = axis_cache::find(key)) return std::static_pointer_cast<const Object>(found);
  std::shared_ptr<const Object> built = build();
  axis_cache::keep(key, built, built->bytes());
  return built;
}

// The table of one axis for a call: from the cache, or the call's own.
template <class acc>
class AxisOfCall {
 public:
  AxisOfCall(AxisTable<acc>&& table) : table_(std::make_shared<const AxisTable<acc>>(std::move(table))) {}

  static AxisOfCall of(const AxisSpec& spec) {
    return of(spec, false, [&] { return AxisTable<acc>::of(spec); });
  }
  // Its transpose, without keeping the table itself.
  static AxisOfCall transposed_of(const AxisSpec& spec) {
    return of(spec, true, [&] { return AxisTable<acc>::of(spec).transposed(); });
  }
  // Bilinear resize by the rules of native's CPU kernels; scale_factor <= 0 where none is given.
  static AxisOfCall linear(int64_t in_size, int64_t out_size, bool align_corners, double scale_factor) {
    return of({Mode::kLinear, false, in_size, out_size, align_corners, scale_factor, NativeRules::kCpu});
  }
  AxisOfCall transposed() const {
    if (!key_) return table().transposed();
    AxisKey key = *key_;
    key.words[4] = 1;
    return AxisOfCall(key, [&] { return table().transposed(); });
  }

  const AxisTable<acc>& table() const { return *table_; }
  const AxisTaps<acc>& taps() const { return table_->taps(); }
  // The key of what a function derives from the table and a number; none if the table itself is not kept.
  std::optional<AxisKey> key_of(const void* function, int64_t number) const {
    if (!key_) return std::nullopt;
    AxisKey key = *key_;
    key.words[5] = static_cast<int64_t>(reinterpret_cast<intptr_t>(function));
    key.words[6] = number;
    return key;
  }

 private:
  template <class Build>
  static AxisOfCall of(const AxisSpec& spec, bool transposed, const Build& build) {
    if (std::max(spec.in_size, spec.out_size) < axis_cache::kFewOutputs) return build();
    AxisKey key;
    key.words[0] = static_cast<int64_t>(spec.mode) | static_cast<int64_t>(spec.rules) << 8 |
                   int64_t{spec.antialias} << 16 | int64_t{spec.align_corners} << 17 |
                   int64_t{std::is_same_v<acc, double>} << 18;
    key.words[1] = spec.in_size;
    key.words[2] = spec.out_size;
    static_assert(sizeof key.words[3] == sizeof spec.scale);
    std::memcpy(&key.words[3], &spec.scale, sizeof spec.scale);
    key.words[4] = transposed;
    return AxisOfCall(key, build);
  }

  template <class Build>
  AxisOfCall(const AxisKey& key, const Build& build)
      : table_(cached<AxisTable<acc>>(key, [&] { return std::make_shared<const AxisTable<acc>>(build()); })),
        key_(key) {}

  std::shared_ptr<const AxisTable<acc>> table_;
  std::optional<AxisKey> key_;
};

}  // namespace upsample_ext
