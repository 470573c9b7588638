// pager_shutdown.
//
// New requests are refused; those under way are answered as always, and then the clients are asked to give up what they
// have, until no page is with a client, in a queue, or on its way to the store. Each round can only leave what
// was granted before it began, so rounds end; a client that does not answer is given up when the time is over.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    func shutDown() {
        let (first, _) = pointee.closing.compareExchange(expected: 0, desired: 1, ordering: .sequentiallyConsistent)
        if !first { return awaitShutdown() }
        let deadline = Deadline(Int(bitPattern: UInt(min(pointee.shutdownPatience.load(ordering: .relaxed), 0x7fff_ffff))))
        while !isQuiet() {
            if deadline.isOver {
                giveUpAll()
                // Messages that nobody takes in (there are no workers) die with the port.
                if find({ $0 != .quiet }) == nil && isIdle() { break }
            } else {
                let answered = takeBack(deadline)
                if answered { waitUntilQuiet(deadline) }
            }
        }
        // Whoever waits for a client's answer must not wait any longer: none can come.
        endAllClients()
        ports_destroy_right(pointee.port)
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

    /// No page is anywhere but in the store, and every message that has come is dealt with (so every request has an answer).
    private func isQuiet() -> Bool {
        find { $0 != .quiet } == nil && isIdle()
            && pager_port_is_drained(portName, pointee.turn.load(ordering: .acquiring)) != 0
    }

    private func isIdle() -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        return locked.pointee.versions.unfinished == 0 && locked.pointee.jobs.isEmpty
            && pointee.executor.load(ordering: .acquiring) == 0
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

    /// Asks for everything that clients have, run by run. false: the time ran out.
    private func takeBack(_ deadline: Deadline) -> Bool {
        var first = find { $0 != .quiet }
        while let start = first {
            var end = start
            // Pages next to each other are asked for together.
            while end < .max, let slot = pointee.map.word(at: end + 1),
                  condition(Word(loaded: slot.pointee.load(ordering: .acquiring))) != .quiet { end += 1 }
            if !range(start...end, .return, patience: deadline.left) { return false }
            first = end == .max ? nil : find(from: end + 1) { $0 != .quiet }
        }
        return true
    }

    /// What was asked for before still has to be answered and written.
    private func waitUntilQuiet(_ deadline: Deadline) {
        runJobs()
        let waiting = Worker.beginWait()
        defer { Worker.endWait(waiting) }
        pointee.monitor.lock()
        // Some ends are not announced (a callback without a waiter, a message taken in): look again soon.
        _ = pointee.monitor.wait(min(deadline.left, 2))
        pointee.monitor.unlock()
    }

    private func giveUpAll() {
        var number: ClientNumber = 0
        while number < clientNumbersUsed() {
            let client = pointee.clients.client(number)
            if client.pointee.attached.load(ordering: .acquiring) != 0 { giveUp(client, saying: true) }
            number += 1
        }
        // Callbacks that run are waited for: the translator has to return from them.
        waitUntilQuiet(Deadline(5))
    }
}
