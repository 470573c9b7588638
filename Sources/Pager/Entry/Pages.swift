// pager_sync, pager_flush, pager_return and their forms for a range; pager_offer_page; pager_memcpy.

import CPlatform

private func act(_ pager: OpaquePointer, _ action: RangeAction, _ wait: Int32) {
    let pager = PagerObject.of(pager)
    pager.forExtent { pages in pager.range(pages, action, wait: wait != 0) }
}

private func act(_ pager: OpaquePointer, _ action: RangeAction, _ start: vm_address_t, _ len: vm_size_t,
                 _ wait: Int32) {
    let pager = PagerObject.of(pager)
    guard let pages = pager.pages(start, len) else { return }
    pager.range(pages, action, wait: wait != 0)
}

@_cdecl("pager_sync") @implementation
public func pager_sync(_ pager: OpaquePointer!, _ wait: Int32) { act(pager, .sync, wait) }

@_cdecl("pager_sync_some") @implementation
public func pager_sync_some(_ pager: OpaquePointer!, _ start: vm_address_t, _ len: vm_size_t, _ wait: Int32) {
    act(pager, .sync, start, len, wait)
}

@_cdecl("pager_flush") @implementation
public func pager_flush(_ pager: OpaquePointer!, _ wait: Int32) { act(pager, .flush, wait) }

@_cdecl("pager_flush_some") @implementation
public func pager_flush_some(_ pager: OpaquePointer!, _ start: vm_address_t, _ len: vm_size_t, _ wait: Int32) {
    act(pager, .flush, start, len, wait)
}

@_cdecl("pager_return") @implementation
public func pager_return(_ pager: OpaquePointer!, _ wait: Int32) { act(pager, .return, wait) }

@_cdecl("pager_return_some") @implementation
public func pager_return_some(_ pager: OpaquePointer!, _ start: vm_address_t, _ len: vm_size_t, _ wait: Int32) {
    act(pager, .return, start, len, wait)
}

@_cdecl("pager_offer_page") @implementation
public func pager_offer_page(_ pager: OpaquePointer!, _ precious: Int32, _ writelock: Int32, _ page: vm_offset_t,
                             _ buf: vm_address_t) {
    let pager = PagerObject.of(pager)
    if UInt64(page) & (pager.pageSize - 1) != 0 { return }
    pager.offer(pager.page(page), buf, precious: precious != 0, writeLock: writelock != 0)
}

@_cdecl("pager_memcpy") @implementation
public func pager_memcpy(_ pager: OpaquePointer!, _ memobj: memory_object_t, _ offset: vm_offset_t,
                         _ other: UnsafeMutableRawPointer!, _ size: UnsafeMutablePointer<Int>!,
                         _ prot: vm_prot_t) -> error_t {
    let wanted = UInt(bitPattern: size.pointee)
    size.pointee = 0
    if wanted == 0 { return 0 }
    guard let other else { return Errno.fault }
    // To Mach no object means memory of one's own: the copy would be of zeros, or lost.
    if memobj == 0 { return Errno.invalid }
    let (copied, code) = PagerObject.of(pager).copy(memobj, offset, other, wanted, write: prot & VM_PROT_WRITE != 0)
    size.pointee = Int(bitPattern: copied)
    return code
}
