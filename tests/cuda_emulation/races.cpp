#include "races.h"

#include <algorithm>

namespace cuda_emulation {

constexpr uintptr_t kMostBytes = 16;  // of one access

void Races::grid_begins() {
  found_.clear();
  pages_.clear();
  last_page_ = nullptr;
  block_ = 0;
}

void Races::block_begins(unsigned threads) {
  ++block_;
  current_.resize(threads);
  new_spans();
}

void Races::new_spans() {
  spans_.clear();
  for (uint32_t& span : current_) {
    span = static_cast<uint32_t>(spans_.size());
    spans_.push_back({1, {}});
  }
}

void Races::warp_meets(unsigned warp, unsigned mask) {
  const unsigned first = warp * kWarpLanes;
  Span met{0, {}};
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    const Span& span = spans_[current_[first + lane]];
    for (unsigned i = 0; i < kWarpLanes; ++i) met.seen[i] = std::max(met.seen[i], span.seen[i]);
    met.seen[lane] = std::max(met.seen[lane], span.number);
  }
  for (unsigned lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    uint32_t& current = current_[first + lane];
    met.number = spans_[current].number + 1;
    current = static_cast<uint32_t>(spans_.size());
    spans_.push_back(met);
  }
}

// Of two accesses between the same two barriers of the block.
bool Races::ordered(const Access& a, const Access& b) const {
  if (a.thread == b.thread) return true;
  if (a.thread / kWarpLanes != b.thread / kWarpLanes) return false;
  const Span &of_a = spans_[a.span], &of_b = spans_[b.span];
  return of_b.seen[a.thread % kWarpLanes] >= of_a.number || of_a.seen[b.thread % kWarpLanes] >= of_b.number;
}

void Races::compare(const Access& a, const Access& b) {
  if ((a.atomic && b.atomic) || ordered(a, b)) return;
  add(a, b, false);
}

void Races::add(const Access& one, const Access& other, bool between_blocks) {
  const auto same = [&](const Race& race) {
    return race.between_blocks == between_blocks && race.one.instruction == one.instruction &&
           race.other.instruction == other.instruction;
  };
  if (std::none_of(found_.begin(), found_.end(), same)) found_.push_back({one, other, between_blocks});
}

void Races::barrier(const Access* begin, const Access* end) {
  writes_.clear();
  for (const Access* access = begin; access != end; ++access) {
    if (access->write) writes_.push_back(access);
  }
  std::sort(writes_.begin(), writes_.end(),
            [](const Access* a, const Access* b) { return a->address < b->address; });
  for (size_t i = 0; i < writes_.size(); ++i) {
    const uintptr_t past = writes_[i]->address + writes_[i]->bytes;
    for (size_t j = i + 1; j < writes_.size() && writes_[j]->address < past; ++j) {
      compare(*writes_[i], *writes_[j]);
    }
  }
  for (const Access* read = begin; read != end && !writes_.empty(); ++read) {
    const uintptr_t past = read->address + read->bytes;
    if (read->write || past <= writes_.front()->address ||
        read->address >= writes_.back()->address + kMostBytes) {
      continue;
    }
    auto write = std::lower_bound(
        writes_.begin(), writes_.end(), read->address,
        [](const Access* access, uintptr_t address) { return access->address + kMostBytes <= address; });
    for (; write != writes_.end() && (*write)->address < past; ++write) {
      if ((*write)->address + (*write)->bytes > read->address) compare(**write, *read);
    }
  }
  new_spans();
}

Races::Page& Races::page_of(uintptr_t address) {
  const uintptr_t number = address / Page::kBytes;
  if (last_page_ == nullptr || number != last_page_number_) {
    auto& page = pages_[number];
    if (page == nullptr) page = std::make_unique<Page>();
    last_page_number_ = number;
    last_page_ = page.get();
  }
  return *last_page_;
}

void Races::block_ends(const Access* begin, const Access* end) {
  for (const Access* access = begin; access != end; ++access) {
    if (access->shared || access->atomic) continue;
    bool race = false;
    for (uintptr_t i = 0; i < access->bytes; ++i) {
      Page& page = page_of(access->address + i);
      const uintptr_t byte = (access->address + i) % Page::kBytes;
      uint32_t &writer = page.writer[byte], &reader = page.reader[byte];
      race |= writer != 0 && writer != block_;
      if (access->write) {
        race |= reader != 0 && reader != block_;
        writer = block_;
      } else if (reader != block_) {
        reader = reader == 0 ? block_ : Page::kSeveral;
      }
    }
    if (race) add(*access, *access, true);
  }
}

}  // namespace cuda_emulation
