// Whose turn it is to call the translator.
//
// By default one callback of an object runs at a time, in the order of the requests; a translator may let several
// pager_read_page run at once, beside one other callback. One atomic word says what runs and whether jobs wait:
//
//   bits 0-15  reads that run (but for those that have a seat, Seats.swift)
//   bit  16    another callback runs
//   bit  17    with 16: a message of a lone client, which has the executor for itself alone (Lone.swift)
//   bit  30    something was lent to that message
//   bit  31    jobs wait, or callbacks that stood aside (changes under the lock only)
//
// A thread that may start needs no lock. Who may not, leaves a job; who ends takes the next job along. While jobs wait nobody
// overtakes them. The executor is held from before the callback until what follows from it is done, but for a callback
// that waits (Callback.swift).

import CPlatform
import Synchronization

enum Executor {
    static let readsMask: UInt32 = 0xffff
    static let other: UInt32 = 1 << 16
    static let waiting: UInt32 = 1 << 31

    @inline(__always)
    static func unit(_ action: Action) -> UInt32 { action == .read ? 1 : other }

    /// Whether a callback of this sort may start beside those that run. `reads`: so many may run at once; `seated`: so many have a seat.
    @inline(__always)
    static func mayStart(_ action: Action, _ state: UInt32, reads: UInt32, seated: UInt32) -> Bool {
        if reads == 1 { return state & (readsMask | other) == 0 }
        return action == .read ? state & readsMask + seated < reads : state & other == 0
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Without a lock, without waiting: this thread may call the translator now.
    @inline(__always)
    func tryStart(_ action: Action) -> Bool {
        let reads = pointee.concurrentReads.load(ordering: .relaxed)
        var state = pointee.executor.load(ordering: .relaxed)
        while state & Executor.waiting == 0 && Executor.mayStart(action, state, reads: reads, seated: 0) {
            let (exchanged, original) = pointee.executor.weakCompareExchange(
                expected: state, desired: state + Executor.unit(action), ordering: .sequentiallyConsistent)
            if exchanged { return action != .read || reads == 1 || isWithin(reads) }
            state = original
        }
        return false
    }

    /// A read was counted beside those that have a seat. false: it is one too many, and is counted no longer. (The caller leaves a job, and
    /// looks for jobs.)
    @inline(never)
    private func isWithin(_ reads: UInt32) -> Bool {
        if pointee.executor.load(ordering: .sequentiallyConsistent) & Executor.readsMask + takenSeats <= reads { return true }
        pointee.executor.wrappingSubtract(Executor.unit(.read), ordering: .sequentiallyConsistent)
        return false
    }

    /// Leaves a job to whoever runs now. Locked. `runJobs` must follow, after the lock is let go.
    func enqueueLocked(_ job: JobPointer) {
        locked.pointee.jobs.append(job)
        pointee.executor.bitwiseOr(Executor.waiting, ordering: .sequentiallyConsistent)
    }

    /// A job that may start now; it has the executor.
    func takeJob() -> JobPointer? {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return takeJobLocked()
    }

    private func takeJobLocked() -> JobPointer? {
        let reads = pointee.concurrentReads.load(ordering: .relaxed)
        while true {
            if !locked.pointee.aside.isEmpty { grantLocked() }
            // Nobody starts without the lock while jobs wait, so what runs can only become less. (But for who takes a seat, and gives it back
            // when he sees that; then he looks for jobs.)
            let state = pointee.executor.load(ordering: .acquiring)
            if state & Executor.waiting == 0 { return nil }
            let seated = takenSeats
            guard let job = locked.pointee.jobs.removeFirst(where: {
                Executor.mayStart($0.action, state, reads: reads, seated: seated) && !locked.pointee.aside.covers($0.page)
            }) else {
                return nil
            }
            // It is out of the queue: a newer version of its page must not look for it there.
            if job.pointee.action == .write { job.pointee.state = .writing }
            pointee.executor.wrappingAdd(Executor.unit(job.pointee.action), ordering: .sequentiallyConsistent)
            noteWaitingLocked()
            return job
        }
    }

    /// The callback of this sort and all that followed is done. Returns the next job, which has the executor.
    @inline(__always)
    func finish(_ action: Action) -> JobPointer? {
        let unit = Executor.unit(action)
        let state = pointee.executor.wrappingSubtract(unit, ordering: .acquiringAndReleasing).newValue
        return state & Executor.waiting == 0 ? nil : takeJob()
    }
}
