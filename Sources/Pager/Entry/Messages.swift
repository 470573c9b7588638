// The routines of subsystem memory_object, as MIG's server stubs call them.
//
// Each message that names the control port adds a reference to our send right: it is released here, except for the
// one of `init`, which stays as long as the client.

import CPlatform
import Synchronization

/// The client that a message is from, with the message's reference to its control port released.
@inline(__always)
private func sender(_ pager: PagerPointer, _ control: mach_port_t, _ offset: vm_offset_t) -> ClientPointer? {
    let client = pager.client(control, offset)
    _ = mach_port_deallocate(mach_task_self(), control)
    if client == nil { pager.takenIn() }
    return client
}

@_cdecl("pager_message_target") @implementation
public func pager_message_target(_ port: mach_port_t) -> OpaquePointer! {
    guard let target = Worker.current?.pointee.target else { return nil }
    return OpaquePointer(target.pointee.port)
}

@_cdecl("pager_about_to_wait") @implementation
public func pager_about_to_wait() { Worker.mayWait() }

@_cdecl("_pager_S_memory_object_init") @implementation
public func _pager_S_memory_object_init(_ pager: OpaquePointer!, _ control: mach_port_t, _ name: mach_port_t,
                                        _ page_size: vm_size_t) -> kern_return_t {
    PagerObject.of(pager).takeInit(control, name, page_size)
    return KERN_SUCCESS
}

@_cdecl("_pager_S_memory_object_terminate") @implementation
public func _pager_S_memory_object_terminate(_ pager: OpaquePointer!, _ control: mach_port_t,
                                             _ name: mach_port_t) -> kern_return_t {
    PagerObject.of(pager).takeTerminate(control, name)
    return KERN_SUCCESS
}

@_cdecl("_pager_S_memory_object_data_request") @implementation
public func _pager_S_memory_object_data_request(_ pager: OpaquePointer!, _ control: mach_port_t,
                                                _ offset: vm_offset_t, _ length: vm_size_t,
                                                _ desired_access: vm_prot_t) -> kern_return_t {
    let pager = PagerObject.of(pager.unsafelyUnwrapped)
    if !pager.requestQuickly(control, offset, length) { takeRequest(pager, control, offset, length, desired_access) }
    return KERN_SUCCESS
}

@inline(never)
private func takeRequest(_ pager: PagerPointer, _ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t,
                         _ access: vm_prot_t) {
    guard let client = pager.client(control, offset) else { return pager.takeForgottenRequest(control, offset, length) }
    _ = mach_port_deallocate(mach_task_self(), control)
    pager.takeRequest(client, offset, length, write: access & VM_PROT_WRITE != 0)
}

@_cdecl("_pager_S_memory_object_data_unlock") @implementation
public func _pager_S_memory_object_data_unlock(_ pager: OpaquePointer!, _ control: mach_port_t,
                                               _ offset: vm_offset_t, _ length: vm_size_t,
                                               _ desired_access: vm_prot_t) -> kern_return_t {
    let pager = PagerObject.of(pager.unsafelyUnwrapped)
    if !pager.unlockQuickly(control, offset, length) { takeUnlock(pager, control, offset, length) }
    return KERN_SUCCESS
}

@inline(never)
private func takeUnlock(_ pager: PagerPointer, _ control: mach_port_t, _ offset: vm_offset_t, _ length: vm_size_t) {
    if let client = sender(pager, control, offset) { pager.takeUnlock(client, offset, length) }
}

@_cdecl("_pager_S_memory_object_data_return") @implementation
public func _pager_S_memory_object_data_return(_ pager: OpaquePointer!, _ control: mach_port_t,
                                               _ offset: vm_offset_t, _ data: vm_offset_t,
                                               _ count: mach_msg_type_number_t, _ dirty: boolean_t,
                                               _ kernel_copy: boolean_t) -> kern_return_t {
    let pager = PagerObject.of(pager.unsafelyUnwrapped)
    if dirty == 0 || kernel_copy != 0 || !pager.returnQuickly(control, offset, data, vm_size_t(count)) {
        takeReturn(pager, control, offset, data, count, dirty, kernel_copy)
    }
    return KERN_SUCCESS
}

@inline(never)
private func takeReturn(_ pager: PagerPointer, _ control: mach_port_t, _ offset: vm_offset_t, _ data: vm_offset_t,
                        _ count: mach_msg_type_number_t, _ dirty: boolean_t, _ kernel_copy: boolean_t) {
    let bytes = vm_size_t(count)
    guard let client = pager.deadWriter(control, offset) ?? sender(pager, control, offset) else {
        if count > 0 && data != 0 { _ = vm_deallocate(mach_task_self(), data, bytes) }
        return
    }
    guard let pages = pager.wholePages(offset, bytes), data != 0, UInt64(data) & (pager.pageSize - 1) == 0 else {
        if count > 0 && data != 0 { _ = vm_deallocate(mach_task_self(), data, bytes) }
        pager.takenIn()
        return
    }
    pager.takeReturn(client.pointee.number, pages.lowerBound, data,
                     Int(pages.upperBound - pages.lowerBound) + 1, dirty: dirty != 0, keepsCopy: kernel_copy != 0)
}

@_cdecl("_pager_S_memory_object_lock_completed") @implementation
public func _pager_S_memory_object_lock_completed(_ pager: OpaquePointer!, _ control: mach_port_t,
                                                  _ offset: vm_offset_t, _ length: vm_size_t) -> kern_return_t {
    let pager = PagerObject.of(pager.unsafelyUnwrapped)
    if let client = sender(pager, control, offset) {
        pager.takeLockCompleted(client.pointee.number, offset, length)
    }
    return KERN_SUCCESS
}

@_cdecl("_pager_S_memory_object_change_completed") @implementation
public func _pager_S_memory_object_change_completed(_ pager: OpaquePointer!, _ may_cache: boolean_t,
                                                    _ copy_strategy: memory_object_copy_strategy_t) -> kern_return_t {
    PagerObject.of(pager).takeChangeCompleted(may_cache, copy_strategy)
    return KERN_SUCCESS
}

@_cdecl("pager_refuse_copy") @implementation
public func pager_refuse_copy(_ pager: OpaquePointer!) { PagerObject.of(pager).refuse(.copyStrategyCall) }

@_cdecl("pager_refuse_supply_completed") @implementation
public func pager_refuse_supply_completed(_ pager: OpaquePointer!) { PagerObject.of(pager).refuse(.straySupplyCompleted) }
