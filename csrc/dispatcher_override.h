// Puts this package's kernels in front of native's resize ops and their backward ops, process-wide, while
// enabled.
#pragma once

namespace upsample_ext {

// Both are idempotent and hold an internal lock. The dispatcher stacks kernels, so disabling restores exactly
// the kernel that was found. As with every registration in the dispatcher, no other thread may be inside one
// of the overridden operators while either function runs.
void enable_dispatcher_override();
void disable_dispatcher_override();
bool dispatcher_override_enabled();

}  // namespace upsample_ext
