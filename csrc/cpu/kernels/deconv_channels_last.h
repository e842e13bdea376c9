// Depthwise transposed convolution of channels-last images, forward and both gradients.
//
// Vectors run over the channels. Pixels of a row that have the same list of taps (forward: those of a phase;
// backward_input: all but some at the ends) are processed several at a time, so that a vector of weights is
// loaded once for all of them and the sums stay in registers over the list. Pixels at the ends, which lack
// taps or read a replicated border, have separate lists.
#pragma once

#include "deconv_channels_last_backward_input.h"
#include "deconv_channels_last_backward_weight.h"
#include "deconv_channels_last_forward.h"
