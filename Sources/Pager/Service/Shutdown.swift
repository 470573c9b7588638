// pager_shutdown.
//
// New requests are refused; those under way are answered as always, and the clients are asked to give up what they
// have, until no page is with a client, in a queue, or on its way to the store. Each round can only leave what
// was granted before it began, so rounds end; a client that leaves a lock request without an answer for too long is given up,
// and nobody else. Patience is for clients: the store's callbacks are waited for whatever they take.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    func shutDown() {
        let (first, _) = pointee.closing.compareExchange(expected: 0, desired: 1, ordering: .sequentiallyConsistent)
        if !first { return awaitShutdown() }
        pointee.monitor.lock()
        noteQuickClientLocked()
        pointee.monitor.unlock()
        let patience = Int(bitPattern: UInt(min(pointee.shutdownPatience.load(ordering: .relaxed), 0x7fff_ffff)))
        let began = platform_clock_ms(), deadline = Deadline(patience)
        var isFirst = true
        while !isQuiet() {
            // What is busy comes to rest by itself; then it is a client's, or nobody's.
            takeBack(began, patience) { isFirst ? $0 != .quiet : $0 == .held }
            isFirst = false
            // Those who owe an answer from before.
            giveUpSilent(began, patience)
            waitUntilQuiet()
            if deadline.isOver && isAtRest() {
                // Messages that nobody takes in (there are no workers) die with the port.
                awaitIntake()
                if isAtRest() { break }
            }
        }
        // Whoever waits for a client's answer must not wait any longer: none can come.
        endAllClients()
        pager_destroy_right(pointee.port)
        pointee.monitor.lock()
        pointee.closing.store(2, ordering: .sequentiallyConsistent)
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
    }

    private func awaitShutdown() {
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        while pointee.closing.load(ordering: .acquiring) != 2 { _ = pointee.monitor.wait() }
        pointee.monitor.unlock()
    }

    private enum PageCondition: UInt8 { case quiet, held, busy }

    private func condition(_ word: Word) -> PageCondition {
        if word.isDescriptor {
            pointee.monitor.lock()
            defer { pointee.monitor.unlock() }
            guard let descriptor = pointee.descriptors.existing(word.descriptor) else { return .busy }
            let content = Descriptor(pointer: descriptor).content
            if content.activity != .idle || content.isHeld { return .busy }
            return content.isAccessEmpty ? .quiet : .held
        }
        let state = WordState(word)
        if state.activity != .idle || state.isHeld { return .busy }
        return state.isAccessEmpty ? .quiet : .held
    }

    /// No page is anywhere but in the store.
    private func isAtRest() -> Bool { !isOffering() && find { $0 != .quiet } == nil && isIdle() }

    /// Looked at before the pages are. (An offer counts before it looks whether there is a shutdown: one that is not seen here offers nothing.)
    private func isOffering() -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return locked.pointee.offers.sending > 0
    }

    /// ... and every message that has come is dealt with (so every request has an answer).
    private func isQuiet() -> Bool {
        // (The port first: what was received before it was looked at is in a page, or counted as being answered.)
        pager_port_is_drained(portName, pointee.turn.load(ordering: .acquiring)) != 0
            && pointee.answering.load(ordering: .sequentiallyConsistent) == 0 && isAtRest()
    }

    private func isIdle() -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return locked.pointee.versions.unfinished == 0 && locked.pointee.jobs.isEmpty && locked.pointee.aside.isEmpty
            && pointee.executor.load(ordering: .acquiring) == 0 && takenSeats == 0
    }

    private func find(from first: UInt64 = 0, _ wanted: (PageCondition) -> Bool) -> UInt64? {
        var page = first
        while let mapped = pointee.map.nextWord(from: page, through: .max) {
            if wanted(condition(Word(loaded: mapped.word.pointee.load(ordering: .acquiring)))) { return mapped.page }
            if mapped.page == .max { return nil }
            page = mapped.page + 1
        }
        return nil
    }

    /// Asks for everything that clients have, some runs of pages at a time.
    private func takeBack(_ began: UInt64, _ patience: Int, _ wanted: (PageCondition) -> Bool) {
        var next = find(wanted)
        while next != nil {
            var operation = RangeOperation()
            withUnsafeMutablePointer(to: &operation) { operation in
                var runs = 0
                while let start = next, runs < 64 {
                    var end = start
                    // Pages next to each other are asked for together.
                    while end < .max, let slot = pointee.map.word(at: end + 1),
                          condition(Word(loaded: slot.pointee.load(ordering: .acquiring))) != .quiet { end += 1 }
                    request(start...end, .return, operation)
                    next = end == .max ? nil : find(from: end + 1, wanted)
                    runs += 1
                }
                while !awaitAnswers(operation, Deadline(patience)) { giveUpSilent(began, patience) }
            }
        }
    }

    /// What was asked for before still has to be answered and written.
    private func waitUntilQuiet() {
        runJobs()
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        // Some ends are not announced (a callback without a waiter, a message taken in): look again soon.
        _ = pointee.monitor.wait(2)
        pointee.monitor.unlock()
    }

    /// Goes on without the clients that have left a lock request without an answer for so long, since the shutdown began.
    private func giveUpSilent(_ began: UInt64, _ patience: Int) {
        if findSilent(began, patience) == noClient { return }
        // An answer may lie in our port.
        awaitIntake()
        while true {
            let silent = findSilent(began, patience)
            if silent == noClient { return }
            giveUp(pointee.clients.client(silent), saying: true)
        }
    }

    private func findSilent(_ began: UInt64, _ patience: Int) -> ClientNumber {
        let now = platform_clock_ms()
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let batched = now < began + widen(patience) ? noClient : locked.pointee.ledger.batches.silent(since: now - widen(patience))
        if batched != noClient { return batched }
        var entry = locked.pointee.ledger.first
        while let candidate = entry {
            if candidate.pointee.state != .sweeping && now >= max(candidate.pointee.asked, began) + widen(patience) {
                return candidate.pointee.client
            }
            entry = candidate.pointee.next
        }
        return noClient
    }
}
