// Counts what a kernel asks of memory, and finds its races. g++ -fsanitize=thread puts a call at each access;
// instead of libtsan's these are ours (the end of this file).
//
// Accesses of one block are kept until it ends. What the lanes of a warp do at one instruction, the first
// time each comes there, the second time and so on, is one request. A request to global memory costs the
// 32-byte sectors that it touches; one to shared memory the cycles of its fullest bank.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fibre.h"
#include "observer.h"
#include "races.h"

namespace cuda_emulation {
namespace {

constexpr uintptr_t kSector = 32, kBankWord = 4, kBanks = 32;
constexpr unsigned kMostThreads = 1024;

// What is counted of one instruction.
struct Instruction {
  uintptr_t address = 0;  // of the call, in the library's file
  bool write = false, shared = false;
  uint64_t requests = 0, lanes = 0, bytes = 0;
  uint64_t sectors = 0, least_sectors = 0;          // global
  uint64_t bank_cycles = 0, least_bank_cycles = 0;  // shared
};

// What is counted of one launch.
struct Launch {
  uintptr_t kernel = 0;
  dim3 blocks, threads;
  size_t shared_bytes = 0;
  std::vector<Instruction> instructions;
  // Sectors that blocks touch, each block counting a sector once: what reaches the L2 cache if L1 keeps all.
  uint64_t block_loads = 0, block_stores = 0;
  // Sectors that the grid touches: what memory must move.
  uint64_t grid_loads = 0, grid_stores = 0;
  std::vector<std::string> races;
};

std::string library_path;
uintptr_t library_base() {
  Dl_info info;
  dladdr(reinterpret_cast<void*>(&library_base), &info);
  library_path = info.dli_fname;
  return reinterpret_cast<uintptr_t>(info.dli_fbase);
}

// "file:line" by addr2line; for messages only, it takes its time.
std::string source_line(uintptr_t address) {
  char command[4096], line[512] = "?";
  std::snprintf(command, sizeof command, "LD_PRELOAD= addr2line -s -e '%s' %#zx", library_path.c_str(),
                static_cast<size_t>(address));
  if (FILE* pipe = popen(command, "r")) {
    if (std::fgets(line, sizeof line, pipe) != nullptr) line[std::strcspn(line, " \n")] = 0;
    pclose(pipe);
  }
  return line;
}

class Tracer : public Observer {
 public:
  Tracer() : base_(library_base()) { observer = this; }

  void access(uintptr_t caller, uintptr_t address, size_t bytes, bool write);
  void write_report(FILE* file) const;
  void forget() { launches_.clear(); }

  void grid_begins(const Grid& grid) override;
  void block_begins() override;
  void block_meets() override;
  void warp_meets(unsigned warp, unsigned mask) override { races_.warp_meets(warp, mask); }
  void block_ends() override;
  std::string grid_ends() override;

 private:
  struct Counter {
    uint32_t instruction;
    std::array<uint32_t, kMostThreads> occurrences;
  };

  void count_requests();
  void count_global(Instruction& instruction, const Access* begin, const Access* end);
  void count_shared(Instruction& instruction, const Access* begin, const Access* end);
  std::string describe(const Race& race) const;

  const uintptr_t base_;
  Grid grid_{};
  std::vector<Launch> launches_;
  std::unordered_map<uintptr_t, std::unique_ptr<Counter>> counters_;  // by caller, of the running grid
  uintptr_t last_caller_ = 0;
  Counter* last_counter_ = nullptr;
  std::vector<Access> accesses_;  // of the running block
  size_t since_barrier_ = 0;      // of accesses_
  std::vector<uintptr_t> sectors_, block_loads_, block_stores_;
  std::unordered_set<uintptr_t> grid_loads_, grid_stores_;
  Races races_;
};

Tracer tracer;

// ---- recording ------------------------------------------------------------------------------------------

void Tracer::access(uintptr_t caller, uintptr_t address, size_t bytes, bool write) {
  if (running_thread < 0 || Fibre::holds(address)) return;  // the stack of a thread stands for its registers
  if (address - reinterpret_cast<uintptr_t>(grid_.arguments) < grid_.arguments_bytes) return;
  if (caller != last_caller_ || last_counter_ == nullptr) {
    auto& counter = counters_[caller];
    if (counter == nullptr) {
      auto& instructions = launches_.back().instructions;
      counter = std::make_unique<Counter>();
      counter->instruction = static_cast<uint32_t>(instructions.size());
      instructions.emplace_back().address = caller - 1 - base_;
      instructions.back().write = write;
      instructions.back().shared = shared_memory().holds(address);
    }
    last_caller_ = caller;
    last_counter_ = counter.get();
  }
  const auto thread = static_cast<uint16_t>(running_thread);
  const uint32_t occurrence = last_counter_->occurrences[thread]++;
  // No instruction moves more than 16 bytes; copies of larger objects are several.
  for (; bytes > 0; address += 16) {
    const size_t part = std::min<size_t>(bytes, 16);
    bytes -= part;
    accesses_.push_back({address, last_counter_->instruction, occurrence, races_.span(thread), thread,
                         static_cast<uint8_t>(part), write, atomic_access, shared_memory().holds(address)});
  }
}

void Tracer::grid_begins(const Grid& grid) {
  grid_ = grid;
  Launch& launch = launches_.emplace_back();
  launch.kernel = reinterpret_cast<uintptr_t>(grid.kernel) - base_;
  launch.blocks = grid.blocks;
  launch.threads = grid.threads;
  launch.shared_bytes = grid.shared_bytes;
  counters_.clear();
  last_counter_ = nullptr;
  grid_loads_.clear();
  grid_stores_.clear();
  races_.grid_begins();
}

void Tracer::block_begins() {
  accesses_.clear();
  since_barrier_ = 0;
  for (auto& [caller, counter] : counters_) counter->occurrences.fill(0);
  races_.block_begins(grid_.threads.x * grid_.threads.y * grid_.threads.z);
}

void Tracer::block_meets() {
  races_.barrier(accesses_.data() + since_barrier_, accesses_.data() + accesses_.size());
  since_barrier_ = accesses_.size();
}

void Tracer::block_ends() {
  block_meets();
  races_.block_ends(accesses_.data(), accesses_.data() + accesses_.size());
  count_requests();
}

std::string Tracer::grid_ends() {
  launches_.back().grid_loads = grid_loads_.size();
  launches_.back().grid_stores = grid_stores_.size();
  std::string all;
  for (const Race& race : races_.found()) {
    launches_.back().races.push_back(describe(race));
    all += (all.empty() ? "" : "; ") + launches_.back().races.back();
  }
  return all;
}

std::string Tracer::describe(const Race& race) const {
  const auto side = [&](const Access& access) {
    return std::string(access.atomic ? "an atomic " : "a ") + (access.write ? "write" : "read") + " at " +
           source_line(launches_.back().instructions[access.instruction].address);
  };
  if (race.between_blocks) return "race between blocks: " + side(race.one) + " and another block's access";
  return "race within a block: " + side(race.one) + " by thread " + std::to_string(race.one.thread) +
         " and " + side(race.other) + " by thread " + std::to_string(race.other.thread) + " in " +
         (race.one.shared ? "shared" : "global") + " memory";
}

// ---- counting -------------------------------------------------------------------------------------------

uint64_t unique(std::vector<uintptr_t>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values.size();
}

void Tracer::count_requests() {
  block_loads_.clear();
  block_stores_.clear();
  const auto request = [](const Access& a) {
    return std::tuple(a.thread / kWarpLanes, a.instruction, a.occurrence);
  };
  std::stable_sort(accesses_.begin(), accesses_.end(),
                   [&](const Access& a, const Access& b) { return request(a) < request(b); });
  Launch& launch = launches_.back();
  const Access* const past = accesses_.data() + accesses_.size();
  for (const Access *begin = accesses_.data(), *end; begin != past; begin = end) {
    for (end = begin + 1; end != past && request(*end) == request(*begin); ++end) {
    }
    Instruction& instruction = launch.instructions[begin->instruction];
    ++instruction.requests;
    instruction.lanes += static_cast<uint64_t>(end - begin);
    for (const Access* access = begin; access != end; ++access) instruction.bytes += access->bytes;
    if (begin->shared) {
      count_shared(instruction, begin, end);
    } else {
      count_global(instruction, begin, end);
    }
  }
  launch.block_loads += unique(block_loads_);
  launch.block_stores += unique(block_stores_);
  grid_loads_.insert(block_loads_.begin(), block_loads_.end());
  grid_stores_.insert(block_stores_.begin(), block_stores_.end());
}

void Tracer::count_global(Instruction& instruction, const Access* begin, const Access* end) {
  sectors_.clear();
  uint64_t bytes = 0;
  for (const Access* access = begin; access != end; ++access) {
    bytes += access->bytes;
    const uintptr_t last = (access->address + access->bytes - 1) / kSector;
    for (uintptr_t sector = access->address / kSector; sector <= last; ++sector) sectors_.push_back(sector);
  }
  instruction.sectors += unique(sectors_);
  instruction.least_sectors += (bytes + kSector - 1) / kSector;
  auto& of_block = instruction.write ? block_stores_ : block_loads_;
  of_block.insert(of_block.end(), sectors_.begin(), sectors_.end());
}

// 4 bytes a lane are served for the warp at once, 8 for half of it, 16 for a quarter. Within such a group a
// cycle gives one word of each bank, to any number of lanes.
void Tracer::count_shared(Instruction& instruction, const Access* begin, const Access* end) {
  const unsigned lanes_at_once = begin->bytes > 8 ? 8 : begin->bytes > 4 ? 16 : 32;
  std::array<std::vector<uintptr_t>, kBanks> words;
  while (begin != end) {
    const unsigned group = begin->thread / lanes_at_once;
    for (auto& of_bank : words) of_bank.clear();
    for (; begin != end && begin->thread / lanes_at_once == group; ++begin) {
      const uintptr_t last = (begin->address + begin->bytes - 1) / kBankWord;
      for (uintptr_t word = begin->address / kBankWord; word <= last; ++word)
        words[word % kBanks].push_back(word);
    }
    uint64_t fullest = 0, all = 0;
    for (auto& of_bank : words) {
      const uint64_t count = unique(of_bank);
      fullest = std::max(fullest, count);
      all += count;
    }
    instruction.bank_cycles += fullest;
    instruction.least_bank_cycles += (all + kBanks - 1) / kBanks;
  }
}

// ---- report ---------------------------------------------------------------------------------------------

std::string json_text(const std::string& words) {
  std::string quoted = "\"";
  for (const char c : words) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void Tracer::write_report(FILE* file) const {
  const auto number = [](uint64_t n) { return static_cast<unsigned long long>(n); };
  const auto extent = [](dim3 e) {
    return "[" + std::to_string(e.x) + ", " + std::to_string(e.y) + ", " + std::to_string(e.z) + "]";
  };
  std::fprintf(file, "{\"library\": %s, \"launches\": [", json_text(library_path).c_str());
  for (const Launch& launch : launches_) {
    std::fprintf(file, "%s\n{\"kernel\": %llu, \"blocks\": %s, \"threads\": %s, \"shared_bytes\": %llu",
                 &launch == launches_.data() ? "" : ",", number(launch.kernel), extent(launch.blocks).c_str(),
                 extent(launch.threads).c_str(), number(launch.shared_bytes));
    std::fprintf(file, ", \"block_load_sectors\": %llu, \"block_store_sectors\": %llu",
                 number(launch.block_loads), number(launch.block_stores));
    std::fprintf(file, ", \"grid_load_sectors\": %llu, \"grid_store_sectors\": %llu",
                 number(launch.grid_loads), number(launch.grid_stores));
    std::fprintf(file, ", \"races\": [");
    for (const std::string& race : launch.races) {
      std::fprintf(file, "%s%s", &race == launch.races.data() ? "" : ", ", json_text(race).c_str());
    }
    std::fprintf(file, "], \"instructions\": [");
    bool first = true;
    for (const Instruction& i : launch.instructions) {
      std::fprintf(
          file,
          "%s\n  {\"address\": %llu, \"write\": %s, \"shared\": %s, \"requests\": %llu, \"lanes\": %llu, "
          "\"bytes\": %llu, \"sectors\": %llu, \"least_sectors\": %llu, \"bank_cycles\": %llu, "
          "\"least_bank_cycles\": %llu}",
          first ? "" : ",", number(i.address), i.write ? "true" : "false", i.shared ? "true" : "false",
          number(i.requests), number(i.lanes), number(i.bytes), number(i.sectors), number(i.least_sectors),
          number(i.bank_cycles), number(i.least_bank_cycles));
      first = false;
    }
    std::fprintf(file, "]}");
  }
  std::fprintf(file, "]}\n");
}

}  // namespace
}  // namespace cuda_emulation

// ---- what Python calls ----------------------------------------------------------------------------------

extern "C" {

// Forgets all launches so far.
__attribute__((visibility("default"))) void cuda_emulation_forget() { cuda_emulation::tracer.forget(); }

// Writes the launches since then as JSON; returns 0 if that went well.
__attribute__((visibility("default"))) int cuda_emulation_report(const char* path) {
  FILE* const file = std::fopen(path, "w");
  if (file == nullptr) return 1;
  cuda_emulation::tracer.write_report(file);
  return std::fclose(file);
}

// ---- what g++ -fsanitize=thread calls -------------------------------------------------------------------

#pragma GCC visibility push(hidden)
#define CUDA_EMULATION_ACCESS(name, bytes, write)                                           \
  void __tsan_##name(void* address) {                                                       \
    cuda_emulation::tracer.access(reinterpret_cast<uintptr_t>(__builtin_return_address(0)), \
                                  reinterpret_cast<uintptr_t>(address), bytes, write);      \
  }
#define CUDA_EMULATION_ACCESSES(bytes)                       \
  CUDA_EMULATION_ACCESS(read##bytes, bytes, false)           \
  CUDA_EMULATION_ACCESS(write##bytes, bytes, true)           \
  CUDA_EMULATION_ACCESS(volatile_read##bytes, bytes, false)  \
  CUDA_EMULATION_ACCESS(volatile_write##bytes, bytes, true)  \
  CUDA_EMULATION_ACCESS(unaligned_read##bytes, bytes, false) \
  CUDA_EMULATION_ACCESS(unaligned_write##bytes, bytes, true)
CUDA_EMULATION_ACCESSES(1)
CUDA_EMULATION_ACCESSES(2)
CUDA_EMULATION_ACCESSES(4)
CUDA_EMULATION_ACCESSES(8)
CUDA_EMULATION_ACCESSES(16)

void __tsan_read_range(void* address, size_t bytes) {
  cuda_emulation::tracer.access(reinterpret_cast<uintptr_t>(__builtin_return_address(0)),
                                reinterpret_cast<uintptr_t>(address), bytes, false);
}
void __tsan_write_range(void* address, size_t bytes) {
  cuda_emulation::tracer.access(reinterpret_cast<uintptr_t>(__builtin_return_address(0)),
                                reinterpret_cast<uintptr_t>(address), bytes, true);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
// The guard of a function's static variable, in host code.
unsigned char __tsan_atomic8_load(const volatile unsigned char* p, int) { return *p; }
#pragma GCC visibility pop

}  // extern "C"
