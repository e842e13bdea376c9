#include "axis_cache.h"

#include <list>
#include <mutex>
#include <unordered_map>

namespace upsample_ext {
namespace axis_cache {
namespace {

struct Hash {
  size_t operator()(const AxisKey& key) const {
    uint64_t hash = 0;
    for (const int64_t word : key.words) {
      hash = (hash ^ static_cast<uint64_t>(word)) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 32;
    }
    return static_cast<size_t>(hash);
  }
};

struct Entry {
  AxisKey key;
  std::shared_ptr<const void> object;
  int64_t bytes;
};

class Cache {
 public:
  std::shared_ptr<const void> find(const AxisKey& key) {
    const auto place = places_.find(key);
    if (place == places_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, place->second);
    return place->second->object;
  }

  void keep(const AxisKey& key, std::shared_ptr<const void> object, int64_t bytes) {
    if (bytes > kMostBytes || places_.count(key) != 0) return;
    entries_.push_front({key, std::move(object), bytes});
    places_[key] = entries_.begin();
    bytes_ += bytes;
    while (bytes_ > kMostBytes || static_cast<int64_t>(entries_.size()) > kMostEntries) {
      bytes_ -= entries_.back().bytes;
      places_.erase(entries_.back().key);
      entries_.pop_back();
    }
  }

  int64_t bytes() const { return bytes_; }

  std::mutex mutex;

 private:
  std::list<Entry> entries_;  // the most recently used first
  std::unordered_map<AxisKey, std::list<Entry>::iterator, Hash> places_;
  int64_t bytes_ = 0;
};

// Never destroyed: threads may still run when the process ends.
Cache& cache() {
  static Cache& cache = *new Cache;
  return cache;
}

}  // namespace

// No one waits: a process forked while another thread held the lock would wait forever, and building is
// cheaper than waiting for many.

std::shared_ptr<const void> find(const AxisKey& key) {
  const std::unique_lock<std::mutex> lock(cache().mutex, std::try_to_lock);
  return lock.owns_lock() ? cache().find(key) : nullptr;
}

void keep(const AxisKey& key, std::shared_ptr<const void> object, int64_t bytes) {
  const std::unique_lock<std::mutex> lock(cache().mutex, std::try_to_lock);
  if (lock.owns_lock()) cache().keep(key, std::move(object), bytes);
}

int64_t bytes_kept() {
  const std::lock_guard<std::mutex> lock(cache().mutex);
  return cache().bytes();
}

}  // namespace axis_cache
}  // namespace upsample_ext
