// `data_return`: pages come back.
//
// A thread that may call the translator at once writes them itself, from the message's own memory (*direct*); else they go to the
// write-back, also where they can be written at once but have several clients. Either is decided for all pages of the message while it is its turn, so that the `lock_completed` behind
// it finds them accounted for.

import CPlatform
import Synchronization

/// Which pages of one message this thread deals with itself: one bit a page, from the first.
struct PageMask {
    static let pages = 64
    private var bits: UInt64 = 0

    var isEmpty: Bool { bits == 0 }
    mutating func insert(_ index: Int) { bits |= 1 << UInt64(index) }
    func contains(_ index: Int) -> Bool { index < PageMask.pages && bits >> UInt64(index) & 1 != 0 }

    /// The first run of pages, taken out.
    mutating func removeFirstRun() -> Range<Int>? {
        if bits == 0 { return nil }
        let start = bits.trailingZeroBitCount
        let length = (~(bits >> UInt64(start))).trailingZeroBitCount
        let end = min(start + length, PageMask.pages)
        for index in start..<end { bits &= ~(1 << UInt64(index)) }
        return start..<end
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The data, `count` whole pages, are ours. `isClaimed`: so is the executor, for a direct write.
    func takeReturn(_ client: ClientNumber, _ first: UInt64, _ data: vm_address_t, _ count: Int, dirty: Bool,
                    keepsCopy: Bool, isClaimed: Bool = false) {
        if count == 1 && dirty && !isClaimed && pointee.clients.attachedCount != 1 && tryClaim(.write) {
            return takeReturnedPage(client, first, data, keepsCopy)
        }
        takeReturnedRun(client, first, data, count, dirty: dirty, keepsCopy: keepsCopy, isClaimed: isClaimed)
    }

    /// A changed page of an object with several clients, while nothing runs or waits: its version is in the write-back, but the queue is left
    /// out, since this thread has the executor for its write.
    @inline(__always)
    private func takeReturnedPage(_ client: ClientNumber, _ page: UInt64, _ data: vm_address_t, _ keepsCopy: Bool) {
        let outcome = transitionReturned(page, .returned(client, dirty: true, keepsCopy: keepsCopy), context(), data, begins: true)
        let effects = outcome.effects
        if effects.refusal != .none { refuse(effects.refusal, page, client) }
        takenIn()
        if let version = outcome.begun {
            writeVersion(version)
        } else if effects.data == .discard {
            freePages(data, 1)
        }
        // The last copy has gone: the translator is to be told.
        if effects.action == .notify { follow(.write, NextCall(action: .notify, page: page, hadHolders: false)) }
        finishClaim()
        if pointee.executor.load(ordering: .relaxed) & Executor.waiting != 0 { helpWriting() }
    }

    @inline(never)
    private func takeReturnedRun(_ client: ClientNumber, _ first: UInt64, _ data: vm_address_t, _ count: Int, dirty: Bool,
                                 keepsCopy: Bool, isClaimed: Bool) {
        let direct = isClaimed || dirty && pointee.clients.attachedCount == 1 && tryClaim(.write)
        var writes = PageMask(), notices = PageMask()
        // The executor is held.
        var claimed = direct
        var unneeded = UnneededPages(pager: self)
        let pages = first...first + UInt64(count - 1)
        let number = direct ? beginDirectWrite(pages) : 0
        for index in 0..<count {
            let page = first + UInt64(index)
            let address = data + vm_address_t(UInt64(index) << pointee.pageShift)
            let outcome = transitionReturned(page, .returned(client, dirty: dirty, keepsCopy: keepsCopy),
                                             context(direct: direct && index < PageMask.pages), address)
            if outcome.effects.refusal != .none { refuse(outcome.effects.refusal, page, client) }
            if outcome.effects.data == .discard { unneeded.add(address) }
            switch outcome.effects.action {
            case .write: writes.insert(index)
            case .none: break
            default:
                // The last copy has gone: the translator is to be told, in the message's place in the order.
                if index < PageMask.pages && (claimed || tryClaim(.notify)) {
                    claimed = true
                    notices.insert(index)
                } else {
                    followLater(page, NextCall(action: .notify, page: page, hadHolders: false))
                }
            }
        }
        takenIn()
        unneeded.giveBack()
        if direct {
            inCallback(.write, pages) { callback in
                callback.noteDirect(number)
                while let run = writes.removeFirstRun() { writeDirect(first, data, run, callback) }
                endDirectWrite(callback)
            }
        }
        while let run = notices.removeFirstRun() {
            for index in run {
                follow(.notify, call(NextCall(action: .notify, page: first + UInt64(index), hadHolders: false)))
            }
        }
        if claimed { finishClaim() }
        if pointee.executor.load(ordering: .relaxed) & Executor.waiting != 0 { helpWriting() }
    }

    /// Returns how many have begun.
    @inline(__always)
    func beginDirectWrite(_ pages: ClosedRange<UInt64>) -> UInt32 {
        // (Whoever sees a later one's pages sees that those before have ended.)
        pointee.directFirst.store(pages.lowerBound, ordering: .releasing)
        pointee.directLast.store(pages.upperBound, ordering: .releasing)
        return pointee.directWritesBegun.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue
    }

    @inline(__always)
    func endDirectWrite(_ callback: CallbackPointer) {
        let isListed = callback.pointee.isListed
        if !isListed {
            pointee.directWritesEnded.wrappingAdd(1, ordering: .sequentiallyConsistent)
            if pointee.writeWaiters.load(ordering: .sequentiallyConsistent) == 0 { return }
        }
        tellDirectWrite(callback, isListed)
    }

    @inline(never)
    private func tellDirectWrite(_ callback: CallbackPointer, _ isListed: Bool) {
        pointee.monitor.lock()
        if isListed { locked.pointee.aside.remove(callback) }
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    /// Writes a run of pages that this thread owns. The executor is held.
    private func writeDirect(_ first: UInt64, _ data: vm_address_t, _ run: Range<Int>, _ callback: CallbackPointer) {
        let page = first + UInt64(run.lowerBound)
        let address = data + vm_address_t(UInt64(run.lowerBound) << pointee.pageShift)
        var writer = WriteRun(pager: self, page: page, address: address, count: run.count)
        var unneeded = UnneededPages(pager: self)
        for index in 0..<run.count {
            let code = writer.writeNext(callback)
            let outcome = transition(page + UInt64(index), .writeDone(code: code), context())
            let written = address + vm_address_t(UInt64(index) << pointee.pageShift)
            if outcome.effects.action == .none && outcome.effects.data == .discard {
                unneeded.add(written)
            } else {
                follow(.write, advance(page + UInt64(index), outcome, written))
            }
        }
        unneeded.giveBack()
    }

    /// Versions wait. If nobody writes them, do so; if there are very many, wait until there are fewer: a kernel that
    /// returns pages faster than the store takes them is held back by its own queue.
    @inline(never)
    func helpWriting() {
        runJobs()
        pointee.monitor.lock()
        let tooMany = locked.pointee.versions.unfinished >= PagerPointer.versionLimit
        pointee.monitor.unlock()
        if !tooMany || !Worker.mayCallTranslator() { return }
        pointee.monitor.lock()
        while locked.pointee.versions.unfinished >= PagerPointer.versionLimit { _ = pointee.monitor.wait() }
        pointee.monitor.unlock()
    }
}
