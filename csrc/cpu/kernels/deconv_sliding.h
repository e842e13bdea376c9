// Forward and input gradient at stride 1, in any layout: a window slides over an image.
//
// Both are one sum. Along each axis, result i takes source i + k - before through tap k:
//
//   result[y, x] = bias + sum over taps of weight[ky, kx] * source[y + ky - before_y, x + kx - before_x]
//
// where forward counts taps from the kernel's end. A tile of the source is copied into memory of its own, in
// acc and with zeros around the image, so that any strides and any border are read by one loop
// (deconv_sliding_sums.h). There are two kinds of lanes:
//
//   lanes of channels  a pixel is a vector of channels; lines run along the width
//   lanes of columns   a vector is a stretch of a row of one channel; lines run down the height
//
// The cheaper kind is chosen by the sizes; what the image does not have in that order is transposed.
//
// Zeros around the image add nothing where weights are finite. A channel with others is summed one by one.
#pragma once

#include "copy_image.h"
#include "deconv_sliding_sums.h"

namespace upsample_ext {
namespace UPSAMPLE_LEVEL {

// ---- geometry ---------------------------------------------------------------------------------------------

// Taps that no result takes from inside the image are left out: of a kernel larger than the image, most.
struct SlidingAxis {
  int64_t sources, results, taps, before;
  int64_t first;  // kernel value of the first tap, in the kernel's own order
  int64_t step;   // to that of the next tap: 1, or -1 in forward

  SlidingAxis(const ConvTransposeAxis& axis, bool forward) {
    const int64_t size = axis.kernel_size;
    sources = forward ? axis.in_size : axis.out_size();
    results = forward ? axis.out_size() : axis.in_size;
    const int64_t reach = forward ? size - 1 - axis.padding : axis.padding;
    const int64_t begin = clamp(reach - (results - 1), 0, size), end = clamp(reach + sources, begin, size);
    taps = end - begin;
    before = reach - begin;
    first = forward ? size - end : begin;
    step = forward ? -1 : 1;
  }
  // The taps that some of `count` results from i on take from inside the image: begin .. end.
  int64_t begin(int64_t i, int64_t count) const { return clamp(before - i - (count - 1), 0, taps); }
  int64_t end(int64_t i) const { return clamp(sources + before - i, 0, taps); }
};

// Tiles of the results, and the copy of the sources that one of them takes.
struct SlidingTiles {
  int64_t height, width;         // results
  int64_t down, across;          // how many tiles
  int64_t tile_rows, tile_step;  // of the copy; steps in vectors or, with lanes of columns, in elements

  int64_t count() const { return down * across; }
};
inline int64_t equal_parts(int64_t extent, int64_t most) { return ceil_div(extent, ceil_div(extent, most)); }

constexpr int64_t kSlidingBytes = 192 * 1024;  // a part of the second cache

// Channels in vectors: `wide` blocks. The other `single` ones have lanes of columns.
struct SlidingLanes {
  int64_t wide, single;
};

// The cheaper kind. In cycles a row: a product of vectors takes 1; a vector of channels is transposed in half
// a cycle an element; an element of a row of others is read or written in 1.
template <class acc>
inline SlidingLanes choose_sliding_lanes(int64_t channels, int64_t taps, int64_t extent, const Strides& from,
                                         const Strides& to) {
  const auto by_channel = [](const Strides& image) { return image.channel == 1 ? 1 : 0; };
  const auto by_column = [](const Strides& image) { return image.width == 1 ? 1 : 0; };
  const int64_t transposed = 2 - by_channel(from) - by_channel(to);
  const int64_t stepwise = 2 - by_column(from) - by_column(to);
  const int64_t block = extent * taps + transposed * extent * lanes<acc> / 2;
  const int64_t plane = ceil_div(extent, lanes<acc>) * taps + stepwise * extent;
  const int64_t rest = channels % lanes<acc>;
  const int64_t wide = block < plane * lanes<acc> ? channels / lanes<acc> : 0;
  const int64_t single = channels - wide * lanes<acc>;
  if (single == rest && rest > 0 && block < plane * rest) return {wide + 1, 0};
  return {wide, single};
}

template <class acc>
struct SlidingSum {
  const void* source;
  void* result;
  Strides from, to;
  SlidingAxis height, width;
  int64_t batch, channels;
  int64_t wide, single;  // SlidingLanes
  SlidingTiles wide_tiles, single_tiles;

  explicit SlidingSum(const DeconvParams& p)
      : height(p.height, p.pass == DeconvPass::kForward),
        width(p.width, p.pass == DeconvPass::kForward),
        batch(p.batch),
        channels(p.channels) {
    const bool forward = p.pass == DeconvPass::kForward;
    source = forward ? p.input : p.output;
    result = forward ? p.output : p.input;
    from = forward ? p.in : p.out;
    to = forward ? p.out : p.in;
    const SlidingLanes chosen =
        choose_sliding_lanes<acc>(channels, height.taps * width.taps, width.results, from, to);
    wide = chosen.wide;
    single = chosen.single;
    // Steps of an odd number of vectors: those of a power of two would fall on each other in the cache.
    const auto tiles = [&](int64_t most_width, int64_t least_height, int64_t lanes_across) {
      SlidingTiles t;
      t.width = equal_parts(width.results, most_width);
      const int64_t row = lanes_across == 1 ? t.width + kMostSliding + width.taps
                                            : ceil_div(t.width, lanes_across) * lanes_across + width.taps;
      t.tile_step = (ceil_div(row, lanes_across) | 1) * lanes_across;
      const int64_t row_bytes = t.tile_step * (lanes_across == 1 ? kVectorBytes : kVectorBytes / lanes<acc>);
      const int64_t most_height = larger(least_height, kSlidingBytes / row_bytes - (height.taps - 1));
      t.height = equal_parts(height.results, most_height);
      t.tile_rows = t.height + kMostSliding + height.taps;
      t.down = ceil_div(height.results, t.height);
      t.across = ceil_div(width.results, t.width);
      return t;
    };
    wide_tiles = tiles(64, 16, 1);
    single_tiles = tiles(1024, 32, lanes<acc>);
  }

  int64_t units() const { return batch * units_of_image(); }
  int64_t units_of_image() const { return wide * wide_tiles.count() + single * single_tiles.count(); }
};

// Whether a call is computed here: for few taps copies are too much, for very many the tiles are too large.
// Pixels of at least a vector of channels can be read in place: for them 9 taps are few.
inline bool slides(const DeconvParams& p) {
  const bool forward = p.pass == DeconvPass::kForward;
  const auto fits = [&](const ConvTransposeAxis& axis) {
    constexpr int64_t kMostTaps = 64;
    return axis.stride == 1 && axis.dilation == 1 && !axis.replicate &&
           SlidingAxis(axis, forward).taps <= kMostTaps;
  };
  const int64_t least = p.channels_last && p.channels >= lanes<float> ? 16 : 9;
  return p.pass != DeconvPass::kBackwardWeight && fits(p.height) && fits(p.width) &&
         p.height.kernel_size * p.width.kernel_size >= least;
}

// ---- copies -----------------------------------------------------------------------------------------------

// A part of an image of a few channels, each at most a vector of.
template <class T>
struct Stretch {
  T* first;
  Strides strides;
  int64_t rows, columns, channels;

  bool by_channel() const { return strides.channel == 1 || channels == 1; }
  // Rows that follow each other make one long row.
  Stretch joined() const {
    if (strides.height != columns * strides.width) return *this;
    return {first, strides, 1, rows * columns, channels};
  }
};

// pixels[row][column], a vector of channels each, `pixels_row` vectors from row to row. `words` holds as many
// vectors of T.
template <class T, class acc>
inline void read_pixels(acc* pixels, int64_t pixels_row, const Stretch<const T>& image, T* words) {
  const auto copy = [&](const T* from, int64_t row_step, int64_t step) {
    for (int64_t y = 0; y < image.rows; ++y) {
      for (int64_t x = 0; x < image.columns; ++x) {
        const T* at = from + y * row_step + x * step;
        const vec<acc> pixel = image.channels == lanes<acc> ? load(at) : load_part(at, image.channels);
        store(pixels + (y * pixels_row + x) * lanes<acc>, pixel);
      }
    }
  };
  if (image.by_channel()) return copy(image.first, image.strides.height, image.strides.width);
  const Stretch<const T> whole = image.joined();
  for (int64_t y = 0; y < whole.rows; ++y) {
    const auto row = [&](int64_t c) {
      return whole.first + c * whole.strides.channel + y * whole.strides.height;
    };
    T* to = words + y * whole.columns * lanes<acc>;
    if (whole.strides.width == 1) {
      transpose(row, to, lanes<acc>, whole.channels, whole.columns);
      continue;
    }
    for (int64_t c = 0; c < whole.channels; ++c) {
      for (int64_t x = 0; x < whole.columns; ++x) to[x * lanes<acc> + c] = row(c)[x * whole.strides.width];
    }
  }
  copy(words, image.columns * lanes<acc>, lanes<acc>);
}

// The image from words[row][column], a vector of channels each.
template <class acc, class T>
inline void write_pixels(const Stretch<T>& image, const T* words) {
  const Stretch<T> whole = image.joined();
  for (int64_t y = 0; y < whole.rows; ++y) {
    const T* from = words + y * whole.columns * lanes<acc>;
    T* to = whole.first + y * whole.strides.height;
    if (whole.strides.width == 1) {
      transpose([&](int64_t x) { return from + x * lanes<acc>; }, to, whole.strides.channel, whole.columns,
                whole.channels);
      continue;
    }
    for (int64_t x = 0; x < whole.columns; ++x) {
      for (int64_t c = 0; c < whole.channels; ++c) {
        to[x * whole.strides.width + c * whole.strides.channel] = from[x * lanes<acc> + c];
      }
    }
  }
}

// ---- tiles ------------------------------------------------------------------------------------------------

template <class T, class acc>
struct SlidingScratch {
  acc* tile;     // of the sources
  acc* weights;  // [row][column], a vector each or, with lanes of columns, a number
  T* words;      // pixels of the tile, of the kernel, or of the results
  SlidingLine<acc, acc>* lines;
  acc* sums;  // of a line
  acc* bias;  // of the channels of a block
};
template <class T, class acc>
inline SlidingScratch<T, acc> sliding_scratch(const SlidingSum<acc>& s, Arrays& arrays) {
  const SlidingTiles &wide = s.wide_tiles, &single = s.single_tiles;
  const int64_t vectors = s.wide > 0 ? wide.tile_rows * wide.tile_step : 0;
  const int64_t elements = s.single > 0 ? single.tile_rows * single.tile_step : 0;
  const int64_t taps = s.height.taps * s.width.taps;
  SlidingScratch<T, acc> scratch;
  scratch.tile = arrays.take<acc>(larger(vectors * lanes<acc>, elements));
  scratch.weights = arrays.take<acc>(s.wide > 0 ? taps * lanes<acc> : taps + lanes<acc>);
  scratch.words = arrays.take<T>(s.wide > 0 ? larger(vectors, taps) * lanes<acc> : 0);
  scratch.lines = arrays.take<SlidingLine<acc, acc>>(larger(s.height.taps, s.width.taps));
  scratch.sums = arrays.take<acc>(kMostSliding * lanes<acc>);
  scratch.bias = arrays.take<acc>(lanes<acc>);
  return scratch;
}

template <class acc>
inline bool all_finite(const acc* values, int64_t count) {
  vec<acc> zeros{};
  int64_t i = 0;
  for (; i + lanes<acc> <= count; i += lanes<acc>) zeros += load(values + i) * acc(0);
  if (i < count) zeros += load_part(values + i, count - i) * acc(0);
  return sum_lanes(zeros) == acc(0);
}

// Part of the results of `channels` channels from c on: rows y .. y + height, columns x .. x + width.
struct SlidingTile {
  int64_t n, c, channels, y, x, height, width;
};

template <class T, class acc>
class SlidingTileSum {
 public:
  SlidingTileSum(const DeconvParams& p, const SlidingSum<acc>& sum, const SlidingScratch<T, acc>& scratch)
      : p_(p), s_(sum), scratch_(scratch) {}

  // The weights and the bias of the channels of a block.
  void take_channels(int64_t c, int64_t channels, bool wide) {
    const SlidingAxis &height = s_.height, &width = s_.width;
    const T* kernel = static_cast<const T*>(p_.weight) + c * p_.weight_channel +
                      height.first * p_.weight_height + width.first * p_.weight_width;
    if (wide) {
      const Strides strides{0, p_.weight_channel, p_.weight_height, p_.weight_width};
      read_pixels<T>(scratch_.weights, width.taps, {kernel, strides, height.taps, width.taps, channels},
                     scratch_.words);
    } else {
      for (int64_t ky = 0; ky < height.taps; ++ky) {
        read_row(scratch_.weights + ky * width.taps, kernel + ky * p_.weight_height, p_.weight_width,
                 width.taps);
      }
    }
    lanes_ = wide ? lanes<acc> : 1;
    finite_ = all_finite(scratch_.weights, height.taps * width.taps * lanes_);
    fill(scratch_.bias, lanes<acc>, acc(0));
    if (p_.bias == nullptr || p_.pass != DeconvPass::kForward) return;
    for (int64_t i = 0; i < lanes<acc>; ++i) {
      const int64_t of = c + (wide ? smaller(i, channels - 1) : 0);
      scratch_.bias[i] = to_acc(static_cast<const T*>(p_.bias)[of * p_.bias_stride]);
    }
  }

  void wide(const SlidingTile& t) {
    const int64_t step = s_.wide_tiles.tile_step, count = sliding_count(t.width);
    const SlidingOutput<acc> sums{scratch_.sums, lanes<acc>, lanes<acc>};
    copy_sources(t, true, step, step, t.height);
    const Stretch<T> results{result(t), s_.to, t.height, t.width, t.channels};
    for (int64_t y = 0; y < t.height; ++y) {
      const int64_t ky = s_.height.begin(t.y + y, 1), lines = s_.height.end(t.y + y) - ky;
      for (int64_t x = 0; x < t.width; x += count) {
        const int64_t pixels = smaller(count, t.width - x);
        const int64_t kx = s_.width.begin(t.x + x, count), taps = s_.width.end(t.x + x) - kx;
        if (finite_) {
          for (int64_t i = 0; i < lines; ++i) {
            scratch_.lines[i] = {scratch_.tile + ((y + ky + i) * step + x + kx) * lanes<acc>,
                                 weight(ky + i, kx), taps};
          }
          sum_line<false>(
              sums, count, scratch_.bias,
              SlidingLines<acc, acc>{scratch_.lines, lines, lanes<acc>, s_.width.step * lanes<acc>, 0});
        } else {
          for (int64_t i = 0; i < pixels; ++i) {
            for (int64_t c = 0; c < t.channels; ++c) sum_one(t, y, x + i, c, step, i * lanes<acc> + c);
          }
        }
        for (int64_t i = 0; i < pixels; ++i) {
          const vec<acc> sum = load(scratch_.sums + i * lanes<acc>);
          if (!results.by_channel()) {
            store(scratch_.words + (y * t.width + x + i) * lanes<acc>, sum);
            continue;
          }
          T* at = results.first + y * s_.to.height + (x + i) * s_.to.width;
          t.channels == lanes<acc> ? store(at, sum) : store_part(at, sum, t.channels);
        }
      }
    }
    if (!results.by_channel()) write_pixels<acc>(results, scratch_.words);
  }

  void single(const SlidingTile& t) {
    const int64_t step = s_.single_tiles.tile_step, count = sliding_count(t.height);
    const SlidingOutput<acc> sums{scratch_.sums, lanes<acc>, lanes<acc>};
    copy_sources(t, false, step, step, ceil_div(t.height, count) * count);
    T* first = result(t);
    for (int64_t y = 0; y < t.height; y += count) {
      const int64_t rows = smaller(count, t.height - y);
      const int64_t ky = s_.height.begin(t.y + y, count), taps = s_.height.end(t.y + y) - ky;
      for (int64_t x = 0; x < t.width; x += lanes<acc>) {
        const int64_t columns = smaller(lanes<acc>, t.width - x);
        const int64_t kx = s_.width.begin(t.x + x, lanes<acc>), lines = s_.width.end(t.x + x) - kx;
        if (finite_) {
          for (int64_t i = 0; i < lines; ++i) {
            scratch_.lines[i] = {scratch_.tile + (y + ky) * step + x + kx + i, weight(ky, kx + i), taps};
          }
          sum_line<true>(
              sums, count, scratch_.bias,
              SlidingLines<acc, acc>{scratch_.lines, lines, step, s_.height.step * s_.width.taps, 0});
        } else {
          for (int64_t i = 0; i < rows; ++i) {
            for (int64_t j = 0; j < columns; ++j) sum_one(t, y + i, x + j, 0, step, i * lanes<acc> + j);
          }
        }
        for (int64_t i = 0; i < rows; ++i) {
          write_row(first + (y + i) * s_.to.height + x * s_.to.width, s_.to.width,
                    scratch_.sums + i * lanes<acc>, columns);
        }
      }
    }
  }

 private:
  T* result(const SlidingTile& t) const {
    return static_cast<T*>(s_.result) + t.n * s_.to.batch + t.c * s_.to.channel + t.y * s_.to.height +
           t.x * s_.to.width;
  }

  // Of tap (ky, kx), whose lines may run backwards.
  const acc* weight(int64_t ky, int64_t kx) const {
    const auto number = [](const SlidingAxis& axis, int64_t k) {
      return axis.step > 0 ? k : axis.taps - 1 - k;
    };
    return scratch_.weights + (number(s_.height, ky) * s_.width.taps + number(s_.width, kx)) * lanes_;
  }

  // The sources of `height` rows of results and of whole lines or vectors of them, zeros outside the image.
  // Rows outside the image are read only with lanes of columns.
  void copy_sources(const SlidingTile& t, bool wide, int64_t step, int64_t width, int64_t height) {
    const int64_t top = t.y - s_.height.before, left = t.x - s_.width.before;
    const int64_t rows = height + larger(0, s_.height.taps - 1);
    const int64_t row = clamp(-top, 0, rows), row_end = clamp(s_.height.sources - top, row, rows);
    const int64_t column = clamp(-left, 0, width), column_end = clamp(s_.width.sources - left, column, width);
    const T* from = static_cast<const T*>(s_.source) + t.n * s_.from.batch + t.c * s_.from.channel +
                    (top + row) * s_.from.height + (left + column) * s_.from.width;
    acc* tile = scratch_.tile;
    const auto clear = [&](int64_t y, int64_t begin, int64_t end) {
      fill(tile + (y * step + begin) * lanes_, (end - begin) * lanes_, acc(0));
    };
    for (int64_t y = 0; y < rows; ++y) {
      const bool inside = y >= row && y < row_end;
      if (inside) clear(y, 0, column), clear(y, column_end, width);
      if (!inside && !wide) clear(y, 0, width);
    }
    if (row == row_end || column == column_end) return;
    if (wide) {
      read_pixels<T>(tile + (row * step + column) * lanes<acc>, step,
                     {from, s_.from, row_end - row, column_end - column, t.channels}, scratch_.words);
      return;
    }
    for (int64_t y = row; y < row_end; ++y, from += s_.from.height) {
      read_row(tile + y * step + column, from, s_.from.width, column_end - column);
    }
  }

  // Result (y, x) of the tile, through the taps that have a source only.
  void sum_one(const SlidingTile& t, int64_t y, int64_t x, int64_t c, int64_t step, int64_t sum) {
    acc total = scratch_.bias[c];
    for (int64_t ky = s_.height.begin(t.y + y, 1); ky < s_.height.end(t.y + y); ++ky) {
      for (int64_t kx = s_.width.begin(t.x + x, 1); kx < s_.width.end(t.x + x); ++kx) {
        total =
            multiply_add(weight(ky, kx)[c], scratch_.tile[((y + ky) * step + x + kx) * lanes_ + c], total);
      }
    }
    scratch_.sums[sum] = total;
  }

  const DeconvParams& p_;
  const SlidingSum<acc>& s_;
  SlidingScratch<T, acc> scratch_;
  int64_t lanes_ = 1;  // of an element of the tile and of a weight
  bool finite_ = true;
};

// Units are (n, block of channels, tile).
template <class T, class acc>
inline void sum_sliding_units(const DeconvParams& p, int64_t begin, int64_t end, void* memory) {
  const SlidingSum<acc> s(p);
  Arrays arrays(memory);
  SlidingTileSum<T, acc> sum(p, s, sliding_scratch<T, acc>(s, arrays));
  const int64_t wide_units = s.wide * s.wide_tiles.count();
  int64_t taken = -1;
  for (int64_t unit = begin; unit < end; ++unit) {
    const int64_t n = unit / s.units_of_image(), of_image = unit % s.units_of_image();
    const bool wide = of_image < wide_units;
    const SlidingTiles& tiles = wide ? s.wide_tiles : s.single_tiles;
    const int64_t number = wide ? of_image : of_image - wide_units;
    const int64_t block = number / tiles.count(), tile = number % tiles.count();
    const int64_t c = wide ? block * lanes<acc> : s.channels - s.single + block;
    const int64_t channels = wide ? smaller(lanes<acc>, s.channels - c) : 1;
    const int64_t y = tile / tiles.across * tiles.height, x = tile % tiles.across * tiles.width;
    if (c != taken) sum.take_channels(c, channels, wide);
    taken = c;
    const SlidingTile part{n,
                           c,
                           channels,
                           y,
                           x,
                           smaller(tiles.height, s.height.results - y),
                           smaller(tiles.width, s.width.results - x)};
    wide ? sum.wide(part) : sum.single(part);
  }
}

template <class T, class acc>
inline int64_t sliding_scratch_bytes(const DeconvParams& p) {
  Arrays arrays(nullptr);
  sliding_scratch<T, acc>(SlidingSum<acc>(p), arrays);
  return arrays.bytes();
}

}  // namespace UPSAMPLE_LEVEL
}  // namespace upsample_ext
