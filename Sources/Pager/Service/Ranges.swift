// pager_sync, pager_flush, pager_return: lock requests for a range to every client, and waiting for them.

import CPlatform
import Synchronization

/// One user's call that waits. Lives on the caller's stack; locked.
struct RangeOperation {
    /// Clients that have not answered.
    var outstanding = 0
}

/// What the call asks clients to do.
enum RangeAction: UInt8 {
    case sync, flush, `return`

    var returns: memory_object_return_t {
        switch self {
        case .sync: return MEMORY_OBJECT_RETURN_DIRTY
        case .flush: return MEMORY_OBJECT_RETURN_NONE
        case .return: return MEMORY_OBJECT_RETURN_ALL
        }
    }

    var flushes: Bool { self != .sync }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The whole object, as the translator reports it.
    func forExtent(_ body: (ClosedRange<UInt64>) -> Void) {
        var start: vm_address_t = 0
        var size: vm_size_t = 0
        if pager_report_extent(pointee.user, &start, &size) != 0 || size == 0 { return }
        if let pages = pages(start, size) { body(pages) }
    }

    /// The pages that a range of bytes touches; nil: it is empty. What goes beyond the end of the offsets is cut.
    func pages(_ start: vm_address_t, _ length: vm_size_t) -> ClosedRange<UInt64>? {
        if length == 0 { return nil }
        let (end, overflow) = start.addingReportingOverflow(length - 1)
        return page(start)...page(overflow ? .max : end)
    }

    /// Asks every client.
    func range(_ pages: ClosedRange<UInt64>, _ action: RangeAction, wait: Bool) {
        var operation = RangeOperation()
        withUnsafeMutablePointer(to: &operation) { operation in
            request(pages, action, wait ? operation : nil)
            if wait { self.wait(operation, pages) }
        }
    }

    func request(_ pages: ClosedRange<UInt64>, _ action: RangeAction,
                 _ operation: UnsafeMutablePointer<RangeOperation>?) {
        // The length of everything does not fit; the last page of all is asked for by itself.
        let everything = pages.lowerBound == 0 && pages.upperBound == page(.max)
        let upper = everything ? pages.upperBound - 1 : pages.upperBound
        ask(pages.lowerBound...upper, action, operation)
        if everything { ask(pages.upperBound...pages.upperBound, action, operation) }
    }

    private func ask(_ pages: ClosedRange<UInt64>, _ action: RangeAction,
                     _ operation: UnsafeMutablePointer<RangeOperation>?) {
        let length = vm_size_t(truncatingIfNeeded: (pages.upperBound - pages.lowerBound + 1) << pointee.pageShift)
        var number: ClientNumber = 0
        while number < clientNumbersUsed() {
            if pointee.clients.client(number).pointee.attached.load(ordering: .acquiring) != 0 {
                if let operation { begin(operation) }
                let asked = requestLock(number, LockRequest(
                    offset: offset(pages.lowerBound), length: length, returns: action.returns, flush: action.flushes,
                    lock: VM_PROT_NO_CHANGE, page: 0, isUsers: true, operation: operation))
                if !asked, let operation { finish(operation) }
            }
            number += 1
        }
    }

    func clientNumbersUsed() -> ClientNumber {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return pointee.clients.used
    }

    private func begin(_ operation: UnsafeMutablePointer<RangeOperation>) {
        pointee.monitor.lock()
        operation.pointee.outstanding += 1
        pointee.monitor.unlock()
    }

    /// A client's part is done.
    func finish(_ operation: UnsafeMutablePointer<RangeOperation>) {
        pointee.monitor.lock()
        finishLocked(operation)
        pointee.monitor.unlock()
    }

    func finishLocked(_ operation: UnsafeMutablePointer<RangeOperation>) {
        operation.pointee.outstanding -= 1
        if operation.pointee.outstanding == 0 { pointee.monitor.wakeAll() }
    }

    /// Until every client has answered, and then until every write in the range that is under way is done.
    private func wait(_ operation: UnsafeMutablePointer<RangeOperation>, _ pages: ClosedRange<UInt64>) {
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        while operation.pointee.outstanding > 0 { _ = pointee.monitor.wait() }
        waitForWritesLocked(pages)
    }

    /// Until every client has answered. false: the time ran out; the operation must live on, and be waited for again.
    func awaitAnswers(_ operation: UnsafeMutablePointer<RangeOperation>, _ deadline: Deadline) -> Bool {
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        while operation.pointee.outstanding > 0 {
            if !pointee.monitor.wait(deadline.left) && deadline.isOver { return operation.pointee.outstanding == 0 }
        }
        return true
    }

    func waitForWritesLocked(_ pages: ClosedRange<UInt64>) {
        // A direct write is not listed. It has begun before the `lock_completed` behind its data was taken in, and one
        // runs at a time: wait for it, if it has begun by now and is for pages of the range.
        pointee.writeWaiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
        let begun = pointee.directWritesBegun.load(ordering: .sequentiallyConsistent)
        while locked.pointee.versions.isUnfinished(in: pages) || isWrittenDirectly(pages, begun)
            || locked.pointee.aside.writesDirectly(pages, begun) {
            _ = pointee.monitor.wait()
        }
        pointee.writeWaiters.wrappingSubtract(1, ordering: .relaxed)
    }

    /// A direct write of these pages runs that is among the first `begun` ones.
    private func isWrittenDirectly(_ pages: ClosedRange<UInt64>, _ begun: UInt32) -> Bool {
        // Its pages are noted before it counts as begun. Should they be a later one's already, those before have ended.
        let first = pointee.directFirst.load(ordering: .sequentiallyConsistent)
        let last = pointee.directLast.load(ordering: .sequentiallyConsistent)
        let ended = pointee.directWritesEnded.load(ordering: .sequentiallyConsistent)
        return Int32(bitPattern: begun &- ended) > 0 && first <= pages.upperBound && pages.lowerBound <= last
    }

    /// A user's lock request is answered: take the pages of the range from the client's access set, unless it was given
    /// them since. The entry is closed and still noted as there.
    func sweep(_ entry: LockEntryPointer) {
        let number = entry.pointee.client
        let request = entry.pointee.request
        if request.flush {
            let pages = page(request.offset)...page(request.offset &+ (request.length &- 1))
            pointee.map.forEachWord(in: pages) { page, slot in
                let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
                if !word.isDescriptor && WordState(word).access(of: number) == .none { return }
                pointee.monitor.lock()
                var outcome: Outcome?
                if !entry.pointee.wasGiven(page) { outcome = transitionLocked(page, .released(number), context()) }
                unlock()
                if let outcome { perform(page, outcome) }
            }
        }
        pointee.monitor.lock()
        let operation = entry.pointee.request.operation
        forgetLocked(entry)
        if let operation { finishLocked(operation) }
        pointee.monitor.unlock()
    }
}

/// A limit in milliseconds from now; negative: none.
struct Deadline {
    private let end: UInt64?

    init(_ milliseconds: Int) { end = milliseconds < 0 ? nil : platform_clock_ms() + UInt64(milliseconds) }

    /// For a wait.
    var left: Int {
        guard let end else { return -1 }
        let now = platform_clock_ms()
        return now >= end ? 0 : Int(truncatingIfNeeded: end - now)
    }

    var isOver: Bool { left == 0 }
}
