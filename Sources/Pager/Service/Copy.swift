// pager_memcpy: copying through a mapping of the object.
//
// The object is mapped a window at a time, so that address space does not limit the size. Either side may fault: in the object where the
// page cannot be had, in the caller's memory where there is none. The platform stops at the byte (`platform_copy`), so what was copied is
// exact. The pages come through the pager's own workers, so no lock is held, and a worker that waits here counts as waiting.

import CPlatform

private let windowBytes: vm_size_t = 1 << 20

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Copies between `other` and the object, which `object` maps. How many bytes were copied, and an errno.
    func copy(_ object: mach_port_t, _ start: vm_offset_t, _ other: UnsafeMutableRawPointer, _ size: UInt,
              write: Bool) -> (UInt, Int32) {
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        var done: UInt = 0
        while done < size {
            let (offset, overflow) = start.addingReportingOverflow(vm_offset_t(done))
            if overflow { return (done, Errno.invalid) }
            let within = offset & (vm_offset_t(pageSize) - 1)
            // A window never goes beyond the end of the offsets (0: all of them lie ahead).
            let ahead = 0 &- UInt(offset), window = UInt(windowBytes - within)
            let piece = min(size - done, ahead == 0 ? window : min(window, ahead))
            let (copied, code) = copyWindow(object, offset - within, within, other + Int(bitPattern: done), piece, write)
            done += copied
            if code != 0 { return (done, code) }
        }
        return (done, 0)
    }

    /// `piece` bytes, from `within` bytes behind the start of a window at `base`.
    private func copyWindow(_ object: mach_port_t, _ base: vm_offset_t, _ within: vm_offset_t,
                            _ other: UnsafeMutableRawPointer, _ piece: UInt, _ write: Bool) -> (UInt, Int32) {
        let mask = UInt(pageSize) - 1
        let bytes = vm_size_t((UInt(within) + piece + mask) & ~mask)
        let protection = write ? VM_PROT_READ | VM_PROT_WRITE : VM_PROT_READ
        var window: vm_address_t = 0
        let result = vm_map(mach_task_self(), &window, bytes, 0, 1, object, base, 0, protection, protection, VM_INHERIT_NONE)
        if result != 0 { return (0, mappingError(result)) }
        defer { _ = vm_deallocate(mach_task_self(), window, bytes) }
        guard let mapped = UnsafeMutableRawPointer(bitPattern: UInt(window + within)) else { return (0, Errno.noMemory) }

        var fault = platform_fault()
        let copied = UInt(write ? platform_copy(mapped, other, Int(bitPattern: piece), &fault)
            : platform_copy(other, mapped, Int(bitPattern: piece), &fault))
        if copied == piece { return (copied, 0) }
        let place = UInt(fault.address)
        if place < UInt(window) || place - UInt(window) >= UInt(bytes) { return (copied, Errno.fault) }
        // The right is for reading only.
        if fault.is_protection != 0 { return (copied, Errno.access) }
        // An answer that no page remembers (memory was short, the object is being shut down) is an error all the same.
        let code = lastError(page(base + vm_offset_t(place - UInt(window))))
        return (copied, code != 0 ? code : Errno.io)
    }

    private func mappingError(_ result: kern_return_t) -> Int32 {
        switch result {
        case KERN_RESOURCE_SHORTAGE, KERN_NO_SPACE: return Errno.noMemory
        case KERN_PROTECTION_FAILURE, KERN_INVALID_RIGHT: return Errno.access
        // No kernel here maps objects.
        case KERN_FAILURE: return Errno.notSupported
        default: return Errno.invalid
        }
    }
}
