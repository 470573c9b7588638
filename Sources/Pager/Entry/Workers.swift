// pager_start_workers and what becomes of them.

import CPlatform

@_cdecl("pager_start_workers") @implementation
public func pager_start_workers(_ bucket: UnsafeMutablePointer<port_bucket>!,
                                _ requests: UnsafeMutablePointer<OpaquePointer?>!) -> error_t {
    requests.pointee = nil
    guard PagerClass.get() != nil, let pool = Pool.create(bucket) else { return Errno.noMemory }
    if !pool.start() {
        pool.stop()
        return Errno.noMemory
    }
    requests.pointee = OpaquePointer(pool)
    return 0
}

private func pool(_ requests: OpaquePointer) -> PoolPointer { PoolPointer(requests) }

@_cdecl("pager_inhibit_workers") @implementation
public func pager_inhibit_workers(_ requests: OpaquePointer!) -> error_t { pool(requests).inhibit() }

@_cdecl("pager_resume_workers") @implementation
public func pager_resume_workers(_ requests: OpaquePointer!) { pool(requests).resume() }

@_cdecl("pager_stop_workers") @implementation
public func pager_stop_workers(_ requests: OpaquePointer!) { pool(requests).stop() }
