// Checks the tables of chains of resizes against the product of their stages in float64: weights to rounding,
// every source that a stage's product names and no other, and rows of equally many taps. No torch.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../csrc/geometry/axis_table.h"

using namespace upsample_ext;

namespace {

int failures = 0;

void expect(bool holds, const char* what, int chain) {
  if (holds) return;
  ++failures;
  std::printf("chain %d: %s\n", chain, what);
}

// One stage as a matrix, row by row: weights, and which sources are taps at all.
struct Dense {
  int64_t rows, columns;
  std::vector<double> weight;
  std::vector<char> read;

  Dense(int64_t rows, int64_t columns) : rows(rows), columns(columns) {
    weight.resize(static_cast<size_t>(rows * columns));
    read.resize(static_cast<size_t>(rows * columns));
  }
  size_t at(int64_t row, int64_t column) const { return static_cast<size_t>(row * columns + column); }
};

template <class T>
Dense dense(const AxisTaps<T>& taps) {
  Dense matrix(taps.out_size, taps.in_size);
  for (int64_t o = 0; o < taps.out_size; ++o) {
    for (int64_t t = taps.offset[o]; t < taps.offset[o + 1]; ++t) {
      matrix.weight[matrix.at(o, taps.index[t])] += static_cast<double>(taps.weight[t]);
      matrix.read[matrix.at(o, taps.index[t])] = 1;
    }
  }
  return matrix;
}

Dense product(const Dense& next, const Dense& first) {
  Dense result(next.rows, first.columns);
  for (int64_t o = 0; o < next.rows; ++o) {
    for (int64_t m = 0; m < next.columns; ++m) {
      if (!next.read[next.at(o, m)]) continue;
      for (int64_t i = 0; i < first.columns; ++i) {
        if (!first.read[first.at(m, i)]) continue;
        result.weight[result.at(o, i)] += next.weight[next.at(o, m)] * first.weight[first.at(m, i)];
        result.read[result.at(o, i)] = 1;
      }
    }
  }
  return result;
}

// The stage in T's own coordinates, which float rounds, its weights exact from there on.
template <class T>
Dense stage_matrix(const AxisStage& stage) {
  const Dense whole = dense(AxisTable<T>::of(stage.spec).taps());
  Dense part(stage.count, whole.columns);
  for (int64_t o = 0; o < stage.count; ++o) {
    for (int64_t i = 0; i < whole.columns; ++i) {
      part.weight[part.at(o, i)] = whole.weight[whole.at(o + stage.first, i)];
      part.read[part.at(o, i)] = whole.read[whole.at(o + stage.first, i)];
    }
  }
  return part;
}

template <class T>
void check(const std::vector<AxisStage>& stages, int chain) {
  const AxisTable<T> table = AxisTable<T>::chain(stages.data(), stages.size());
  Dense expected = stage_matrix<T>(stages[0]);
  bool copies = false;  // a stage that copies is left out: what it multiplies by 0 is not read
  for (size_t i = 1; i < stages.size(); ++i) {
    expected = product(stage_matrix<T>(stages[i]), expected);
    copies = copies || stages[i].spec.in_size == stages[i].spec.out_size;
  }
  const AxisTaps<T>& taps = table.taps();
  expect(taps.out_size == expected.rows && taps.in_size == expected.columns, "sizes", chain);
  const Dense found = dense(taps);
  const double unit = sizeof(T) == 4 ? 1.2e-7 : 2.3e-16;
  for (size_t i = 0; i < found.weight.size(); ++i) {
    expect(std::abs(found.weight[i] - expected.weight[i]) <= 4 * unit, "a weight", chain);
    expect(found.read[i] == expected.read[i] || (copies && expected.weight[i] == 0.0), "a source", chain);
  }
  for (int64_t o = 0; o < taps.out_size; ++o) {
    const int64_t begin = taps.offset[o], end = taps.offset[o + 1];
    for (int64_t t = begin + 1; t < end; ++t) {
      expect(taps.index[t - 1] <= taps.index[t], "an order of sources", chain);
    }
    if (taps.max_taps <= AxisTable<T>::kMostEvenTaps) {
      expect(end - begin == taps.max_taps && taps.taps_per_row == taps.max_taps, "an even row", chain);
    }
  }
}

AxisStage stage(int64_t in, int64_t out, bool corners, int64_t first, int64_t count) {
  return {{Mode::kLinear, false, in, out, corners, 0.0, NativeRules::kCpu}, first, count};
}

}  // namespace

int main() {
  uint64_t state = 1;
  const auto random = [&](int64_t least, int64_t most) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return least + static_cast<int64_t>((state >> 33) % static_cast<uint64_t>(most - least + 1));
  };
  for (int chain = 0; chain < 2000; ++chain) {
    std::vector<AxisStage> stages;
    int64_t size = random(1, 30);
    for (int64_t i = random(1, 4); i > 0; --i) {
      const int64_t out = random(0, 4) == 0 ? size : random(1, 60);
      const int64_t count = random(0, 1) == 0 ? out : random(1, out);
      stages.push_back(stage(size, out, random(0, 1) == 0, random(0, out - count), count));
      size = count;
    }
    check<float>(stages, chain);
    check<double>(stages, chain);
  }
  // An enlargement of an enlargement has three taps, adjacent but for a weight in halves.
  const std::vector<AxisStage> sam{stage(256, 1024, false, 0, 768), stage(768, 1200, false, 0, 1200)};
  const AxisTable<float> table = AxisTable<float>::chain(sam.data(), sam.size());
  expect(table.taps().taps_per_row == 3, "three taps", -1);
  if (failures > 0) return EXIT_FAILURE;
  std::printf("all chains hold\n");
}
