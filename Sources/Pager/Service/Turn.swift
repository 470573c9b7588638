// One object's messages are taken in one at a time, in the order in which they came.
//
// Several workers receive from one port set, so two messages of one port may be in the hands of two threads. Mach numbers
// the messages of a port as they are received; the number is the message's turn. A thread whose turn it is needs no lock.
// Taking in is short: page states change, work is noted. Before a callback or a message to a kernel the turn passes on,
// so no turn ever waits for the translator or for a kernel.
//
// Each worker waits for its turn at a condition of its own, and who passes the turn wakes the next one alone. Were all woken, each message
// would cost as many wake-ups as there are workers: one that is kept from the processor with a message in its hands lets all others gather here.

import CPlatform
import Synchronization

/// Workers that wait for their turn with one object. Locked.
struct TurnQueue {
    /// A worker's place in it.
    struct Entry {
        let condition: Monitor.Condition
        fileprivate var number: UInt32 = 0
        fileprivate var next: UnsafeMutablePointer<Worker>?

        init(_ condition: Monitor.Condition) { self.condition = condition }
    }

    private var first: UnsafeMutablePointer<Worker>?
    /// Threads that wait at the monitor for the present turn to pass.
    var onlookers = 0

    mutating func insert(_ worker: UnsafeMutablePointer<Worker>, _ number: UInt32) {
        worker.pointee.turn.number = number
        worker.pointee.turn.next = first
        first = worker
    }

    mutating func remove(_ worker: UnsafeMutablePointer<Worker>) {
        if first == worker {
            first = worker.pointee.turn.next
            return
        }
        var before = first
        while let candidate = before, candidate.pointee.turn.next != worker { before = candidate.pointee.turn.next }
        before?.pointee.turn.next = worker.pointee.turn.next
    }

    /// Who waits for this turn. (Two may, one of them with a message of a port that is not the object's any more.)
    func wake(_ number: UInt32) {
        var worker = first
        while let candidate = worker {
            if candidate.pointee.turn.number == number { candidate.pointee.turn.condition.wakeAll() }
            worker = candidate.pointee.turn.next
        }
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// Waits until the messages before this one, which came to the port `name`, are taken in. false: that is not our port any more. Whoever
    /// had an earlier message may have found nobody to take it in, so the turn may never come.
    @inline(__always)
    func awaitTurn(_ number: UInt32, _ name: mach_port_t, _ worker: UnsafeMutablePointer<Worker>) -> Bool {
        pointee.turn.load(ordering: .acquiring) == number || awaitTurnSlowly(number, name, worker)
    }

    @inline(never)
    private func awaitTurnSlowly(_ number: UInt32, _ name: mach_port_t, _ worker: UnsafeMutablePointer<Worker>) -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        locked.pointee.turnQueue.insert(worker, number)
        defer { locked.pointee.turnQueue.remove(worker) }
        // The waiter counts itself before it looks, the other passes the turn before it looks for waiters: one sees the other.
        pointee.turnWaiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer { pointee.turnWaiters.wrappingSubtract(1, ordering: .relaxed) }
        while pointee.turn.load(ordering: .sequentiallyConsistent) != number {
            if portName != name { return false }
            // (The port's end is announced to nobody.)
            worker.pointee.turn.condition.wait(in: pointee.monitor, 100)
        }
        return true
    }

    /// Until whoever has the turn now has passed it. Locked; not by whoever has the turn.
    func awaitPresentTurnLocked() {
        let number = pointee.turn.load(ordering: .sequentiallyConsistent)
        pointee.turnWaiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
        locked.pointee.turnQueue.onlookers += 1
        while pointee.turn.load(ordering: .sequentiallyConsistent) == number
            && pager_port_next_number(portName, number) != number { _ = pointee.monitor.wait(100) }
        locked.pointee.turnQueue.onlookers -= 1
        pointee.turnWaiters.wrappingSubtract(1, ordering: .relaxed)
    }

    @inline(__always)
    func passTurn(_ number: UInt32) {
        pointee.turn.store(number &+ 1, ordering: .sequentiallyConsistent)
        if pointee.turnWaiters.load(ordering: .sequentiallyConsistent) != 0 { wakeTurnWaiters() }
    }

    @inline(never)
    private func wakeTurnWaiters() {
        pointee.monitor.lock()
        // (It may have been passed on since; then whoever did that looks as well.)
        locked.pointee.turnQueue.wake(pointee.turn.load(ordering: .sequentiallyConsistent))
        if locked.pointee.turnQueue.onlookers != 0 { pointee.monitor.wakeAll() }
        let mustEnd = isLeaveDueLocked()
        pointee.monitor.unlock()
        // By a worker that is in the middle of nothing: this one may be kept by what its message asks for.
        if mustEnd, let worker = Worker.current {
            worker.pointee.pool.leaveWork(self)
            worker.pointee.pool.callReceiver()
        }
    }

    /// What a server routine says when its message is taken in: the next one may come.
    /// (Outside of a worker there is no turn: a test that calls the routine itself.)
    @inline(__always)
    func takenIn() {
        if let worker = Worker.current { worker.passTurn() }
    }
}
