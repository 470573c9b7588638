// What <pager/extensions.h> tells of a pager, and its settings.

import CPlatform
import Synchronization

@_cdecl("pager_set_concurrent_reads") @implementation
public func pager_set_concurrent_reads(_ pager: OpaquePointer!, _ count: UInt32) -> error_t {
    if count < 1 || count > 64 { return Errno.invalid }
    PagerObject.of(pager).allowReads(count)
    return 0
}

@_cdecl("pager_set_shutdown_patience") @implementation
public func pager_set_shutdown_patience(_ pager: OpaquePointer!, _ milliseconds: UInt32) {
    PagerObject.of(pager).pointee.shutdownPatience.store(milliseconds, ordering: .relaxed)
}

@_cdecl("pager_get_statistics") @implementation
public func pager_get_statistics(_ pager: OpaquePointer!, _ statistics: UnsafeMutablePointer<pager_statistics>!) {
    let pager = PagerObject.of(pager)
    var result = pager_statistics()
    result.messages = pager.pointee.counters.messages.value()
    result.page_ins = pager.pointee.counters.pageIns.value()
    result.page_outs = pager.pointee.counters.pageOuts.value()
    result.supplies = pager.pointee.counters.supplies.value()
    result.errors = pager.pointee.counters.errors.value()
    result.hand_offs = pager.pointee.counters.handOffs.value()
    result.flushes = pager.pointee.counters.flushes.value()
    result.downgrades = pager.pointee.counters.downgrades.value()
    result.unlocks = pager.pointee.counters.unlocks.value()
    result.evictions = pager.pointee.counters.evictions.value()
    result.refused = pager.pointee.counters.refused.value()
    result.stale_unlocks = pager.pointee.counters.staleUnlocks.value()
    result.skipped_writes = pager.pointee.counters.skippedWrites.value()
    result.page_ins &+= pager.pointee.lone.pageIns.value()
    result.supplies &+= pager.pointee.lone.supplies.value()
    result.unlocks &+= pager.pointee.lone.unlocks.value()
    pager.seats?.forEach {
        result.page_ins &+= $0.pointee.pageIns.value()
        result.supplies &+= $0.pointee.supplies.value()
    }
    result.clients = UInt64(pager.pointee.clients.attachedCount)
    pager.pointee.monitor.lock()
    let descriptors = pager.pointee.descriptors.statistics
    pager.pointee.monitor.unlock()
    result.descriptors = UInt64(descriptors.live)
    result.descriptor_bytes = UInt64(descriptors.descriptorBytes)
    result.map_bytes = UInt64(pager.pointee.map.bytes)
    statistics.pointee = result
}

@_cdecl("pager_take_census") @implementation
public func pager_take_census(_ pager: OpaquePointer!, _ census: UnsafeMutablePointer<pager_page_census>!) {
    let pager = PagerObject.of(pager)
    var result = pager_page_census()
    pager.pointee.map.forEachWord(in: 0...UInt64.max) { page, slot in
        pager.pointee.monitor.lock()
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        // The table's second scratch state serves for looking.
        let state = pager.pointee.descriptors.snapshot
        pager.pointee.descriptors.load(word, into: state)
        result.touched += 1
        if word.isDescriptor { result.described += 1 }
        if state.isHeld { result.held += 1 }
        if state.error != 0 { result.in_error += 1 }
        if state.activity != .idle {
            result.busy += 1
        } else if state.isAccessEmpty {
            result.unused += 1
        } else if state.writer != noClient {
            result.writers += 1
        } else {
            result.readers += 1
        }
        pager.pointee.monitor.unlock()
    }
    census.pointee = result
}

@_cdecl("pager_page_access") @implementation
public func pager_page_access(_ pager: OpaquePointer!, _ page: vm_offset_t, _ client: UInt32) -> Int32 {
    let pager = PagerObject.of(pager)
    pager.pointee.monitor.lock()
    defer { pager.pointee.monitor.unlock() }
    if client >= pager.pointee.clients.used
        || pager.pointee.clients.client(client).pointee.attached.load(ordering: .acquiring) == 0 { return -1 }
    guard let slot = pager.pointee.map.word(at: pager.page(page)) else { return 0 }
    let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
    if !word.isDescriptor { return Int32(WordState(word).access(of: client).rawValue) }
    return Int32(pager.pointee.descriptors.descriptor(word.descriptor).content.access(of: client).rawValue)
}

@_cdecl("pager_page_word") @implementation
public func pager_page_word(_ pager: OpaquePointer!, _ page: vm_offset_t) -> UInt32 {
    let pager = PagerObject.of(pager)
    return pager.pointee.map.word(at: pager.page(page))?.pointee.load(ordering: .acquiring) ?? 0
}
