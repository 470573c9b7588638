// What the executor stands for besides, while a lone client's message has it.
//
// A message of the short way (QuickPath.swift) has the executor to itself, so its word can say more than who may call the translator:
//
//   L1  While `Executor.lone` is set, the client that is `quickClient` then is held: its names stay until the message ends. Who takes a client's
//       place as `quickClient` looks for that bit afterwards, and takes a reference in the message's name (`lent`); the message finds
//       `Executor.lent` set when it ends, and gives the reference back. Of the two, one sees the other. No reference is counted otherwise.
//   L2  The message's one answer is told by `answering`, as that of a seat is; the counters here are changed by nobody else.
//   L3  A callback that waits gives all that up with the executor, which it gets back as any other callback (Callback.swift).

import CPlatform
import Synchronization

struct Lone: ~Copyable {
    /// The phase of the answer that is being sent, and 1; 0: none is.
    let answering = Atomic<UInt32>(0)
    let pageIns = Atomic<UInt>(0)
    let supplies = Atomic<UInt>(0)
    let unlocks = Atomic<UInt>(0)
}

extension Executor {
    static let lone: UInt32 = 1 << 17
    /// (Above all that is counted, below `waiting`: one comparison finds both.)
    static let lent: UInt32 = 1 << 30
    static let loneUnit = other | lone
}

/// A message of the short way holds the executor, for it alone.
struct LoneHold: ReadHold {
    let pager: PagerPointer

    @inline(__always) static var isLone: Bool { true }
    @inline(__always) var seat: SeatPointer? { nil }
    @inline(__always) func isKept(_ callback: CallbackPointer) -> Bool { callback.pointee.isLone }
    @inline(__always) func hold(_ client: ClientPointer) -> Bool {
        pager.pointee.quickClient.load(ordering: .sequentiallyConsistent) == UInt(bitPattern: client)
    }
    @inline(__always) func letGo(_ client: ClientPointer) {}
    @inline(__always) func beginAnswer() -> UInt32 {
        pager.pointee.lone.answering.store(pager.pointee.answerPhase.load(ordering: .sequentiallyConsistent) &+ 1, ordering: .sequentiallyConsistent)
        return 0
    }
    @inline(__always) func endAnswer(_ phase: UInt32) {
        pager.pointee.lone.answering.store(0, ordering: .sequentiallyConsistent)
        pager.noteAnswered()
    }
    @inline(__always) func countPageIn() { pager.pointee.lone.pageIns.countAlone() }
    @inline(__always) func countSupply() { pager.pointee.lone.supplies.countAlone() }
    @inline(__always) func moveToExecutor() { pager.moveToExecutor(Executor.unit(.read)) }
    @inline(__always) func finish() {
        if pager.pointee.executor.wrappingSubtract(Executor.loneUnit, ordering: .sequentiallyConsistent).newValue >= Executor.lent {
            pager.endLone()
        }
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The executor, for a message of the short way and all that L1 says.
    @inline(__always)
    func claimLone(_ worker: UnsafeMutablePointer<Worker>?) -> Bool { claimQuickly(worker, Executor.loneUnit) }

    /// The executor is held as for any other callback from now on.
    @inline(never)
    func moveToExecutor(_ unit: UInt32) {
        let state = pointee.executor.wrappingAdd(unit &- Executor.loneUnit, ordering: .sequentiallyConsistent).newValue
        if state & Executor.lent != 0 { giveBackLent() }
    }

    /// The message has given the executor up; something was lent to it, or jobs wait.
    @inline(never)
    func endLone() {
        if pointee.executor.load(ordering: .relaxed) & Executor.lent != 0 { giveBackLent() }
        if pointee.executor.load(ordering: .sequentiallyConsistent) & Executor.waiting != 0 { workOn() }
    }

    /// The client is `quickClient` no longer. A message that has the executor may be about to send to it. Locked; the client is known, so it can
    /// be held.
    func lendLocked(_ client: ClientPointer) {
        var state = pointee.executor.load(ordering: .sequentiallyConsistent)
        while state & Executor.lone != 0 {
            let (exchanged, original) = pointee.executor.compareExchange(
                expected: state, desired: state | Executor.lent, ordering: .sequentiallyConsistent)
            if exchanged {
                let bit = UInt8(1) << UInt8(client.pointee.number)
                if locked.pointee.lent & bit == 0 && client.acquire() { locked.pointee.lent |= bit }
                return
            }
            state = original
        }
    }

    /// What was lent to the message that had the executor. (Until the bit is gone no other message has the executor for it alone.)
    func giveBackLent() {
        pointee.monitor.lock()
        let lent = locked.pointee.lent
        locked.pointee.lent = 0
        pointee.executor.bitwiseAnd(~Executor.lent, ordering: .sequentiallyConsistent)
        pointee.monitor.unlock()
        for number in 0..<WordLayout.clients where lent & 1 << UInt8(number) != 0 { release(pointee.clients.client(number)) }
    }
}
