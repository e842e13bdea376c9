// Checks what kernels and builders of tables take for granted of an axis (geometry/axis.h), for every mode:
// that taps lie inside and ascend, that there are no more of them than it says, and that all outputs that
// read a source are among those that it names. And the bound on how many outputs read neighbouring sources
// against a count of all of them: CUDA's gradients size their lists and tiles by it. No torch, no device.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../csrc/geometry/axis_spec.h"

using namespace upsample_ext;

namespace {

const int64_t kTiles[] = {1, 2, 5, 48};
constexpr int64_t kRing = 64;  // more than the longest tile

int failures = 0;

// The most outputs that read a tile of so many sources, for each size of a tile, by walking along all
// outputs: a source is read from the first output whose taps reach it to the last before they have passed it.
template <class Axis>
std::vector<int64_t> count(const Axis& axis) {
  std::vector<int64_t> most(std::size(kTiles), 0);
  std::vector<int64_t> begin(kRing, 0);
  int64_t reached = -1, passed = 0;
  const auto pass = [&](int64_t source, int64_t output) {
    for (size_t t = 0; t < most.size(); ++t) {
      const int64_t within = source % kTiles[t];
      if (within + 1 < kTiles[t] && source + 1 < axis.in_size) continue;
      const int64_t outputs = output - begin[static_cast<size_t>(source - within) % kRing];
      if (outputs > most[t]) most[t] = outputs;
    }
  };
  for (int64_t o = 0; o < axis.out_size; ++o) {
    const auto taps = axis.taps(o);
    if (taps.index0 < 0) continue;
    const int64_t last = taps.index1 < 0 ? taps.index0 : taps.index1;
    while (reached < last) {
      ++reached;
      // A source that outputs have leapt over is read by none.
      while (passed < reached - 1 && passed < taps.index0) pass(passed++, o);
      begin[static_cast<size_t>(reached) % kRing] = o;
    }
    while (passed < taps.index0) pass(passed++, o);
  }
  while (passed <= reached) pass(passed++, axis.out_size);
  return most;
}

template <class Axis>
void check(const Axis& axis, bool tight, const char* what) {
  const std::vector<int64_t> real = count(axis);
  for (size_t t = 0; t < real.size(); ++t) {
    const int64_t bound = most_outputs(axis, kTiles[t]);
    // Loose bounds cost shared memory, and threads: so close where nothing is rounded.
    if (bound >= real[t] && (!tight || bound <= real[t] + 2)) continue;
    ++failures;
    std::printf("%s: %lld sources are read by %lld outputs, the bound says %lld\n", what,
                static_cast<long long>(kTiles[t]), static_cast<long long>(real[t]),
                static_cast<long long>(bound));
  }
}

template <class T>
void check_resize(int64_t in, int64_t out, bool corners, double factor, NativeRules rules, bool tight) {
  char what[200];
  std::snprintf(what, sizeof what, "%s %lld -> %lld, align_corners %d, factor %g, rules %d",
                sizeof(T) == 4 ? "float" : "double", static_cast<long long>(in), static_cast<long long>(out),
                corners, factor, static_cast<int>(rules));
  check(LinearAxis<T>(in, out, corners, factor, rules), tight, what);
}

// Counts a failure, of which few are printed.
void expect(bool holds, const char* what, int64_t in, int64_t out) {
  if (holds) return;
  if (++failures <= 20) {
    std::printf("%s: %lld -> %lld\n", what, static_cast<long long>(in), static_cast<long long>(out));
  }
}

template <class Axis>
void check_contract(const Axis& axis, bool sums_to_one) {
  const int64_t in = axis.in_size, out = axis.out_size;
  for (int64_t o = 0; o < out; ++o) {
    int64_t count = 0, last = 0;
    double sum = 0;
    each_tap(axis, o, [&](int64_t source, double weight) {
      expect(source >= last && source < in, "taps descend, or lie outside", in, out);
      expect(o >= axis.begin(source) && o < axis.end(source), "an output is not named", in, out);
      last = source;
      sum += weight;
      ++count;
    });
    expect(count <= most_taps(axis), "more taps than there is room for", in, out);
    expect(!sums_to_one || (sum > 1 - 1e-5 && sum < 1 + 1e-5), "weights do not add up to one", in, out);
  }
  for (int64_t i = 0; i < in; ++i) {
    expect(axis.begin(i) >= 0 && axis.end(i) <= out, "outputs outside", in, out);
    if (i > 0)
      expect(axis.begin(i) >= axis.begin(i - 1) && axis.end(i) >= axis.end(i - 1), "go back", in, out);
  }
}

template <class T>
void check_modes(int64_t in, int64_t out, double factor) {
  for (const Mode mode :
       {Mode::kNearest, Mode::kNearestExact, Mode::kLinear, Mode::kCubic, Mode::kLanczos, Mode::kArea}) {
    for (const bool antialias : {false, true}) {
      if ((antialias && mode != Mode::kLinear && mode != Mode::kCubic) && mode != Mode::kLanczos) continue;
      for (const bool corners : {false, true}) {
        if (corners && mode != Mode::kLinear && mode != Mode::kCubic) continue;
        for (const NativeRules rules : {NativeRules::kCpu, NativeRules::kCuda}) {
          const AxisSpec spec{mode, antialias, in, out, corners, factor, rules};
          with_axis<T>(spec, [&](const auto& axis) { check_contract(axis, factor == 0.0); });
        }
      }
    }
  }
}

void check_every_mode() {
  for (int64_t in = 1; in <= 40; in += in < 12 ? 1 : 7) {
    for (int64_t out = 1; out <= 90; out += out < 12 ? 1 : 13) {
      for (const double factor : {0.0, 0.37, 1.1, 3.7, 1e-300, 1e300}) {
        check_modes<float>(in, out, factor);
        check_modes<double>(in, out, factor);
      }
    }
  }
  check_modes<float>(700, 2100, 0.0);
  check_modes<float>(4001, 37, 0.0);
  check_contract(IdentityAxis<float>(9), true);
}

void check_fixed_kernels() {
  const std::vector<float> kernel(16, 1.0f);
  for (int64_t stride = 1; stride <= 4; ++stride) {
    for (int64_t size = 1; size <= 9; ++size) {
      for (int64_t dilation = 1; dilation <= 4; ++dilation) {
        for (int64_t padding = 0; padding < size * dilation; padding += 2) {
          for (int64_t in = 1; in <= 12; in += in < 4 ? 1 : 4) {
            for (const bool replicate : {false, true}) {
              const ConvTransposeAxis axis{in, size, stride, padding, 0, dilation, replicate};
              if (axis.out_size() > 0) check_contract(FixedKernelAxis<float>(axis, kernel.data()), false);
            }
          }
        }
      }
    }
  }
}

void check_small_resizes() {
  for (int64_t in = 1; in <= 70; ++in) {
    for (int64_t out = 1; out <= 280; out += out < 150 ? 1 : 7) {
      for (const bool corners : {false, true}) {
        check_resize<float>(in, out, corners, 0.0, NativeRules::kCuda, false);
        check_resize<double>(in, out, corners, 0.0, NativeRules::kCuda, false);
        check_resize<float>(in, out, corners, 0.0, NativeRules::kCpu, false);
      }
      // A factor that the sizes do not follow from, as the op may be given.
      for (const double factor : {0.37, 1.0001, 1.1, 3.7}) {
        check_resize<float>(in, out, false, factor, NativeRules::kCuda, false);
      }
    }
  }
  for (const NativeRules rules : {NativeRules::kCpu, NativeRules::kCudaCopy}) {
    check_resize<float>(9, 9, false, 1.1, rules, true);
  }
}

void check_wide_resizes() {
  for (const int64_t in : {128, 700, 2048, 4001, 65537}) {
    for (const int64_t out : {in / 3, in - 1, in, in + 1, 2 * in, 4 * in, 8 * in, 5 * in / 2, 33 * in}) {
      for (const bool corners : {false, true}) {
        const bool tight = in < 5000;
        check_resize<float>(in, out, corners, 0.0, NativeRules::kCuda, tight);
        check_resize<double>(in, out, corners, 0.0, NativeRules::kCuda, tight);
      }
    }
  }
}

// Beyond 2^23 the results' indices, and half that the sources', are rounded: outputs clump.
void check_clumped_resizes() {
  const struct {
    int64_t in, out;
  } sizes[] = {{40000000, 80000000},     {1 << 24, 1 << 25},  {(1 << 23) - 3, 1 << 25}, {1 << 22, 40000000},
               {(1 << 25) + 1, 1 << 25}, {1 << 20, 33000000}, {1000, 50000000}};
  for (const auto& size : sizes) {
    check_resize<float>(size.in, size.out, false, 0.0, NativeRules::kCuda, false);
    check_resize<float>(size.in, size.out, true, 0.0, NativeRules::kCuda, false);
  }
  check_resize<double>(40000000, 80000000, false, 0.0, NativeRules::kCuda, true);
}

void check_transposed_convolutions() {
  const std::vector<float> kernel(64, 1.0f);
  for (int64_t stride = 1; stride <= 5; ++stride) {
    for (int64_t size = 1; size <= 2 * stride; ++size) {
      for (int64_t padding = 0; padding < size; ++padding) {
        for (int64_t in = 1; in <= 60; in += in < 9 ? 1 : 17) {
          for (const bool replicate : {false, true}) {
            const ConvTransposeAxis axis{in, size, stride, padding, 0, 1, replicate};
            if (axis.out_size() <= 0) continue;
            char what[200];
            std::snprintf(what, sizeof what, "transposed: in %lld, kernel %lld, stride %lld, padding %lld",
                          static_cast<long long>(in), static_cast<long long>(size),
                          static_cast<long long>(stride), static_cast<long long>(padding));
            check(TwoTapConvTransposeAxis<float>(axis, kernel.data()), false, what);
          }
        }
      }
    }
  }
}

}  // namespace

int main() {
  check_every_mode();
  check_fixed_kernels();
  check_small_resizes();
  check_wide_resizes();
  check_transposed_convolutions();
  check_clumped_resizes();
  if (failures > 0) {
    std::printf("%d bounds are wrong\n", failures);
    return EXIT_FAILURE;
  }
  std::printf("all bounds hold\n");
}
