// Callbacks that run, each noted on its thread's stack, and stepping aside.
//
// A callback may call functions that wait: for clients' answers, for writes of other pages. What they wait for may need another
// callback of the same object. So a thread that waits in a callback *steps aside*: it gives the executor up, and gets it back
// before the call returns to the translator; as a monitor does for who waits in it. Meanwhile:
//   S1  No callback begins for a page whose callback stands aside: callbacks of one page never overlap, and
//       versions of a page stay in order.
//   S2  A direct write that has stood aside is listed to its end, for those who wait for it.
//   S3  Of versions that are written one by one in a row, those that are not begun go back to the head of the queue: the one
//       at hand may wait for them.
//   S4  Who stood aside has the executor before any job that waits.

import CPlatform
import Synchronization

struct Callback {
    enum State: UInt8 { case running, aside, resuming }

    let pager: PagerPointer
    /// Whose callbacks run, or follow in this row.
    var pages: ClosedRange<UInt64>
    /// The one around it in this thread: it called something that called the translator, or is a row of which this one follows.
    let outer: CallbackPointer?
    // (What follows lies together, so that few stores make a record.)
    /// Versions that follow the one at hand.
    var rest: JobPointer?
    // In `AsideList`.
    var next: CallbackPointer?
    /// The read runs in a seat, and not under the executor. (Once it has waited it runs under the executor.)
    var seat: SeatPointer?
    /// A direct write: how many had begun with it.
    var directNumber: UInt32 = 0
    let action: Action
    /// The executor is held for it alone (Lone.swift).
    var isLone = false
    var isListed = false
    /// The versions of `rest` are not begun and need not be done in this row.
    var mayLeaveRest = false
    /// Changes in its own thread (but `resuming` to `running`), under the pager's lock.
    var state = State.running
    var isDirect = false

    static var current: CallbackPointer? { platform_callback()?.assumingMemoryBound(to: Callback.self) }
}

typealias CallbackPointer = UnsafeMutablePointer<Callback>

/// Callbacks that stand aside, in the order in which they did so, and direct writes that have. Locked.
struct AsideList {
    private(set) var first: CallbackPointer?

    var isEmpty: Bool { first == nil }

    mutating func append(_ callback: CallbackPointer) {
        callback.pointee.isListed = true
        callback.pointee.next = nil
        guard var last = first else {
            first = callback
            return
        }
        while let next = last.pointee.next { last = next }
        last.pointee.next = callback
    }

    mutating func remove(_ callback: CallbackPointer) {
        callback.pointee.isListed = false
        if first == callback {
            first = callback.pointee.next
            return
        }
        var before = first
        while let candidate = before, candidate.pointee.next != callback { before = candidate.pointee.next }
        before?.pointee.next = callback.pointee.next
    }

    private func contains(where isWanted: (CallbackPointer) -> Bool) -> Bool {
        var callback = first
        while let candidate = callback {
            if isWanted(candidate) { return true }
            callback = candidate.pointee.next
        }
        return false
    }

    var isAnyResuming: Bool { contains { $0.pointee.state == .resuming } }

    /// No callback for this page may begin (S1).
    func covers(_ page: UInt64) -> Bool { contains { $0.pointee.pages.contains(page) } }

    /// A direct write of these pages that is among the first `begun` ones (S2).
    func writesDirectly(_ pages: ClosedRange<UInt64>, _ begun: UInt32) -> Bool {
        contains {
            $0.pointee.isDirect && Int32(bitPattern: begun &- $0.pointee.directNumber) >= 0 && $0.pointee.pages.overlaps(pages)
        }
    }
}

extension CallbackPointer {
    /// It writes directly, as the `number`th.
    @inline(__always)
    func noteDirect(_ number: UInt32) {
        pointee.directNumber = number
        pointee.isDirect = true
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Runs the body, which calls the translator for these pages. The executor is held.
    @inline(__always)
    func inCallback<Result>(_ action: Action, _ pages: ClosedRange<UInt64>, seat: SeatPointer? = nil, isLone: Bool = false,
                            _ body: (CallbackPointer) -> Result) -> Result {
        var callback = Callback(pager: self, pages: pages, outer: Callback.current, seat: seat, action: action, isLone: isLone)
        return withUnsafeMutablePointer(to: &callback) { callback in
            platform_set_callback(callback)
            let result = body(callback)
            platform_set_callback(callback.pointee.outer)
            return result
        }
    }

    /// This thread, whose innermost callback this is, is going to wait.
    func stepAside(_ callback: CallbackPointer) {
        pointee.monitor.lock()
        callback.pointee.state = .aside
        var around: CallbackPointer? = callback
        while let one = around {
            if one.pointee.pager == self { setAsideLocked(one) }
            around = one.pointee.outer
        }
        pointee.monitor.unlock()
        if let seat = callback.pointee.seat {
            callback.pointee.seat = nil
            leaveSeat(seat)
        } else {
            let unit = Executor.unit(callback.pointee.action)
            if callback.pointee.isLone {
                callback.pointee.isLone = false
                moveToExecutor(unit)
            }
            pointee.executor.wrappingSubtract(unit, ordering: .acquiringAndReleasing)
        }
        if pointee.executor.load(ordering: .sequentiallyConsistent) & Executor.waiting == 0 { return }
        if let worker = Worker.current {
            worker.pointee.pool.leaveWork(self)
            worker.pointee.pool.callReceiver()
        } else if let job = takeJob() {
            // A thread of the translator's knows no workers.
            work(job)
        }
    }

    private func setAsideLocked(_ callback: CallbackPointer) {
        if !callback.pointee.isListed {
            locked.pointee.aside.append(callback)
            // From now on found in the list.
            if callback.pointee.isDirect {
                pointee.directWritesEnded.wrappingAdd(1, ordering: .sequentiallyConsistent)
            }
        }
        if !callback.pointee.mayLeaveRest { return }
        guard let rest = callback.pointee.rest else { return }
        callback.pointee.rest = nil
        callback.pointee.pages = callback.pointee.pages.lowerBound...callback.pointee.pages.lowerBound
        locked.pointee.jobs.prepend(rest)
        pointee.executor.bitwiseOr(Executor.waiting, ordering: .acquiringAndReleasing)
    }

    /// It has waited; gets the executor back.
    func stepBack(_ callback: CallbackPointer) {
        pointee.monitor.lock()
        callback.pointee.state = .resuming
        pointee.executor.bitwiseOr(Executor.waiting, ordering: .sequentiallyConsistent)
        grantLocked()
        while callback.pointee.state == .resuming { _ = pointee.monitor.wait() }
        var around: CallbackPointer? = callback
        while let one = around {
            // (One around it may stand aside by itself: it called what ran this one.)
            if one.pointee.pager == self && one.pointee.isListed && one.pointee.state == .running
                && !one.pointee.isDirect {
                locked.pointee.aside.remove(one)
            }
            around = one.pointee.outer
        }
        pointee.monitor.unlock()
    }

    /// Gives the executor back to those who stood aside, as far as they may go on (S4). Locked.
    func grantLocked() {
        if !locked.pointee.aside.isEmpty {
            let reads = pointee.concurrentReads.load(ordering: .relaxed)
            var callback = locked.pointee.aside.first
            while let candidate = callback {
                let action = candidate.pointee.action
                if candidate.pointee.state == .resuming && Executor.mayStart(
                    action, pointee.executor.load(ordering: .acquiring), reads: reads, seated: takenSeats) {
                    pointee.executor.wrappingAdd(Executor.unit(action), ordering: .sequentiallyConsistent)
                    candidate.pointee.state = .running
                    pointee.monitor.wakeAll()
                }
                callback = candidate.pointee.next
            }
        }
        noteWaitingLocked()
    }

    /// Nobody waits for the executor any more? Locked.
    func noteWaitingLocked() {
        if locked.pointee.jobs.isEmpty && !locked.pointee.aside.isAnyResuming {
            pointee.executor.bitwiseAnd(~Executor.waiting, ordering: .acquiringAndReleasing)
        }
    }
}
