// How the threads of a grid share the work: a number of thread is taken apart into coordinates, without an
// integer division where 32 bits suffice.
#pragma once

#include "../geometry/divider.h"
