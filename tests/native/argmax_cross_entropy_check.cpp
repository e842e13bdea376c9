// Runs argmax and cross-entropy without torch and compares every pixel with plain sums in double.
// test_levels.py builds it natively under sanitizers, for each level, and for aarch64.
//
// All memory is on the heap in blocks of the exact size, so that a sanitizer sees one element too many.
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "cpu/levels.h"
#include "cpu/scratch.h"
#include "geometry/axis_table.h"
#include "images.h"

namespace upsample_ext {
namespace {

constexpr int64_t kBatch = 2;

// How far a gradient may be from the exact one, relative to the largest of its kind.
double tolerance(double) { return 1e-13; }
double tolerance(float) { return 1e-5; }

struct Case {
  const char* name;
  int64_t classes, height, width, out_height, out_width;
  bool align_corners;
  Layout layout;
};

uint32_t next_random() {
  static uint32_t random = 1;
  random = random * 1664525u + 1013904223u;
  return random >> 8;
}

// Logits from -8 to 7 in a tensor of T, and as doubles (batch, classes, height, width).
template <class T>
struct Logits {
  std::unique_ptr<T[]> memory;
  std::vector<double> value;
  Strides strides;

  explicit Logits(const Case& of) : strides(strides_of(of.layout, of.classes, of.height, of.width)) {
    memory.reset(new T[kBatch * strides.batch]());
    for (int64_t n = 0; n < kBatch; ++n) {
      for (int64_t c = 0; c < of.classes; ++c) {
        for (int64_t y = 0; y < of.height; ++y) {
          for (int64_t x = 0; x < of.width; ++x) {
            const int logit = static_cast<int>(next_random() % 16) - 8;
            value.push_back(logit);
            encode(logit,
                   &memory[n * strides.batch + c * strides.channel + y * strides.height + x * strides.width]);
          }
        }
      }
    }
  }
};

// The resized logits of one pixel, from the tables.
template <class acc>
std::vector<double> resized(const Case& of, const std::vector<double>& value, const AxisTaps<acc>& height,
                            const AxisTaps<acc>& width, int64_t n, int64_t y, int64_t x) {
  std::vector<double> logits(of.classes, 0.0);
  for (int64_t c = 0; c < of.classes; ++c) {
    const double* plane = &value[(n * of.classes + c) * of.height * of.width];
    for (int64_t i = 2 * y; i < 2 * y + 2; ++i) {
      for (int64_t j = 2 * x; j < 2 * x + 2; ++j) {
        logits[c] += static_cast<double>(height.weight[i]) * static_cast<double>(width.weight[j]) *
                     plane[height.index[i] * of.width + width.index[j]];
      }
    }
  }
  return logits;
}

double log_sum_exp(const std::vector<double>& logits) {
  double most = logits[0], sum = 0;
  for (const double logit : logits) most = std::fmax(most, logit);
  for (const double logit : logits) sum += std::exp(logit - most);
  return most + std::log(sum);
}

template <class acc>
void set_logits(LogitsParams<acc>& p, const Case& of, const Strides& strides, const void* memory,
                const AxisTable<acc>& height, const AxisTable<acc>& width) {
  p.input = memory;
  p.batch = kBatch;
  p.channels = of.classes;
  p.in = strides;
  p.height = height.taps();
  p.width = width.taps();
}

// Two threads' worth, one after the other.
template <class Kernel, class Params>
void run_in_parts(const Kernel& kernel, const Params& p) {
  const int64_t rows = kernel.units(p);
  ScratchBuffer<1> scratch(kernel.scratch_bytes(p));
  kernel.rows(p, 0, rows / 3, scratch.data());
  kernel.rows(p, rows / 3, rows, scratch.data());
}

template <class T, class I>
int wrong_classes(const Case& of) {
  const auto height = AxisTable<float>::linear(of.height, of.out_height, of.align_corners, 0.0);
  const auto width = AxisTable<float>::linear(of.width, of.out_width, of.align_corners, 0.0);
  const Logits<T> logits(of);
  const int64_t pixels = kBatch * of.out_height * of.out_width;
  const std::unique_ptr<I[]> index(new I[pixels]);
  const std::unique_ptr<float[]> score(new float[pixels]);
  ArgmaxParams p{};
  set_logits(p.logits, of, logits.strides, logits.memory.get(), height, width);
  p.index = index.get();
  p.index_bytes = sizeof(I);
  p.score = score.get();
  const auto& kernel = active_level().argmax.of(T{});
  ScratchBuffer<1> plan(kernel.plan_bytes(p));
  kernel.build_plan(p, plan.data());
  p.logits.plan = plan.data();
  run_in_parts(kernel, p);
  std::vector<I> with_score(index.get(), index.get() + pixels);
  p.score = nullptr;
  run_in_parts(kernel, p);

  int wrong = 0;
  for (int64_t i = 0; i < pixels; ++i) {
    const int64_t n = i / (of.out_height * of.out_width);
    const std::vector<double> exact = resized(of, logits.value, height.taps(), width.taps(), n,
                                              i / of.out_width % of.out_height, i % of.out_width);
    double most = exact[0];
    for (const double logit : exact) most = std::fmax(most, logit);
    const bool right = index[i] == with_score[i] && exact[index[i]] > most - 1e-5 &&
                       std::fabs(score[i] - std::exp(most - log_sum_exp(exact))) < 1e-5;
    wrong += !right;
  }
  return wrong;
}

template <class T, class acc>
int wrong_losses(const Case& of, bool weighted, double smoothing) {
  const auto height = AxisTable<acc>::linear(of.height, of.out_height, of.align_corners, 0.0);
  const auto width = AxisTable<acc>::linear(of.width, of.out_width, of.align_corners, 0.0);
  const auto width_transposed = width.transposed();
  const Logits<T> logits(of);
  const int64_t pixels = kBatch * of.out_height * of.out_width, classes = of.classes;
  const std::unique_ptr<int64_t[]> target(new int64_t[pixels]);
  const std::unique_ptr<acc[]> weight(new acc[classes]), grad_output(new acc[pixels]), loss(new acc[pixels]);
  const std::unique_ptr<acc[]> gradient(new acc[kBatch * logits.strides.batch]());
  constexpr int64_t kIgnored = -100;
  double weight_sum = 0;
  for (int64_t c = 0; c < classes; ++c)
    weight_sum += weight[c] = weighted ? static_cast<acc>(c % 4) / 2 : acc(1);
  for (int64_t i = 0; i < pixels; ++i) {
    target[i] = next_random() % 5 == 0 ? kIgnored : static_cast<int64_t>(next_random()) % classes;
    grad_output[i] = static_cast<acc>(next_random() % 9) / 8;
  }

  CrossEntropyParams<acc> p{};
  set_logits(p.logits, of, logits.strides, logits.memory.get(), height, width);
  p.target = target.get();
  p.ignore_index = kIgnored;
  p.weight = weighted ? weight.get() : nullptr;
  p.weight_sum = static_cast<acc>(weight_sum);
  p.smoothing = static_cast<acc>(smoothing);
  p.loss = loss.get();
  p.grad_input = gradient.get();
  p.grad = logits.strides;
  p.grad_output = grad_output.get();
  p.width_transposed = width_transposed.taps();
  const CrossEntropyKernel<acc>& kernel = active_level().cross_entropy.of(T{});
  ScratchBuffer<1> plan(kernel.plan_bytes(p)), plan_transposed(kernel.plan_transposed_bytes(p));
  kernel.build_plans(p, plan.data(), plan_transposed.data());
  p.logits.plan = plan.data();
  p.plan_transposed = plan_transposed.data();
  const int64_t units = kernel.units(p);
  const std::unique_ptr<double[]> row_loss(new double[units]);
  p.row_loss = row_loss.get();
  run_in_parts(kernel, p);

  double counted;
  int wrong = kernel.check_targets(p, 0, pixels, &counted) != 0;
  std::vector<double> exact_gradient(logits.value.size(), 0.0);
  double total = 0, exact_counted = 0;
  for (int64_t i = 0; i < pixels; ++i) {
    const int64_t n = i / (of.out_height * of.out_width), y = i / of.out_width % of.out_height;
    const int64_t x = i % of.out_width;
    if (target[i] == kIgnored) {
      wrong += loss[i] != 0;
      continue;
    }
    const auto& h = height.taps();
    const auto& w = width.taps();
    const std::vector<double> exact = resized(of, logits.value, h, w, n, y, x);
    const double log_sum = log_sum_exp(exact);
    double pixel_loss = 0, share_sum = 0;
    std::vector<double> share(classes);
    for (int64_t c = 0; c < classes; ++c) {
      share[c] =
          weight[c] * (smoothing / static_cast<double>(classes) + (c == target[i] ? 1 - smoothing : 0));
      pixel_loss += share[c] * (log_sum - exact[c]);
      share_sum += share[c];
    }
    wrong += !(std::fabs(loss[i] - pixel_loss) < 1e-4);
    total += pixel_loss;
    exact_counted += weight[target[i]];
    for (int64_t c = 0; c < classes; ++c) {
      const double g = grad_output[i] * (share_sum * std::exp(exact[c] - log_sum) - share[c]);
      double* plane = &exact_gradient[(n * classes + c) * of.height * of.width];
      for (int64_t a = 2 * y; a < 2 * y + 2; ++a) {
        for (int64_t b = 2 * x; b < 2 * x + 2; ++b) {
          plane[h.index[a] * of.width + w.index[b]] += g * h.weight[a] * w.weight[b];
        }
      }
    }
  }
  double sum = 0, largest = 1;
  for (int64_t i = 0; i < units; ++i) sum += row_loss[i];
  wrong += !(std::fabs(sum - total) <= 1e-5 * total) + !(std::fabs(counted - exact_counted) < 1e-9 * pixels);
  for (const double g : exact_gradient) largest = std::fmax(largest, std::fabs(g));
  int64_t at = 0;
  for (int64_t n = 0; n < kBatch; ++n) {
    for (int64_t c = 0; c < classes; ++c) {
      for (int64_t y = 0; y < of.height; ++y) {
        for (int64_t x = 0; x < of.width; ++x) {
          const acc got =
              gradient[n * p.grad.batch + c * p.grad.channel + y * p.grad.height + x * p.grad.width];
          wrong += !(std::fabs(got - exact_gradient[at++]) <= tolerance(acc{}) * largest);
        }
      }
    }
  }
  return wrong;
}

constexpr Case kCases[] = {
    {"x2", 5, 5, 9, 10, 18, false, Layout::kPlanar},
    {"x4, many classes", 37, 4, 20, 16, 80, false, Layout::kPlanar},
    {"x8, channels last", 19, 3, 18, 24, 144, false, Layout::kChannelsLast},
    {"up, align_corners", 3, 5, 37, 17, 129, true, Layout::kEverySecondColumn},
    {"the same size", 4, 4, 21, 4, 21, false, Layout::kPlanar},
    {"one class, one sample", 1, 1, 1, 3, 17, false, Layout::kPlanar},
    {"down", 3, 12, 71, 5, 20, false, Layout::kChannelsLast},
    {"down, a little", 2, 9, 150, 7, 90, false, Layout::kPlanar},
    {"several strips", 600, 2, 240, 4, 480, false, Layout::kPlanar},
    {"several strips, down, channels last", 600, 2, 440, 3, 190, true, Layout::kChannelsLast},
    {"down, far", 3, 8, 300, 3, 21, false, Layout::kPlanar},
};

int count(const char* type, const char* what, const Case& of, int wrong) {
  if (wrong != 0) std::printf("%s, %s, %s: %d are wrong\n", type, what, of.name, wrong);
  return wrong;
}

template <class T, class acc>
int wrong_results(const char* type) {
  int wrong = 0;
  for (const Case& of : kCases) {
    wrong += count(type, "argmax, uint8", of, wrong_classes<T, uint8_t>(of));
    wrong += count(type, "argmax, int64", of, wrong_classes<T, int64_t>(of));
    if constexpr (std::is_same_v<T, float>) {  // indices are stored by the same code for all types
      wrong += count(type, "argmax, int16", of, wrong_classes<T, int16_t>(of));
      wrong += count(type, "argmax, int32", of, wrong_classes<T, int32_t>(of));
    }
    wrong += count(type, "cross-entropy", of, wrong_losses<T, acc>(of, false, 0.0));
    wrong += count(type, "cross-entropy, weighted and smoothed", of, wrong_losses<T, acc>(of, true, 0.2));
  }
  return wrong;
}

}  // namespace
}  // namespace upsample_ext

int main() {
  using namespace upsample_ext;
  return report([] {
    return wrong_results<double, double>("float64") + wrong_results<float, float>("float32") +
           wrong_results<half_t, float>("float16") + wrong_results<bfloat16_t, float>("bfloat16");
  });
}
