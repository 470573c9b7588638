// This task's name for itself.
//
// Guarantees: no reference changes. On Mach's own interface `mach_task_self` is a trap that adds a reference at each call; a system's
// C library has a macro in its place, which Swift does not see. So C says it, and this is what the engine calls.

import CPlatform

@inline(__always)
func mach_task_self() -> mach_port_t { pager_own_task() }
