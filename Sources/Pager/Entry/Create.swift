// pager_create, pager_create_alloc, and what one asks of a pager as such.

import CPlatform
import Synchronization

/// `userSize`: bytes for the translator's data, where the library allocates them; nil: they are `user`.
private func create(_ user: OpaquePointer?, _ userSize: Int?, _ bucket: UnsafeMutablePointer<port_bucket>?,
                    _ mayCache: boolean_t, _ copyStrategy: memory_object_copy_strategy_t,
                    _ notify: boolean_t) -> OpaquePointer? {
    guard let bucket else {
        platform_set_errno(Errno.invalid)
        return nil
    }
    guard let pagerClass = PagerClass.get(), let parts = PagerObject.Parts.create() else {
        platform_set_errno(Errno.noMemory)
        return nil
    }
    let (size, overflow) = PagerObject.userOffset.addingReportingOverflow(userSize ?? 0)
    var port: UnsafeMutableRawPointer?
    // (A size_t beyond half of all there is comes as a negative number.)
    let error = overflow || (userSize ?? 0) < 0 ? Errno.noMemory : withUnsafeMutablePointer(to: &port) {
        ports_create_port_noinstall(pagerClass, bucket, size, $0)
    }
    guard error == 0, let port else {
        parts.destroy()
        // Else it is Mach's code for a shortage of ports or names.
        platform_set_errno(error == Errno.invalid ? error : Errno.noMemory)
        return nil
    }
    var data = user
    if let userSize {
        let own = port + PagerObject.userOffset
        own.initializeMemory(as: UInt8.self, repeating: 0, count: userSize)
        data = OpaquePointer(own)
    }
    PagerObject.initialize(port, parts, user: data, mayCache: mayCache,
                           copyStrategy: copyStrategy, notify: notify != 0)
    // Now that it is whole, messages may come.
    if pager_install_port(port, bucket) != 0 {
        // The translator never had it, so it is not told of its end.
        PagerObject.of(port: port).finalize()
        PagerObject.of(port: port).pointee.isInitialized = false
        ports_port_deref(port)
        platform_set_errno(Errno.noMemory)
        return nil
    }
    return OpaquePointer(port)
}

@_cdecl("pager_create") @implementation
public func pager_create(_ u_pager: OpaquePointer!, _ bucket: UnsafeMutablePointer<port_bucket>!,
                         _ may_cache: boolean_t, _ copy_strategy: memory_object_copy_strategy_t,
                         _ notify_on_evict: boolean_t) -> OpaquePointer! {
    create(u_pager, nil, bucket, may_cache, copy_strategy, notify_on_evict)
}

@_cdecl("pager_create_alloc") @implementation
public func pager_create_alloc(_ u_pager_size: Int, _ bucket: UnsafeMutablePointer<port_bucket>!,
                               _ may_cache: boolean_t, _ copy_strategy: memory_object_copy_strategy_t,
                               _ notify_on_evict: boolean_t) -> OpaquePointer! {
    create(nil, u_pager_size, bucket, may_cache, copy_strategy, notify_on_evict)
}

@_cdecl("pager_get_upi") @implementation
public func pager_get_upi(_ pager: OpaquePointer!) -> OpaquePointer! { PagerObject.of(pager).pointee.user }

@_cdecl("pager_get_port") @implementation
public func pager_get_port(_ pager: OpaquePointer!) -> mach_port_t {
    ports_get_right(UnsafeMutableRawPointer(pager))
}

@_cdecl("pager_create_ro_port") @implementation
public func pager_create_ro_port(_ pager: OpaquePointer!) -> mach_port_t {
    // The proxy's send right is a copy of one that libports has counted and Mach as well: should the proxy fail, neither waits for
    // a right that was never made.
    let port = ports_get_send_right(UnsafeMutableRawPointer(pager))
    if port == 0 {
        // The pager is shut down, or there is no memory for the notification.
        platform_set_errno(PagerObject.of(pager).portName == 0 ? Errno.invalid : Errno.noMemory)
        return 0
    }
    var proxy: mach_port_t = 0
    let result = pager_make_read_only_proxy(port, &proxy)
    _ = mach_port_deallocate(mach_task_self(), port)
    if result == 0 { return proxy }
    platform_set_errno(result == KERN_RESOURCE_SHORTAGE ? Errno.noMemory : Errno.invalid)
    return 0
}

@_cdecl("pager_change_attributes") @implementation
public func pager_change_attributes(_ pager: OpaquePointer!, _ may_cache: boolean_t,
                                    _ copy_strategy: memory_object_copy_strategy_t, _ wait: Int32) {
    PagerObject.of(pager).changeAttributes(mayCache: may_cache, copyStrategy: copy_strategy, wait: wait != 0)
}

@_cdecl("pager_shutdown") @implementation
public func pager_shutdown(_ pager: OpaquePointer!) { PagerObject.of(pager).shutDown() }

@_cdecl("pager_get_error") @implementation
public func pager_get_error(_ pager: OpaquePointer!, _ address: vm_address_t) -> error_t {
    let pager = PagerObject.of(pager)
    return pager.lastError(pager.page(address))
}
