// A client goes: `memory_object_terminate`, its control port dies, or it is given up.

import CPlatform
import Synchronization

/// What the rules say of a client's end to a page: most pages of a client are in one condition, and the rules are a pure function, so what they
/// said to a word is kept for the next page with the same.
private struct ForgetMove {
    let number: ClientNumber
    /// A word that does not name the client; 0: none is known.
    private(set) var unconcerned: UInt32 = 0
    /// A word that names it, and what becomes of it, where that is all; 0: none is known.
    private(set) var from: UInt32 = 0
    private(set) var to: UInt32 = 0

    init(_ number: ClientNumber) { self.number = number }

    /// Whether nothing is to be done for pages with this word.
    mutating func learn(_ word: Word, _ context: Context) -> Bool {
        if word.isDescriptor { return false }
        var state = WordState(word)
        if state.access(of: number) == .none && state.isQueueEmpty {
            unconcerned = word.raw
            return true
        }
        // While somebody waits, what follows depends on more than the word.
        if !state.isQueueEmpty || state.isHeld { return false }
        var effects = PageProtocol.step(&state, .clientGone(number), context)
        effects.holders = false
        effects.without = noClient
        if effects == .nothing && !state.overflowed && !state.isHeld {
            from = word.raw
            to = state.word.raw
        }
        return false
    }
}

extension UnsafeMutablePointer where Pointee == PagerObject {
    /// What the client says is refused from now on, and nobody waits for it. false: it was gone already.
    /// `endClient` must follow, after the turn has passed.
    func detach(_ client: ClientPointer) -> Bool {
        if client.pointee.attached.exchange(0, ordering: .sequentiallyConsistent) == 0 { return false }
        pointee.clients.core.pointee.attached.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        pointee.monitor.lock()
        noteQuickClientLocked()
        forgetRequestsLocked(client.pointee.number)
        endLeaveLocked(client)
        locked.pointee.attributeChange.clientGone(client.pointee.number)
        pointee.monitor.wakeAll()
        pointee.monitor.unlock()
        return true
    }

    /// The lock requests that it did not answer: users who wait for it wait for one less; the pages notice by themselves.
    private func forgetRequestsLocked(_ number: ClientNumber) {
        locked.pointee.ledger.batches.forget(number)
        var entry = locked.pointee.ledger.first
        while let candidate = entry {
            entry = candidate.pointee.next
            // One that is answered and being swept goes when that is done.
            if candidate.pointee.client != number || candidate.pointee.state == .sweeping { continue }
            let operation = candidate.pointee.request.operation
            forgetLocked(candidate)
            if let operation { finishLocked(operation) }
        }
    }

    /// Every page forgets the client; then its number and its names are free. Others are served meanwhile.
    func endClient(_ client: ClientPointer) {
        let number = client.pointee.number
        var quick = ForgetMove(number)
        pointee.map.forEachLeaf { first, words in
            for index in 0..<MapLayout.leafWords {
                // In one order with `attached`: whoever gives the client a page sees that it has gone, or we see the page (`forgetIfGone`).
                let word = (words + index).pointee.load(ordering: .sequentiallyConsistent)
                if word == 0 || word == quick.unconcerned { continue }
                if word == quick.from && (words + index).pointee.compareExchange(
                    expected: word, desired: quick.to, ordering: .acquiringAndReleasing).exchanged { continue }
                forget(number, first + widen(index), words + index, &quick)
            }
        }
        pointee.monitor.lock()
        // Nobody else is likely to bring pages into the conditions that this client's were in.
        if pointee.descriptors.statistics.live == 0 { pointee.descriptors.freeUnused() }
        pointee.monitor.unlock()
        dropClient(client)
        release(client)
    }

    /// One page, which may differ from those before it.
    @inline(never)
    private func forget(_ number: ClientNumber, _ page: UInt64, _ slot: WordPointer, _ quick: inout ForgetMove) {
        let word = Word(loaded: slot.pointee.load(ordering: .sequentiallyConsistent))
        if word == .untouched || quick.learn(word, context()) || word.isDescriptor && !isNamed(number, slot) { return }
        if word.raw == quick.from && slot.pointee.compareExchange(
            expected: word.raw, desired: quick.to, ordering: .acquiringAndReleasing).exchanged { return }
        perform(page, transition(page, .clientGone(number), context()))
    }

    /// Whether the descriptor that the page is in has the client anywhere. (A page that has left it since is looked at all the same.)
    @inline(never)
    private func isNamed(_ number: ClientNumber, _ slot: WordPointer) -> Bool {
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let word = Word(loaded: slot.pointee.load(ordering: .sequentiallyConsistent))
        if !word.isDescriptor { return true }
        let content = pointee.descriptors.descriptor(word.descriptor).content
        if content.access(of: number) != .none || content.pendingError(of: number) != 0 { return true }
        for index in 0..<content.queueCount where content.waiter(at: index).client == number { return true }
        return false
    }

    /// A page was given to a client that may have gone meanwhile, too late for its end to find the page.
    @inline(__always)
    func forgetIfGone(_ number: ClientNumber, _ page: UInt64) {
        if pointee.clients.client(number).pointee.attached.load(ordering: .sequentiallyConsistent) == 0 { forgetGone(number, page) }
    }

    @inline(never)
    private func forgetGone(_ number: ClientNumber, _ page: UInt64) {
        pointee.monitor.lock()
        // Once more, since clients attach under the lock: the number may be another's by now, and the page given to that one.
        let isGone = pointee.clients.client(number).pointee.attached.load(ordering: .sequentiallyConsistent) == 0
        let outcome = isGone ? transitionLocked(page, .clientGone(number), context()) : nil
        unlock()
        if let outcome { perform(page, outcome) }
    }

    /// Both are receive rights now: the kernel gave its ports up.
    func takeTerminate(_ control: mach_port_t, _ name: mach_port_t) {
        let client = pointee.clients.find(control) ?? searchClient(control)
        let known = client.map { detach($0) } ?? false
        takenIn()
        // The port's death must not be announced: we know.
        if let client, client.pointee.control.load(ordering: .relaxed) == control { client.cancelNotice(control) }
        pager_drop_receive_right(control)
        if name != 0 { pager_drop_receive_right(name) }
        if known, let client {
            endClient(client)
        } else {
            refuse(.unknownControl, 0, UInt64(control))
        }
    }

    /// `name` was a send right and is a dead name now; the notification brought one more reference of it.
    func takeDeadName(_ name: mach_port_t) {
        pointee.monitor.lock()
        let client = pointee.clients.search(name)
        pointee.monitor.unlock()
        let known = client.map { detach($0) } ?? false
        takenIn()
        // (Not for a name that is no client's: anybody can send such a message.)
        if let client, client.takeNotice() { _ = mach_port_deallocate(mach_task_self(), name) }
        if known, let client { endClient(client) }
    }

    /// It does not answer: go on without it. `saying`: it is told.
    func giveUp(_ client: ClientPointer, saying: Bool) {
        if !client.acquire() { return }
        if detach(client) {
            refuse(.clientGivenUp, UInt64(client.pointee.number))
            if saying { sendDestroy(client.pointee.control.load(ordering: .relaxed)) }
            endClient(client)
        }
        release(client)
    }

    /// The object is closed: nothing will be asked of its clients any more.
    func endAllClients() {
        var number: ClientNumber = 0
        while number < clientNumbersUsed() {
            let client = pointee.clients.client(number)
            if client.acquire() {
                if detach(client) { endClient(client) }
                release(client)
            }
            number += 1
        }
    }

    /// A client may die right after it returned a page: its control port is then dead in the message, too, and its death is
    /// announced behind the message. The data are the newest there are; they are taken as the page's writer's, if that
    /// is a client whose port has died. Where the store's page is bad a reader's copy may be all there is, and is taken likewise.
    @inline(__always)
    func deadWriter(_ control: mach_port_t, _ offset: vm_offset_t) -> ClientPointer? { control == .max ? findDeadWriter(offset) : nil }

    @inline(never)
    private func findDeadWriter(_ offset: vm_offset_t) -> ClientPointer? {
        guard let slot = pointee.map.word(at: page(offset)) else { return nil }
        pointee.monitor.lock()
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        var holder = word.isDescriptor ? pointee.descriptors.descriptor(word.descriptor).content.writer : WordState(word).writer
        if holder == noClient { holder = deadReaderOfBadPageLocked(word) }
        pointee.monitor.unlock()
        if holder == noClient { return nil }
        let client = pointee.clients.client(holder)
        return hasDied(client) ? client : nil
    }

    private func hasDied(_ client: ClientPointer) -> Bool {
        client.pointee.attached.load(ordering: .acquiring) != 0 && pager_is_dead(client.pointee.control.load(ordering: .relaxed)) != 0
    }

    private func deadReaderOfBadPageLocked(_ word: Word) -> ClientNumber {
        var found = noClient
        if word.isDescriptor {
            let content = pointee.descriptors.descriptor(word.descriptor).content
            if !content.isInvalid { return noClient }
            content.forEachAccess { number, _ in
                if found == noClient && hasDied(pointee.clients.client(number)) { found = number }
            }
            return found
        }
        let state = WordState(word)
        if !state.isInvalid { return noClient }
        for number in 0..<WordLayout.clients where found == noClient && state.access(of: number) != .none {
            if hasDied(pointee.clients.client(number)) { found = number }
        }
        return found
    }
}
