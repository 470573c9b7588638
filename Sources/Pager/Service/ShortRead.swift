// Reads of the short way: a page in a known state is read for its first waiter and sent to it.
//
// It does what the long way does (Perform.swift), in the same order:
//   1. the page's word (the caller; whoever fails there has done nothing and takes the long way);
//   2. the right to call the translator, then the turn passes on;
//   3. the callback;
//   4. the answer, counted while it is sent (Answering.swift), to a client that is held (so that its names stay) and that the word names;
//   5. the word again, and the right is given back.
// Two things differ, and are parameters, so that the order is written once: under what the read runs (`ReadHold`: the executor, or a
// seat), and who knows the page's moves (`ReadMoves`: a lone client's are a few words, those of several clients are looked up).
// Wherever something is not as usual (the translator failed, somebody waits, the client goes), what the long way calls is
// called, under the executor, and goes on from there.

import CPlatform
import Synchronization

/// Under what a read runs.
protocol ReadHold {
    /// nil: it is the executor.
    var seat: SeatPointer? { get }
    static var isLone: Bool { get }
    /// The callback has returned: it did not give up what it ran under. (In a callback that waits a seat, and what the executor stands for, is
    /// given up; it holds the executor then.)
    func isKept(_ callback: CallbackPointer) -> Bool
    func hold(_ client: ClientPointer) -> Bool
    func letGo(_ client: ClientPointer)
    /// Returns the phase, for `endAnswer`.
    func beginAnswer() -> UInt32
    func endAnswer(_ phase: UInt32)
    func countPageIn()
    func countSupply()
    /// What follows belongs to the long way: the executor is held for it.
    func moveToExecutor()
    /// Nothing follows.
    func finish()
}

/// Whom the data go to.
struct ReadAnswer {
    let client: ClientPointer
    /// false: it has gone.
    let isKnown: Bool
    let lock: vm_prot_t
    let precious: boolean_t
    /// `Effects.holders`.
    let holders: Bool
}

/// What the rules say of the page.
protocol ReadMoves {
    /// Of the callback.
    var hadHolders: Bool { get }
    /// What the executor is claimed for, where reads run one at a time; and the read under it.
    var unit: UInt32 { get }
    func read(_ pager: PagerPointer, _ offset: vm_offset_t)
    /// The page was read, and there are data: whom they go to. It is held, if it is known, until `letGo`. nil: nothing was done.
    func decide(_ hold: some ReadHold) -> ReadAnswer?
    func letGo(_ client: ClientPointer, _ hold: some ReadHold)
    /// The answer is sent. false: nothing was done.
    func sent(_ pager: PagerPointer, _ answer: ReadAnswer) -> Bool
}

struct ExecutorHold: ReadHold {
    let pager: PagerPointer

    @inline(__always) var seat: SeatPointer? { nil }
    @inline(__always) static var isLone: Bool { false }
    @inline(__always) func isKept(_ callback: CallbackPointer) -> Bool { true }
    @inline(__always) func hold(_ client: ClientPointer) -> Bool { client.acquire() }
    @inline(__always) func letGo(_ client: ClientPointer) { pager.release(client) }
    @inline(__always) func beginAnswer() -> UInt32 { pager.beginAnswers() }
    @inline(__always) func endAnswer(_ phase: UInt32) { pager.endAnswers(phase) }
    @inline(__always) func countPageIn() { pager.pointee.counters.pageIns.increment() }
    @inline(__always) func countSupply() { pager.pointee.counters.supplies.increment() }
    @inline(__always) func moveToExecutor() {}
    @inline(__always) func finish() { if !pager.finishQuickly(Executor.unit(.read)) { pager.workOn() } }
}

struct SeatHold: ReadHold {
    let pager: PagerPointer
    let taken: SeatPointer

    @inline(__always) var seat: SeatPointer? { taken }
    @inline(__always) static var isLone: Bool { false }
    @inline(__always) func isKept(_ callback: CallbackPointer) -> Bool { callback.pointee.seat != nil }
    @inline(__always) func hold(_ client: ClientPointer) -> Bool { pager.hold(client, in: taken) }
    // (The seat keeps it.)
    @inline(__always) func letGo(_ client: ClientPointer) {}
    @inline(__always) func beginAnswer() -> UInt32 {
        pager.beginAnswer(in: taken)
        return 0
    }
    @inline(__always) func endAnswer(_ phase: UInt32) { pager.endAnswer(in: taken) }
    @inline(__always) func countPageIn() { taken.pointee.pageIns.countAlone() }
    @inline(__always) func countSupply() { taken.pointee.supplies.countAlone() }
    @inline(__always) func moveToExecutor() { pager.moveToExecutor(taken) }
    @inline(__always) func finish() {
        pager.leaveSeat(taken)
        if pager.pointee.executor.load(ordering: .sequentiallyConsistent) & Executor.waiting != 0 { pager.workOn() }
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// The executor for a callback, if nothing runs or waits, and this thread may call the translator.
    @inline(__always)
    func claimQuickly(_ worker: UnsafeMutablePointer<Worker>?, _ unit: UInt32) -> Bool {
        if let worker, !worker.leaveReceivers() { return false }
        return pointee.executor.compareExchange(expected: 0, desired: unit, ordering: .acquiring).exchanged
    }

    /// true: nothing waits behind.
    @inline(__always)
    func finishQuickly(_ unit: UInt32) -> Bool {
        pointee.executor.wrappingSubtract(unit, ordering: .acquiringAndReleasing).newValue & Executor.waiting == 0
    }

    @inline(never)
    func workOn() {
        if let job = takeJob() { work(job) }
    }

    // (Offsets in place of pages: so a page number need not be kept across the calls.)

    /// The page's word says that it is being read: reads it, now or when its turn comes. The turn is passed on.
    @inline(__always)
    func beginRead<Moves: ReadMoves>(_ moves: Moves, _ offset: vm_offset_t) {
        let worker = Worker.current
        if pointee.seats.load(ordering: .relaxed) != 0 {
            beginSeated(worker, moves, offset)
        } else if claimQuickly(worker, moves.unit) {
            worker?.passTurn()
            moves.read(self, offset)
        } else {
            readLater(offset, moves.hadHolders)
        }
    }

    /// Reads may run beside each other.
    @inline(never)
    private func beginSeated<Moves: ReadMoves>(_ worker: UnsafeMutablePointer<Worker>?, _ moves: Moves, _ offset: vm_offset_t) {
        if let worker, !worker.leaveReceivers() { return readLater(offset, moves.hadHolders) }
        if let seat = seats.flatMap({ takeSeat($0) }) {
            worker?.passTurn()
            read(SeatHold(pager: self, taken: seat), moves, offset)
        } else if tryStart(.read) {
            worker?.passTurn()
            read(ExecutorHold(pager: self), moves, offset)
        } else {
            readLater(offset, moves.hadHolders)
        }
    }

    /// It is not this read's turn.
    @inline(never)
    private func readLater(_ offset: vm_offset_t, _ hadHolders: Bool) {
        followLater(page(offset), NextCall(action: .read, page: page(offset), hadHolders: hadHolders))
        takenIn()
        runJobs()
    }

    @inline(__always)
    func read<Hold: ReadHold, Moves: ReadMoves>(_ hold: Hold, _ moves: Moves, _ offset: vm_offset_t) {
        var buffer: vm_address_t = 0
        var writeLock: Int32 = 0
        var isKept = false
        let page = page(offset)
        let code = inCallback(.read, page...page, seat: hold.seat, isLone: Hold.isLone) { callback in
            let code = pager_read_page(pointee.user, offset, &buffer, &writeLock)
            isKept = hold.isKept(callback)
            return code
        }
        if !isKept { return readOtherwise(ExecutorHold(pager: self), offset, moves.hadHolders, code, writeLock, buffer) }
        guard code | writeLock == 0, buffer != 0, widen(buffer) & (pointee.pageBytes &- 1) == 0, let answer = moves.decide(hold) else {
            return readOtherwise(hold, offset, moves.hadHolders, code, writeLock, buffer)
        }
        hold.countPageIn()
        let phase = hold.beginAnswer()
        if pointee.rangeFlushes.load(ordering: .sequentiallyConsistent) != 0 { noteGiven(answer, offset) }
        if answer.isKnown {
            let result = pager_control_memory_object_data_supply(
                control(answer.client), offset, buffer, mach_msg_type_number_t(truncatingIfNeeded: pointee.pageBytes), 1, answer.lock,
                answer.precious, 0)
            if result == 0 { hold.countSupply() } else { supplyAgain(answer, offset, buffer, result) }
            moves.letGo(answer.client, hold)
        } else {
            freePages(buffer, 1)
        }
        if moves.sent(self, answer) {
            hold.endAnswer(phase)
            hold.finish()
        } else {
            sentOtherwise(hold, offset, answer.holders, phase)
        }
    }

    /// The read failed, or somebody else is concerned.
    @inline(never)
    private func readOtherwise<Hold: ReadHold>(_ hold: Hold, _ offset: vm_offset_t, _ hadHolders: Bool, _ code: Int32, _ writeLock: Int32,
                                               _ buffer: vm_address_t) {
        hold.moveToExecutor()
        follow(.read, afterRead(NextCall(action: .read, page: page(offset), hadHolders: hadHolders), code, writeLock, buffer))
        ExecutorHold(pager: self).finish()
    }

    /// The answer is sent, and somebody waits.
    @inline(never)
    private func sentOtherwise<Hold: ReadHold>(_ hold: Hold, _ offset: vm_offset_t, _ holders: Bool, _ phase: UInt32) {
        let outcome = transition(page(offset), .sent, context(hadHolders: holders))
        hold.endAnswer(phase)
        hold.moveToExecutor()
        follow(.read, advance(page(offset), outcome, 0))
        ExecutorHold(pager: self).finish()
    }

    @inline(never)
    private func noteGiven(_ answer: ReadAnswer, _ offset: vm_offset_t) { noteGiven(answer.client.pointee.number, page(offset)) }

    @inline(never)
    private func supplyAgain(_ answer: ReadAnswer, _ offset: vm_offset_t, _ data: vm_address_t, _ result: kern_return_t) {
        let size = mach_msg_type_number_t(truncatingIfNeeded: pointee.pageBytes)
        let delivery = sendAgain(answer.client, page(offset), result) {
            pager_control_memory_object_data_supply($0, offset, data, size, 1, answer.lock, answer.precious, 0)
        }
        if delivery == .sent { pointee.counters.supplies.increment() }
        if delivery == .refused { freePages(data, 1) }
    }

    @inline(__always)
    func control(_ client: ClientPointer) -> mach_port_t { client.pointee.control.load(ordering: .relaxed) }
}
