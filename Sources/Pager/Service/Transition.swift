// Applying the rules to a page's word.
//
// Two ways to the same function:
//   - without a lock, by compare-and-swap: where the state before and after fits the word, and neither the write-back nor
//     a descriptor is concerned. That is all there is to an object with one client that is not in a hurry.
//   - under the lock: descriptors, and pages that the write-back holds. A word may still change under us from a direct
//     one to another (by the first way), never from or to a descriptor; so this one, too, ends in a compare-and-swap.

import CPlatform
import Synchronization

extension UnsafeMutablePointer where Pointee == PagerObject {
    @inline(__always)
    func context(direct: Bool = false, hadHolders: Bool = false, isOffered: Bool = false) -> Context {
        Context(sole: pointee.clients.attachedCount == 1, notify: pointee.notify, direct: direct,
                hadHolders: hadHolders, isOffered: isOffered)
    }

    /// Applies the event. What the effects say is the caller's to do (Perform.swift).
    @inline(__always)
    func transition(_ page: UInt64, _ event: Event, _ context: Context) -> Outcome {
        transition(page, event, event.edgeKey(context), context)
    }

    /// `key`: the event's.
    @inline(never)
    private func transition(_ page: UInt64, _ event: Event, _ key: UInt64, _ context: Context) -> Outcome {
        guard let slot = slot(page, event) else { return Outcome.noMemory }
        if let outcome = transitionFreely(slot, event, key, context) { return outcome }
        pointee.monitor.lock()
        let outcome = transitionLocked(slot, page, event, key, context, nil)
        unlock()
        return outcome
    }

    /// A page comes back, with its data at `address`, which go to the write-back where the effects say `.store`. `begins`: the caller has
    /// the executor, and writes them at once if it may (`Outcome.begun`).
    @inline(never)
    func transitionReturned(_ page: UInt64, _ event: Event, _ context: Context, _ address: vm_address_t, begins: Bool = false) -> Outcome {
        let key = event.edgeKey(context), slot = pointee.map.word(at: page) ?? pointee.strayWord
        // (Where it may begin there are several clients, and data that are dirty.)
        if !begins, let outcome = transitionFreely(slot, event, key, context) { return outcome }
        // A return cannot be refused for want of memory: its record is made first.
        let version = lockWithVersion(page, address)
        var outcome = transitionLocked(slot, page, event, key, context, version)
        var unused: JobPointer?
        if outcome.effects.data == .store {
            if begins && !locked.pointee.aside.covers(page) {
                version.pointee.state = .writing
                outcome = Outcome(effects: outcome.effects, begun: version)
            } else {
                enqueueLocked(version)
            }
        } else {
            unused = giveSpareLocked(version)
        }
        unlock()
        Memory.free(unused)
        return outcome
    }

    /// nil: it must be done under the lock.
    @inline(__always)
    private func transitionFreely(_ slot: WordPointer, _ event: Event, _ key: UInt64, _ context: Context) -> Outcome? {
        while true {
            let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
            if word.isDescriptor || word.isHeld { return nil }
            let new: Word, effects: Effects
            if let known = pointee.moves.move(word, event, key, context) {
                if known.reach.isLocked { return nil }
                (new, effects) = (known.new, known.effects)
            } else {
                guard let decided = decideFreely(word, event, context) else { return nil }
                (new, effects) = decided
            }
            if new == word || slot.pointee.weakCompareExchange(expected: word.raw, desired: new.raw,
                                                               ordering: .acquiringAndReleasing).exchanged {
                return Outcome(effects: effects, word: word, slot: slot, new: new)
            }
        }
    }

    /// What the rules say of a word, where no lock is needed for it. (As `WordMoves` has it for moves that are remembered.)
    @inline(never)
    private func decideFreely(_ word: Word, _ event: Event, _ context: Context) -> (Word, Effects)? {
        var state = WordState(word)
        let effects = PageProtocol.step(&state, event, context)
        if WordMoves.reach(effects, state, false).isLocked { return nil }
        state.checkInvariants()
        return (state.word, effects)
    }

    /// The page's word. nil: memory is exhausted. Only what gives a client access makes a word that was not there:
    /// else it is a word apart, on which the event is void.
    @inline(__always)
    private func slot(_ page: UInt64, _ event: Event) -> WordPointer? {
        if let word = pointee.map.word(at: page) { return word }
        return makeSlot(page, event)
    }

    @inline(never)
    private func makeSlot(_ page: UInt64, _ event: Event) -> WordPointer? {
        switch event {
        case .request, .offered: return pointee.map.touch(page)
        default: return pointee.strayWord
        }
    }

    /// Takes the lock, with a record for a version of the page in hand.
    @inline(__always)
    private func lockWithVersion(_ page: UInt64, _ address: vm_address_t) -> JobPointer {
        pointee.monitor.lock()
        let version = takeSpareLocked()
        version.initialize(to: Job(next: nil, page: page, action: .write, hadHolders: false, address: address))
        return version
    }

    @inline(__always)
    func transitionLocked(_ page: UInt64, _ event: Event, _ context: Context) -> Outcome {
        guard let slot = slot(page, event) else { return Outcome.noMemory }
        return transitionLocked(slot, page, event, event.edgeKey(context), context, nil)
    }

    /// `version`: a record of the data that came with the event, should they be stored.
    @inline(never)
    private func transitionLocked(_ slot: WordPointer, _ page: UInt64, _ event: Event, _ key: UInt64, _ context: Context,
                                  _ version: JobPointer?) -> Outcome {
        while true {
            let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
            guard let (new, effects) = decide(word, event, key, context) else { return Outcome.noMemory }
            if new != word && !slot.pointee.compareExchange(expected: word.raw, desired: new.raw,
                                                            ordering: .acquiringAndReleasing).exchanged {
                pointee.descriptors.release(new)
                continue
            }
            var outcome = concern(word, new, effects, page)
            // `decide` took a reference for the new word, the old word gives its own back.
            pointee.descriptors.release(word)

            if effects.data == .store, let version { storeLocked(version) }
            if effects.held == .drop { dropHeldLocked(page) }
            if effects.action == .none, isWrittenAndIdle(page, new) {
                // It was kept for a waiter, and nobody waits any more.
                retire(page, &outcome)
            }
            return outcome
        }
    }

    /// The word after the event, with a reference taken if it refers to a descriptor. nil: memory is exhausted and the
    /// event can be refused.
    @inline(__always)
    private func decide(_ word: Word, _ event: Event, _ key: UInt64, _ context: Context) -> (Word, Effects)? {
        if !word.isDescriptor, let known = pointee.moves.move(word, event, key, context) {
            if known.reach != .beyond { return (word == .untouched && known.new == .resting ? word : known.new, known.effects) }
        } else if !word.isDescriptor, let decided = decideHere(word, event, context) {
            return decided
        }
        let table = pointee.descriptors
        if key != 0, let hit = word.isDescriptor ? table.lookup(table.descriptor(word.descriptor).pointer, key: key)
            : table.lookup(word, key: key) { return (hit.word, Effects(hit.payload)) }
        return decideAnew(word, event, context, key)
    }

    /// What the rules say of a word. nil: the state after it does not fit one.
    @inline(never)
    private func decideHere(_ word: Word, _ event: Event, _ context: Context) -> (Word, Effects)? {
        var state = WordState(word)
        let effects = PageProtocol.step(&state, event, context)
        if state.overflowed { return nil }
        state.checkInvariants()
        return (word == .untouched && state.word == .resting ? word : state.word, effects)
    }

    @inline(never)
    private func decideAnew(_ word: Word, _ event: Event, _ context: Context, _ key: UInt64) -> (Word, Effects)? {
        let table = pointee.descriptors

        var state = table.scratch
        table.load(word, into: state)
        let first = state.isQueueEmpty ? noClient : state.head.client
        var effects = PageProtocol.step(&state, event, context)
        if effects.count == 1 && effects.client == noClient && effects.without == noClient {
            // The first waiter alone is answered: nothing else of the state matters for that.
            effects.client = first
        }
        state.checkInvariants()
        let new: Word
        switch event {
        case .request, .offered:
            guard let stored = table.store(state) else { return nil }
            new = stored
        default:
            new = table.storeWaiting(state)
        }
        if key != 0 {
            let isPlain = effects.isPlain && !state.isHeld
            if word.isDescriptor {
                table.remember(word.descriptor, key: key, target: new, payload: effects.payload, isPlain: isPlain)
            } else {
                table.remember(word, key: key, target: new, payload: effects.payload, isPlain: isPlain)
            }
        }
        return (new, effects)
    }

    /// The outcome, with the state that its clients are in kept alive, and the version that is to be sent.
    @inline(__always)
    private func concern(_ old: Word, _ new: Word, _ effects: Effects, _ page: UInt64) -> Outcome {
        let word: Word
        switch effects.action {
        case .flush, .downgrade:
            if let batch = noteBatchLocked(page, new, effects) { return Outcome(effects: effects, batch: batch) }
            word = new
        case .supply, .supplyHeld, .error, .grantWrite: word = old
        default: return Outcome(effects: effects, word: .untouched)
        }
        let attachments = pointee.clients.core.pointee.attachments.load(ordering: .relaxed)
        let version = effects.action == .supplyHeld ? pinHeldLocked(page) : nil
        if word.isDescriptor {
            if effects.client != noClient { return Outcome(effects: effects, word: .untouched, attachments: attachments, version: version) }
            pointee.descriptors.retain(word.descriptor)
        }
        return Outcome(effects: effects, word: word, attachments: attachments, version: version)
    }

    /// A move from or to a descriptor that was made before and is wanted, and that asks for nothing under the lock. nil: nothing was done.
    /// Locked, under which no word becomes a descriptor, nor the other way round, but here.
    @inline(__always)
    func moveLocked(_ slot: WordPointer, _ key: UInt64, _ isWanted: (Effects) -> Bool) -> Effects? {
        if key == 0 { return nil }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        return word.isDescriptor ? moveLocked(slot, word, key, isWanted) : moveFromWordLocked(slot, word, key, isWanted)
    }

    /// The same for a page that is in a descriptor.
    @inline(__always)
    func moveLocked(_ slot: WordPointer, _ word: Word, _ key: UInt64, _ isWanted: (Effects) -> Bool) -> Effects? {
        let table = pointee.descriptors
        let from = table.referenced(word.descriptor).pointer
        guard let edge = table.edge(from, key), edge.pointee.isPlain else { return nil }
        let effects = Effects(edge.pointee.payload)
        if !isWanted(effects) { return nil }
        guard let hit = table.follow(edge) else { return nil }
        slot.pointee.store(hit.word.raw, ordering: .releasing)
        table.release(from)
        return effects
    }

    @inline(never)
    private func moveFromWordLocked(_ slot: WordPointer, _ word: Word, _ key: UInt64, _ isWanted: (Effects) -> Bool) -> Effects? {
        let table = pointee.descriptors
        guard let edge = table.edge(word, key), edge.pointee.isPlain else { return nil }
        let effects = Effects(edge.pointee.payload)
        if !isWanted(effects) { return nil }
        guard let hit = table.follow(edge) else { return nil }
        // (It may have become another word meanwhile.)
        if slot.pointee.compareExchange(expected: word.raw, desired: hit.word.raw, ordering: .acquiringAndReleasing).exchanged { return effects }
        table.release(hit.word)
        return nil
    }

    /// The last error of the page, 0: none.
    func lastError(_ page: UInt64) -> Int32 {
        guard let slot = pointee.map.word(at: page) else { return 0 }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        if !word.isDescriptor { return WordState(word).error }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        // Under the lock it is still a descriptor, or has become a direct word.
        let current = Word(loaded: slot.pointee.load(ordering: .acquiring))
        return current.isDescriptor ? pointee.descriptors.descriptor(current.descriptor).content.error : WordState(current).error
    }

    /// What the client has of the page now.
    @inline(never)
    func currentAccess(_ page: UInt64, _ client: ClientNumber) -> Access {
        guard let slot = pointee.map.word(at: page) else { return .none }
        pointee.monitor.lock()
        defer { pointee.monitor.unlock() }
        let word = Word(loaded: slot.pointee.load(ordering: .acquiring))
        return word.isDescriptor ? pointee.descriptors.descriptor(word.descriptor).content.access(of: client)
            : WordState(word).access(of: client)
    }

    /// The outcome's answers are sent, and its work is done.
    @inline(__always)
    func transitionSent(_ page: UInt64, _ outcome: Outcome, hadHolders: Bool) -> Outcome {
        let context = context(hadHolders: hadHolders)
        return outcome.holds ? transitionReleasing(page, outcome, context) : transition(page, .sent, context)
    }

    /// In one hold of the lock.
    @inline(never)
    private func transitionReleasing(_ page: UInt64, _ outcome: Outcome, _ context: Context) -> Outcome {
        pointee.monitor.lock()
        pointee.descriptors.release(outcome.word)
        if let version = outcome.version { releaseVersionLocked(version) }
        let next = transitionLocked(page, .sent, context)
        unlock()
        return next
    }

    /// The outcome's work is done.
    @inline(__always)
    func releaseOutcome(_ outcome: Outcome) {
        if outcome.holds { releaseSlowly(outcome) }
    }

    @inline(never)
    private func releaseSlowly(_ outcome: Outcome) {
        pointee.monitor.lock()
        pointee.descriptors.release(outcome.word)
        if let version = outcome.version { releaseVersionLocked(version) }
        unlock()
    }

    @inline(__always)
    private func isWrittenAndIdle(_ page: UInt64, _ word: Word) -> Bool {
        let isAtRest = word.isDescriptor ? isHeldAndIdle(word.descriptor) : word.isHeldAtRest && !WordState(word).isInvalid
        return isAtRest && locked.pointee.versions.newest(page)?.pointee.state == .finished
    }

    @inline(never)
    private func isHeldAndIdle(_ number: UInt32) -> Bool {
        let content = pointee.descriptors.descriptor(number).content
        return content.isHeld && !content.isInvalid && content.activity == .idle
    }

    /// Reports the write of a kept version again, now that the page is idle. The action that follows, if any, is the outcome's then.
    private func retire(_ page: UInt64, _ outcome: inout Outcome) {
        let again = transitionLocked(page, .writtenBack(code: 0), context())
        assert(!again.holds)
        outcome.effects.holders = again.effects.holders
        outcome.effects.action = again.effects.action
    }
}
