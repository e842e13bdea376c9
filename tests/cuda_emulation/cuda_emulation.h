// CUDA C++ on the host: included before everything else in a .cu file, it makes g++ compile what nvcc would.
// The toolkit's own headers give types and half conversions; the files below give what only a device has.
// See README.md.
#pragma once

#define UPSAMPLE_EXT_CUDA_EMULATION 1

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <vector_functions.h>
#include <vector_types.h>

#include "keywords.h"
// The order matters: keywords first, then what they are needed for.
#include "arithmetic.h"
#include "launch.h"
#include "memory.h"
#include "scheduler.h"
#include "warp.h"
