// What is to be tuned by measurement, of all kernels: threads of a block, blocks of a multiprocessor (the
// second number of __launch_bounds__, which bounds registers), tiles, and how work is divided. All are the
// results of counting instructions and registers; none has been measured.
//
// benchmarks/cuda/tune.cu times the kernels by themselves. To try other values, compile it with
// -include another.cuh, a changed copy of this file, or let it sweep those that are template parameters.
#ifndef UPSAMPLE_CUDA_CONFIG
#define UPSAMPLE_CUDA_CONFIG

#include <stdint.h>

namespace upsample_ext {
namespace gpu {

// ---- how rows are divided (thread_partition.cuh)
// ------------------------------------------------------------

// Rows of a thread double while there are as many threads as this for every multiprocessor.
constexpr int kThreadsPerMultiprocessor = 1024;
constexpr int64_t kMostRowsOfThread = 16;
// Of neighbouring channels, in a block of threads whose other dimension is pixels.
constexpr int64_t kChannelBytesOfBlock = 256;

// ---- resize
// -------------------------------------------------------------------------------------------------

// resample_forward.cuh. Values of a thread that stores vectors: 16 bytes of results.
struct ForwardConfig {
  static constexpr int kThreads = 256;
  static constexpr int kBlocks = 2;
  template <class result>
  static constexpr int kValues = 16 / sizeof(result);
};
// resample_staged.cuh: results of a block in shared memory.
constexpr int kStagedThreads = 256;
constexpr int kStagedBlocks = 3;
constexpr int64_t kStagedBytes = 16 << 10;

// resample_nearest.cuh
struct NearestConfig {
  static constexpr int kThreads = 256;
  static constexpr int kPickBlocks = 4;
  static constexpr int kSumBlocks = 3;
};

// resample_backward_planar.cuh: sources of a tile, and its shared memory.
constexpr int kPlanarThreads = 256;
constexpr int kPlanarBlocks = 4;
constexpr int kPlanarLoads = 4;  // of a thread, before their sums
constexpr int kTileRows = 32;
constexpr int kTileRowBytes = 512;  // 384 of half types
constexpr int64_t kPlanarSharedBytes = 48 << 10;
// Results of a source, along an axis, where a list of its taps is kept.
constexpr int64_t kMostListedOutputs = 40;
// resample_backward_channels_last.cuh, and resample_backward.cuh for sources of more results.
constexpr int kPixelThreads = 256;
constexpr int kPixelBlocks = 3;
constexpr int kSourceThreads = 256;
constexpr int kSourceBlocks = 3;

// resample_backward_large.cuh
constexpr int kLargeThreads = 256;
constexpr int kLargeBlocks = 3;
constexpr int kLargeLoads = 4;  // of a thread, before their sums
template <class T>              // of a thread, where they are not adjacent
constexpr int kLargeColumns = sizeof(T) == 8 ? 2 : 4;
constexpr int64_t kLargeSources = 1024;            // of a row of a block at most
constexpr int64_t kLargeGradientBytes = 16 << 10;  // of a block in shared memory

// resample_table.cuh: a tile of results, in rows of elements, and the source elements of a chunk.
constexpr int kBuildThreads = 128;
constexpr int kBuildBlocks = 4;
constexpr int kTableThreads = 256;
constexpr int kTableBlocks = 3;
constexpr int kTableRows = 8;
constexpr int kTableElements = 128;
constexpr int kChunkElements = 256;

// ---- transposed convolution
// ---------------------------------------------------------------------------------

constexpr int kDeconvThreads = 256;
template <int V>  // as many as the registers for V results leave room for
constexpr int kDeconvBlocks = V > 4 ? 2 : 3;
constexpr int kRollingBlocks = 3;  // of the input's gradient
template <class Index>
constexpr int kDeconvGeneralBlocks = sizeof(Index) == 8 ? 2 : 4;
constexpr int kDeconvGeneralColumns = 4;  // of a thread
constexpr int kRollingColumns = 2;
// Sums over the batch (batch_reduction.cuh).
constexpr int kSumThreads = 256;
template <class T>
constexpr int kWeightBlocks = sizeof(T) == 8 ? 2 : 3;
constexpr int64_t kMostPositionsOfThread = 64, kFewestPositionsOfThread = 8;
constexpr int64_t kEnoughSumBlocks = 1024;

// ---- reductions over the classes
// ----------------------------------------------------------------------------

// class_logits.cuh: for Blackwell the compiler needs more registers.
constexpr int kClassThreads = 128;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int kFewerBlocks = 1;
#else
constexpr int kFewerBlocks = 0;
#endif
constexpr int kClassBlocks = 5 - kFewerBlocks;
// Classes are reduced in groups of this size, the same in all kernels, which fixes the bits of a sum.
constexpr int kClassGroup = 4;
// cross_entropy_backward.cuh: result columns of a tile, and most source rows.
constexpr int kGradientThreads = 192;
template <class acc, int V, bool kSmooth>
constexpr int kGradientBlocks = sizeof(acc) == 8 || kSmooth || V == 2 ? 2 : 3 - kFewerBlocks;
constexpr int64_t kMostGradientRows = 32;
constexpr int kGradientOfOneThreads = 256;
constexpr int kGradientOfOneBlocks = 3;
constexpr int kLossSumThreads = 512;

}  // namespace gpu
}  // namespace upsample_ext

#endif
