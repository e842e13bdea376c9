// The headers of torch that most op and launcher sources need. They take ten times as long to parse as the
// sources themselves, so the build precompiles this file once (setup.py: Build.precompile_headers) and each
// source includes it, as <torch_headers.h>, before anything else: a compiler without a precompiled form of it
// reads it like any other header. Each source includes what else it uses; a header that only one source needs
// does not belong here.
#ifndef UPSAMPLE_EXT_TORCH_HEADERS_H_  // g++ warns of "#pragma once" in a file that it compiles by itself
#define UPSAMPLE_EXT_TORCH_HEADERS_H_

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/VariableTypeUtils.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/library.h>

#endif
